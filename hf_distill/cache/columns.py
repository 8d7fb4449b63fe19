"""The columns that a store adds to datasets: its rows in the order of a dataset, in files for memory-mapping."""

import errno
import hashlib
import os
import tempfile
from contextlib import suppress
from pathlib import Path

import datasets
import numpy as np
import pyarrow as pa
from accelerate import PartialState
from datasets.table import InMemoryTable

from hf_distill.cache.arrow_files import check_regular_file, read_table, remove_unfinished, remove_unused
from hf_distill.cache.cached_output import CachedOutput
from hf_distill.cache.rows import ROWS_PER_CHUNK
from hf_distill.cache.shards import RowFormat
from hf_distill.cache.store import Store, checksum
from hf_distill.utils.atomic import write_file_atomically

BYTES_PER_CHUNK = 1 << 26
_NUM_KEPT, _DAYS_KEPT = 8, 7
_NOT_WRITABLE = (errno.EROFS, errno.EACCES, errno.EPERM)


class StoredColumns:
    """Makes columns of a store's rows, and keeps the files of the columns that were used last.

    A store that cannot be written can still be read: its columns are then written into a temporary folder.

    Args:
        store: The store.
        cached_output: The output that is stored.
        row_format: The teacher and its rows. A file that names another teacher is written again.
    """

    def __init__(self, store: Store, cached_output: CachedOutput, row_format: RowFormat) -> None:
        self.store, self.cached_output, self.row_format = store, cached_output, row_format
        self.folder = store.folder / "columns"
        self._temporary: tempfile.TemporaryDirectory | None = None

    def column(self, keys: np.ndarray) -> datasets.Dataset:
        """Return a dataset with one column, the rows of these keys in this order.

        Args:
            keys: `(num_rows,)`, 16 bytes each; the store has all of them.

        Raises:
            OSError: if the file of the column cannot be written, or a file of the store is not a regular file.
        """
        if self.folder.is_symlink():
            raise OSError(f"{self.folder} is a link, which could lead out of the store. Put a folder in its place.")
        digest = hashlib.blake2b(keys.tobytes(), digest_size=16).hexdigest()
        with PartialState().local_main_process_first():
            path, table = self._find(digest) or self._write(keys, digest)
        with suppress(OSError):
            os.utime(path)  # the files that were used last are kept
        # Not a table that knows its file: `Dataset.map` would write its own files, with the texts of a dataset that
        # lies in memory, next to that file. The column is memory-mapped nevertheless.
        info = datasets.DatasetInfo(features=self.cached_output.features())
        return datasets.Dataset(InMemoryTable(table), info=info, fingerprint=path.stem.rpartition("-")[2])

    def _find(self, digest: str) -> tuple[Path, pa.Table] | None:
        """Return the undamaged file of a column, if there is one."""
        for path in sorted(self.folder.glob(f"{digest}-*.arrow")):
            check_regular_file(path)
            if path.stem == f"{digest}-{checksum(path)}":
                if (table := self._read(path, digest)) is not None:
                    return path, table
        return None

    def _read(self, path: Path, digest: str) -> pa.Table | None:
        """Map the file of a column into memory; None if its rows are not those of the store for these keys."""
        table = read_table(path, self._schema(digest))
        if table is None or any(map(self._has_problem, table.column(0).chunks)):
            return None
        return table

    def _has_problem(self, rows: pa.Array) -> bool:
        numbers = rows
        while not pa.types.is_floating(numbers.type):
            numbers = numbers.flatten()
        flat_rows = pa.FixedSizeListArray.from_arrays(numbers, self.cached_output.width)
        return rows.null_count > 0 or self.row_format.find_problem(flat_rows) is not None

    def _schema(self, digest: str) -> pa.Schema:
        """Return the schema of a column, which names its teacher and its keys."""
        schema = self.cached_output.features().arrow_schema
        named = {**self.row_format.metadata, b"hf_distill.keys": digest.encode()}
        return schema.with_metadata({**(schema.metadata or {}), **named})

    def _write(self, keys: np.ndarray, digest: str) -> tuple[Path, pa.Table]:
        try:
            path = self._write_file(keys, self.folder, digest)
            remove_unfinished(self.folder)
            remove_unused(self.folder, _NUM_KEPT, _DAYS_KEPT)
        except OSError as error:
            if error.errno not in _NOT_WRITABLE:
                raise
            self._temporary = self._temporary or tempfile.TemporaryDirectory(prefix="hf_distill-")
            path = self._write_file(keys, Path(self._temporary.name), digest)
        table = self._read(path, digest)
        assert table is not None
        return path, table

    def _write_file(self, keys: np.ndarray, folder: Path, digest: str) -> Path:
        size = max(1, min(ROWS_PER_CHUNK, BYTES_PER_CHUNK // self.cached_output.bytes_per_row))

        schema = self._schema(digest)

        def write(path: Path) -> None:
            with pa.OSFile(str(path), "wb") as file, pa.ipc.new_stream(file, schema) as writer:
                for start in range(0, len(keys), size):
                    flat_rows = self.store.rows(self.store.find(keys[start : start + size]))
                    writer.write_table(pa.table([self.cached_output.to_column(flat_rows)], schema=schema))

        return write_file_atomically(folder, lambda written: f"{digest}-{checksum(written)}.arrow", write)
