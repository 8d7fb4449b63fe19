"""An append-only store on disk that maps 128-bit keys to rows of numbers.

A store is a folder of immutable shards. A shard is an Arrow file with one batch and the columns `key` (16 bytes) and
`values` (a list of floats of any length). Its name is the start of the SHA-256 of its bytes, so a shard whose name is
wrong is damaged. Shards are written atomically: readers only see complete shards, writers never write to the same
shard, and a killed process loses only rows that it has not yet written. Shards never change, so any number of
processes can read and write one folder at the same time. Keys and locations take 24 bytes of memory per row; values
stay on disk.

A shard names the format and the teacher's fingerprint that its keys were made with. Shards of another format or of
another teacher are not read.
"""

import errno
import hashlib
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
import pyarrow as pa
from transformers.utils import logging

from hf_distill.cache.arrow_files import check_regular_file, read_batch
from hf_distill.cache.shards import RowFormat, is_older
from hf_distill.utils.atomic import write_file_atomically

logger = logging.get_logger(__name__)

SUFFIX = ".arrow"
KEY = np.dtype("V16")
_SCHEMAS = [pa.schema({"key": pa.binary(16), "values": pa.list_(kind)}) for kind in (pa.float32(), pa.float16())]


class Store:
    """Rows of numbers by key. If a key occurs twice, the row that was read first is kept.

    Args:
        folder: Folder of the store; it is created if needed.
        dtype: Precision of the rows that this object writes, "float32" or "float16".
        row_format: Rows of the teacher. Shards of other teachers and of older formats are not read, and a shard with
            rows of another form is damaged. None to read every shard.
    """

    def __init__(self, folder: Path, dtype: str = "float32", row_format: RowFormat | None = None) -> None:
        self.folder, self.row_format = folder, row_format
        self._not_read: dict[str, bool] = {}  # names of shards of older formats (True) or of other teachers (False)
        self.folder.mkdir(parents=True, exist_ok=True)
        self._value_type = {"float32": pa.float32(), "float16": pa.float16()}[dtype]
        self._shards: dict[str, pa.Array] = {}  # file name -> values
        self._keys = np.empty((2, 0), np.uint64)  # the distinct keys, sorted, as two halves
        self._locations = np.empty((0, 2), np.int32)  # (shard, row) of each key
        self.refresh()

    def refresh(self) -> None:
        """Open the shards that were added since the last call."""
        keys, locations = [self._keys], [self._locations]
        for path in sorted(self.folder.glob(f"*{SUFFIX}")):
            if path.name in self._shards or path.name in self._not_read:
                continue
            if (batch := self._open_shard(path)) is not None:
                keys.append(_split_keys(_read_keys(batch)))
                shard = np.full(len(batch), len(self._shards), np.int32)
                locations.append(np.stack([shard, np.arange(len(batch), dtype=np.int32)], axis=1))
                self._shards[path.name] = batch["values"]
        if len(keys) > 1:
            self._index(np.concatenate(keys, axis=1), np.concatenate(locations))
        self._report_not_read()

    def _open_shard(self, path: Path) -> pa.RecordBatch | None:
        """Map a shard into memory; None for a shard that is damaged, or of another teacher or an older format.

        Raises:
            OSError: if it is a link, a FIFO or a device.
        """
        try:
            check_regular_file(path)
            batch = read_batch(path, _SCHEMAS) if checksum(path) == path.stem else None
        except FileNotFoundError:  # another process has just renamed the damaged shard
            return None
        if batch is None:
            _set_aside(path)
            return None
        if self.row_format is None:
            return batch
        if batch.schema.metadata != self.row_format.metadata:
            self._not_read[path.name] = is_older(batch.schema.metadata)
            return None
        if (problem := self.row_format.find_problem(batch["values"])) is not None:
            _set_aside(path, f": {problem}")
            return None
        return batch

    def _report_not_read(self) -> None:
        names = sorted(self._not_read.items())
        if older := [name for name, is_older in names if is_older]:
            logger.warning_once(
                f"{len(older)} shards in {self.folder} have an older format whose keys are not exact: their rows are "
                "computed again. Delete these shards."
            )
        if foreign := [name for name, is_older in names if not is_older]:
            logger.warning_once(f"Shards of another teacher in {self.folder} are not read: {', '.join(foreign)}.")

    def _index(self, keys: np.ndarray, locations: np.ndarray) -> None:
        order = np.lexsort(keys[::-1])  # stable: among equal keys, the key that was read first comes first
        keys = keys[:, order]
        is_first = np.ones(len(order), bool)
        is_first[1:] = (keys[:, 1:] != keys[:, :-1]).any(axis=0)
        self._keys, self._locations = keys[:, is_first], locations[order[is_first]]

    def __len__(self) -> int:
        return len(self._locations)

    def find(self, keys: np.ndarray) -> np.ndarray:
        """Find the location of each key.

        Args:
            keys: `(num_keys,)`, 16 bytes each.

        Returns:
            `(num_keys, 2)`, the shard and the row of each key, or -1 if the store does not have the key.
        """
        if len(self) == 0:
            return np.full((len(keys), 2), -1, np.int32)
        query, last = _split_keys(keys), len(self) - 1
        order = np.argsort(query[0])  # several times faster: consecutive searches read the same memory
        index = np.empty(len(keys), np.int64)
        index[order] = np.minimum(np.searchsorted(self._keys[0], query[0, order]), last)
        # Keys with the same first half are neighbors: step forward until the second half is reached.
        while (
            is_before := (self._keys[0, index] == query[0]) & (self._keys[1, index] < query[1]) & (index < last)
        ).any():
            index += is_before
        return np.where((self._keys[:, index] == query).all(axis=0)[:, None], self._locations[index], np.int32(-1))

    def rows(self, locations: np.ndarray) -> pa.Array:
        """Read the rows at these locations.

        Args:
            locations: `(num_rows, 2)`, as [`Store.find`] returns them.

        Returns:
            A list array of `num_rows` rows in the same order.
        """
        order = np.argsort(locations[:, 0], kind="stable")
        shards, starts = np.unique(locations[order, 0], return_index=True)
        values = list(self._shards.values())
        rows_by_shard = zip(shards, np.split(locations[order, 1], starts[1:]), strict=True)
        sorted_rows = pa.concat_arrays([values[shard].take(pa.array(rows)) for shard, rows in rows_by_shard])
        return sorted_rows.take(pa.array(np.argsort(order)))

    def append(self, keys: np.ndarray, rows: Sequence[np.ndarray]) -> None:
        """Write one shard. [`Store.refresh`] makes its rows available.

        Args:
            keys: `(num_rows,)`, 16 bytes each.
            rows: The numbers of each row, one-dimensional, of any length.

        Raises:
            OSError: if the disk is full or the folder is not writable. The store is then unchanged.
        """
        numbers = np.concatenate(rows).astype(self._value_type.to_pandas_dtype())
        ends = np.cumsum([0, *map(len, rows)])
        values = pa.ListArray.from_arrays(pa.array(ends, pa.int32()), pa.array(numbers))
        key_array = pa.Array.from_buffers(pa.binary(16), len(keys), [None, pa.py_buffer(keys.tobytes())])
        batch = pa.record_batch({"key": key_array, "values": values})
        batch = batch.replace_schema_metadata(self.row_format and self.row_format.metadata)

        def write(path: Path) -> None:
            with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, batch.schema) as writer:
                writer.write_batch(batch)

        try:
            write_file_atomically(self.folder, lambda written: checksum(written) + SUFFIX, write)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                self.refresh()  # so that the shards of this run count
                raise OSError(
                    error.errno,
                    f"The disk is full. {len(self):,} rows of the teacher's outputs are stored in {self.folder}. Free "
                    "disk space, or choose another `teacher_cache_dir`, and run again",
                ) from error
            raise


def checksum(path: Path) -> str:
    """Return the first 32 hexadecimal digits of the SHA-256 of a file."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()[:32]


def _set_aside(path: Path, problem: str = "") -> None:
    """Rename a damaged shard, and warn."""
    damaged = path.with_suffix(".damaged")
    with suppress(OSError):  # another process has renamed it, or the folder cannot be written
        path.rename(damaged)
    logger.warning(
        f"The shard {path} is damaged{problem}. Its rows are computed again, and it is kept as {damaged.name}."
    )


def _read_keys(batch: pa.RecordBatch) -> np.ndarray:
    column = batch["key"]
    return np.frombuffer(column.buffers()[1], KEY)[column.offset : column.offset + len(column)]


def _split_keys(keys: np.ndarray) -> np.ndarray:
    """Return 16-byte keys as `(2, num_keys)` integers, which are much faster to compare."""
    return np.ascontiguousarray(keys).view(np.uint64).reshape(-1, 2).T.copy()
