"""The outputs of a classifier that objectives read, and the names of the columns that the library adds to data."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from torch import Tensor

# Dataset columns that can take the place of a live teacher.
TEACHER_LOGITS = "teacher_logits"
TEACHER_CLS_STATES = "teacher_cls_states"

# The outputs of a teacher that can be stored, with the column of each.
STORABLE_OUTPUTS = {"logits": TEACHER_LOGITS, "cls_states": TEACHER_CLS_STATES}

# Column of tokenized sentences: 1 for the first token of each word, 0 for all other tokens.
WORD_STARTS = "word_starts"

# Key of a batch: a mask of the rows, or tokens, that count. Rows that accelerate repeats to fill the last global batch
# do not count.
IS_UNIT = "_is_unit"
# Key of a batch of a loader that fills its last batch with repeated rows: which rows are not repeated.
IS_COUNTED = "_is_counted"
# Key of a batch of a token-level problem, after its units were selected: the row of each unit.
ROW_OF_UNIT = "_row_of_unit"
# Key of a batch: the index of each row in its dataset, so that an error can name the rows with a non-finite loss.
ROW_NUMBER = "_row_number"

Batch = Mapping[str, Tensor]


def row_numbers(batch: Batch) -> Tensor | None:
    """Return the dataset row of each unit, `(units,)`, or None if the batch has no row numbers."""
    rows = batch.get(ROW_NUMBER)
    return rows[batch[ROW_OF_UNIT]] if rows is not None and ROW_OF_UNIT in batch else rows


@dataclass(frozen=True)
class ClassifierOutputs:
    """Outputs of one forward pass of a classifier. All outputs except the logits are None unless requested by name.

    Attributes:
        logits: `(batch, num_labels)`; for token-level problems `(batch, length, num_labels)`, and
            `(units, num_labels)` after [`ClassifierOutputs.select_units`]. None if only other outputs of the teacher
            are stored.
        hidden_states: One `(batch, length, hidden_size)` per layer; the first are the embeddings.
        cls_states: `(batch, num_hidden_layers + 1, hidden_size)`, the hidden states of the first token; in a decoder
            of the token that its head reads.
        attentions: One `(batch, num_heads, length, length)` per layer.
        qkv: Queries, keys and values of self-attention, each `(batch, length, num_heads * head_size)`, per layer.
    """

    logits: Tensor
    hidden_states: tuple[Tensor, ...] | None = None
    cls_states: Tensor | None = None
    attentions: tuple[Tensor, ...] | None = None
    qkv: tuple[tuple[Tensor, Tensor, Tensor], ...] | None = None

    def select_units(self, is_unit: Tensor) -> "ClassifierOutputs":
        """Return the outputs with only the logits of the units, `(units, num_labels)`.

        Args:
            is_unit: `(batch, length)` bool.
        """
        return self if self.logits is None else replace(self, logits=self.logits[is_unit])
