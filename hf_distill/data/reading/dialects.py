"""How a table of text separates and quotes its cells."""

from __future__ import annotations

import csv
import io
import re
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from hf_distill.data.reading.text_lines import split_lines

DELIMITERS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "vertical bar"}
_SAMPLE_LINES = 300

# How a quote within a cell is written -> what tells the `csv` module so. `plain`: quotes are characters like others.
_DOUBLED, _BACKSLASH = "doubled quotes", "backslash before quotes"
_BLANKS = "doubled quotes, blanks after delimiters"
_QUOTING: dict[str, dict[str, Any]] = {
    _DOUBLED: {"strict": True},
    _BACKSLASH: {"strict": True, "escapechar": "\\", "doublequote": False},
    _BLANKS: {"strict": True, "skipinitialspace": True},
}
PLAIN = "quotes are plain characters"
# What the `csv` module says -> what a reader of the file sees.
_REASONS = {
    "unexpected end of data": "a quote opens a cell and nothing closes it",
    "new-line character seen": "a carriage return stands in a cell without quotes",
    "'": "a quote closes a cell, and more text follows before the delimiter",
}


@dataclass(frozen=True)
class Rows:
    """Cells by row, without blank lines.

    Attributes:
        cells: The rows; the first has as many cells as every other one if the file is whole.
        lines: The line at which each row starts, from 1.
        error: What ended the reading early, with its line; None if nothing did.
    """

    cells: list[list[str]]
    lines: Sequence[int]
    error: str | None = None

    @property
    def odd_rows(self) -> list[int]:
        """The rows that have another number of cells than the first one."""
        width = len(self.cells[0]) if self.cells else 0
        return [row for row, cells in enumerate(self.cells) if len(cells) != width]

    @property
    def is_whole(self) -> bool:
        """Whether every row was read and has as many cells as the first one."""
        return self.error is None and len(set(map(len, self.cells))) <= 1


def detect_delimiter(text: str, expected: str, num_columns: int | None = None) -> str:
    """Find the character between the cells.

    It is the one that the file's name promises, unless the lines of the file agree on another one.

    Args:
        text: The file, from its header on.
        expected: The delimiter of the suffix: a comma, or a tab.
        num_columns: How many columns there are, if the user has named them.
    """
    lines = split_lines(text[: 1 << 20])
    sample = [line for line in lines[:_SAMPLE_LINES] if line.strip()]
    scores = {}
    for delimiter in dict.fromkeys((expected, *DELIMITERS)):
        width, share = _agreement(sample, delimiter)
        is_right = width == num_columns if num_columns is not None else width > 1
        scores[delimiter] = share if is_right else 0.0
    best = max(scores, key=lambda delimiter: scores[delimiter])  # the expected one of equals, which comes first
    return best if scores[best] > 0.5 else expected


def _agreement(sample: Sequence[str], delimiter: str) -> tuple[int, float]:
    """Return the cells of the first line, and the share of rows that have as many."""
    quoted: list[int] = []
    with _long_fields(), suppress(csv.Error):
        quoted = [len(cells) for cells in csv.reader([f"{line}\n" for line in sample], delimiter=delimiter)]
    plain = [line.count(delimiter) + 1 for line in sample]
    widths = max((quoted, plain), key=lambda counts: counts.count(counts[0]) / len(counts) if counts else 0.0)
    return (widths[0], widths.count(widths[0]) / len(widths)) if widths else (0, 0.0)


def parse(text: str, delimiter: str, is_tsv: bool) -> tuple[Rows, str]:
    """Split a text into rows of cells, and say how it quotes them.

    Quotes around cells are quotes of a CSV file. A TSV file can be of either kind: its quotes are plain characters
    (GLUE), or it quotes the cells that need it (pandas), or all of them (R). It is of the second kind if that explains
    every quote in it.

    Returns:
        The rows, which can be odd or end early, and a key of the ways to quote; `PLAIN` if there is no quoting.
    """
    if '"' not in text:
        return _parse_plain(text, delimiter), PLAIN
    if is_tsv:
        plain = _parse_plain(text, delimiter)
        if plain.is_whole and len(plain.cells[0]) > 1 and not _are_around_cells(plain):
            return plain, PLAIN
    parsed = {quoting: _parse_quoted(text, delimiter, quoting) for quoting in _candidates(text, delimiter)}
    if _BACKSLASH in parsed and not _escapes_quotes(text, delimiter, len(parsed[_BACKSLASH].cells)):
        del parsed[_BACKSLASH]
    whole = {quoting: rows for quoting, rows in parsed.items() if rows.is_whole}
    # A way to quote that is wrong takes a quote for a part of a cell, and with it the rows behind it.
    best = max(whole, key=lambda quoting: len(whole[quoting].cells)) if whole else next(iter(parsed))
    rows = parsed[best]
    if is_tsv and plain.is_whole and len(plain.cells[0]) > 1 and not (rows.is_whole and _explains(plain, rows)):
        return plain, PLAIN
    swallowing = _first_that_swallows(rows, text, delimiter) if rows.is_whole else None
    if swallowing is not None:
        reason = "a quote opens a cell that ends in a later line, although each of these lines is a whole row"
        return Rows(rows.cells, rows.lines, f"line {rows.lines[swallowing]}: {reason}"), best
    return rows, best


