"""How a label is written: one spelling for each class, whatever the type and the form of its letters."""

from __future__ import annotations

import json
import math
import re
import unicodedata
from collections.abc import Mapping
from typing import Any

_INVISIBLE = dict.fromkeys(map(ord, "\ufeff\u200b\u200e\u200f\u2060"))
# Words that programs write where a value is missing. "None" is a class of many datasets (stance, toxicity), so it is
# only taken for a missing value between numbers.
MISSING_WORDS = ("nan", "null", "n/a", "na", "#n/a", "<na>", "nat")
_INTEGER = re.compile(r"-?(0|[1-9]\d{0,17})")
_WHOLE = re.compile(r"-?(0|[1-9]\d{0,14})\.0+")
_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?")
_CODE = re.compile(r"[-+]?0\d+|\+\d+|\d{19,}")
_DECIMAL_COMMA = re.compile(r"[-+]?\d+,\d+")
_PERCENT = re.compile(r"[-+]?\d+([.,]\d+)?\s*%")

LabelMap = Mapping[Any, str | None]


def spell(value: Any) -> str | None:
    """Return a label of any type as text; None for a missing one: null, NaN, the empty text.

    Blanks around it are cut, other blanks become one space (a no-break space is a blank), and letters with accents
    take their composed form, so that one class has one spelling.
    """
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, str):
        text = unicodedata.normalize("NFC", value) if not value.isascii() else value
        return " ".join(text.translate(_INVISIBLE).split()) or None
    return str(value)  # of a bool `True`, of an integer its digits, of a float the shortest that gives it again


def form(text: str) -> str:
    """Say what a spelled label looks like.

    Returns:
        `integer`, `whole` (1.0), `number` (1.5), `nan`, `missing` (N/A), `bool`, `comma` (1,5), `percent`, or `word`.
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
    """Return `1` for `1.0`, which is the same class; other texts as they are."""
    return text.partition(".")[0].replace("-0", "0") if _WHOLE.fullmatch(text) else text


def sort_names(names: set[str]) -> list[str]:
    """Sort names of classes: integers by value, LABEL_2 before LABEL_10, others as text."""
    if all(map(_INTEGER.fullmatch, names)):
        return sorted(names, key=int)
    if all(_NUMBER.fullmatch(name) and not _CODE.fullmatch(name) for name in names):
        return sorted(names, key=lambda name: (float(name), name))
    if all(re.fullmatch(r"LABEL_\d+", name) for name in names):
        return sorted(names, key=lambda name: int(name.removeprefix("LABEL_")))
    return sorted(names)


def read_label_map(label_map: str | LabelMap | None) -> dict[str, str | None]:
    """Return what each label stands for by its spelling; None for those that mean that a row is unlabelled.

    Raises:
        ValueError: for text that is not JSON, or JSON that does not map labels to labels.
    """
    if isinstance(label_map, str):
        try:
            label_map = json.loads(label_map)
        except ValueError as error:
            raise ValueError(f"`label_map` is not JSON: {error}. {_EXAMPLE}") from None
    if label_map is None:
        return {}
    if not isinstance(label_map, Mapping) or any(isinstance(v, list | dict) for v in label_map.values()):
        raise ValueError(f"`label_map` must map labels to labels, got {label_map!r}. {_EXAMPLE}")
    spelled = {spell(key): spell(value) for key, value in label_map.items()}
    return {key: value for key, value in spelled.items() if key is not None}


_EXAMPLE = """Write it as '{"Positive": "positive", "N/A": null}': null makes a row unlabelled."""


def map_to_paste(labels: Mapping[str, str | None]) -> str:
    """Return a label map as it is written on the command line."""
    return f"--label_map '{json.dumps(dict(labels), ensure_ascii=False)}' (`label_map`)"
