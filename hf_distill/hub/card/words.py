"""How the model card names things: a text from outside becomes one printable line that may leave this machine."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id

from hf_distill.reporting.text import NOT_AVAILABLE, escape, one_line
from hf_distill.utils.redaction import has_token, publishable

# Problem type -> the Hub's name of the task, what the model is called, what `pipeline` is told, what the loss is of.
KINDS = {
    "single_label_classification": ("text-classification", "text classifier", "", "examples"),
    "multi_label_classification": ("text-classification", "multi-label text classifier", ", top_k=None", "examples"),
    # A single output would go through a sigmoid by default.
    "regression": ("text-classification", "regression model for text", ', function_to_apply="none"', "examples"),
    "token_classification": (
        "token-classification",
        "token classifier",
        ', aggregation_strategy="simple"',
        "words",
    ),
    "masked_lm": ("fill-mask", "masked language model", "", "masked tokens"),
}

# The Hub still answers to these without a namespace; any other bare name is taken for a local folder.
_BARE_IDS = frozenset(
    {f"{name}-{case}" for name in ("bert-base", "bert-large", "distilbert-base") for case in ("cased", "uncased")}
    | {"albert-base-v2", "bert-base-multilingual-cased", "distilbert-base-multilingual-cased", "distilroberta-base"}
    | {"roberta-base", "roberta-large", "xlm-roberta-base", "xlm-roberta-large"}
)


def clean(value: Any) -> Any:
    """Make every text of a JSON value one printable line without tokens and local folders."""
    return _one_line(publishable(value))


def _one_line(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {_one_line(name): _one_line(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_one_line(item) for item in value]
    return one_line(value) if isinstance(value, str) else value


def hub_id(name: str | None) -> str | None:
    """Return the name if it can be an id on the Hub: `namespace/name` that is no local folder, or an old bare name."""
    if not name or has_token(name) or not ("/" in name or name in _BARE_IDS):
        return None
    try:
        validate_repo_id(name)
    except HFValidationError:
        return None
    return None if Path(name).exists() else name


def label(name: str | None) -> str:
    """A model or data set by its id, or by the last component of its path; empty if it has no name."""
    return hub_id(name) or re.split(r"[/\\]", clean(name or "").rstrip("/\\"))[-1]


def as_text(value: Any) -> str:
    """A value in full, as the record has it."""
    return NOT_AVAILABLE if value is None else f"{value:,}" if type(value) is int else str(value)


def describe_model(model: Mapping[str, Any]) -> str:
    """Kind, depth and size, escaped."""
    kind, depth, size = (as_text(model.get(key)) for key in ("model_type", "num_hidden_layers", "num_parameters"))
    return escape(f"{kind}, {depth} layers, {size} parameters")


def describe_teacher(teacher: Mapping[str, Any]) -> str:
    """Name, kind and size, escaped; of an ensemble those of its members."""
    if members := teacher.get("teachers"):
        one_by_one = ", ".join(describe_teacher(member) for member in members)
        mean_of = escape(as_text(teacher.get("mean_of")))
        return f"the mean of the {mean_of} of an ensemble of {len(members)} teachers: {one_by_one}"
    name = escape(label(teacher.get("name_or_path")))
    if teacher.get("model_type") == "function":
        return f"what the function {name} answers" if name else "what a function answers"
    return f"{name or 'an unnamed teacher'} ({describe_model(teacher)})"


def describe_dataset(dataset: Mapping[str, Any] | None) -> str:
    """Name and configuration, escaped."""
    if not dataset or not dataset.get("id"):
        return "data that the record does not name"
    config = f" ({escape(dataset['config'])})" if dataset.get("config") else ""
    return escape(label(dataset["id"])) + config


def describe_machine(machine: Mapping[str, Any] | None) -> str:
    """The machine of a measurement in words, escaped; empty if it is not known."""
    if not machine:
        return ""
    parts = [f"{as_text(machine.get('cores'))} cores of {machine.get('cpu') or 'an unnamed CPU'}"]
    parts += [f"{machine['memory_gb']} GiB of memory"] if machine.get("memory_gb") is not None else []
    parts += [f"GPU {machine['gpu']}"] if machine.get("gpu") else []
    return escape(", ".join(parts))
