"""The rows of a dataset as a teacher reads them: a key for every row, and batches of rows with similar lengths."""

import hashlib
from collections.abc import Iterator, Sequence

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from hf_distill.cache.store import KEY

ROWS_PER_CHUNK = 10_000  # number of rows that are in memory at the same time


def hash_rows(dataset: datasets.Dataset) -> np.ndarray:
    """Return a hash of the token ids and segment ids of every row, `(num_rows,)`, 16 bytes each."""
    chunks = []
    for rows in _read_chunks(dataset, ("input_ids", "token_type_ids")):
        digests = []
        for ids, *segments in zip(*(_to_arrays(column) for column in rows.columns), strict=True):
            # The length is hashed first, so that token ids with segment ids and a longer text have different keys.
            digest = hashlib.blake2b(len(ids).to_bytes(8, "little") + ids.tobytes(), digest_size=16)
            # A model uses zeros if it gets no segment ids, so zeros are not hashed.
            if segments and segments[0].any():
                digest.update(segments[0].tobytes())
            digests.append(digest.digest())
        chunks.append(b"".join(digests))
    return np.frombuffer(b"".join(chunks), KEY)


def batches_by_length(rows: datasets.Dataset, max_tokens: int) -> Iterator[np.ndarray]:
    """Yield the row indices of batches of similar lengths, the longest rows first.

    A batch has at most `max_tokens` tokens, including padding, unless a single row is longer.
    """
    chunks = _read_chunks(rows, ("input_ids",))
    lengths = np.concatenate([pc.list_value_length(table["input_ids"]) for table in chunks])
    order = np.argsort(-lengths, kind="stable")
    start = 0
    while start < len(order):
        stop = start + max(1, max_tokens // max(1, lengths[order[start]]))
        yield order[start:stop]
        start = stop


def _read_chunks(dataset: datasets.Dataset, names: Sequence[str]) -> Iterator[pa.Table]:
    """Yield the existing columns among `names`, `ROWS_PER_CHUNK` rows at a time."""
    rows = dataset.select_columns([name for name in names if name in dataset.column_names]).with_format("arrow")
    for start in range(0, len(rows), ROWS_PER_CHUNK):
        yield rows[start : start + ROWS_PER_CHUNK]


def _to_arrays(column: pa.ChunkedArray) -> list[np.ndarray]:
    lists = pa.concat_arrays(column.chunks)
    values = lists.flatten().to_numpy(zero_copy_only=False).astype(np.int64)
    return np.split(values, np.cumsum(lists.value_lengths().to_numpy(zero_copy_only=False))[:-1])
