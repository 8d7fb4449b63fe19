"""`TeacherCache`: the teacher runs once per distinct text, ever."""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
import torch
from accelerate import PartialState
from torch import Tensor
from tqdm.auto import tqdm
from transformers import PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils import logging

from hf_distill._files import write_whole
from hf_distill.cache.fingerprint import fingerprint
from hf_distill.cache.kept import Kept
from hf_distill.cache.rows import CHUNK, batches_by_length, hash_rows
from hf_distill.cache.store import Store, checksum
from hf_distill.problem_types import resolve_problem_type
from hf_distill.record import describe_model, describe_versions
from hf_distill.teachers import Teacher, load_teacher

logger = logging.get_logger(__name__)

MAX_TOKENS = 4096  # of a batch, padding included
ROWS_PER_SHARD, BYTES_PER_SHARD = 4096, 1 << 26  # whichever is reached first


def default_cache_dir() -> Path:
    """Return the folder for this user: `hf_distill/teachers` in HF_HOME."""
    home = os.environ.get("HF_HOME", os.path.join(os.environ.get("XDG_CACHE_HOME", "~/.cache"), "huggingface"))
    return Path(home).expanduser() / "hf_distill" / "teachers"


class TeacherCache:
    """A durable store of a teacher's outputs, found by what the teacher sees.

    A row's key is a hash of its token ids and segment ids; the store's name is a hash of the teacher's weights,
    config and precision. So the logits survive shuffling, filtering, added rows, duplicates, other splits, seeds and
    students, and a changed teacher never finds those of another. Under several processes (`accelerate launch`) each
    computes its share. A killed run loses at most [`ROWS_PER_SHARD`] rows a process; a damaged shard is named and its
    rows are computed again.

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
        ValueError: for weights of lower precision than `dtype`, or unknown `outputs` or `stored_dtype`.
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
        self.processes = PartialState()
        self.device = device or self.processes.device
        self._source = teacher
        self._loaded: PreTrainedModel | None = None
        model = self._model()
        self.config, self.problem_type = model.config, resolve_problem_type(model)
        self.kept = Kept(outputs, model.config, self.problem_type, stored_dtype)
        self.description = describe_model(model)
        name, hashed = fingerprint(model, dtype, f"{outputs} in {stored_dtype}")
        self.folder = Path(cache_dir or default_cache_dir()) / name
        self.store = Store(self.folder, stored_dtype)
        self._describe(name, hashed)
        self.num_computed = 0  # rows that this process has run the teacher on

    def _model(self) -> PreTrainedModel:
        if isinstance(self._source, PreTrainedModel):
            return self._source
        self._loaded = self._loaded or load_teacher(self._source)
        return self._loaded

    def _describe(self, name: str, hashed: dict[str, Any]) -> None:
        if (self.folder / "teacher.json").exists():
            return
        said = {"fingerprint": name, **hashed, "teacher": self.description, "versions": describe_versions()}
        text = json.dumps(said, indent=2, default=str) + "\n"
        write_whole(self.folder, "teacher.json", lambda path: path.write_text(text, encoding="utf-8"))

    # ---- Labelling ----

    def label(self, dataset: datasets.Dataset) -> datasets.Dataset:
        """Add the teacher's outputs as a column, memory-mapped; only what no run has computed before is computed.

        The column is `teacher_logits`: `(num_labels,)` a row, in the teacher's label order, or `(length, num_labels)`
        for a token classifier; or `teacher_cls_states`: `(num_hidden_layers + 1, hidden_size)`.

        Args:
            dataset: Tokenised by the teacher's tokenizer: `input_ids`, and `token_type_ids` if it has segments.

        Raises:
            ValueError: if the data set has no `input_ids`.
        """
        if "input_ids" not in dataset.column_names:
            raise ValueError(
                f"The data set has no column `input_ids`, only {', '.join(dataset.column_names)}. Tokenise it by the "
                "teacher's tokenizer first."
            )
        keys = hash_rows(dataset)
        self.processes.wait_for_everyone()
        self.store.refresh()
        self._compute_missing(dataset, keys)
        self.processes.wait_for_everyone()
        self.store.refresh()
        self._loaded = None  # what we loaded goes; it is loaded again if rows come that no run has computed
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
        if len(mine) == 0:
            return
        model = self._model()
        came_from = model.device
        teacher = Teacher(model, self.device, self.dtype, self.kept.reads)
        try:
            self._run(teacher, dataset.select(mine), keys[mine], hit_rate=hits / len(keys))
        finally:
            torch.nn.Module.to(model, came_from)

    def _run(self, teacher: Teacher, rows: datasets.Dataset, keys: np.ndarray, hit_rate: float) -> None:
        read = {"token_type_ids", *self.processing_class.model_input_names} & set(rows.column_names)
        rows = rows.select_columns(sorted(read))
        pending: list[tuple[np.ndarray, list[np.ndarray]]] = []
        num_pending = num_bytes = 0
        bar = tqdm(total=len(rows), unit="row", desc="Teacher", disable=not self.processes.is_local_main_process)
        bar.set_postfix_str(f"{hit_rate:.0%} stored before")
        try:
            for batch in batches_by_length(rows, MAX_TOKENS):
                inputs = self.processing_class.pad(rows[batch.tolist()], return_tensors="pt").to(self.device)
                found = self.kept.flat_rows(teacher(inputs), inputs["attention_mask"].bool())
                self._check(found, inputs["input_ids"])
                pending.append((keys[batch], found))
                num_pending += len(batch)
                num_bytes += sum(row.nbytes for row in found)
                self.num_computed += len(batch)
                bar.update(len(batch))
                if num_pending >= ROWS_PER_SHARD or num_bytes >= BYTES_PER_SHARD:
                    self._flush(pending)
                    num_pending = num_bytes = 0
        finally:  # an interrupt or a bad row costs nothing that was computed
            bar.close()
            self._flush(pending)

    def _check(self, rows: list[np.ndarray], input_ids: Tensor) -> None:
        if np.isfinite(np.concatenate(rows)).all():
            return
        # -inf forbids a class, which a teacher may do.
        bad = [i for i, row in enumerate(rows) if np.isnan(row).any() or row.max() in (np.inf, -np.inf)]
        if bad:
            text = self.processing_class.decode(input_ids[bad[0]], skip_special_tokens=True)
            raise FloatingPointError(
                f"The teacher gives NaN, +inf or no finite number for {len(bad)} of {len(rows)} rows, such as "
                f"{text!r}. Look for damaged weights, or for an overflow that float32 (`teacher_dtype`) would avoid; "
                "what was computed before is stored."
            )

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
        size = max(1, min(CHUNK, BYTES_PER_SHARD // self.kept.bytes_per_row))

        def write(path: Path) -> None:
            with pa.OSFile(str(path), "wb") as file, pa.ipc.new_stream(file, schema) as writer:
                for start in range(0, len(keys), size):
                    rows = self.store.rows(self.store.find(keys[start : start + size]))
                    writer.write_table(pa.table([self.kept.shaped(rows)], schema=schema))

        return write_whole(folder, lambda written: f"{digest}-{checksum(written)}.arrow", write)
