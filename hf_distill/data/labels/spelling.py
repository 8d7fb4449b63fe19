"""Give each class one spelling, whatever the type of its labels and the form of their letters."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from hf_distill.utils.json_text import parse_json
from hf_distill.utils.spelling import spell

# Words that programs write for missing values. "None" is not one of them, because it is a class of many datasets; it
# only means a missing value if all other labels are numbers.
MISSING_WORDS = ("nan", "null", "n/a", "na", "#n/a", "<na>", "nat", "(null)", "\\n", "#value!", "#ref!", "#name?")
_INTEGER = re.compile(r"-?(0|[1-9]\d{0,17})", re.ASCII)
_WHOLE = re.compile(r"-?(0|[1-9]\d{0,14})\.0+", re.ASCII)
_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?", re.ASCII)
_CODE = re.compile(r"[-+]?0\d+|\+\d+|\d{19,}", re.ASCII)
_DECIMAL_COMMA = re.compile(r"[-+]?\d+,\d+", re.ASCII)
_PERCENT = re.compile(r"[-+]?\d+([.,]\d+)?\s*%", re.ASCII)

LabelMap = Mapping[Any, str | None]


def form(text: str) -> str:
    """Return what a label looks like.

    Returns:
        `integer` (1), `whole` (1.0), `number` (1.5), `nan`, `missing` (N/A), `bool`, `comma` (1,5), `percent` (95%),
        or `word` for everything else.
    """
    folded = text.casefold()
    if _INTEGER.fullmatch(text):
        return "integer"
    if _WHOLE.fullmatch(text):
        return "whole"
    if _NUMBER.fullmatch(text) and not _CODE.fullmatch(text):
        return "number"
    if folded in MISSING_WORDS:
        return "nan" if folded == "nan" else "missing"
    if folded in ("true", "false"):
        return "bool"
    if _DECIMAL_COMMA.fullmatch(text):
        return "comma"
    return "percent" if _PERCENT.fullmatch(text) else "word"


def as_whole(text: str) -> str:
    """Return `1` for `1.0`; other texts unchanged."""
    return text.partition(".")[0].replace("-0", "0") if _WHOLE.fullmatch(text) else text


def as_one(text: str) -> str:
    """Return the same text for labels that are one class: 1 and 1.0; true, True and TRUE."""
    return text.capitalize() if text.casefold() in ("true", "false") else as_whole(text)


def sort_names(names: set[str]) -> list[str]:
    """Sort class names: numbers by value, LABEL_2 before LABEL_10, other names as text."""
    if all(map(_INTEGER.fullmatch, names)):
        return sorted(names, key=int)
    if all(_NUMBER.fullmatch(name) and not _CODE.fullmatch(name) for name in names):
        return sorted(names, key=lambda name: (float(name), name))
    if all(re.fullmatch(r"LABEL_\d+", name) for name in names):
        return sorted(names, key=lambda name: int(name.removeprefix("LABEL_")))
    return sorted(names)


def read_label_map(label_map: str | LabelMap | None) -> dict[str, str | None]:
    """Return a label map with labels as [`spell`] writes them.

    Args:
        label_map: Mapping from labels to class names, None for unlabelled rows; or the same as JSON, with null.

    Raises:
        ValueError: if the text is not JSON, if the value does not map labels to names, if an empty label has a name,
            or if two spellings of one label have different names.
    """
    if isinstance(label_map, str):
        try:
            label_map = parse_json(label_map)
        except ValueError as error:
            raise ValueError(f"`label_map` cannot be read as JSON: {error}. {_EXAMPLE}") from None
    if label_map is None:
        return {}
    if not isinstance(label_map, Mapping) or any(isinstance(v, list | dict) for v in label_map.values()):
        raise ValueError(f"`label_map` must map labels to names, got {label_map!r}. {_EXAMPLE}")
    read: dict[str, str | None] = {}
    for label, given in label_map.items():
        key, name = spell(label), spell(given)
        if key is None and name is not None:
            raise ValueError(f"`label_map` maps {label!r} to {name!r}, but an empty label is no label. {_EXAMPLE}")
        if key is not None and read.setdefault(key, name) != name:
            raise ValueError(
                f"`label_map` maps {key!r} to {read[key]!r} and, in another spelling ({label!r}), to {name!r}. Remove "
                "one of them."
            )
    return read


_EXAMPLE = """Write it as '{"Positive": "positive", "N/A": null}': null makes a row unlabelled."""


def map_to_paste(labels: Mapping[str, str | None]) -> str:
    """Return a label map as a flag that can be pasted into a command."""
    return f"--label_map '{json.dumps(dict(labels), ensure_ascii=False)}' (`label_map`)"
