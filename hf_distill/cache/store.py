"""An append-only store on disk: 128-bit keys to rows of numbers, in immutable shards that are checked when opened.

A shard is an Arrow file of one batch with the columns `key` (16 bytes) and `values` (a list of floats of any length: a
row of outputs). Its name is the start of the SHA-256 of its bytes, so a damaged shard is one whose name is wrong. It
is written under another name, flushed and renamed: readers see whole shards only, writers never share one, and a kill
costs what was not yet written. Nothing is ever changed, so any number of readers and writers may work on one folder
at once. Memory holds 24 bytes a row, its key and its place; the values stay on disk.
"""

import errno
import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
from transformers.utils import logging

from hf_distill.utils.atomic import write_file_atomically

logger = logging.get_logger(__name__)

SUFFIX = ".arrow"
KEY = np.dtype("V16")


class Store:
    """Rows by key; the first of equal keys wins.

    Args:
        folder: Made if it is not there.
        dtype: "float32" or "float16", of the rows that this object writes.
    """

    def __init__(self, folder: Path, dtype: str = "float32") -> None:
        self.folder = folder
        self.folder.mkdir(parents=True, exist_ok=True)
        self._value_type = {"float32": pa.float32(), "float16": pa.float16()}[dtype]
        self._shards: dict[str, pa.Array] = {}  # the values by file name
        self._keys = np.empty((2, 0), np.uint64)  # the distinct ones as two halves, sorted, with where each is
        self._places = np.empty((0, 2), np.int32)
        self.refresh()

    def refresh(self) -> None:
        """Open the shards that others have added."""
        keys, places = [self._keys], [self._places]
        for path in sorted(self.folder.glob(f"*{SUFFIX}")):
            if path.name not in self._shards and (batch := _open(path)) is not None:
                keys.append(_halves(_keys_of(batch)))
                shard = np.full(len(batch), len(self._shards), np.int32)
                places.append(np.stack([shard, np.arange(len(batch), dtype=np.int32)], axis=1))
                self._shards[path.name] = batch["values"]
        if len(keys) > 1:
            self._index(np.concatenate(keys, axis=1), np.concatenate(places))

    def _index(self, keys: np.ndarray, places: np.ndarray) -> None:
        order = np.lexsort(keys[::-1])  # stable: of equal keys, the one that was known first comes first
        keys = keys[:, order]
        is_first = np.ones(len(order), bool)
        is_first[1:] = (keys[:, 1:] != keys[:, :-1]).any(axis=0)
        self._keys, self._places = keys[:, is_first], places[order[is_first]]

    def __len__(self) -> int:
        return len(self._places)

    def find(self, keys: np.ndarray) -> np.ndarray:
        """Return where each key is, `(len(keys), 2)` shard and row, -1 where it is not; `keys` are 16 bytes each."""
        if len(self) == 0:
            return np.full((len(keys), 2), -1, np.int32)
        wanted, last = _halves(keys), len(self) - 1
        order = np.argsort(wanted[0])  # one search then reads where the one before has: several times faster
        at = np.empty(len(keys), np.int64)
        at[order] = np.minimum(np.searchsorted(self._keys[0], wanted[0, order]), last)
        # Keys that share their first half are next to each other.
        while (later := (self._keys[0, at] == wanted[0]) & (self._keys[1, at] < wanted[1]) & (at < last)).any():
            at += later
        return np.where((self._keys[:, at] == wanted).all(axis=0)[:, None], self._places[at], np.int32(-1))

    def rows(self, places: np.ndarray) -> pa.Array:
        """Read rows by their places, in that order: a list array of `len(places)`."""
        order = np.argsort(places[:, 0], kind="stable")
        shards, starts = np.unique(places[order, 0], return_index=True)
        values = list(self._shards.values())
        parts = zip(shards, np.split(places[order, 1], starts[1:]), strict=True)
        together = pa.concat_arrays([values[shard].take(pa.array(rows)) for shard, rows in parts])
        return together.take(pa.array(np.argsort(order)))

    def append(self, keys: np.ndarray, rows: Sequence[np.ndarray]) -> None:
        """Write one shard; [`Store.refresh`] makes its rows known.

        Args:
            keys: `(num_rows,)`, 16 bytes each.
            rows: For each key its numbers, `(any length,)`.

        Raises:
            OSError: if the disk is full or the folder cannot be written; the store is as it was before.
        """
        numbers = np.concatenate(rows).astype(self._value_type.to_pandas_dtype())
        ends = np.cumsum([0, *map(len, rows)])
        values = pa.ListArray.from_arrays(pa.array(ends, pa.int32()), pa.array(numbers))
        key_array = pa.Array.from_buffers(pa.binary(16), len(keys), [None, pa.py_buffer(keys.tobytes())])
        batch = pa.record_batch({"key": key_array, "values": values})

        def write(path: Path) -> None:
            with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, batch.schema) as writer:
                writer.write_batch(batch)

        try:
            write_file_atomically(self.folder, lambda written: checksum(written) + SUFFIX, write)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                raise OSError(
                    error.errno,
                    f"The disk is full; {len(self):,} rows of the teacher's outputs are safe in {self.folder}. Free "
                    "some space, or choose another `teacher_cache_dir`, and run again",
                ) from error
            raise


def checksum(path: Path) -> str:
    """Return the start of the SHA-256 of a file, 32 hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()[:32]


def _open(path: Path) -> pa.RecordBatch | None:
    """Map a shard into memory; one that is damaged is named, set aside and None."""
    try:
        if checksum(path) == path.stem:
            return pa.ipc.open_file(pa.memory_map(str(path))).get_batch(0)
    except FileNotFoundError:  # another process has just set it aside
        return None
    damaged = path.with_suffix(".damaged")
    logger.warning(f"The shard {path} is damaged; its rows are computed again, and it is kept as {damaged.name}.")
    try:
        path.rename(damaged)
    except FileNotFoundError:
        pass
    return None


def _keys_of(batch: pa.RecordBatch) -> np.ndarray:
    column = batch["key"]
    return np.frombuffer(column.buffers()[1], KEY)[column.offset : column.offset + len(column)]


def _halves(keys: np.ndarray) -> np.ndarray:
    """Return 16-byte keys as `(2, num_keys)` integers, which compare many times faster."""
    return np.ascontiguousarray(keys).view(np.uint64).reshape(-1, 2).T.copy()
