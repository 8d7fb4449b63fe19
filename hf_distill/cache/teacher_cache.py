"""`TeacherCache`: a teacher model runs once for each distinct text."""

import os
from collections.abc import Generator, Iterator, Mapping
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import torch
from accelerate import PartialState
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils import logging

from hf_distill.cache.cached_output import CachedOutput
from hf_distill.cache.fingerprint import fingerprint, hash_json
from hf_distill.cache.output_cache import OutputCache, default_cache_dir, find_unusable_row
from hf_distill.cache.rows import (
    PADDED_COLUMNS,
    batches_by_length,
    fill_padding,
    hash_rows,
    pad_rows,
    read_ahead,
    read_rows,
)
from hf_distill.classifiers.compiled import compiled_in_place
from hf_distill.classifiers.label_maps import class_names_of
from hf_distill.classifiers.label_order import name_teacher_logits
from hf_distill.classifiers.outputs import TEACHER_LOGITS, ClassifierOutputs
from hf_distill.classifiers.padding import align_pad_token, left_padding_changes_answers
from hf_distill.classifiers.placement import move_to_device
from hf_distill.classifiers.problem_types import resolve_problem_type
from hf_distill.classifiers.signature import input_names, tokenizer_names
from hf_distill.classifiers.token_ids import TokenLimits
from hf_distill.record import describe_model
from hf_distill.teachers import Teacher, load_teacher

logger = logging.get_logger(__name__)

MAX_TOKENS, MAX_TOKENS_ON_GPU = 4096, 32_768  # of a batch, including padding


