"""Read JSON files: one object per line, objects one after another, or a list of objects."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

from hf_distill.data.reading.content import Content
from hf_distill.data.reading.encodings import decode
from hf_distill.data.reading.options import ReadOptions
from hf_distill.data.reading.text_lines import split_lines, without_inner_marks
from hf_distill.data.table import Source, Table, table_of_values
from hf_distill.utils.json_text import unique_names

_BETWEEN = re.compile(r"[\s,\[]*")
_WANTED = "Expected one JSON object per line, or a list of objects"
_OBJECT_OR_LIST = re.compile(r'\s*(\[\s*)?\{\s*("|\})')


def read_json(content: Content, options: ReadOptions) -> Table:
    """Read objects as rows. A key that an object lacks is null in its row.

    Raises:
        ValueError: if the file is not JSON, or if a row is not an object. The message names the file and the line.
    """
    text, encoding = decode(content, options.encoding)
    text = without_inner_marks(text)[0]
    is_list = text.lstrip().startswith("[")
    if is_list:
        rows, line_of, kind = _read_list(text, content.path), _lines_of_objects(text), "JSON"
    else:
        rows, line_of, kind = _read_lines(text, content.path)
    for index, row in enumerate(rows):
        if not isinstance(row, dict):
            raise ValueError(
                f"{content.path}, line {line_of(index)}: row {index + 1} is {_short(row)}, not an object. {_WANTED}."
            )
    if not is_list:
        _refuse_wrapped(rows, content.path)
    names = list(dict.fromkeys(name for row in rows for name in row))
    columns = {name: [row.get(name) for row in rows] for name in names}
    return table_of_values(Source(content.path, content.name, kind, encoding=encoding), columns, line_of)


def _read_list(text: str, path: str) -> list[Any]:
    try:
        return _decoder().decode(text)
    except (json.JSONDecodeError, RecursionError) as error:
        raise _not_json(error, path, 0) from None
    except ValueError:  # an object that JSON allows and this reader does not; one by one, it has a line
        return _read_sequence(text, path)[0]


def _read_lines(text: str, path: str) -> tuple[list[Any], Callable[[int], int], str]:
    # Not `splitlines`: it also splits at U+2028 and other characters that JSON strings can contain.
    lines = split_lines(text)
    rows, numbers, decode = [], [], _decoder().decode  # `json.loads` does more for each line
    for number, line in enumerate(lines, start=1):
        if not line or line.isspace():
            continue
        try:
            rows.append(decode(line))
        except (ValueError, RecursionError) as error:
            if not rows:
                return (*_read_sequence(text, path), "JSON")
            raise _not_json(error, path, number - 1) from None
        numbers.append(number)
    return rows, numbers.__getitem__, "JSON Lines"


def _read_sequence(text: str, path: str) -> tuple[list[Any], Callable[[int], int]]:
    """Read objects of several lines each."""
    decoder, position, rows = _decoder(), 0, []
    while (position := _BETWEEN.match(text, position).end()) < len(text):  # type: ignore[union-attr]
        try:
            row, position = decoder.raw_decode(text, position)
        except (ValueError, RecursionError) as error:
            has_line = isinstance(error, json.JSONDecodeError)
            raise _not_json(error, path, 0 if has_line else text.count("\n", 0, position)) from None
        rows.append(row)
    return rows, _lines_of_objects(text)


def _decoder() -> json.JSONDecoder:
    return json.JSONDecoder(object_pairs_hook=unique_names, parse_constant=_constant)


def _constant(name: str) -> float | None:
    """Return null for NaN, which `json.dumps` writes for the missing values of pandas, in columns of texts, too."""
    return None if name == "NaN" else float(name)


def _lines_of_objects(text: str) -> Callable[[int], int]:
    def line_of(row: int) -> int:
        decoder, position = json.JSONDecoder(), 0
        for _ in range(row):
            position = decoder.raw_decode(text, _BETWEEN.match(text, position).end())[1]  # type: ignore[union-attr]
        return text.count("\n", 0, _BETWEEN.match(text, position).end()) + 1  # type: ignore[union-attr]

    return line_of


def _not_json(error: Exception, path: str, lines_before: int) -> ValueError:
    if isinstance(error, json.JSONDecodeError):
        place, reason = f"line {error.lineno + lines_before}, character {error.colno}", error.msg
    else:
        place, reason = f"line {lines_before + 1}", str(error)
    return ValueError(f"{path}, {place}: {reason}. {_WANTED}.")


def _refuse_wrapped(rows: list[dict[str, Any]], path: str) -> None:
    """Refuse one object that contains all rows or columns."""
    if len(rows) != 1:
        return
    if layout := _layout_of_columns(rows[0]):
        description, arguments = layout
        raise ValueError(
            f"{path} is {description}. {_WANTED}: in pandas, `read_json(path{arguments}).to_json('rows.jsonl', "
            "orient='records', lines=True)` converts it."
        )
    inside = {name: value for name, value in rows[0].items() if isinstance(value, list | dict)}
    lists = [name for name, value in inside.items() if isinstance(value, list) and isinstance((*value, None)[0], dict)]
    if lists:
        several = f"one of the lists {', '.join(map(repr, lists))}" if len(lists) > 1 else f"the list {lists[0]!r}"
        raise ValueError(f"{path} is one object with the keys {list(rows[0])}. {_WANTED}: save only {several}.")


def _layout_of_columns(row: dict[str, Any]) -> tuple[str, str] | None:
    """Return what an object that contains a whole table is, and how pandas reads it; None if the object is a row."""
    values = list(row.values())
    if {"columns", "data"} <= row.keys() and isinstance(row["data"], list) and isinstance(row["columns"], list):
        return (
            f"one object with the columns {row['columns']} and their rows, pandas' layout 'split'",
            ", orient='split'",
        )
    if values and all(isinstance(value, dict) for value in values):
        return f"one object with the columns {list(row)}, each of which maps row numbers to values", ""
    is_sentence = not {"tokens", "tags", "ner_tags"}.isdisjoint(row)  # a single row of words
    has_columns = len(row) > 1 and all(isinstance(value, list) for value in values)
    if has_columns and not is_sentence and not any(isinstance(item, dict) for value in values for item in value):
        return f"one object with the columns {list(row)}, each of which is a list of values", ""
    return None


def refuse_json(text: str, path: str) -> None:
    """Refuse JSON in a file of another suffix. Its lines would be read as texts, or as cells.

    Raises:
        ValueError: if the first line is a JSON object, or if the file is a list of objects.
    """
    if _OBJECT_OR_LIST.match(text) is None:
        return
    first = next(line for line in split_lines(text) if line.strip())
    if _is_json(first) or _is_json(text):
        raise ValueError(f"{path} holds JSON. Rename it to .jsonl (one object per line) or .json (a list of objects).")


def _is_json(text: str) -> bool:
    try:
        _decoder().decode(text)
    except (ValueError, RecursionError):
        return False
    return True


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
