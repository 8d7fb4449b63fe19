"""Base classes of the objectives that compare layers: pairs of layers, projections, and one value per example."""

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
    """An objective that compares layers of student and teacher.

    It computes one value per example, and every unit of the example gets this value. If tokens are the units, a
    sentence therefore counts once for each of its units. The value is the mean over the pairs of layers, so a weight
    has the same meaning for every number of pairs.

    Attributes:
        first_layer: 0 if the embeddings can be compared, else 1.
        pairs: (student layer, teacher layer); set by `bind_models`.
    """

    problem_types: ClassVar[frozenset[str]] = frozenset(PROBLEM_TYPES)
    first_layer: ClassVar[int] = 0

    def __init__(self, layer_mapping: LayerMapping, weight: Scheduled = 1.0) -> None:
        super().__init__(weight)
        self.layer_mapping = read_layer_mapping(layer_mapping, self.name)

    def bind_models(self, student_config: PreTrainedConfig, teacher_config: PreTrainedConfig) -> None:
        num_student_layers = cast(int, student_config.num_hidden_layers)
        num_teacher_layers = cast(int, teacher_config.num_hidden_layers)
        if num_student_layers == 0:
            raise ValueError(
                f"`{self.name}` compares layers, and the student, a {student_config.model_type}, has no layers. Use "
                "an objective on logits, such as `kl`."
            )
        self.pairs = layer_pairs(
            self.layer_mapping, num_student_layers, num_teacher_layers, self.name, self.first_layer
        )

    def forward(self, student: ClassifierOutputs, teacher: ClassifierOutputs, batch: Batch) -> Tensor:
        values = self.example_values(student, teacher, batch)
        return values[batch[ROW_OF_UNIT]] if ROW_OF_UNIT in batch else values

    def example_values(self, student: ClassifierOutputs, teacher: ClassifierOutputs, batch: Batch) -> Tensor:
        """Return one value per example, `(batch,)`."""
        raise NotImplementedError


class ProjectedObjective(LayerObjective):
    """An objective that compares vectors of the models' hidden sizes.

    If the sizes differ, a linear map without bias from the student's size to the teacher's is learned together with
    the student. As in TinyBERT, all pairs of layers share one map. The saved student does not contain it.

    Args:
        layer_mapping: See [`layer_pairs`].
        projection: Whether to learn the linear map if the sizes differ. If False, different sizes are an error.
        weight: Weight of the term.
    """

    def __init__(self, layer_mapping: LayerMapping, projection: bool = True, weight: Scheduled = 1.0) -> None:
        super().__init__(layer_mapping, weight)
        self.projection = projection
        self.project: nn.Module = nn.Identity()

    def bind_models(self, student_config: PreTrainedConfig, teacher_config: PreTrainedConfig) -> None:
        super().bind_models(student_config, teacher_config)
        student_size = cast(int, student_config.hidden_size)
        teacher_size = cast(int, teacher_config.hidden_size)
        if student_size == teacher_size:
            self.project = nn.Identity()
            return
        if not self.projection:
            raise ValueError(
                f"`{self.name}` compares hidden states of size {student_size} (student) and {teacher_size} (teacher), "
                "but `projection` is false. Set it to true to learn a linear map between the sizes, or use "
                "`minilm_relation`, which does not need one."
            )
        self.project = nn.Linear(student_size, teacher_size, bias=False)


def token_mask(batch: Batch) -> Tensor:
    """Return `(batch, length)` bool, False for padding."""
    if "attention_mask" not in batch:
        return torch.ones_like(batch["input_ids"], dtype=torch.bool)
    return batch["attention_mask"].bool()