class TeacherCache(OutputCache):
    """A persistent store of the outputs of a teacher model.

    The key of a row is a hash of all columns that the teacher reads, without padding and without columns that only
    have the values that the teacher assumes anyway: an attention mask of ones, segment ids of zeros, position ids that
    count from 0. The name of the store is a hash of the teacher's weights, adapters, config and precision. So stored
    outputs can be reused after rows are shuffled, filtered, added, repeated or padded, and with other splits, seeds
    and students. A changed teacher gets a new store, also if it changes between two datasets.

    Stored outputs never depend on padding: rows are batched with rows of the same length if padding is on the left or
    if the teacher reads columns that a tokenizer cannot pad. A decoder without `config.pad_token_id` gets the
    tokenizer's. With several processes (`accelerate launch`), each process computes a part of the missing outputs. A
    killed run loses at most [`ROWS_PER_SHARD`] rows or the last minute per process. A damaged shard is reported and
    its rows are computed again.

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
        ValueError: if the weights have a lower precision than `dtype` or cannot be read, for unknown `outputs` or
            `stored_dtype`, or for a decoder whose padding token is not the tokenizer's.
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
        self._source = compiled_in_place(teacher)
        self._loaded: PreTrainedModel | None = None
        if isinstance(self._source, nn.Module):
            align_pad_token(self._source, processing_class, "teacher")
        model = self._model()
        self.config, self.problem_type = model.config, resolve_problem_type(model)
        self.description = describe_model(model)
        self._input_names = input_names(model, tokenizer_names(processing_class))
        self._limits = TokenLimits.of(model, "teacher")
        self._cache_dir = Path(cache_dir or default_cache_dir())
        cached_output = CachedOutput(outputs, model.config, self.problem_type, stored_dtype)
        self._outputs = f"{outputs} in {stored_dtype}"
        super().__init__(cached_output, *self._folder(model))

    def _folder(self, model: PreTrainedModel) -> tuple[Path, str, dict[str, Any]]:
        """Return the folder of a teacher's store, the teacher's fingerprint, and the content of `teacher.json`."""
        name, hashed = fingerprint(model, self.dtype, self._outputs)
        # The same for every precision and every kind of output, and for the teacher when it runs in every step.
        self.identity = hash_json({part: value for part, value in hashed.items() if part not in ("dtype", "outputs")})
        return self._cache_dir / name, name, {"fingerprint": name, **hashed, "teacher": self.description}

    def _model(self) -> PreTrainedModel:
        if isinstance(self._source, nn.Module):
            return self._source
        if self._loaded is None:
            self._loaded = load_teacher(self._source)
            align_pad_token(self._loaded, self.processing_class, "teacher")
        return self._loaded

    def label(self, dataset: datasets.Dataset) -> datasets.Dataset:
        """Add the teacher's outputs as a memory-mapped column. Only outputs that are not stored yet are computed.

        The column is `teacher_logits`: for each row `(num_labels,)` in the teacher's label order, or
        `(length, num_labels)` for a token classifier; or `teacher_cls_states`: for each row
        `(num_hidden_layers + 1, hidden_size)`.

        Args:
            dataset: Rows tokenized by the teacher's tokenizer: `input_ids`, and everything else that the teacher
                reads, for instance `token_type_ids`.

        Raises:
            ValueError: if the dataset has no `input_ids`.
            TypeError: for a stream, a dict of datasets, or a list of rows.
            FloatingPointError: if the teacher returns outputs that cannot be learned from; the message shows the text.
        """
        self._follow_changes()
        labelled = super().label(dataset)
        if not self.cached_output.has_equal_rows:
            labelled = fill_padding(labelled, self.cached_output.column)
        if self.cached_output.column == TEACHER_LOGITS and self.problem_type.has_label_names:
            labelled = name_teacher_logits(labelled, class_names_of(self.config))
        self._loaded = None  # free the memory; the teacher is loaded again if more outputs are missing
        return labelled

    def _follow_changes(self) -> None:
        """Open another store if the model has changed, for instance because its adapter was disabled."""
        if isinstance(self._source, nn.Module):
            folder, name, metadata = self._folder(self._source)
            if name != self.fingerprint:
                logger.warning(
                    f"The teacher has changed. Its outputs are now stored in {folder}; datasets that were labelled "
                    "before keep the outputs of the teacher as it was."
                )
                self._open_store(folder, name, metadata)

    def _row_keys(self, dataset: datasets.Dataset) -> np.ndarray:
        if "input_ids" not in dataset.column_names:
            raise ValueError(
                f"The dataset has no column `input_ids`, only {', '.join(dataset.column_names)}. Tokenize it with the "
                "teacher's tokenizer first."
            )
        self._limits.check(dataset)
        return hash_rows(dataset, self._input_names, self._default_columns(dataset), self.fingerprint)

    def _default_columns(self, dataset: datasets.Dataset) -> set[str]:
        """Return the columns whose usual values the teacher assumes if it does not get the column."""
        defaults = {"attention_mask"}
        if "type_vocab_size" in self.config.to_dict():  # XLNet and GPT-2, which lack it, treat zeros as a segment
            defaults.add("token_type_ids")
        if "position_ids" in self._input_names & set(dataset.column_names):
            with torch.no_grad():
                if _counts_positions_from_zero(self._model()):
                    defaults.add("position_ids")
        return defaults

    def _compute_outputs(
        self, rows: datasets.Dataset, numbers: np.ndarray
    ) -> Generator[tuple[np.ndarray, list[np.ndarray]]]:
        names = self._input_names & set(rows.column_names)
        tokenizer = self.processing_class
        is_padded = (
            names <= set(PADDED_COLUMNS) and tokenizer.padding_side == "right" and tokenizer.pad_token_id is not None
        )
        model = self._model()
        original_device = model.device
        teacher = Teacher(
            model, self.device, self.dtype, self.cached_output.requested, tokenizer_names=tokenizer_names(tokenizer)
        )
        if tokenizer.padding_side == "left" and left_padding_changes_answers(model, tokenizer):
            logger.warning_once(
                "The tokenizer pads on the left, which changes the teacher's answers: the teacher numbers positions "
                "from the first column, or reads its answer there. The stored answers are those of texts without "
                "padding."
            )
        if model is self._loaded:
            teacher.cast_weights()
        max_tokens = MAX_TOKENS_ON_GPU if self.device.type == "cuda" else MAX_TOKENS
        batches = read_ahead(self._batches(rows, names, batches_by_length(rows, max_tokens, is_padded)))
        # The next batch is given to the device before the outputs of the last one are copied and checked.
        running: tuple[np.ndarray, list[Mapping[str, np.ndarray]], ClassifierOutputs] | None = None
        try:
            for indices, batch, inputs in batches:
                on_device = {name: values.to(self.device, non_blocking=True) for name, values in inputs.items()}
                previous, running = running, (indices, batch, teacher(on_device))
                if previous is not None:
                    yield self._checked_rows(*previous)
            if running is not None:
                yield self._checked_rows(*running)
        finally:
            batches.close()
            move_to_device(model, original_device)
            if model is self._loaded:
                self._loaded = None  # its weights can have a lower precision now

    def _batches(
        self, rows: datasets.Dataset, names: frozenset[str], batches: Iterator[np.ndarray]
    ) -> Iterator[tuple[np.ndarray, list[Mapping[str, np.ndarray]], dict[str, Tensor]]]:
        """Yield the indices of rows, the rows, and the padded inputs of the teacher, which the GPU can fetch."""
        for indices in batches:
            batch = list(read_rows(rows.select(indices.tolist()), names))
            padded = pad_rows(batch, self.processing_class)
            inputs = {name: torch.from_numpy(values) for name, values in padded.items() if name in self._input_names}
            if self.device.type == "cuda":
                inputs = {name: values.pin_memory() for name, values in inputs.items()}
            yield indices, batch, inputs

    def _checked_rows(
        self, indices: np.ndarray, batch: list[Mapping[str, np.ndarray]], outputs: ClassifierOutputs
    ) -> tuple[np.ndarray, list[np.ndarray]]:
        flat_rows = self.cached_output.flat_rows(outputs, [len(row["input_ids"]) for row in batch])
        if (bad_row := find_unusable_row(flat_rows)) is not None:
            text = self.processing_class.decode(batch[bad_row]["input_ids"], skip_special_tokens=True)
            raise FloatingPointError(
                f"The teacher returned NaN, +inf or no finite number for the text {text!r}. Check the weights, or use "
                "`teacher_dtype='float32'` if a lower precision overflows. All outputs computed before this text are "
                "stored."
            )
        return indices, flat_rows


def _counts_positions_from_zero(model: PreTrainedModel) -> bool:
    """Return whether a model assumes the position ids 0, 1, 2, ... RoBERTa, for instance, begins after its padding id.

    The model runs on two tokens with and without them.
    """
    model.eval()
    ids = torch.tensor([[1, 2]], device=model.device)
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    explicit = model(**inputs, position_ids=torch.tensor([[0, 1]], device=model.device))
    return torch.allclose(model(**inputs).logits, explicit.logits, rtol=1e-5, atol=1e-5)
