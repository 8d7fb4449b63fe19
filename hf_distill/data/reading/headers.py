"""Recognize a header in the first row of a file that should have no header."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from hf_distill.data.columns import NOT_TEXTS, TEXT_PAIRS, TEXTS

_KNOWN = {*TEXTS, *NOT_TEXTS, *(name for pair in TEXT_PAIRS for name in pair), "label", "labels", "tokens", "ner_tags"}
_NAME = re.compile(r"[^\W\d][\w.-]*( [\w.-]+)?")
_NUMBER = re.compile(r"[-+]?(\d+([.,]\d+)?|\.\d+)")
_MANY_ROWS = 4  # with fewer rows, a class that occurs once says nothing


def is_certainly_header(rows: Sequence[Sequence[str]]) -> bool:
    """Whether all cells of the first row are known column names, such as `review` and `sentiment`.

    A row of a text and its label does not have two such cells that occur nowhere else in their columns. The same holds
    for other names above scores: a word among numbers with a fraction is never a label.
    """
    if len(rows[0]) < 2 or _occurs_again(rows):
        return False
    if all(_plain(cell) in _KNOWN for cell in rows[0]):
        return True
    return _are_names(rows[0]) and any(_are_scores(column[1:]) for column in zip(*rows, strict=True))


def may_be_header(rows: Sequence[Sequence[str]]) -> bool:
    """Whether all cells of the first row look like names, and some of them are unlike the cells below.

    A cell is unlike the cells below if they are all numbers, or if each of them occurs several times, as classes do.
    A single column counts only if its first cell is a known column name.
    """
    if not _are_names(rows[0]) or _occurs_again(rows):
        return False
    if len(rows[0]) == 1:
        return _plain(rows[0][0]) in _KNOWN
    return len(rows) > _MANY_ROWS and any(_is_unlike(column[1:]) for column in zip(*rows, strict=True))


def _are_names(cells: Sequence[str]) -> bool:
    return all(_NAME.fullmatch(cell.strip()) for cell in cells)


def _are_scores(below: Sequence[str]) -> bool:
    is_number = all(_NUMBER.fullmatch(cell.strip()) for cell in below)
    return is_number and any("." in cell for cell in below)


def _is_unlike(below: Sequence[str]) -> bool:
    if all(_NUMBER.fullmatch(cell.strip()) for cell in below):
        return True
    return min(Counter(cell.strip() for cell in below).values()) > 1


def _occurs_again(rows: Sequence[Sequence[str]]) -> bool:
    columns = zip(*rows, strict=True)
    return any(_plain(cell) in map(_plain, column[1:]) for cell, column in zip(rows[0], columns, strict=True))


def _plain(cell: str) -> str:
    return "_".join(cell.split()).casefold()
