"""How a card names models, datasets and machines. Strings become one printable line each."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id

from hf_distill.reporting.text import NOT_AVAILABLE, escape, one_line
from hf_distill.utils.redaction import has_token

ABOUT_RETENTION = "Retention is the model's score divided by the teacher's."
ABOUT_GAP = (
    "Gap closed is (student − baseline) / (teacher − baseline); the baseline is the same student trained without the "
    "teacher."
)


class Kind(NamedTuple):
    """How the card speaks of a problem type.

    Attributes:
        task: The task on the Hub.
        noun: What the model is.
        pipeline_arguments: Further arguments of `pipeline`.
        units: What the loss is a mean over.
        example: An input of the pipeline, as Python code.
    """

    task: str
    noun: str
    pipeline_arguments: str
    units: str
    example: str = '"A text like the training data."'


KINDS = {
    "single_label_classification": Kind("text-classification", "text classifier", "", "examples"),
    "multi_label_classification": Kind(
        "text-classification", "multi-label text classifier", ", top_k=None", "examples"
    ),
    # By default the pipeline applies a sigmoid to a single output.
    "regression": Kind("text-classification", "regression model for text", ', function_to_apply="none"', "examples"),
    "token_classification": Kind(
        "token-classification", "token classifier", ', aggregation_strategy="simple"', "words"
    ),
    "masked_lm": Kind(
        "fill-mask",
        "masked language model",
        "",
        "masked tokens",
        'f"A text with one {classifier.tokenizer.mask_token} word."',
    ),
}

# The Hub still accepts these names without a namespace. Any other name without one is taken for a local folder.
_BARE_IDS = frozenset(
    {f"{name}-{case}" for name in ("bert-base", "bert-large", "distilbert-base") for case in ("cased", "uncased")}
    | {"albert-base-v2", "bert-base-multilingual-cased", "distilbert-base-multilingual-cased", "distilroberta-base"}
    | {"roberta-base", "roberta-large", "xlm-roberta-base", "xlm-roberta-large"}
)


_NOT_FILES = ("Hub dataset", "save_to_disk")  # formats of splits that are not files


def printable(value: Any) -> Any:
    """Make every string of a JSON value one printable line."""
    if isinstance(value, Mapping):
        return {printable(name): printable(item) for name, item in value.items()}
    if isinstance(value, list):
        return [printable(item) for item in value]
    return one_line(value) if isinstance(value, str) else value


def hub_id(name: str | None) -> str | None:
    """Return the name if it can be an id on the Hub, else None.

    An id is `namespace/name` and not a local folder, or one of the old names without a namespace.
    """
    if not name or has_token(name) or not ("/" in name or name in _BARE_IDS):
        return None
    try:
        validate_repo_id(name)
    except HFValidationError:
        return None
    return None if Path(name).exists() else name


def model_id(model: Mapping[str, Any], key: str = "name_or_path") -> str | None:
    """Return the Hub id of a model of the record; None for a local one."""
    return None if model.get("is_local") else hub_id(model.get(key))


def label(name: str | None) -> str:
    """Return the id of a model or dataset, or the last component of its path; empty if it has no name."""
    return hub_id(name) or re.split(r"[/\\]", one_line(name or "").rstrip("/\\"))[-1]


def as_text(value: Any) -> str:
    """Return a value of the record in full."""
    return NOT_AVAILABLE if value is None else f"{value:,}" if type(value) is int else str(value)


def describe_model(model: Mapping[str, Any]) -> str:
    """Return kind, depth and size of a model, escaped."""
    kind, depth, size = (as_text(model.get(key)) for key in ("model_type", "num_hidden_layers", "num_parameters"))
    return escape(f"{kind}, {depth} layers, {size} parameters")


def describe_teacher(teacher: Mapping[str, Any]) -> str:
    """Return name, kind and size of the teacher, or of each member of an ensemble, escaped."""
    if members := teacher.get("teachers"):
        descriptions = ", ".join(describe_teacher(member) for member in members)
        mean_of = escape(as_text(teacher.get("mean_of")))
        return f"an ensemble of {len(members)} teachers (mean of their {mean_of}): {descriptions}"
    name = escape(label(teacher.get("name_or_path")))
    if teacher.get("model_type") == "function":
        return f"the function {name}" if name else "a function"
    zero_shot = ", a zero-shot teacher" if teacher.get("zero_shot") else ""
    return f"{name or 'an unnamed teacher'} ({describe_model(teacher)}{zero_shot})"


def describe_zero_shot(teacher: Mapping[str, Any]) -> str | None:
    """Return what a zero-shot teacher compared each text with, escaped; None for another teacher."""
    zero_shot = teacher.get("zero_shot")
    if not zero_shot:
        return None
    hypotheses = [
        f"{escape(name)} ({escape(text)})" if text != name else escape(name)
        for name, text in zero_shot["hypotheses"].items()
    ]
    text = f"The teacher was not trained on these classes. It compared each text with: {', '.join(hypotheses)}."
    if not zero_shot.get("bias"):
        return text
    bias = ", ".join(f"{escape(name)} {value:+.2f}" for name, value in zero_shot["bias"].items())
    return (
        f"{text} The bias of each class was subtracted from its logits (prior correction "
        f"{escape(zero_shot['prior_correction'])}): {bias}."
    )


def describe_unlabelled(dataset: Mapping[str, Any] | None) -> str | None:
    """Return the sources of the unlabelled text, escaped, if nothing else was trained on; else None."""
    sources = [label(source["name"]) for source in ((dataset or {}).get("transfer") or {}).get("sources") or []]
    if not dataset or not sources or "train" in (dataset.get("splits") or {}):
        return None
    return f"unlabelled text from {escape(', '.join(sources))}"


def describe_dataset(dataset: Mapping[str, Any] | None) -> str | None:
    """Return name and configuration of the dataset, escaped; None if the record does not name it."""
    if not dataset or not dataset.get("id"):
        return None
    config = f" ({escape(dataset['config'])})" if dataset.get("config") else ""
    return escape(label(dataset["id"])) + config


def describe_evaluation(dataset: Mapping[str, Any]) -> str:
    """Return the dataset or the files that the models were evaluated on, escaped."""
    split, files = dataset.get("eval_split"), _file_names(dataset, dataset.get("eval_split"))
    name = describe_dataset(dataset) or "an unnamed dataset"
    if not files or not split:
        return f"{name}, split {escape(split)}" if split else name
    if not _is_file(dataset):
        return f"{name}, split {escape(split)} ({escape(', '.join(files))})"
    is_held_out = files == _file_names(dataset, "train")
    return escape(", ".join(files)) + (f", split {escape(split)}" if is_held_out else "")


def describe_files(dataset: Mapping[str, Any]) -> dict[str, str]:
    """Return the files of each split, if it has any, with the hash of their rows."""
    described = {}
    for split, entry in (dataset.get("splits") or {}).items():
        files = ", ".join(_file_names(dataset, split))
        checksum = f"SHA-256 of the rows: {entry['sha256']}"
        described[f"{split} files" if files else split] = f"{files}; {checksum}" if files else checksum
    return described


def reads_pairs(record: Mapping[str, Any]) -> bool:
    """Return whether the model reads two texts together."""
    splits = (record.get("dataset") or {}).get("splits") or {}
    return any(len(split.get("text_columns") or ()) == 2 for split in splits.values())


def describe_transfer(dataset: Mapping[str, Any]) -> dict[str, str]:
    """Return where the unlabelled text came from, and how many texts of each source were used."""
    transfer = dataset.get("transfer") or {}
    sources, augmentation = transfer.get("sources") or [], transfer.get("augmentation")
    described = [f"{label(s['name'])} ({as_text(s.get('drawn'))} of {as_text(s['rows'])} texts)" for s in sources]
    if augmentation:
        methods = ", ".join(augmentation["methods"])
        described.append(f"{as_text(augmentation['variants'])} variants of the labelled texts by {methods}")
    return {"unlabelled text from": "; ".join(described)} if described else {}


def _file_names(dataset: Mapping[str, Any], split: str | None) -> list[str]:
    files = ((dataset.get("splits") or {}).get(split) or {}).get("files") or []
    return [file["name"] for file in files if file["format"] not in _NOT_FILES]


def _is_file(dataset: Mapping[str, Any]) -> bool:
    """Whether files were named one by one. Then the name of the dataset is the name of the first file."""
    names = [name for split in dataset["splits"] for name in _file_names(dataset, split)]
    return any(name.partition("/")[0] == dataset.get("id") for name in names)  # `rows.zip/rows.csv` is in `rows.zip`
