"""A model's word embeddings, and checks that it has one for every token and every position of a dataset."""

import math
from dataclasses import dataclass
from typing import cast

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from torch import Tensor, nn
from transformers import PreTrainedModel

from hf_distill.classifiers.problem_types import without_adapter
from hf_distill.utils.columns import select_formatted

_POSITION_EMBEDDINGS = ("position_embeddings", "wpe")  # names of tables with one row per position


def word_embeddings(model: PreTrainedModel) -> Tensor:
    """Return the table of word embeddings of a model, `(num_tokens, size)`, in float32 and on its device."""
    return cast(nn.Embedding, model.get_input_embeddings()).weight.detach().float()


@dataclass(frozen=True)
class TokenLimits:
    """The token ids and lengths that a model can read.

    Attributes:
        name: What the model is called in messages.
        num_tokens: Number of token ids; infinity for a model without a table of embeddings.
        num_positions: Maximum number of tokens; infinity for a model without learned positions.
    """

    name: str
    num_tokens: float
    num_positions: float

    @classmethod
    def of(cls, model: PreTrainedModel, role: str) -> "TokenLimits":
        """Return the limits of a model; `role` is "student" or "teacher"."""
        name = f"the {role}, a {type(without_adapter(model)).__name__},"
        return cls(name, _num_tokens(model), _num_positions(model))

    def check(self, dataset: object, column: str = "input_ids") -> None:
        """Refuse token ids and lengths out of range, which would end a run or crash a GPU.

        Args:
            dataset: Tokenized rows; only a `datasets.Dataset` with the column is checked.
            column: The column with the token ids.

        Raises:
            ValueError: that names the model and the row.
        """
        if not isinstance(dataset, datasets.Dataset) or column not in dataset.column_names:
            return
        start = 0
        for rows in select_formatted(dataset, [column], "arrow").iter(10_000):
            self._check_rows(rows[column], column, start)
            start += len(rows[column])

    def _check_rows(self, ids: pa.ChunkedArray, column: str, start: int) -> None:
        lengths = pc.list_value_length(ids).to_numpy()
        if len(lengths) and lengths.max() > self.num_positions:
            longest = int(lengths.argmax())
            raise ValueError(
                f"Row {start + longest} has {lengths[longest]} tokens in `{column}`, but {self.name} only has "
                f"{self.num_positions} positions. Tokenize with `truncation=True` and a `max_length` of at most that."
            )
        flat = pc.list_flatten(ids).to_numpy()
        is_wrong = (flat < 0) | (flat >= self.num_tokens)
        if is_wrong.any():
            place = int(is_wrong.argmax())
            row = int(np.searchsorted(np.cumsum(lengths), place, side="right"))
            raise ValueError(
                f"Row {start + row} has the token id {flat[place]} in `{column}`, but {self.name} has embeddings for "
                f"the ids 0 to {self.num_tokens - 1}. Tokenize with the model's own tokenizer, or resize its "
                "embeddings."
            )


def _num_tokens(model: PreTrainedModel) -> float:
    """Return the number of rows of a model's table of embeddings; infinity without a table, as in CANINE."""
    try:
        table = model.get_input_embeddings()
    except NotImplementedError:
        return math.inf
    # The table of a model that DeepSpeed has partitioned has no rows in this process.
    return (table.weight.shape[0] or table.num_embeddings) if isinstance(table, nn.Embedding) else math.inf


def _num_positions(model: PreTrainedModel) -> float:
    """Return the number of tokens that a model with learned positions takes; infinity without such positions."""
    tables = [
        module
        for name, module in model.named_modules()
        if name.rpartition(".")[2] in _POSITION_EMBEDDINGS and isinstance(module, nn.Embedding)
    ]
    if not tables:
        return math.inf
    # RoBERTa counts positions from the one after its padding position.
    return min(t.num_embeddings - (0 if t.padding_idx is None else t.padding_idx + 1) for t in tables)
