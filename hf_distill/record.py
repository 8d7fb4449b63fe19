"""The record of a run, `distillation.json`. Model cards and reports are made from it.

A record can be published. It is cleaned of tokens and local folders where it is written and where it is read, and
nowhere else: whatever `read_record` and `read_json` return is clean.
"""

import functools
import json
import os
import platform
import sys
from collections.abc import Iterator, Mapping
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
import yaml
from huggingface_hub import metadata_load
from transformers import PreTrainedModel

from hf_distill.classifiers.loading import has_own_code, origin_of
from hf_distill.classifiers.padding import reads_last_token
from hf_distill.training_args import DistillationTrainingArguments
from hf_distill.utils.atomic import write_file_atomically
from hf_distill.utils.redaction import publishable

RECORD_NAME = "distillation.json"
_KEYS = ("format", "student", "problem_type", "objectives", "training", "versions")
_version = functools.cache(version)  # reads and parses a file, and a training describes its versions several times
_TRAINING = ("learning_rate", "num_train_epochs", "seed", "lr_scheduler_type", "warmup_steps", "weight_decay", "optim")


def describe_versions() -> dict[str, str]:
    """Return the versions that results depend on."""
    names = ("hf_distill", "transformers", "torch", "accelerate", "datasets")
    return {**{name: _version(name) for name in names}, "python": platform.python_version()}


def describe_machine() -> dict[str, Any]:
    """Return what latency depends on.

    Returns:
        `cores`: the number of cores that this process can use; `threads`: the number of torch's threads; `is_busy`:
        whether more than 1.5 processes per core wanted to run in the last minute, so that times are unreliable; `cpu`:
        the name of the CPU, or None; `memory_gb`: the memory of the machine in GiB, or None; `gpu`: the name of the
        first GPU, or None.
    """
    cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count()
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") if sys.platform != "win32" else None
    return {
        "cores": cores,
        "threads": torch.get_num_threads(),
        "is_busy": hasattr(os, "getloadavg") and os.getloadavg()[0] > 1.5 * (os.cpu_count() or 1),  # not on Windows
        "cpu": _cpu_name(),
        "memory_gb": None if memory is None else round(memory / 2**30, 1),
        "gpu": torch.cuda.get_device_name(0) if torch.cuda.is_available() else None,
    }


def _cpu_name() -> str | None:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return (names[0] if names else platform.processor() or platform.machine()) or None


def read_license(folder: str | os.PathLike) -> str | None:
    """Return the license that the model card in a local folder names; None without a folder, a card or a license."""
    card = Path(folder, "README.md")
    try:
        license_name = (metadata_load(card) or {}).get("license") if card.is_file() else None
    except (yaml.YAMLError, ValueError):  # a broken card of another author must not stop a training
        return None
    return license_name if isinstance(license_name, str) else None


def describe_model(model: PreTrainedModel) -> dict[str, Any]:
    """Return a model's origin, revision, kind and size, and the license if its folder names one.

    For a decoder that classifies sequences, `pad_token_id` is the id of the padding token that its head skips.

    `is_local` is True for a model from a local folder. Once the folder's path is removed, its name alone could look
    like the name of a model on the Hub.
    """
    config = model.config
    name, revision = origin_of(model)
    license_name = read_license(name) if name else None
    return {
        "name_or_path": name or None,
        "revision": revision,
        "has_remote_code": has_own_code(model),
        "model_type": config.model_type,
        "num_hidden_layers": config.num_hidden_layers,
        "num_parameters": sum(parameter.numel() for parameter in model.parameters()),
        **({"pad_token_id": config.get_text_config().pad_token_id} if reads_last_token(config) else {}),
        **({"is_local": True} if name and Path(name).exists() else {}),
        **({"license": license_name} if license_name else {}),
    }


def describe_training(args: DistillationTrainingArguments, max_steps: int) -> dict[str, Any]:
    """Return the settings of the optimization."""
    values = {name: getattr(args, name) for name in _TRAINING}
    values["lr_scheduler_type"] = str(getattr(args.lr_scheduler_type, "value", args.lr_scheduler_type))
    values["optim"] = str(getattr(args.optim, "value", args.optim))
    rows = args.per_device_train_batch_size * args.gradient_accumulation_steps * args.world_size
    return {
        **values,
        "max_steps": max_steps,
        "total_train_batch_size": rows,
        "world_size": args.world_size,
        "precision": "bfloat16" if args.bf16 else "float16" if args.fp16 else "float32",
    }


def new_record() -> dict[str, Any]:
    """Return a record with the date and the versions."""
    return {
        "format": 1,
        "hf_distill_version": version("hf_distill"),
        "versions": describe_versions(),
        "created": date.today().isoformat(),
    }


def write_record(record: Mapping[str, Any], folder: str | os.PathLike) -> None:
    """Write `distillation.json` atomically, without tokens and local folders."""
    text = json.dumps(_clean(record), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    write_file_atomically(Path(folder), RECORD_NAME, lambda path: path.write_text(text, encoding="utf-8"))


def read_record(folder: str | os.PathLike) -> dict[str, Any]:
    """Read `distillation.json` without tokens and local folders.

    If the file contains any, it is written again without them.

    Raises:
        ValueError: if the file is not JSON or not a record of hf_distill.
    """
    path = Path(folder, RECORD_NAME)
    record = _read_object(path)
    if missing := [key for key in _KEYS if key not in record]:
        raise ValueError(
            f"{path} is not an hf_distill record: it has no {', '.join(missing)}. Copy distillation.json from the "
            "training run."
        )
    if (cleaned := _clean(record)) != record:
        write_record(cleaned, folder)
    return cleaned


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object without tokens and local folders.

    Raises:
        ValueError: if the file does not contain a JSON object.
    """
    return publishable(_read_object(path))


def _read_object(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} is not valid JSON ({error}). Create the file again.") from None
    if not isinstance(value, dict):
        raise ValueError(f"{path} must contain a JSON object, got {type(value).__name__}. Create the file again.")
    return value


def _clean(record: Mapping[str, Any]) -> dict[str, Any]:
    cleaned = publishable(record)
    for original, model in zip(_models(record), _models(cleaned), strict=True):
        if any(original.get(key) != model.get(key) for key in ("name_or_path", "origin")):
            model["is_local"] = True
    return cleaned


def _models(record: Mapping[str, Any]) -> Iterator[Any]:
    """Yield what the record says of the student, the teacher, and the members of an ensemble of teachers."""
    teacher = record.get("teacher") or {}
    yield from (record["student"], teacher, *(teacher.get("teachers") or ()))
