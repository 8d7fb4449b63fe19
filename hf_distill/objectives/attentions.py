"""Terms on self-attention: attention maps, and relations between queries, keys and values."""

from typing import Any, ClassVar, cast

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedConfig

from hf_distill import functional
from hf_distill.classifiers.outputs import Batch, ClassifierOutputs
from hf_distill.objectives.layer_maps import LayerMapping
from hf_distill.objectives.layer_objectives import LayerObjective, token_mask
from hf_distill.objectives.schedules import Scheduled

# The paper's best number for models of width 768; other numbers make little difference there.
MAX_RELATION_HEADS = 48
# Numbers of a relation that are in memory at the same time: 64 MiB in float32.
MAX_RELATIONS = 1 << 24


class AttentionMSE(LayerObjective):
    """Squared error between attention maps, mean over pairs of layers; see [`functional.attention_mse`].

    Both models need the same number of attention heads. They are switched to eager attention, because other
    implementations do not return attention maps. The student's maps include its attention dropout, as transformers
    returns them.
    """

    name = "attention_mse"
    paper = "Jiao et al. (2020), equation 7, https://huggingface.co/papers/1909.10351"
    student_reads = teacher_reads = frozenset({"attentions"})
    first_layer: ClassVar[int] = 1

    def __init__(self, layer_mapping: LayerMapping = "uniform", weight: Scheduled = 1.0) -> None:
        super().__init__(layer_mapping, weight)

    def bind_models(self, student_config: PreTrainedConfig, teacher_config: PreTrainedConfig) -> None:
        super().bind_models(student_config, teacher_config)
        num_student_heads, num_teacher_heads = student_config.num_attention_heads, teacher_config.num_attention_heads
        if num_student_heads != num_teacher_heads:
            raise ValueError(
                f"`attention_mse` compares attention heads one by one, but the student has {num_student_heads} heads "
                f"and the teacher has {num_teacher_heads}. Use `minilm_relation`, which accepts different numbers."
            )

    def example_values(self, student: ClassifierOutputs, teacher: ClassifierOutputs, batch: Batch) -> Tensor:
        assert student.attentions is not None
        assert teacher.attentions is not None
        mask = token_mask(batch)
        values = [
            functional.attention_mse(
                student.attentions[student_layer - 1], teacher.attentions[teacher_layer - 1], mask
            )
            for student_layer, teacher_layer in self.pairs
        ]
        return torch.stack(values).mean(dim=0)


class MiniLMRelation(LayerObjective):
    """Relations between queries, between keys and between values; see [`functional.relation_divergence`].

    The value is the sum of the three relations, mean over pairs of layers. Student and teacher can have different
    widths, numbers of heads and attention implementations. For deep teachers, an upper-middle layer is a better choice
    than the last layer, for instance {6: 21} for a teacher with 24 layers.

    Args:
        num_relation_heads: Number of relation heads into which the vectors are split. It must divide both hidden
            sizes. If unset, the largest divisor up to 48 is used.
        layer_mapping: See [`layer_pairs`].
        weight: Weight of the term.
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
        self.num_relation_heads = cast(int, num_relation_heads)  # None only until `bind_models`

    def bind_models(self, student_config: PreTrainedConfig, teacher_config: PreTrainedConfig) -> None:
        super().bind_models(student_config, teacher_config)
        sizes: list[Any] = [config.hidden_size for config in (student_config, teacher_config)]
        divisors = [n for n in range(1, min(sizes) + 1) if all(size % n == 0 for size in sizes)]
        if self.num_relation_heads is None:
            self.num_relation_heads = max(n for n in divisors if n <= MAX_RELATION_HEADS)
        if self.num_relation_heads not in divisors:
            raise ValueError(
                f"`num_relation_heads` is {self.num_relation_heads}, which does not divide the hidden sizes "
                f"{sizes[0]} (student) and {sizes[1]} (teacher). Choose one of {', '.join(map(str, divisors))}."
            )

    def example_values(self, student: ClassifierOutputs, teacher: ClassifierOutputs, batch: Batch) -> Tensor:
        assert student.qkv is not None
        assert teacher.qkv is not None
        mask, heads = token_mask(batch), self.num_relation_heads
        values = [
            _relation_values(student_vectors, teacher_vectors, mask, heads)
            for student_layer, teacher_layer in self.pairs
            for student_vectors, teacher_vectors in zip(
                student.qkv[student_layer - 1], teacher.qkv[teacher_layer - 1], strict=True
            )
        ]
        return torch.stack(values).sum(dim=0) / len(self.pairs)


def _relation_values(student_vectors: Tensor, teacher_vectors: Tensor, is_token: Tensor, num_heads: int) -> Tensor:
    """Return the relation divergence of each example, `(batch,)`; large batches are computed in parts.

    For 32 texts of 512 tokens and 48 heads, one relation has 400 million numbers, of which the backward pass would
    need several copies. The parts are computed again in the backward pass instead.
    """
    num_rows = max(1, MAX_RELATIONS // (num_heads * student_vectors.shape[1] ** 2))
    if num_rows >= len(student_vectors):
        return functional.relation_divergence(student_vectors, teacher_vectors, is_token, num_heads)
    parts = zip(*(values.split(num_rows) for values in (student_vectors, teacher_vectors, is_token)), strict=True)
    values = [
        checkpoint(functional.relation_divergence, *part, num_heads, use_reentrant=False, preserve_rng_state=False)
        for part in parts
    ]
    return torch.cat(values)
