"""What texts say against each other: the same text twice, with two labels or in two splits."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from datasets import Dataset

_BETWEEN = "\x1f"


def text_keys(dataset: Dataset, columns: Sequence[str]) -> pa.ChunkedArray:
    """Return one string for each row, equal where all texts or words are equal."""
    parts = []
    for name in columns:
        column = dataset.data.column(name)
        if pa.types.is_list(column.type) or pa.types.is_large_list(column.type):
            column = pa.chunked_array([pc.binary_join(chunk, "\x1e") for chunk in column.chunks], pa.string())
        parts.append(column)
    return parts[0] if len(parts) == 1 else pc.binary_join_element_wise(*parts, _BETWEEN)


def texts_with_several_labels(keys: pa.ChunkedArray, labels: np.ndarray) -> tuple[int, str]:
    """Count the texts that occur with more than one label, and return the first of them.

    Args:
        keys: Of [`text_keys`].
        labels: `(rows,)`, the id of each row's label, or of its set of labels; below 0 where there is none.
    """
    rows = pa.table({"text": keys, "label": labels}).filter(pc.greater_equal(pa.array(labels), 0))
    counts = rows.group_by("text", use_threads=False).aggregate([("label", "count_distinct")])
    several = counts.filter(pc.greater(counts["label_count_distinct"], 1))
    return len(several), several["text"][0].as_py() if len(several) else ""


def texts_in_common(keys: pa.ChunkedArray, others: pa.ChunkedArray) -> int:
    """Count the rows whose text is among other rows, too."""
    return int(pc.sum(pc.is_in(keys, value_set=others.combine_chunks())).as_py() or 0)
