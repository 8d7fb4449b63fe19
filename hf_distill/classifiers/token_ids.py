"""Checks that a model has an embedding for every token and every position of a dataset."""

import math

import datasets
import numpy as np
import pyarrow.compute as pc
from torch import nn
from transformers import PreTrainedModel

from hf_distill.classifiers.problem_types import without_adapter

_POSITION_EMBEDDINGS = ("position_embeddings", "wpe")  # names of tables with one row per position


def check_token_ids(dataset: object, model: PreTrainedModel, role: str, column: str = "input_ids") -> None:
    """Refuse token ids and lengths that are out of a model's range, which would end a run or crash a GPU.

    Args:
        dataset: Tokenized rows; only a `datasets.Dataset` with the column is checked.
        model: The model.
        role: "student" or "teacher", for the message.
        column: The column with the token ids.

    Raises:
        ValueError: that names the model and the row.
    """
    if not isinstance(dataset, datasets.Dataset) or column not in dataset.column_names:
        return
    name = f"the {role}, a {type(without_adapter(model)).__name__},"
    num_tokens, num_positions = _num_tokens(model), _num_positions(model)
    start = 0
    for rows in dataset.select_columns([column]).with_format("arrow").iter(10_000):
        ids = rows[column]
        lengths = pc.list_value_length(ids).to_numpy()
        if num_positions is not None and len(lengths) and lengths.max() > num_positions:
            longest = int(lengths.argmax())
            raise ValueError(
                f"Row {start + longest} has {lengths[longest]} tokens in `{column}`, but {name} only has "
                f"{num_positions} positions. Tokenize with `truncation=True` and a `max_length` of at most that."
            )
        flat = pc.list_flatten(ids).to_numpy()
        is_wrong = (flat < 0) | (flat >= num_tokens)
        if is_wrong.any():
            place = int(is_wrong.argmax())
            row = int(np.searchsorted(np.cumsum(lengths), place, side="right"))
            raise ValueError(
                f"Row {start + row} has the token id {flat[place]} in `{column}`, but {name} has embeddings for the "
                f"ids 0 to {num_tokens - 1}. Tokenize with the {role}'s own tokenizer, or resize its embeddings."
            )
        start += len(ids)


def _num_tokens(model: PreTrainedModel) -> float:
    """Return the number of rows of a model's table of embeddings; infinity without a table, as in CANINE."""
    try:
        table = model.get_input_embeddings()
    except NotImplementedError:
        return math.inf
    # The table of a model that DeepSpeed has partitioned has no rows in this process.
    return (table.weight.shape[0] or table.num_embeddings) if isinstance(table, nn.Embedding) else math.inf


def _num_positions(model: PreTrainedModel) -> int | None:
    """Return the number of tokens that a model with learned positions takes; None without such positions."""
    tables = [
        module
        for name, module in model.named_modules()
        if name.rpartition(".")[2] in _POSITION_EMBEDDINGS and isinstance(module, nn.Embedding)
    ]
    if not tables:
        return None
    # RoBERTa counts positions from the one after its padding position.
    return min(t.num_embeddings - (0 if t.padding_idx is None else t.padding_idx + 1) for t in tables)
