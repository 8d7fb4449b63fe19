"""What a forward pass shows to an objective, and the names of columns that are ours."""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

# Columns that a data set may carry instead of a live teacher.
TEACHER_LOGITS = "teacher_logits"
TEACHER_CLS_STATES = "teacher_cls_states"

# Accelerate fills the last global batch up with rows from the start; this key of a batch holds which rows count.
IS_UNIT = "_is_unit"

Batch = Mapping[str, Tensor]


@dataclass(frozen=True)
class ClassifierOutputs:
    """Outputs of one forward pass of a classifier.

    Attributes:
        logits: `(batch, num_labels)`.
        hidden_states: one `(batch, length, hidden_size)` per layer, the embeddings first; only if asked for.
        attentions: one `(batch, num_heads, length, length)` per layer; only if asked for.
    """

    logits: Tensor
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None
