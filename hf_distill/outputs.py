"""What a forward pass shows to an objective, and the names of columns that are ours."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from torch import Tensor

# Columns that a data set may carry instead of a live teacher.
TEACHER_LOGITS = "teacher_logits"
TEACHER_CLS_STATES = "teacher_cls_states"

# Of tokenised sentences: 1 for the first token of each word, 0 elsewhere.
WORD_STARTS = "word_starts"

# Keys of a batch. Which of its rows, or tokens, count: accelerate fills the last global batch up with rows from the
# start. And after the units of a token-level problem have been picked: the row that each is of.
IS_UNIT = "_is_unit"
ROW_OF_UNIT = "_row_of_unit"

Batch = Mapping[str, Tensor]


@dataclass(frozen=True)
class ClassifierOutputs:
    """Outputs of one forward pass of a classifier.

    Attributes:
        logits: `(batch, num_labels)`; of tokens `(batch, length, num_labels)`, and `(units, num_labels)` after
            [`ClassifierOutputs.at`].
        hidden_states: one `(batch, length, hidden_size)` per layer, the embeddings first; only if asked for.
        attentions: one `(batch, num_heads, length, length)` per layer; only if asked for.
    """

    logits: Tensor
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None

    def at(self, is_unit: Tensor) -> "ClassifierOutputs":
        """Pick the logits of units: `is_unit` is `(batch, length)` bool."""
        return replace(self, logits=self.logits[is_unit])
