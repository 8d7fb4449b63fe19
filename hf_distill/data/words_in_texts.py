"""Refuse words and tags that are written as text, where lists are expected."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from hf_distill.data.columns import as_list
from hf_distill.data.labels.lists import parse_list
from hf_distill.data.table import Table

_TAG = re.compile(r"O|[BIESLUMW][-_]\S+")
_TAG_NAMES = ("tags", "ner_tags")
_LABEL_NAMES = ("label", "labels")
_SAMPLE = 100  # rows


def refuse_words_in_texts(
    table: Table, text_names: str | Sequence[str] | None, label_name: str | Sequence[str] | None
) -> None:
    """Refuse a table whose words and tags are not both lists, such as `{"tokens": "a film", "ner_tags": "O O"}`.

    Args:
        table: The table. Its columns of words and tags are not both lists.
        text_names: The text columns that the user names, if any.
        label_name: The label column that the user names, if any.

    Raises:
        ValueError: if words or tags are text. The message shows the first row.
    """
    words, tags = _only(table, text_names, ("tokens",)), _only(table, label_name, (*_TAG_NAMES, *_LABEL_NAMES))
    if words is None or tags is None or words == tags:
        return
    rows = [
        (row, *cells)
        for row, cells in enumerate(zip(_values(table, words), _values(table, tags), strict=True))
        if None not in cells
    ]
    if not rows or not _are_words_and_tags(rows, label_name is None and tags.casefold() in _TAG_NAMES):
        return
    row, first_words, first_tags = rows[0]
    raise ValueError(
        f"{table.place(row)}: {words!r} is {_short(first_words)} and {tags!r} is {_short(first_tags)}. Words and tags "
        'must be lists, such as ["a", "film"] and ["O", "B-work"]. Write lists to a JSON Lines or Parquet file, or '
        "write a CoNLL file with a word and its tag on each line. If the rows are texts with a label, name the label "
        "with --label_column_name (`label_column_name`)."
    )


def _only(table: Table, given: str | Sequence[str] | None, known: Sequence[str]) -> str | None:
    """Return the column that the user names; None if the user names several. Else the first known column."""
    names = as_list(given)
    if names is not None:
        return table.find(names[0]) if len(names) == 1 else None
    return next((column for name in known if (column := table.find(name)) is not None), None)


def _values(table: Table, name: str) -> Sequence[Any]:
    values = table.mixed[name] if name in table.mixed else table.dataset.data.column(name)[:_SAMPLE].to_pylist()
    return values[:_SAMPLE]


def _are_words_and_tags(rows: Sequence[tuple[int, Any, Any]], has_tag_name: bool) -> bool:
    """Whether rows, of which one or both columns are text, are meant to be words and tags."""
    words = [words for _, words, _ in rows]
    if all(isinstance(cell, list) for cell in words):
        return True  # the tags are not lists
    if all(isinstance(cell, str) and _parts(cell) != cell.split() for cell in words):
        return True  # lists that are written as text
    if not all(isinstance(cell, str) for cell in words):
        return False
    if has_tag_name:
        return True
    pairs = [(_parts(text), cell if isinstance(cell, list) else _parts(str(cell))) for _, text, cell in rows]
    are_tags = all(_TAG.fullmatch(str(tag)) for _, tag_list in pairs for tag in tag_list)
    return (
        are_tags and all(len(text) == len(tag_list) for text, tag_list in pairs) and any(len(t) > 1 for _, t in pairs)
    )


def _parts(text: str) -> list[Any]:
    """Return the items of a list that is written as text, else the words."""
    items = parse_list(text)
    return text.split() if items is None else items


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
