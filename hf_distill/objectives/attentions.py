"""Terms on self-attention: its maps, and the relations of its queries, keys and values."""

from typing import Any, ClassVar, cast

import torch
from torch import Tensor
from transformers import PreTrainedConfig

from hf_distill import functional
from hf_distill.classifiers.outputs import Batch, ClassifierOutputs
from hf_distill.objectives.inner import LayerObjective, is_token
from hf_distill.objectives.layer_maps import LayerMapping
from hf_distill.objectives.schedules import Scheduled

MAX_RELATION_HEADS = 48  # the paper's best for models of width 768, on which more or fewer make little difference


class AttentionMSE(LayerObjective):
    """Squared error between attention maps, mean over pairs of layers; see [`functional.attention_mse`].

    Both models need equally many heads, and eager attention, to which they are switched: others show no maps. The
    student's maps are those after its attention dropout, as transformers returns them.
    """

    name = "attention_mse"
    paper = "Jiao et al. (2020), equation 7, https://huggingface.co/papers/1909.10351"
    student_reads = teacher_reads = frozenset({"attentions"})
    first_layer: ClassVar[int] = 1

    def __init__(self, layer_mapping: LayerMapping = "uniform", weight: Scheduled = 1.0) -> None:
        super().__init__(layer_mapping, weight)

    def connect(self, student_config: PreTrainedConfig, teacher_config: PreTrainedConfig) -> None:
        super().connect(student_config, teacher_config)
        heads = [config.num_attention_heads for config in (student_config, teacher_config)]
        if heads[0] != heads[1]:
            raise ValueError(
                f"`attention_mse` compares heads one by one, and the student has {heads[0]}, the teacher {heads[1]}. "
                "Use `minilm_relation`, which takes any numbers of heads."
            )

    def of_examples(self, student: ClassifierOutputs, teacher: ClassifierOutputs, batch: Batch) -> Tensor:
        assert student.attentions is not None
        assert teacher.attentions is not None
        mask = is_token(batch)
        values = [
            functional.attention_mse(student.attentions[ours - 1], teacher.attentions[theirs - 1], mask)
            for ours, theirs in self.pairs
        ]
        return torch.stack(values).mean(dim=0)


class MiniLMRelation(LayerObjective):
    """Relations between queries, between keys and between values; see [`functional.relation_divergence`].

    The sum of the three, mean over pairs of layers. Widths, heads and attention implementations may differ. For deep
    teachers an upper-middle layer teaches better than the last, for instance {6: 21} of 24.

    Args:
        num_relation_heads: Into how many relation heads the vectors are split, a divisor of both hidden sizes; unset,
            the largest up to 48.
        layer_mapping: See [`layer_pairs`].
        weight: Of the term.
    """

    name = "minilm_relation"
    paper = "Wang et al. (2021), https://huggingface.co/papers/2012.15828"
    student_reads = teacher_reads = frozenset({"qkv"})
    first_layer: ClassVar[int] = 1

    def __init__(
        self,
        num_relation_heads: int | None = None,
        layer_mapping: LayerMapping = "last",
        weight: Scheduled = 1.0,
    ) -> None:
        super().__init__(layer_mapping, weight)
        if num_relation_heads is not None and (type(num_relation_heads) is not int or num_relation_heads < 1):
            raise ValueError(f"`num_relation_heads` must be a whole number > 0, got {num_relation_heads}.")
        self.num_relation_heads = cast(int, num_relation_heads)  # None only until `connect`

    def connect(self, student_config: PreTrainedConfig, teacher_config: PreTrainedConfig) -> None:
        super().connect(student_config, teacher_config)
        sizes: list[Any] = [config.hidden_size for config in (student_config, teacher_config)]
        divisors = [n for n in range(1, min(sizes) + 1) if all(size % n == 0 for size in sizes)]
        if self.num_relation_heads is None:
            self.num_relation_heads = max(n for n in divisors if n <= MAX_RELATION_HEADS)
        if self.num_relation_heads not in divisors:
            raise ValueError(
                f"`num_relation_heads` is {self.num_relation_heads}, which does not divide the hidden sizes "
                f"{sizes[0]} (student) and {sizes[1]} (teacher). Choose one of {', '.join(map(str, divisors))}."
            )

    def of_examples(self, student: ClassifierOutputs, teacher: ClassifierOutputs, batch: Batch) -> Tensor:
        assert student.qkv is not None
        assert teacher.qkv is not None
        mask, heads = is_token(batch), self.num_relation_heads
        values = [
            functional.relation_divergence(ours, theirs, mask, heads)
            for student_layer, teacher_layer in self.pairs
            for ours, theirs in zip(student.qkv[student_layer - 1], teacher.qkv[teacher_layer - 1], strict=True)
        ]
        return torch.stack(values).sum(dim=0) / len(self.pairs)
