"""`OutputCache`: the base class of the stores of teacher outputs. It labels datasets and computes missing outputs."""

import json
import os
import time
from collections.abc import Generator
from contextlib import closing, nullcontext, suppress
from pathlib import Path
from typing import Any

import datasets
import numpy as np
from accelerate import PartialState
from tqdm.auto import tqdm
from transformers.utils import logging

from hf_distill.cache.arrow_files import remove_unfinished
from hf_distill.cache.cached_output import CachedOutput
from hf_distill.cache.columns import StoredColumns
from hf_distill.cache.full_float32 import full_float32
from hf_distill.cache.shards import FORMAT, RowFormat
from hf_distill.cache.store import Store
from hf_distill.record import describe_versions
from hf_distill.utils.atomic import write_file_atomically
from hf_distill.utils.dataset_types import check_is_dataset
from hf_distill.utils.stages import current_title

logger = logging.get_logger(__name__)

# A shard is written when one of these is reached. A slow service can take hours for that number of rows.
ROWS_PER_SHARD, BYTES_PER_SHARD, SECONDS_PER_SHARD = 4096, 1 << 26, 60.0


def default_cache_dir() -> Path:
    """Return the default folder of this user: `hf_distill/teachers` in HF_HOME."""
    home = os.environ.get("HF_HOME", os.path.join(os.environ.get("XDG_CACHE_HOME", "~/.cache"), "huggingface"))
    return Path(home).expanduser() / "hf_distill" / "teachers"


class _PendingRows:
    """Rows that were computed and are not stored yet."""

    def __init__(self) -> None:
        self._clear()

    def _clear(self) -> None:
        self.keys: list[np.ndarray] = []
        self.rows: list[np.ndarray] = []
        self.num_bytes, self.since = 0, time.monotonic()

    def add(self, keys: np.ndarray, rows: list[np.ndarray]) -> None:
        """Add the rows of a batch.

        Args:
            keys: `(num_rows,)`.
            rows: The flat outputs of each row.
        """
        self.keys.append(keys)
        self.rows += rows
        self.num_bytes += sum(row.nbytes for row in rows)

    @property
    def are_due(self) -> bool:
        """Whether a shard should be written."""
        seconds = time.monotonic() - self.since
        return len(self.rows) >= ROWS_PER_SHARD or self.num_bytes >= BYTES_PER_SHARD or seconds >= SECONDS_PER_SHARD

    def write(self, store: Store) -> None:
        """Write the rows as a shard, if there are any."""
        keys, rows = self.keys, self.rows
        self._clear()
        if keys:
            store.append(np.concatenate(keys), rows)


