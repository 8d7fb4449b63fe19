"""`TeacherCache`: the teacher runs once per distinct text, ever."""

import os
from collections.abc import Generator
from pathlib import Path

import datasets
import numpy as np
import torch
from accelerate import PartialState
from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from hf_distill.cache.fingerprint import fingerprint
from hf_distill.cache.kept import Kept
from hf_distill.cache.output_cache import OutputCache, default_cache_dir, unusable_row
from hf_distill.cache.rows import batches_by_length, hash_rows
from hf_distill.classifiers.placement import move_to_device
from hf_distill.classifiers.problem_types import resolve_problem_type
from hf_distill.record import describe_model
from hf_distill.teachers import Teacher, load_teacher

MAX_TOKENS = 4096  # of a batch, padding included


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
            move_to_device(model, came_from)
