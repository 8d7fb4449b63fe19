"""The record of a run, `distillation.json`: what the model card, the reports and a reader are told."""

import json
import os
import platform
import sys
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
import yaml
from huggingface_hub import metadata_load
from transformers import PreTrainedModel

from hf_distill.training_args import DistillationTrainingArguments
from hf_distill.utils.atomic import write_file_atomically

RECORD_NAME = "distillation.json"
_TRAINING = ("learning_rate", "num_train_epochs", "seed", "lr_scheduler_type", "warmup_steps", "weight_decay", "optim")


def describe_versions() -> dict[str, str]:
    """Return the versions that results depend on."""
    names = ("hf_distill", "transformers", "torch", "accelerate", "datasets")
    return {**{name: version(name) for name in names}, "python": platform.python_version()}


def describe_machine() -> dict[str, Any]:
    """Return what latency depends on.

    Returns:
        `cores` that this process may use, the name of the `cpu` or null, `memory_gb` of the machine in GiB, and the
        name of the first `gpu` or null.
    """
    cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count()
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") if sys.platform != "win32" else None
    return {
        "cores": cores,
        "cpu": _cpu_name(),
        "memory_gb": None if pages is None else round(pages / 2**30, 1),
        "gpu": torch.cuda.get_device_name(0) if torch.cuda.is_available() else None,
    }


def _cpu_name() -> str | None:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return (names[0] if names else platform.processor()) or None


def read_licence(folder: str | os.PathLike) -> str | None:
    """Return the licence that the model card in a local folder names; None if there is no folder, card or licence."""
    card = Path(folder, "README.md")
    try:
        licence = (metadata_load(card) or {}).get("license") if card.is_file() else None
    except (yaml.YAMLError, ValueError):  # somebody else's card, which is nothing to fail for
        return None
    return licence if isinstance(licence, str) else None


def describe_model(model: PreTrainedModel) -> dict[str, Any]:
    """Return a model's origin, revision, kind and size; the licence where its folder names one."""
    config = model.config
    licence = read_licence(config.name_or_path) if config.name_or_path else None
    return {
        "name_or_path": config.name_or_path or None,
        "revision": getattr(config, "_commit_hash", None),  # only a config that came from the Hub has one
        "has_remote_code": type(model).__module__.startswith("transformers_modules."),
        "model_type": config.model_type,
        "num_hidden_layers": config.num_hidden_layers,
        "num_parameters": sum(parameter.numel() for parameter in model.parameters()),
        **({"license": licence} if licence else {}),
    }


def describe_training(args: DistillationTrainingArguments, max_steps: int) -> dict[str, Any]:
    """Return the settings of the optimisation."""
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


def write_record(record: dict[str, Any], folder: str | os.PathLike) -> None:
    """Write `distillation.json`, whole or not at all."""
    text = json.dumps(record, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    write_file_atomically(Path(folder), RECORD_NAME, lambda path: path.write_text(text, encoding="utf-8"))
