"""What every store of a teacher's outputs does: label data sets, computing only what is missing."""

import hashlib
import json
import os
from collections.abc import Generator
from contextlib import closing
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
from accelerate import PartialState
from tqdm.auto import tqdm
from transformers.utils import logging

from hf_distill.cache.kept import Kept
from hf_distill.cache.rows import CHUNK
from hf_distill.cache.store import Store, checksum
from hf_distill.record import describe_versions
from hf_distill.utils.atomic import write_file_atomically

logger = logging.get_logger(__name__)

ROWS_PER_SHARD, BYTES_PER_SHARD = 4096, 1 << 26  # whichever is reached first


def default_cache_dir() -> Path:
    """Return the folder for this user: `hf_distill/teachers` in HF_HOME."""
    home = os.environ.get("HF_HOME", os.path.join(os.environ.get("XDG_CACHE_HOME", "~/.cache"), "huggingface"))
    return Path(home).expanduser() / "hf_distill" / "teachers"


class OutputCache:
    """A store of a teacher's outputs, and how it labels data sets: what is found is read, what is missing computed.

    Under several processes (`accelerate launch`) each computes its share. A killed run loses at most
    [`ROWS_PER_SHARD`] rows a process; a damaged shard is named and its rows are computed again. A subclass says by
    what a row is found, and computes.

    Args:
        folder: Of this teacher.
        kept: What is kept of it.
        said: What `teacher.json` says of it.
    """

    def __init__(self, folder: Path, kept: Kept, said: dict[str, Any]) -> None:
        self.folder, self.kept = folder, kept
        self.processes = PartialState()
        self.store = Store(folder, kept.dtype)
        self.num_computed = 0  # rows that this process has run the teacher on
        if not (folder / "teacher.json").exists():
            text = json.dumps({**said, "versions": describe_versions()}, indent=2, default=str) + "\n"
            write_file_atomically(folder, "teacher.json", lambda path: path.write_text(text, encoding="utf-8"))

    def _keys(self, dataset: datasets.Dataset) -> np.ndarray:
        """Return what each row is found by, `(num_rows,)`, 16 bytes each."""
        raise NotImplementedError

    def _outputs(self, rows: datasets.Dataset) -> Generator[tuple[np.ndarray, list[np.ndarray]]]:
        """Yield, batch by batch, the places of rows and the numbers of each."""
        raise NotImplementedError

    def label(self, dataset: datasets.Dataset) -> datasets.Dataset:
        """Add the teacher's outputs as a column, memory-mapped; only what no run has computed before is computed."""
        keys = self._keys(dataset)
        self.processes.wait_for_everyone()
        self.store.refresh()
        self._compute_missing(dataset, keys)
        self.processes.wait_for_everyone()
        self.store.refresh()
        if len(keys) and self.store.find(keys).min() < 0:
            raise RuntimeError(
                f"Rows that other processes have computed are not in {self.folder}. Choose a `teacher_cache_dir` that "
                "all machines share."
            )
        column = datasets.Dataset.from_file(str(self._write_column(keys)))
        without = dataset.remove_columns([self.kept.column] if self.kept.column in dataset.column_names else [])
        return datasets.concatenate_datasets([without, column], axis=1)

    def _compute_missing(self, dataset: datasets.Dataset, keys: np.ndarray) -> None:
        missing = np.flatnonzero(self.store.find(keys)[:, 0] < 0)
        missing = missing[np.unique(keys[missing], return_index=True)[1]]
        # By key, so that processes agree on whose a row is even if another run adds rows meanwhile.
        owners = np.frombuffer(keys[missing].tobytes(), np.uint64)[::2] % np.uint64(self.processes.num_processes)
        mine = missing[owners == self.processes.process_index]
        hits = len(keys) - len(missing)
        logger.info(
            f"Teacher's {self.kept.name}: {hits:,} of {len(keys):,} rows are stored, {len(missing):,} are computed."
        )
        if len(mine):
            self._run(dataset.select(mine), keys[mine], hit_rate=hits / len(keys))

    def _run(self, rows: datasets.Dataset, keys: np.ndarray, hit_rate: float) -> None:
        pending: list[tuple[np.ndarray, list[np.ndarray]]] = []
        num_pending = num_bytes = 0
        bar = tqdm(total=len(rows), unit="row", desc="Teacher", disable=not self.processes.is_local_main_process)
        bar.set_postfix_str(f"{hit_rate:.0%} stored before")
        try:
            with closing(self._outputs(rows)) as outputs:
                for batch, found in outputs:
                    pending.append((keys[batch], found))
                    self.num_computed += len(batch)
                    bar.update(len(batch))
                    num_pending += len(batch)
                    num_bytes += sum(row.nbytes for row in found)
                    if num_pending >= ROWS_PER_SHARD or num_bytes >= BYTES_PER_SHARD:
                        self._flush(pending)
                        num_pending = num_bytes = 0
        finally:  # an interrupt or a bad row costs nothing that was computed
            bar.close()
            self._flush(pending)

    def _flush(self, pending: list[tuple[np.ndarray, list[np.ndarray]]]) -> None:
        keys, rows = [k for k, _ in pending], [row for _, found in pending for row in found]
        pending.clear()
        if keys:
            self.store.append(np.concatenate(keys), rows)

    def _write_column(self, keys: np.ndarray) -> Path:
        """Write the outputs of these rows in this order, for memory-mapping, unless an earlier call has."""
        digest = hashlib.blake2b(keys.tobytes(), digest_size=16).hexdigest()
        folder = self.folder / "columns"
        folder.mkdir(parents=True, exist_ok=True)  # the store may have been deleted meanwhile
        with self.processes.local_main_process_first():
            written = (path for path in folder.glob(f"{digest}-*.arrow") if path.stem == f"{digest}-{checksum(path)}")
            return next(written, None) or self._write_chunks(keys, folder, digest)

    def _write_chunks(self, keys: np.ndarray, folder: Path, digest: str) -> Path:
        schema = self.kept.features().arrow_schema
        size = max(1, min(CHUNK, BYTES_PER_SHARD // self.kept.bytes_per_row))

        def write(path: Path) -> None:
            with pa.OSFile(str(path), "wb") as file, pa.ipc.new_stream(file, schema) as writer:
                for start in range(0, len(keys), size):
                    rows = self.store.rows(self.store.find(keys[start : start + size]))
                    writer.write_table(pa.table([self.kept.shaped(rows)], schema=schema))

        return write_file_atomically(folder, lambda written: f"{digest}-{checksum(written)}.arrow", write)


def unusable_row(rows: list[np.ndarray]) -> int | None:
    """Return the first row that nothing can be learnt from; -inf forbids a class, which a teacher may do."""
    if np.isfinite(np.concatenate(rows)).all():
        return None
    bad = (i for i, row in enumerate(rows) if np.isnan(row).any() or row.max() in (np.inf, -np.inf))
    return next(bad, None)
