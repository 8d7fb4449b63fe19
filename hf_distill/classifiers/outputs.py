"""What a forward pass shows to an objective, and the names of columns that are ours."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from torch import Tensor

# Columns that a data set may carry instead of a live teacher.
TEACHER_LOGITS = "teacher_logits"
TEACHER_CLS_STATES = "teacher_cls_states"

# What of a teacher's outputs can be such a column, and which.
COLUMNS = {"logits": TEACHER_LOGITS, "cls_states": TEACHER_CLS_STATES}

# Of tokenised sentences: 1 for the first token of each word, 0 elsewhere.
WORD_STARTS = "word_starts"

# Keys of a batch. Which of its rows, or tokens, count: accelerate fills the last global batch up with rows from the
# start. And after the units of a token-level problem have been picked: the row that each is of.
IS_UNIT = "_is_unit"
ROW_OF_UNIT = "_row_of_unit"

# And the number of each row in its data set, so that one whose loss is not finite can be named.
ROW_NUMBER = "_row_number"

Batch = Mapping[str, Tensor]


def row_numbers(batch: Batch) -> Tensor | None:
    """Return the number of the row that each unit is of, `(units,)`; None if the rows have no numbers."""
    rows = batch.get(ROW_NUMBER)
    return rows[batch[ROW_OF_UNIT]] if rows is not None and ROW_OF_UNIT in batch else rows


@dataclass(frozen=True)
class ClassifierOutputs:
    """Outputs of one forward pass of a classifier; all but the logits only if asked for, by these names.

    Attributes:
        logits: `(batch, num_labels)`; of tokens `(batch, length, num_labels)`, and `(units, num_labels)` after
            [`ClassifierOutputs.at`]. None of a teacher of which only other outputs are stored.
        hidden_states: one `(batch, length, hidden_size)` per layer, the embeddings first.
        cls_states: `(batch, num_hidden_layers + 1, hidden_size)`, the hidden states of the first token.
        attentions: one `(batch, num_heads, length, length)` per layer.
        qkv: queries, keys and values of self-attention, each `(batch, length, num_heads * head_size)`, per layer.
    """

    logits: Tensor
    hidden_states: tuple[Tensor, ...] | None = None
    cls_states: Tensor | None = None
    attentions: tuple[Tensor, ...] | None = None
    qkv: tuple[tuple[Tensor, Tensor, Tensor], ...] | None = None

    def at(self, is_unit: Tensor) -> "ClassifierOutputs":
        """Pick the logits of units: `is_unit` is `(batch, length)` bool."""
        return self if self.logits is None else replace(self, logits=self.logits[is_unit])
