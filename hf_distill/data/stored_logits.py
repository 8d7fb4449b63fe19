"""The column `teacher_logits` of a file: a list of numbers for each text, equally many, and all of them usable."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from hf_distill.classifiers.outputs import TEACHER_LOGITS
from hf_distill.data.table import Table, counted


def check_stored_logits(table: Table) -> None:
    """Check the logits of whole texts. Lists of lists, for words, are checked when the tokens are known.

    Raises:
        ValueError: for a row without numbers, with more or fewer than the others, or with unusable ones. The message
            names the first such row and their number.
    """
    column = table.column(TEACHER_LOGITS)
    if not _holds_numbers(column.type):
        return
    sizes = pc.list_value_length(column).fill_null(0).to_numpy()
    usual = int(np.bincount(sizes).argmax()) if len(sizes) else 0
    is_bad = sizes != usual
    if usual:
        numbers = pc.list_flatten(column.filter(pa.array(~is_bad))).cast(pa.float64()).to_numpy()
        is_bad[~is_bad] = are_unusable(numbers.reshape(-1, usual))
    else:
        is_bad[:] = True
    if is_bad.any():
        number, row = int(is_bad.sum()), int(is_bad.argmax())
        more = f", and {counted(number - 1, 'more row')}" if number > 1 else ""
        expected = f"{usual} usable numbers, as most rows have" if usual else "a list of numbers"
        raise ValueError(
            f"{table.place(row, TEACHER_LOGITS)}{more}: {str(column[row].as_py())[:80]}. Expected {expected}. Label "
            "such rows again, or remove them."
        )


def are_unusable(logits: np.ndarray) -> np.ndarray:
    """Return which rows of logits say nothing, `(num_rows,)` bool: with NaN or +inf, or only -inf.

    Args:
        logits: `(num_rows, num_labels)`.
    """
    return np.isnan(logits).any(axis=1) | np.isposinf(logits).any(axis=1) | np.isneginf(logits).all(axis=1)


def _holds_numbers(kind: pa.DataType) -> bool:
    is_list = pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    values = kind.value_type if is_list else pa.null()
    return pa.types.is_integer(values) or pa.types.is_floating(values) or (is_list and pa.types.is_null(values))
