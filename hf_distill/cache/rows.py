"""What the teacher sees of a data set: a key for every row, and batches of rows of like length."""

import hashlib
from collections.abc import Iterator, Sequence

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from hf_distill.cache.store import KEY

CHUNK = 10_000  # rows that are in memory at a time


def hash_rows(dataset: datasets.Dataset) -> np.ndarray:
    """Hash the token ids and segment ids of every row: `(num_rows,)`, 16 bytes each."""
    chunks = []
    for rows in _chunks(dataset, ("input_ids", "token_type_ids")):
        digests = []
        for ids, *segments in zip(*(_lists(column) for column in rows.columns), strict=True):
            # The length first: token ids followed by segment ids must not look like a longer text.
            digest = hashlib.blake2b(len(ids).to_bytes(8, "little") + ids.tobytes(), digest_size=16)
            # All-zero segment ids are what a model takes when it is given none.
            if segments and segments[0].any():
                digest.update(segments[0].tobytes())
            digests.append(digest.digest())
        chunks.append(b"".join(digests))
    return np.frombuffer(b"".join(chunks), KEY)


def batches_by_length(rows: datasets.Dataset, max_tokens: int) -> Iterator[np.ndarray]:
    """Group rows of like length, the longest first, so that no batch pads to more than `max_tokens` tokens."""
    lengths = np.concatenate([pc.list_value_length(table["input_ids"]) for table in _chunks(rows, ("input_ids",))])
    order = np.argsort(-lengths, kind="stable")
    start = 0
    while start < len(order):
        stop = start + max(1, max_tokens // max(1, lengths[order[start]]))
        yield order[start:stop]
        start = stop


def _chunks(dataset: datasets.Dataset, names: Sequence[str]) -> Iterator[pa.Table]:
    """Read columns, those that are there, some rows at a time."""
    rows = dataset.select_columns([name for name in names if name in dataset.column_names]).with_format("arrow")
    for start in range(0, len(rows), CHUNK):
        yield rows[start : start + CHUNK]


def _lists(column: pa.ChunkedArray) -> list[np.ndarray]:
    lists = pa.concat_arrays(column.chunks)
    values = lists.flatten().to_numpy(zero_copy_only=False).astype(np.int64)
    return np.split(values, np.cumsum(lists.value_lengths().to_numpy(zero_copy_only=False))[:-1])
