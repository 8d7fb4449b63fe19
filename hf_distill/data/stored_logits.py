"""The column `teacher_logits` of files: a list of numbers for each text, equally many, and all of them usable."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from datasets import Dataset, List, Value

from hf_distill.classifiers.outputs import TEACHER_LOGITS
from hf_distill.data.table import Table, counted

_ROWS_AT_ONCE = 50_000


def check_stored_logits(table: Table, are_words: bool) -> None:
    """Check the logits of a file. The numbers of words are checked when the tokens are known.

    Args:
        table: A table with the column.
        are_words: Whether rows are lists of words, each with a list of numbers.

    Raises:
        ValueError: for a column of another kind, and for a row without numbers, with more or fewer than the others, or
            with unusable ones. The message names the first such row and their number.
    """
    column = table.column(TEACHER_LOGITS)  # raises an error if the column holds several types
    if not _holds_numbers(column.type, 2 if are_words else 1):
        raise ValueError(
            f"{table.source.path}: `{TEACHER_LOGITS}` must have a list of numbers in each row, one for each class. It "
            f"has {'nulls' if pa.types.is_null(column.type) else column.type}. If these are probabilities, votes or "
            "soft labels, `hf_distill.data.soft_labels` makes such lists; they are kept in Parquet or JSON Lines, not "
            "in CSV. Remove the column if it is not needed."
        )
    if are_words or not len(column):
        return
    sizes = pc.list_value_length(column).fill_null(0).to_numpy()
    usual = int(np.bincount(sizes[sizes > 0]).argmax()) if sizes.any() else 0
    is_bad = sizes != usual if usual else np.full(len(sizes), True)
    for start in range(0, len(column) if usual else 0, _ROWS_AT_ONCE):
        is_bad_here = is_bad[start : start + _ROWS_AT_ONCE]  # a view
        others = column.slice(start, _ROWS_AT_ONCE).filter(pa.array(~is_bad_here))
        numbers = pc.list_flatten(others).cast(pa.float64()).to_numpy()
        is_bad_here[~is_bad_here] = are_unusable(numbers.reshape(-1, usual))
    if is_bad.any():
        fault = _fault(column[int(is_bad.argmax())].as_py(), usual)
        pattern = "" if is_bad.all() else f", as row {int((~is_bad).argmax()) + 1} has"
        expected = f"{counted(usual, 'usable number')}{pattern}" if usual else "a list of numbers"
        raise ValueError(
            f"{table.places(is_bad, TEACHER_LOGITS)}: {fault}. Expected {expected}. Label such rows again, or remove "
            "them; remove the column if it is not needed."
        )


def align_stored_logits(tables: Sequence[Table], datasets: Sequence[Dataset]) -> list[Dataset]:
    """Give the logits of several files one type.

    Args:
        tables: What the files hold.
        datasets: The rows of each table. Without the column they are returned as they are.

    Raises:
        ValueError: if the files have different numbers of classes.
    """
    having = [i for i, rows in enumerate(datasets) if TEACHER_LOGITS in rows.column_names and len(rows)]
    features = [datasets[i].features[TEACHER_LOGITS] for i in having]
    if any(hasattr(feature.feature, "feature") for feature in features):
        return list(datasets)  # of words
    sizes = [len(datasets[i][0][TEACHER_LOGITS]) for i in having]
    if other := [i for i, size in enumerate(sizes) if size != sizes[0]]:
        raise ValueError(
            f"`{TEACHER_LOGITS}` has {counted(sizes[0], 'number')} a row in {tables[having[0]].source.path}, and "
            f"{sizes[other[0]]} in {tables[having[other[0]]].source.path}. Name only files of teachers with the same "
            "classes."
        )
    if all(feature == features[0] for feature in features):
        return list(datasets)
    wanted = List(Value("float64"))
    return [rows.cast_column(TEACHER_LOGITS, wanted) if i in having else rows for i, rows in enumerate(datasets)]


def are_unusable(logits: np.ndarray) -> np.ndarray:
    """Return which rows of logits say nothing, `(num_rows,)` bool: with NaN or +inf, or only -inf.

    Args:
        logits: `(num_rows, num_labels)`.
    """
    return np.isnan(logits).any(axis=1) | np.isposinf(logits).any(axis=1) | np.isneginf(logits).all(axis=1)


def _fault(values: list[Any] | None, usual: int) -> str:
    if values is None or len(values) != usual or not values:
        return "null" if values is None else counted(len(values), "number")
    place = next((i for i, value in enumerate(values) if value is None or not value < math.inf), None)
    if place is None:
        return "every number is -inf"
    return f"number {place + 1} is {'null' if values[place] is None else values[place]}"


def _holds_numbers(kind: pa.DataType, depth: int) -> bool:
    """Return whether values are lists of numbers, or lists of such lists; empty lists have a type of nulls."""
    if not (pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)):
        return False
    values = kind.value_type
    if pa.types.is_null(values):
        return True
    if depth > 1:
        return _holds_numbers(values, depth - 1)
    return pa.types.is_integer(values) or pa.types.is_floating(values)
