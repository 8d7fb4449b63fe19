"""Find texts that occur several times: with different labels, or in different splits."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from datasets import Dataset

_BETWEEN = "\x1f"


def text_keys(dataset: Dataset, columns: Sequence[str]) -> pa.ChunkedArray:
    """Return a string for each row; rows with the same texts or words have the same string."""
    parts = []
    for name in columns:
        column = dataset.data.column(name)
        if pa.types.is_list(column.type) or pa.types.is_large_list(column.type):
            column = pa.chunked_array([pc.binary_join(chunk, "\x1e") for chunk in column.chunks], pa.string())
        parts.append(column)
    return parts[0] if len(parts) == 1 else pc.binary_join_element_wise(*parts, _BETWEEN)


def texts_with_several_labels(keys: pa.ChunkedArray, labels: np.ndarray) -> tuple[int, str]:
    """Return the number of texts that occur with different labels, and the first of these texts.

    Args:
        keys: The string of each row, from [`text_keys`].
        labels: `(rows,)`, an id for the label or the set of labels of each row; below 0 for rows without a label.
    """
    rows = pa.table({"text": keys, "label": labels}).filter(pc.greater_equal(pa.array(labels), 0))
    counts = rows.group_by("text", use_threads=False).aggregate([("label", "count_distinct")])
    several = counts.filter(pc.greater(counts["label_count_distinct"], 1))
    return len(several), several["text"][0].as_py() if len(several) else ""


def texts_in_common(keys: pa.ChunkedArray, others: pa.ChunkedArray) -> int:
    """Return the number of rows whose text is also among other rows."""
    return int(pc.sum(pc.is_in(keys, value_set=others.combine_chunks())).as_py() or 0)
