"""The models to compare: their names and roles, and how they are loaded."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from hf_distill.classifiers.compiled import compiled_in_place
from hf_distill.classifiers.loading import load_pretrained_tokenizer, tokenizer_source
from hf_distill.classifiers.padding import align_pad_token
from hf_distill.classifiers.placement import copy_to_cpu_in_float32, has_fixed_placement
from hf_distill.export.layout import EXPORT_NAME, Export, find_export
from hf_distill.record import RECORD_NAME, read_record
from hf_distill.reporting.comparison.predict import Predicts, TorchPredictor, load_model
from hf_distill.reporting.comparison.same_recipe import check_runs
from hf_distill.reporting.text import finite, is_error


class Contender:
    """One column of the report: a model, or several runs of it with different seeds.

    Args:
        name: Name of the column. "teacher" and "baseline" are roles; the folder of an export is an export; all others
            are students.
        value: A model, a path or Hub id (`user/name@revision` for a revision), the folder of an export, or an object
            with `logits` and `id2label`; or a list of runs with different seeds.
        tokenizer: Tokenizer of the model; None for the tokenizer in its folder.
        max_length: Texts are cut to this number of tokens.
        device: Device that transformers models run on.
        trust_remote_code: Whether to run Python files that come with a model.

    Raises:
        TypeError: if a value is of another type.
        ValueError: if there is no run, or several runs of the teacher.
    """

    def __init__(
        self,
        name: str,
        value: Any,
        tokenizer: PreTrainedTokenizerBase | None,
        max_length: int,
        device: str,
        trust_remote_code: bool = False,
    ) -> None:
        self.name, self.tokenizer, self.max_length, self.device = name, tokenizer, max_length, device
        self.trust_remote_code = trust_remote_code
        self.values = list(value) if isinstance(value, list | tuple) else [value]
        if not self.values:
            raise ValueError(
                f"`models[{name!r}]` is an empty list. Pass a model, or a list with one model for each seed."
            )
        if name == "teacher" and len(self.values) > 1:
            raise ValueError(
                f"The teacher must be one model, got {len(self.values)}. Only students and baselines can have several."
            )
        for run in self.values:
            if not isinstance(run, str | os.PathLike | torch.nn.Module | Predicts):
                raise TypeError(
                    f"`models[{name!r}]` must be a model, a path or Hub id, an export folder, or an object with "
                    f"`logits(texts, batch_size)` and `id2label`, got {type(run).__name__}."
                )

    @property
    def role(self) -> str:
        """The role of the model: teacher, baseline, export or student."""
        if self.name in ("teacher", "baseline"):
            return self.name
        return "export" if self.export is not None else "student"

    @cached_property
    def export(self) -> Export | None:
        """The export; None if this is not an export."""
        return find_export(self.values[0]) if isinstance(self.values[0], str | os.PathLike) else None

    @property
    def format(self) -> str:
        """The format of the model: pytorch, onnx, onnx-int8 or custom."""
        if self.export is not None:
            return "onnx" if self.export.variant == "float32" else f"onnx-{self.export.variant}"
        return "custom" if isinstance(self.values[0], Predicts) else "pytorch"

    def shipped_run(self, metric: str) -> tuple[int, str]:
        """Return the run that the verdict is about, and why: the run with the best validation score in its record.

        If not all runs have such a record, it is the first run that was passed.

        Args:
            metric: Name of the metric that decides.
        """
        if len(self.values) == 1:
            return 0, "the only run"
        scores = [_recorded_score(value, metric) for value in self.values]
        known = [score for score in scores if score is not None]
        if len(known) < len(scores):
            return 0, f"the first one passed, because not all runs have a record with their {metric}"
        best = min(known) if is_error(metric) else max(known)
        return scores.index(best), f"the one with the best validation {metric} in its record, {best:.4f}"

    @property
    def origin(self) -> str | None:
        """A Hub id, or the bare name of a folder, because the report can be published."""
        value = self.values[0]
        if isinstance(value, torch.nn.Module):  # a PEFT model is not a PreTrainedModel
            value = cast(PreTrainedModel, value).config.name_or_path
        if not isinstance(value, str | os.PathLike) or not str(value):
            return None
        path = Path(value) if self.export is None else self.export.folder
        return path.absolute().name if path.exists() else str(value)

    @property
    def folder(self) -> Path | None:
        """The local folder of the model; None if there is none."""
        value = self.values[0]
        return Path(value) if isinstance(value, str | os.PathLike) and Path(value).is_dir() else None

    @cached_property
    def first(self) -> Predicts:
        """The first run, which stays in memory."""
        return self.make(0)

    def runs(self) -> Iterator[Predicts]:
        """Load one run after the other; only the first stays in memory."""
        yield self.first
        for run in range(1, len(self.values)):
            yield self.make(run)

    def make(self, run: int) -> Predicts:
        """Load a run. A model object is copied and not changed."""
        value = self.values[run]
        if isinstance(value, str | os.PathLike):
            if (export := find_export(value)) is not None:
                from hf_distill.export import Predictor  # needs onnxruntime, an optional package

                # The threads and the length of the other models.
                settings = {"num_threads": torch.get_num_threads(), "max_length": self._max_length_of(export)}
                return Predictor(export.folder, export.variant, **settings)
            model = load_model(str(value), self.trust_remote_code)
        elif isinstance(value, torch.nn.Module):
            model = cast(PreTrainedModel, compiled_in_place(value))
            model = model if has_fixed_placement(model) else copy_to_cpu_in_float32(model)
        else:
            return value
        tokenizer = self.tokenizer or _load_tokenizer(self.name, model, self.trust_remote_code)
        align_pad_token(model, tokenizer, f"model {self.name!r}")
        return TorchPredictor(model, tokenizer, self.max_length, self.device)

    def _max_length_of(self, export: Export) -> int:
        limit = export.record["max_length"]
        if limit < min(self.max_length, export.record.get("longest_input") or self.max_length):
            warnings.warn(
                f"The export {self.name!r} cuts texts to {limit} tokens, the limit in its {EXPORT_NAME}; "
                f"the other models cut texts to {self.max_length}.",
                stacklevel=2,
            )
        return min(self.max_length, limit)


def _load_tokenizer(name: str, model: PreTrainedModel, trust_remote_code: bool) -> PreTrainedTokenizerBase:
    origin, revision = tokenizer_source(model)
    try:
        return load_pretrained_tokenizer(origin, revision, trust_remote_code)
    except (OSError, ValueError) as error:
        raise ValueError(
            f"No tokenizer for the model {name!r} could be loaded from {origin!r}. Pass `processing_class`: one "
            "tokenizer, or a dict from model name to tokenizer."
        ) from error


def _recorded_score(value: Any, metric: str) -> float | None:
    """Return the student's score in the record of a training run; None if there is no such record or score."""
    path = Path(value, RECORD_NAME) if isinstance(value, str | os.PathLike) else None
    if path is None or not path.is_file():
        return None
    scores = (read_record(path.parent).get("metrics") or {}).get("student") or {}
    return finite(scores.get(metric))


def make_contenders(
    models: Mapping[str, Any],
    processing_class: PreTrainedTokenizerBase | Mapping[str, PreTrainedTokenizerBase] | None,
    max_length: int,
    trust_remote_code: bool = False,
) -> list[Contender]:
    """Return the models to compare, the teacher first.

    Raises:
        ValueError: if there is no teacher, or no model to compare it with; or if the runs of a model are not runs of
            one recipe with different weights.
        TypeError: if a model is of a type that cannot be compared.
    """
    if "teacher" not in models or len(models) < 2:
        raise ValueError(
            f"`models` must contain 'teacher' and at least one model to compare with it, got {list(models)}."
        )
    tokenizers = processing_class if isinstance(processing_class, Mapping) else dict.fromkeys(models, processing_class)
    if unknown := sorted(set(tokenizers) - set(models)):
        raise ValueError(f"`processing_class` has tokenizers for {unknown}, but the models are {list(models)}.")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    names: Sequence[str] = ["teacher", *(name for name in models if name != "teacher")]
    contenders = [
        Contender(name, models[name], tokenizers.get(name), max_length, device, trust_remote_code) for name in names
    ]
    for contender in contenders:
        check_runs(contender.name, contender.values)
    return contenders