def _first_that_swallows(rows: Rows, text: str, delimiter: str) -> int | None:
    """Return the first row over several lines of which each is a row of its own; None if there is none.

    A line is one if it has as many cells as the header, and one of them is the value of that column in another row.
    """
    if isinstance(rows.lines, range) or len(rows.cells[0]) < 2:
        return None
    lines, columns = split_lines(text), [Counter(cells) for cells in zip(*rows.cells, strict=True)]
    for row, cells in enumerate(rows.cells):
        if not any("\n" in cell for cell in cells):
            continue
        end = rows.lines[row] - 1 + sum(cell.count("\n") for cell in cells) + 1
        own = [line.split(delimiter) for line in lines[rows.lines[row] - 1 : end]]
        if all(len(parts) == len(cells) and _shares_a_value(parts, cells, columns) for parts in own):
            return row
    return None


def _shares_a_value(parts: Sequence[str], cells: Sequence[str], columns: Sequence[Counter[str]]) -> bool:
    return any(part in column and "\n" not in cell for part, cell, column in zip(parts, cells, columns, strict=True))


def _escapes_quotes(text: str, delimiter: str, num_rows: int) -> bool:
    """Whether a file is well-formed without what follows backslashes, and has no other quotes within cells.

    Where backslashes escape quotes, the `csv` module takes what follows a closing quote for text and refuses nothing.
    """
    rows = _parse_quoted(re.sub(r"\\.", "", text, flags=re.DOTALL), delimiter, _DOUBLED)
    return rows.is_whole and len(rows.cells) == num_rows and not any('"' in cell for row in rows.cells for cell in row)


def _candidates(text: str, delimiter: str) -> list[str]:
    backslash = [_BACKSLASH] if '\\"' in text else []
    return [_DOUBLED, *backslash, *([_BLANKS] if f'{delimiter} "' in text else [])]


def _are_around_cells(plain: Rows) -> bool:
    """Whether every cell that holds a quote starts and ends with one."""
    return all(
        cell.startswith('"') and cell.endswith('"') and len(cell) > 1
        for cells in plain.cells
        for cell in cells
        if '"' in cell
    )


def _explains(plain: Rows, quoted: Rows) -> bool:
    """Whether a program that quotes all cells of a column, or the cells that need it, has written the quotes."""
    if len(quoted.cells) < len(plain.cells):
        return False  # a cell of several lines, each of which is a whole row
    num_quoted = Counter[int]()  # by column
    for raw, cells in zip(plain.cells, quoted.cells, strict=True):
        for column, (before, after) in enumerate(zip(raw, cells, strict=False)):
            if '"' in before:
                if any(char in after for char in '"\t\n\r'):
                    return True
                num_quoted[column] += 1
    num_rows = max(len(plain.cells) - 1, 2)  # some programs do not quote the header
    return any(number >= num_rows for number in num_quoted.values())


def _parse_plain(text: str, delimiter: str) -> Rows:
    lines = split_lines(text)
    rows = [line.split(delimiter) for line in lines]
    return _without_blank_rows(rows, range(1, len(rows) + 1))


def _parse_quoted(text: str, delimiter: str, quoting: str) -> Rows:
    source = text if "\n" in text else text.replace("\r", "\n")
    rows: list[list[str]] = []
    with _long_fields():
        reader = csv.reader(io.StringIO(source), delimiter=delimiter, **_QUOTING[quoting])
        try:
            for row in reader:
                rows.append(row)
        except csv.Error as error:
            reason = next((words for start, words in _REASONS.items() if str(error).startswith(start)), str(error))
        else:
            reason = ""
        if reader.line_num == len(rows) and not reason:
            return _without_blank_rows(rows, range(1, len(rows) + 1))
        starts = _row_starts(source, delimiter, quoting, len(rows))
    parsed = _without_blank_rows(rows, starts[:-1])
    return Rows(parsed.cells, parsed.lines, f"line {starts[-1]}: {reason}" if reason else None)


def _row_starts(source: str, delimiter: str, quoting: str, num_rows: int) -> list[int]:
    """Return the line at which each row starts, and the one at which the next row would."""
    reader = csv.reader(io.StringIO(source), delimiter=delimiter, **_QUOTING[quoting])
    starts = [1]
    for _ in range(num_rows):
        next(reader)
        starts.append(reader.line_num + 1)
    return starts


def _without_blank_rows(rows: list[list[str]], lines: Sequence[int]) -> Rows:
    """Leave out rows without a single character that is seen."""
    starts_blank = [i for i, row in enumerate(rows) if not row or not row[0] or row[0].isspace()]
    blank = {i for i in starts_blank if not any(map(str.strip, rows[i]))}
    if not blank:
        return Rows(rows, lines)
    kept = [i for i in range(len(rows)) if i not in blank]
    return Rows([rows[i] for i in kept], [lines[i] for i in kept])


@contextmanager
def _long_fields() -> Iterator[None]:
    """Lift the limit of the `csv` module on the length of a cell, 131,072 characters."""
    before = csv.field_size_limit(sys.maxsize)
    try:
        yield
    finally:
        csv.field_size_limit(before)
