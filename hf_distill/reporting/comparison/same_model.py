"""Columns must be different models: a model can always replace itself."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from hf_distill.cache.fingerprint import hash_weights
from hf_distill.cache.store import checksum
from hf_distill.reporting.comparison.contenders import Contender
from hf_distill.reporting.comparison.predict import TorchPredictor


def check_distinct(contenders: Sequence[Contender]) -> None:
    """Check that no two columns of a report are the same model.

    Paths are compared for all runs, weights for the first run of each column. Weights are hashed only where their
    numbers and shapes are equal.

    Raises:
        ValueError: for two columns with the same path, object or weights.
    """
    for i, contender in enumerate(contenders):
        for other in contenders[:i]:
            if reason := _why_same(other, contender):
                raise ValueError(
                    f"The models {other.name!r} and {contender.name!r} {reason}, so comparing them shows nothing. "
                    "Pass each model under one name."
                )


def _why_same(first: Contender, second: Contender) -> str | None:
    if {_identity(value) for value in first.values} & {_identity(value) for value in second.values}:
        return "are the same model"
    return "have the same weights" if _have_same_weights(first, second) else None


def _identity(value: Any) -> Any:
    return Path(value).expanduser().resolve() if isinstance(value, str | os.PathLike) else id(value)


def _have_same_weights(first: Contender, second: Contender) -> bool:
    model, other = first.first, second.first
    if isinstance(model, TorchPredictor) and isinstance(other, TorchPredictor):
        return _shapes(model) == _shapes(other) and hash_weights(model.model) == hash_weights(other.model)
    files, other_files = _graphs(first), _graphs(second)
    sizes, other_sizes = ([path.stat().st_size for path in paths] for paths in (files, other_files))
    return bool(files) and sizes == other_sizes and list(map(checksum, files)) == list(map(checksum, other_files))


def _shapes(predictor: TorchPredictor) -> list[tuple[str, torch.Size]]:
    return sorted((name, value.shape) for name, value in predictor.model.named_parameters())


def _graphs(contender: Contender) -> list[Path]:
    """Return the files with the weights of an export; none for another model."""
    return [] if contender.export is None else [path for path in contender.export.files if ".onnx" in path.name]
