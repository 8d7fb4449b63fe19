"""What objectives inside the network have in common: one value per example, pairs of layers, projections."""

from typing import ClassVar, cast

import torch
from torch import Tensor, nn
from transformers import PreTrainedConfig

from hf_distill.classifiers.outputs import ROW_OF_UNIT, Batch, ClassifierOutputs
from hf_distill.classifiers.problem_types import PROBLEM_TYPES
from hf_distill.objectives.base import Objective
from hf_distill.objectives.layer_maps import LayerMapping, layer_pairs, read_layer_mapping
from hf_distill.objectives.schedules import Scheduled


class LayerObjective(Objective):
    """An objective that compares layers; it gives one value per example, which every unit of the example gets.

    So of sentences whose tokens are the units, each counts as often as it has units. The value is the mean over the
    pairs of layers, so that a weight means the same for every number of them.

    Attributes:
        first_layer: 0 if the embeddings can be compared, else 1.
        pairs: (student layer, teacher layer), once the models are known.
    """

    problem_types: ClassVar[frozenset[str]] = frozenset(PROBLEM_TYPES)
    first_layer: ClassVar[int] = 0

    def __init__(self, layer_mapping: LayerMapping, weight: Scheduled = 1.0) -> None:
        super().__init__(weight)
        self.layer_mapping = read_layer_mapping(layer_mapping, f"`{self.name}`")

    def connect(self, student_config: PreTrainedConfig, teacher_config: PreTrainedConfig) -> None:
        ours, theirs = cast(int, student_config.num_hidden_layers), cast(int, teacher_config.num_hidden_layers)
        self.pairs = layer_pairs(self.layer_mapping, ours, theirs, f"`{self.name}`", self.first_layer)

    def forward(self, student: ClassifierOutputs, teacher: ClassifierOutputs, batch: Batch) -> Tensor:
        values = self.of_examples(student, teacher, batch)
        return values[batch[ROW_OF_UNIT]] if ROW_OF_UNIT in batch else values

    def of_examples(self, student: ClassifierOutputs, teacher: ClassifierOutputs, batch: Batch) -> Tensor:
        """Return `(batch,)`, one value per row of the batch."""
        raise NotImplementedError


class ProjectedObjective(LayerObjective):
    """An objective on vectors of the models' hidden sizes.

    Where the sizes differ, a linear map without bias from the student's to the teacher's is learnt with the student,
    one for all pairs of layers, as in TinyBERT. It is no part of the student that is saved.

    Args:
        layer_mapping: See [`layer_pairs`].
        projection: Whether to learn it where it is needed; if not, sizes that differ are an error.
        weight: Of the term.
    """

    def __init__(self, layer_mapping: LayerMapping, projection: bool = True, weight: Scheduled = 1.0) -> None:
        super().__init__(layer_mapping, weight)
        self.projection = projection
        self.project: nn.Module = nn.Identity()

    def connect(self, student_config: PreTrainedConfig, teacher_config: PreTrainedConfig) -> None:
        super().connect(student_config, teacher_config)
        ours, theirs = cast(int, student_config.hidden_size), cast(int, teacher_config.hidden_size)
        if ours != theirs and not self.projection:
            raise ValueError(
                f"`{self.name}` compares hidden states of size {ours} (student) and {theirs} (teacher), and its "
                "`projection` is off. Leave it on, which learns a linear map between them, or use `minilm_relation`, "
                "which needs none."
            )
        self.project = nn.Identity() if ours == theirs else nn.Linear(ours, theirs, bias=False)


def is_token(batch: Batch) -> Tensor:
    """Return which positions are no padding, `(batch, length)` bool."""
    if "attention_mask" not in batch:
        return torch.ones_like(batch["input_ids"], dtype=torch.bool)
    return batch["attention_mask"].bool()