class OutputCache:
    """A store of the outputs of a teacher that labels datasets: stored outputs are read, missing outputs are computed.

    With several processes (`accelerate launch`), each process computes a part of the missing outputs. A killed run
    loses at most [`ROWS_PER_SHARD`] rows or the last minute per process. A damaged shard is reported, and its rows are
    computed again. A subclass implements `_row_keys` and `_compute_outputs`.

    Args:
        cached_output: The output that is stored.
        folder: Folder of this teacher's store.
        fingerprint: Fingerprint of the teacher. Keys and files of the store are bound to it.
        metadata: Content of `teacher.json`.
    """

    def __init__(self, cached_output: CachedOutput, folder: Path, fingerprint: str, metadata: dict[str, Any]) -> None:
        self.cached_output = cached_output
        self.processes = PartialState()
        self.num_computed = 0  # number of rows on which this process has run the teacher
        self._open_store(folder, fingerprint, metadata)

    def _open_store(self, folder: Path, fingerprint: str, metadata: dict[str, Any]) -> None:
        self.folder, self.fingerprint = folder, fingerprint
        row_format = RowFormat(fingerprint, self.cached_output.width, self.cached_output.has_equal_rows)
        self.store = Store(folder, self.cached_output.dtype, row_format)
        self.columns = StoredColumns(self.store, self.cached_output, row_format)
        remove_unfinished(folder)
        path = folder / "teacher.json"
        if not path.exists() or f'"format": {FORMAT}' not in path.read_text(encoding="utf-8", errors="replace"):
            content = {"format": FORMAT, **metadata, "versions": describe_versions()}
            text = json.dumps(content, indent=2, default=str) + "\n"
            with suppress(PermissionError) if path.exists() else nullcontext():  # a folder that can only be read
                write_file_atomically(folder, path.name, lambda written: written.write_text(text, encoding="utf-8"))

    def _row_keys(self, dataset: datasets.Dataset) -> np.ndarray:
        """Return the key of each row, `(num_rows,)`, 16 bytes each."""
        raise NotImplementedError

    def _compute_outputs(
        self, rows: datasets.Dataset, numbers: np.ndarray
    ) -> Generator[tuple[np.ndarray, list[np.ndarray]]]:
        """Yield for each batch the indices of its rows and the flat outputs of each row.

        Args:
            rows: Rows of a dataset whose outputs are not stored, in any order.
            numbers: The number of each row in the dataset, for messages.
        """
        raise NotImplementedError

    def label(self, dataset: datasets.Dataset) -> datasets.Dataset:
        """Add the teacher's outputs as a memory-mapped column. Only outputs that are not stored yet are computed.

        Raises:
            TypeError: for a stream, a dict of datasets, or a list of rows.
        """
        check_is_dataset(dataset, f"{type(self).__name__}.label")
        keys = self._row_keys(dataset)
        self.processes.wait_for_everyone()
        self.store.refresh()
        self._compute_missing(dataset, keys)
        self.processes.wait_for_everyone()
        self.store.refresh()
        if len(keys) and self.store.find(keys).min() < 0:
            raise RuntimeError(
                f"{self.folder} does not contain all rows that the other processes have computed. Choose a "
                "`teacher_cache_dir` that all machines share."
            )
        column = self.columns.column(keys)
        name = self.cached_output.column
        other_columns = dataset.remove_columns([name] if name in dataset.column_names else [])
        if not len(dataset):  # `concatenate_datasets` leaves out a dataset without rows
            return other_columns.add_column(name, [], feature=column.features[name])
        return datasets.concatenate_datasets([other_columns, column], axis=1)

    def _compute_missing(self, dataset: datasets.Dataset, keys: np.ndarray) -> None:
        missing = np.flatnonzero(self.store.find(keys)[:, 0] < 0)
        missing = missing[np.unique(keys[missing], return_index=True)[1]]
        # The key decides which process computes a row: all processes agree, even if another run adds rows meanwhile.
        owners = np.frombuffer(keys[missing].tobytes(), np.uint64)[::2] % np.uint64(self.processes.num_processes)
        assigned = missing[owners == self.processes.process_index]
        num_stored = len(keys) - len(missing)
        logger.info(
            f"Teacher's {self.cached_output.name}: {num_stored:,} of {len(keys):,} rows are stored, {len(missing):,} "
            "are computed."
        )
        if len(assigned):
            self._compute_and_store(dataset.select(assigned), assigned, keys[assigned], num_stored / len(keys))

    def _compute_and_store(
        self, rows: datasets.Dataset, numbers: np.ndarray, keys: np.ndarray, stored_share: float
    ) -> None:
        pending = _PendingRows()
        bar = tqdm(
            total=len(rows),
            unit="row",
            desc=current_title() or "Teacher",
            disable=not self.processes.is_local_main_process,
        )
        bar.set_postfix_str(f"{stored_share:.0%} stored before")
        try:
            with full_float32(), closing(self._compute_outputs(rows, numbers)) as batches:
                for indices, flat_rows in batches:
                    pending.add(keys[indices], flat_rows)
                    self.num_computed += len(indices)
                    bar.update(len(indices))
                    if pending.are_due:
                        pending.write(self.store)
        finally:  # store everything that was computed before an interrupt or an invalid row
            bar.close()
            pending.write(self.store)


def find_unusable_row(rows: list[np.ndarray]) -> int | None:
    """Return the index of the first row that contains NaN or +inf, or no finite number; None if there is none.

    A row can contain -inf next to finite numbers: a teacher can forbid classes.
    """
    if np.isfinite(np.concatenate(rows)).all():
        return None
    unusable = (i for i, row in enumerate(rows) if np.isnan(row).any() or row.max() in (np.inf, -np.inf))
    return next(unusable, None)
