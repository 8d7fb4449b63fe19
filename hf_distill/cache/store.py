"""An append-only store on disk: 128-bit keys to rows of numbers, in immutable shards that are checked when opened.

A shard is an Arrow file with the columns `key` (16 bytes) and `values` (a list of floats, a row of outputs). Its name
is the start of the SHA-256 of its bytes, so a damaged shard is one whose name is wrong. It is written under another
name, flushed and renamed: readers see whole shards only, writers never share one, and a kill costs what was not yet
written. Nothing is ever changed, so any number of readers and writers may work on one folder at once.
"""

import errno
import hashlib
import os
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
from transformers.utils import logging

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
        self._shards: dict[str, pa.Table] = {}
        self._tables: list[pa.Table] = []
        self._keys = np.empty(0, KEY)  # of all shards, sorted, with where each is
        self._places = np.empty((0, 2), np.int64)
        self.refresh()

    def refresh(self) -> None:
        """Open the shards that others have added."""
        for path in sorted(self.folder.glob(f"*{SUFFIX}")):
            if path.name not in self._shards and (table := _open(path)) is not None:
                self._shards[path.name] = table
        if len(self._shards) > len(self._tables):
            self._index()

    def _index(self) -> None:
        self._tables = list(self._shards.values())
        keys = [_keys_of(table) for table in self._tables]
        places = [np.stack([np.full(len(k), i), np.arange(len(k))], axis=1) for i, k in enumerate(keys)]
        all_keys, all_places = np.concatenate(keys), np.concatenate(places)
        order = np.argsort(all_keys, kind="stable")
        self._keys, self._places = all_keys[order], all_places[order]

    def __len__(self) -> int:
        return len(np.unique(self._keys))

    def find(self, keys: np.ndarray) -> np.ndarray:
        """Return where each key is, `(len(keys), 2)` shard and row, -1 where it is not; `keys` are 16 bytes each."""
        if len(self._keys) == 0:
            return np.full((len(keys), 2), -1)
        at = np.minimum(np.searchsorted(self._keys, keys), len(self._keys) - 1)
        return np.where((self._keys[at] == keys)[:, None], self._places[at], -1)

    def rows(self, places: np.ndarray) -> pa.Array:
        """Read rows by their places, in that order: a list array of `len(places)`."""
        chunks: list[pa.Array] = []
        for shard in np.unique(places[:, 0]):
            chunks.append(self._tables[shard]["values"].take(places[places[:, 0] == shard, 1]).combine_chunks())
        together = pa.concat_arrays([c for chunk in chunks for c in _plain(chunk)])
        by_shard = np.argsort(places[:, 0], kind="stable")
        return together.take(pa.array(np.argsort(by_shard, kind="stable")))

    def append(self, keys: np.ndarray, rows: Sequence[np.ndarray]) -> None:
        """Write one shard; [`Store.refresh`] makes its rows known.

        Args:
            keys: `(num_rows,)`, 16 bytes each.
            rows: A row of numbers for each key.

        Raises:
            OSError: if the disk is full or the folder cannot be written; the store is as it was before.
        """
        values = pa.array([row.astype(self._value_type.to_pandas_dtype()) for row in rows], pa.list_(self._value_type))
        table = pa.table({"key": pa.array([k.tobytes() for k in keys], pa.binary(16)), "values": values})
        temporary = self.folder / f"{uuid.uuid4().hex}.tmp"
        try:
            with pa.OSFile(str(temporary), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
                writer.write_table(table)
            _flush(temporary)
            path = self.folder / (checksum(temporary) + SUFFIX)
            temporary.replace(path)
        except OSError as error:
            temporary.unlink(missing_ok=True)
            if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                raise OSError(
                    error.errno,
                    f"The disk is full; {len(self):,} rows of the teacher's outputs are safe in {self.folder}. Free "
                    "some space, or choose another `teacher_cache_dir`, and run again",
                ) from error
            raise


def _plain(array: pa.Array | pa.ChunkedArray) -> Iterator[pa.Array]:
    yield from array.chunks if isinstance(array, pa.ChunkedArray) else [array]


def checksum(path: Path) -> str:
    """Return the start of the SHA-256 of a file, 32 hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()[:32]


def _flush(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _open(path: Path) -> pa.Table | None:
    """Map a shard into memory; one that is damaged is named, set aside and None."""
    try:
        if checksum(path) == path.stem:
            return pa.ipc.open_file(pa.memory_map(str(path))).read_all()
    except FileNotFoundError:  # another process has just set it aside
        return None
    damaged = path.with_suffix(".damaged")
    logger.warning(f"The shard {path} is damaged; its rows are computed again, and it is kept as {damaged.name}.")
    try:
        path.rename(damaged)
    except FileNotFoundError:
        pass
    return None


def _keys_of(table: pa.Table) -> np.ndarray:
    column = table["key"].combine_chunks()
    chunks = [
        np.frombuffer(chunk.buffers()[1], KEY)[chunk.offset : chunk.offset + len(chunk)] for chunk in _plain(column)
    ]
    return np.concatenate(chunks) if chunks else np.empty(0, KEY)
