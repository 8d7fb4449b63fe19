"""Runs that are averaged must be runs of one recipe: the same training with other seeds."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import torch
from transformers import PreTrainedModel

from hf_distill.cache.fingerprint import hash_weights
from hf_distill.cache.store import checksum
from hf_distill.export.layout import find_export
from hf_distill.record import RECORD_NAME, read_record

logger = logging.getLogger(__name__)

# What differs between two seeds of one recipe, or says nothing about it.
_OF_A_RUN = {"seed", "data_seed", "world_size"}
# Run 1 can fine-tune a teacher that run 2 loads from the folder of run 1: the same teacher under another name.
_NAMES = {"name_or_path", "revision", "license", "is_local", "has_remote_code"}
_OF_A_MODEL = ("model_type", "num_hidden_layers", "num_parameters", "origin")
_INITIAL = "initial_fingerprint"


def check_runs(name: str, runs: Sequence[Any]) -> None:
    """Check that several runs have other weights, and were trained by the same recipe.

    Args:
        name: Name of the model in the report.
        runs: Models, paths, Hub ids or export folders.

    Raises:
        ValueError: for two runs with the same weights, or records that name different recipes.
    """
    if len(runs) < 2:
        return
    digests: dict[str, Any] = {}
    for run in runs:
        digest = _digest(run)
        if digest is not None and digest in digests:
            raise ValueError(
                f"`models[{name!r}]`: {_name(digests[digest])} and {_name(run)} have the same weights, so they are "
                "not two runs. Pass each run once."
            )
        if digest is not None:
            digests[digest] = run
    records = [_read_record(run) for run in runs]
    without = [_name(run) for run, record in zip(runs, records, strict=True) if record is None]
    if without:
        logger.warning(
            f"{name}: there is no record ({RECORD_NAME}) of {', '.join(without)}, so it is unknown whether the runs "
            "that are averaged were trained by the same recipe."
        )
    known = [(run, record) for run, record in zip(runs, records, strict=True) if record is not None]
    # Records of earlier versions have no fingerprints; their teachers are known by name.
    have_fingerprints = all(_has_fingerprints(record.get("teacher")) for _, record in known)
    recipes = [_recipe(record, _NAMES if have_fingerprints else {"fingerprint"}) for _, record in known]
    initial = {(record.get("student") or {}).get(_INITIAL) for _, record in known}
    if len(initial) == 1 and None not in initial:  # the same weights, whatever their folders are called
        for recipe in recipes:
            del recipe["student"]["origin"]
    for (run, _), recipe in zip(known[1:], recipes[1:], strict=True):
        first_run = known[0][0]
        for what, of_first, of_run in _differences(recipes[0], recipe):
            raise ValueError(
                f"`models[{name!r}]`: {_name(first_run)} and {_name(run)} are runs of different recipes, and would be "
                f"averaged: {what} is {of_first!r} in one and {of_run!r} in the other. Pass them as two models with "
                "different names."
            )


def _name(run: Any) -> str:
    return str(run) if isinstance(run, str | os.PathLike) else type(run).__name__


def _digest(run: Any) -> str | None:
    """Return a hash of the weights; None for a model that is neither in a local folder nor in memory."""
    if isinstance(run, torch.nn.Module):
        return hash_weights(cast(PreTrainedModel, run))
    if not isinstance(run, str | os.PathLike):
        return None
    if (export := find_export(run)) is not None:
        return " ".join(checksum(path) for path in export.files)
    if not Path(run).is_dir():
        return None
    files = sorted(path for pattern in ("*.safetensors", "*.bin") for path in Path(run).glob(pattern))
    return " ".join(f"{path.name} {checksum(path)}" for path in files) or None


def _read_record(run: Any) -> dict[str, Any] | None:
    is_folder = isinstance(run, str | os.PathLike) and Path(run, RECORD_NAME).is_file()
    return read_record(run) if is_folder else None


def _recipe(record: Mapping[str, Any], not_compared: set[str]) -> dict[str, Any]:
    """Return the part of a record that the runs of one recipe share.

    Args:
        record: The record of a run.
        not_compared: What is left out of the description of the teacher.
    """
    splits = (record.get("dataset") or {}).get("splits") or {}
    rows = {f"hash of the {role} rows": split.get("sha256") for role, split in splits.items()}
    student, teacher = record.get("student") or {}, record.get("teacher") or {}
    return {
        "problem_type": record.get("problem_type"),
        "teacher": _without(teacher, not_compared),
        "objectives": record.get("objectives"),
        "training": {key: value for key, value in (record.get("training") or {}).items() if key not in _OF_A_RUN},
        "student": {key: student.get(key) for key in _OF_A_MODEL},
        "rows": {key: value for key, value in rows.items() if "train" in key or "transfer" in key},
    }


def _has_fingerprints(teacher: Mapping[str, Any] | None) -> bool:
    """Return whether the weights of the teacher, or of all teachers of an ensemble, are known by a hash."""
    members = (teacher or {}).get("teachers") or [teacher or {}]
    return all(member.get("fingerprint") is not None for member in members)


def _without(teacher: Mapping[str, Any], keys: set[str]) -> dict[str, Any]:
    about = {key: value for key, value in teacher.items() if key not in keys}
    if "teachers" in about:
        about["teachers"] = [_without(member, keys) for member in about["teachers"]]
    return about


def _differences(first: Any, second: Any, place: str = "") -> Iterator[tuple[str, Any, Any]]:
    if isinstance(first, Mapping) and isinstance(second, Mapping):
        for key in [*first, *(key for key in second if key not in first)]:
            yield from _differences(first.get(key), second.get(key), f"{place}.{key}" if place else key)
    elif first != second:
        yield place, first, second
