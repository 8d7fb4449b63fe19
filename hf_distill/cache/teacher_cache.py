"""`TeacherCache`: the teacher runs once per distinct text, ever."""

import hashlib
import json
import os
import uuid
from collections.abc import Generator
from contextlib import closing
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
import torch
from accelerate import PartialState
from torch import nn
from tqdm.auto import tqdm
from transformers import PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils import logging

from hf_distill.cache.fingerprint import fingerprint
from hf_distill.cache.kept import Kept
from hf_distill.cache.rows import CHUNK, batches_by_length, hash_rows
from hf_distill.cache.store import Store, checksum
from hf_distill.problem_types import resolve_problem_type
from hf_distill.record import describe_model, describe_versions
from hf_distill.teachers import Teacher, load_teacher, move

logger = logging.get_logger(__name__)

MAX_TOKENS = 4096  # of a batch, padding included
ROWS_PER_SHARD = 4096


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
        path = folder / "teacher.json"
        if not path.exists():
            temporary = folder / f"{uuid.uuid4().hex}.tmp"
            text = json.dumps({**said, "versions": describe_versions()}, indent=2, default=str)
            temporary.write_text(text + "\n", encoding="utf-8")
            temporary.replace(path)

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
        bar = tqdm(total=len(rows), unit="row", desc="Teacher", disable=not self.processes.is_local_main_process)
        bar.set_postfix_str(f"{hit_rate:.0%} stored before")
        try:
            with closing(self._outputs(rows)) as outputs:
                for batch, found in outputs:
                    pending.append((keys[batch], found))
                    self.num_computed += len(batch)
                    bar.update(len(batch))
                    if sum(len(k) for k, _ in pending) >= ROWS_PER_SHARD:
                        self._flush(pending)
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
        folder.mkdir(exist_ok=True)
        with self.processes.local_main_process_first():
            written = (path for path in folder.glob(f"{digest}-*.arrow") if path.stem == f"{digest}-{checksum(path)}")
            return next(written, None) or self._write_chunks(keys, folder, digest)

    def _write_chunks(self, keys: np.ndarray, folder: Path, digest: str) -> Path:
        schema = self.kept.features().arrow_schema
        temporary = folder / f"{uuid.uuid4().hex}.tmp"
        with pa.OSFile(str(temporary), "wb") as file, pa.ipc.new_stream(file, schema) as writer:
            for start in range(0, len(keys), CHUNK):
                rows = self.store.rows(self.store.find(keys[start : start + CHUNK]))
                writer.write_table(pa.table([self.kept.shaped(rows)], schema=schema))
        path = folder / f"{digest}-{checksum(temporary)}.arrow"
        temporary.replace(path)
        return path


class TeacherCache(OutputCache):
    """A durable store of a teacher's outputs, found by what the teacher sees.

    A row's key is a hash of its token ids and segment ids; the store's name is a hash of the teacher's weights, those
    of an adapter among them, its config and precision. So the logits survive shuffling, filtering, added rows,
    duplicates, other splits, seeds and students, and a changed teacher never finds those of another. Under several
    processes (`accelerate launch`) each computes its share. A killed run loses at most [`ROWS_PER_SHARD`] rows a
    process; a damaged shard is named and its rows are computed again.

    Args:
        cache_dir: Folder for all teachers; None for a folder per user under `HF_HOME`.
        teacher: The teacher, or its path or Hub id. A model is moved to `device` while it labels, and back.
        processing_class: The tokenizer that made the token ids, for padding.
        dtype: Precision of the forward pass: "float32", "bfloat16" or "float16".
        device: Where it runs; None for what accelerate chooses.
        stored_dtype: "float32" or "float16", of the outputs on disk.
        outputs: "logits"; or "cls_states", the hidden states of the first token after every layer, the embeddings
            first, which make a store of their own.

    Raises:
        OSError: if the teacher cannot be loaded or the folder not be written.
        ValueError: for weights of lower precision than `dtype` or that cannot be read, or unknown `outputs` or
            `stored_dtype`.
    """

    def __init__(
        self,
        cache_dir: str | os.PathLike | None,
        teacher: PreTrainedModel | str | os.PathLike,
        processing_class: PreTrainedTokenizerBase,
        dtype: str = "float32",
        device: torch.device | None = None,
        stored_dtype: str = "float32",
        outputs: str = "logits",
    ) -> None:
        self.processing_class = processing_class
        self.dtype = dtype
        self.device = device or PartialState().device
        self._source = teacher
        self._loaded: PreTrainedModel | None = None
        model = self._model()
        self.config, self.problem_type = model.config, resolve_problem_type(model)
        self.description = describe_model(model)
        kept = Kept(outputs, model.config, self.problem_type, stored_dtype)
        name, hashed = fingerprint(model, dtype, f"{outputs} in {stored_dtype}")
        said = {"fingerprint": name, **hashed, "teacher": self.description}
        super().__init__(Path(cache_dir or default_cache_dir()) / name, kept, said)

    def _model(self) -> PreTrainedModel:
        if isinstance(self._source, nn.Module):
            return self._source
        self._loaded = self._loaded or load_teacher(self._source)
        return self._loaded

    def label(self, dataset: datasets.Dataset) -> datasets.Dataset:
        """Add the teacher's outputs as a column, memory-mapped; only what no run has computed before is computed.

        The column is `teacher_logits`: `(num_labels,)` a row, in the teacher's label order, or `(length, num_labels)`
        for a token classifier; or `teacher_cls_states`: `(num_hidden_layers + 1, hidden_size)`.

        Args:
            dataset: Tokenised by the teacher's tokenizer: `input_ids`, and `token_type_ids` if it has segments.

        Raises:
            ValueError: if the data set has no `input_ids`.
        """
        labelled = super().label(dataset)
        self._loaded = None  # what we loaded goes; it is loaded again if rows come that no run has computed
        return labelled

    def _keys(self, dataset: datasets.Dataset) -> np.ndarray:
        if "input_ids" not in dataset.column_names:
            raise ValueError(
                f"The data set has no column `input_ids`, only {', '.join(dataset.column_names)}. Tokenise it by the "
                "teacher's tokenizer first."
            )
        return hash_rows(dataset)

    def _outputs(self, rows: datasets.Dataset) -> Generator[tuple[np.ndarray, list[np.ndarray]]]:
        read = {"token_type_ids", *self.processing_class.model_input_names} & set(rows.column_names)
        rows = rows.select_columns(sorted(read))
        model = self._model()
        came_from = model.device
        teacher = Teacher(model, self.device, self.dtype, self.kept.reads)
        try:
            for batch in batches_by_length(rows, MAX_TOKENS):
                inputs = self.processing_class.pad(rows[batch.tolist()], return_tensors="pt").to(self.device)
                found = self.kept.flat_rows(teacher(inputs), inputs["attention_mask"].bool())
                if (bad := unusable_row(found)) is not None:
                    text = self.processing_class.decode(inputs["input_ids"][bad], skip_special_tokens=True)
                    raise FloatingPointError(
                        f"The teacher gives NaN, +inf or no finite number for the text {text!r}. Look for damaged "
                        "weights, or for an overflow that float32 (`teacher_dtype`) would avoid; what was computed "
                        "before is stored."
                    )
                yield batch, found
        finally:
            move(model, came_from)


def unusable_row(rows: list[np.ndarray]) -> int | None:
    """Return the first row that nothing can be learnt from; -inf forbids a class, which a teacher may do."""
    bad = (i for i, row in enumerate(rows) if np.isnan(row).any() or row.max() in (np.inf, -np.inf))
    return next(bad, None)
