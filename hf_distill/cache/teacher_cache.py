"""`TeacherCache`: a teacher model runs once for each distinct text."""

import os
from collections.abc import Generator
from pathlib import Path

import datasets
import numpy as np
import torch
from accelerate import PartialState
from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from hf_distill.cache.cached_output import CachedOutput
from hf_distill.cache.fingerprint import fingerprint, hash_json
from hf_distill.cache.output_cache import OutputCache, default_cache_dir, find_unusable_row
from hf_distill.cache.rows import batches_by_length, hash_rows
from hf_distill.classifiers.label_maps import class_names_of
from hf_distill.classifiers.label_order import name_teacher_logits
from hf_distill.classifiers.outputs import TEACHER_LOGITS
from hf_distill.classifiers.placement import move_to_device
from hf_distill.classifiers.problem_types import resolve_problem_type
from hf_distill.record import describe_model
from hf_distill.teachers import Teacher, load_teacher

MAX_TOKENS = 4096  # maximum number of tokens of a batch, including padding


class TeacherCache(OutputCache):
    """A persistent store of the outputs of a teacher model.

    The key of a row is a hash of its token ids and segment ids. The name of the store is a hash of the teacher's
    weights (including those of an adapter), config and precision. Stored outputs can therefore be reused after rows
    are shuffled, filtered, added or repeated, and with other splits, seeds and students; a changed teacher gets a new
    store. With several processes (`accelerate launch`), each process computes a part of the missing outputs. A killed
    run loses at most [`ROWS_PER_SHARD`] rows per process. A damaged shard is reported and its rows are computed again.

    Args:
        cache_dir: Folder of all stores; None for a folder of this user under `HF_HOME`.
        teacher: The teacher, or its path or Hub id. A model is moved to `device` while it labels a dataset, and then
            moved back.
        processing_class: The tokenizer that created the token ids; it pads batches.
        dtype: Precision of the forward pass: "float32", "bfloat16" or "float16".
        device: Device of the forward pass; None for the device that accelerate chooses.
        stored_dtype: Precision of the outputs on disk, "float32" or "float16".
        outputs: "logits"; or "cls_states", the hidden states of the first token: the embeddings and then every layer.
            Each of the two has its own store.

    Raises:
        OSError: if the teacher cannot be loaded, or the folder is not writable.
        ValueError: if the weights have a lower precision than `dtype` or cannot be read, or for unknown `outputs` or
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
        cached_output = CachedOutput(outputs, model.config, self.problem_type, stored_dtype)
        name, hashed = fingerprint(model, dtype, f"{outputs} in {stored_dtype}")
        metadata = {"fingerprint": name, **hashed, "teacher": self.description}
        # The same for every precision and every kind of output, and for the teacher when it runs in every step.
        self.identity = hash_json({part: value for part, value in hashed.items() if part not in ("dtype", "outputs")})
        super().__init__(Path(cache_dir or default_cache_dir()) / name, cached_output, metadata)

    def _model(self) -> PreTrainedModel:
        if isinstance(self._source, nn.Module):
            return self._source
        self._loaded = self._loaded or load_teacher(self._source)
        return self._loaded

    def label(self, dataset: datasets.Dataset) -> datasets.Dataset:
        """Add the teacher's outputs as a memory-mapped column. Only outputs that are not stored yet are computed.

        The column is `teacher_logits`: for each row `(num_labels,)` in the teacher's label order, or
        `(length, num_labels)` for a token classifier; or `teacher_cls_states`: for each row
        `(num_hidden_layers + 1, hidden_size)`.

        Args:
            dataset: Rows tokenized by the teacher's tokenizer: `input_ids`, and `token_type_ids` if the teacher has
                segments.

        Raises:
            ValueError: if the dataset has no `input_ids`.
            FloatingPointError: if the teacher returns outputs that cannot be learned from; the message shows the text.
        """
        labelled = super().label(dataset)
        if self.cached_output.column == TEACHER_LOGITS and self.problem_type.has_label_names:
            labelled = name_teacher_logits(labelled, class_names_of(self.config))
        self._loaded = None  # free the memory; the teacher is loaded again if more outputs are missing
        return labelled

    def _row_keys(self, dataset: datasets.Dataset) -> np.ndarray:
        if "input_ids" not in dataset.column_names:
            raise ValueError(
                f"The dataset has no column `input_ids`, only {', '.join(dataset.column_names)}. Tokenize it with the "
                "teacher's tokenizer first."
            )
        return hash_rows(dataset)

    def _compute_outputs(self, rows: datasets.Dataset) -> Generator[tuple[np.ndarray, list[np.ndarray]]]:
        input_columns = {"token_type_ids", *self.processing_class.model_input_names} & set(rows.column_names)
        rows = rows.select_columns(sorted(input_columns))
        model = self._model()
        original_device = model.device
        teacher = Teacher(model, self.device, self.dtype, self.cached_output.requested)
        try:
            for indices in batches_by_length(rows, MAX_TOKENS):
                inputs = self.processing_class.pad(rows[indices.tolist()], return_tensors="pt").to(self.device)
                flat_rows = self.cached_output.flat_rows(teacher(inputs), inputs["attention_mask"].bool())
                if (bad_row := find_unusable_row(flat_rows)) is not None:
                    text = self.processing_class.decode(inputs["input_ids"][bad_row], skip_special_tokens=True)
                    raise FloatingPointError(
                        f"The teacher returned NaN, +inf or no finite number for the text {text!r}. Check the "
                        "weights, or use `teacher_dtype='float32'` if a lower precision overflows. All outputs "
                        "computed before this text are stored."
                    )
                yield indices, flat_rows
        finally:
            move_to_device(model, original_device)
