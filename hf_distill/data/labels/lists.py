"""Parse cells of text that contain lists of labels."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Sequence
from typing import Any

_HOT = re.compile(r"[01]( [01])+")
_OF_NUMPY = re.compile(r"\[\s*(('[^']*'|\"[^\"]*\")\s*)+\]")
_NUMBERS_OF_NUMPY = re.compile(r"\[\s*([-+.\deE]+\s*)+\]")


def parse_cells(texts: Sequence[str]) -> list[list[Any]] | None:
    """Return the list of labels in each cell; None if the cells do not contain lists.

    A cell can be a list in JSON or Python syntax, a list as NumPy prints it, or Label Studio's `{"choices": [...]}`.
    If any cell is a list, every other cell is a list of one label. If all cells look like `1 0 1`, with the same
    length, each is a list with 0 or 1 for every class.
    """
    if texts and all(map(_HOT.fullmatch, texts)) and len(set(map(len, texts))) == 1:
        return [text.split() for text in texts]
    lists = [parse_list(text) for text in texts]
    are_bracketed = [text.startswith("[") and text.endswith("]") for text in texts]
    if all(items is None for items in lists) and not (texts and all(are_bracketed) and any("," in t for t in texts)):
        return None
    return [
        items if items is not None else [p.strip() for p in text[1:-1].split(",")] if is_bracketed else [text]
        for items, text, is_bracketed in zip(lists, texts, are_bracketed, strict=True)
    ]


def parse_list(text: str) -> list[Any] | None:
    """Return the items if the text is a list; None for any other text."""
    if text[:1] + text[-1:] not in ("[]", "()", "{}"):
        return None
    if _OF_NUMPY.fullmatch(text):  # without commas, so Python would read it as one long string
        return [one or other for one, other in re.findall(r"'([^']*)'|\"([^\"]*)\"", text)]
    if _NUMBERS_OF_NUMPY.fullmatch(text):
        return [f"{number}0" if number.endswith(".") else number for number in text[1:-1].split()]  # `1.` is 1.0
    for parse in (json.loads, ast.literal_eval):
        try:
            value = parse(text)
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
            continue
        if isinstance(value, dict) and list(value) == ["choices"]:
            value = value["choices"]
        if isinstance(value, list | tuple | set):
            return list(value)
    return None
