"""Detect how a CSV or TSV file separates and quotes its cells, and split it into rows."""

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

# How a quote inside a quoted cell is written -> options of the `csv` module.
_DOUBLED, _BACKSLASH = "doubled quotes", "backslash before quotes"
_BLANKS = "doubled quotes, blanks after delimiters"
_QUOTING: dict[str, dict[str, Any]] = {
    _DOUBLED: {"strict": True},
    _BACKSLASH: {"strict": True, "escapechar": "\\", "doublequote": False},
    _BLANKS: {"strict": True, "skipinitialspace": True},
}
PLAIN = "quotes are plain characters"
# Start of a message of the `csv` module -> the problem in the file.
_REASONS = {
    "unexpected end of data": "a quoted cell is never closed",
    "new-line character seen": "a cell without quotes contains a carriage return",
    "'": "text or a blank follows the closing quote of a cell",
}


@dataclass(frozen=True)
class Rows:
    """The cells of each row, without blank lines.

    Attributes:
        cells: The rows.
        lines: The line at which each row starts, counted from 1.
        error: The line and the reason at which the parser stopped; None if it reached the end.
    """

    cells: list[list[str]]
    lines: Sequence[int]
    error: str | None = None

    @property
    def odd_rows(self) -> list[int]:
        """The rows whose number of cells differs from the first row."""
        width = len(self.cells[0]) if self.cells else 0
        return [row for row, cells in enumerate(self.cells) if len(cells) != width]

    @property
    def is_whole(self) -> bool:
        """Whether the parser reached the end and all rows have the same number of cells."""
        return self.error is None and len(set(map(len, self.cells))) <= 1


def detect_delimiter(text: str, expected: str, num_columns: int | None = None) -> str:
    """Return the delimiter of a file.

    It is the expected one, unless the lines agree better on the number of cells with another delimiter.

    Args:
        text: The file, starting with its header.
        expected: The delimiter that belongs to the suffix: a comma or a tab.
        num_columns: The number of columns, if the user named the columns.
    """
    lines = split_lines(text[: 1 << 20])
    sample = [line for line in lines[:_SAMPLE_LINES] if line.strip()]
    scores = {}
    for delimiter in dict.fromkeys((expected, *DELIMITERS)):
        width, share = _agreement(sample, delimiter)
        is_right = width == num_columns if num_columns is not None else width > 1
        scores[delimiter] = share if is_right else 0.0
    best = max(scores, key=lambda delimiter: scores[delimiter])  # on equal scores the expected one, which comes first
    return best if scores[best] > 0.5 else expected


def has_columns(text: str, num_columns: int) -> bool:
    """Whether some delimiter splits more than half of the first lines into a number of cells."""
    lines = split_lines(text[: 1 << 20])
    sample = [line for line in lines[:_SAMPLE_LINES] if line.strip()]
    agreements = (_agreement(sample, delimiter) for delimiter in DELIMITERS)
    return any(width == num_columns and share > 0.5 for width, share in agreements)


def _agreement(sample: Sequence[str], delimiter: str) -> tuple[int, float]:
    """Return the number of cells of the first line, and the share of rows with the same number."""
    quoted: list[int] = []
    with _long_fields(), suppress(csv.Error):
        quoted = [len(cells) for cells in csv.reader([f"{line}\n" for line in sample], delimiter=delimiter)]
    plain = [line.count(delimiter) + 1 for line in sample]
    widths = max((quoted, plain), key=lambda counts: counts.count(counts[0]) / len(counts) if counts else 0.0)
    return (widths[0], widths.count(widths[0]) / len(widths)) if widths else (0, 0.0)


def parse(text: str, delimiter: str, is_tsv: bool) -> tuple[Rows, str]:
    """Split a text into rows of cells, and detect how cells are quoted.

    In a CSV file, quotes quote cells. In a TSV file they can be plain characters (GLUE), or quote the cells that need
    it (pandas) or all cells (R). A TSV file is read as quoted only if quoting explains every quote in it.

    Returns:
        The rows, with `error` set if they cannot be split, and the name of the way of quoting; `PLAIN` for none.
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
    # The wrong way of quoting reads a closing quote as text, and then the following rows as part of the cell.
    best = max(whole, key=lambda quoting: len(whole[quoting].cells)) if whole else next(iter(parsed))
    if best == _DOUBLED and _BLANKS in whole and _has_quotes_after_blanks(whole[_DOUBLED]):
        best = _BLANKS
    rows = parsed[best]
    if is_tsv and plain.is_whole and len(plain.cells[0]) > 1 and not (rows.is_whole and _explains(plain, rows)):
        return plain, PLAIN
    swallowing = _first_that_swallows(rows, text, delimiter) if rows.is_whole else None
    if swallowing is not None:
        reason = "a quoted cell goes on over several lines, although each of them looks like a whole row"
        return Rows(rows.cells, rows.lines, f"line {rows.lines[swallowing]}: {reason}"), best
    return rows, best


def _first_that_swallows(rows: Rows, text: str, delimiter: str) -> int | None:
    """Return the first row of several lines that all look like whole rows; None if there is none.

    A line looks like a whole row if it has as many cells as the header, and if one of the cells is also a cell of
    this column in another row.
    """
    if isinstance(rows.lines, range) or len(rows.cells[0]) < 2:
        return None
    lines, columns = split_lines(text), [Counter(cells) for cells in zip(*rows.cells, strict=True)]
    for row, cells in enumerate(rows.cells):
        if not any("\n" in cell for cell in cells):
            continue
        end = rows.lines[row] - 1 + sum(cell.count("\n") for cell in cells) + 1
        parts_of_lines = [line.split(delimiter) for line in lines[rows.lines[row] - 1 : end]]
        if all(len(parts) == len(cells) and _shares_a_value(parts, cells, columns) for parts in parts_of_lines):
            return row
    return None


def _shares_a_value(parts: Sequence[str], cells: Sequence[str], columns: Sequence[Counter[str]]) -> bool:
    return any(part in column and "\n" not in cell for part, cell, column in zip(parts, cells, columns, strict=True))


def _escapes_quotes(text: str, delimiter: str, num_rows: int) -> bool:
    """Whether all quotes inside cells follow a backslash.

    The `csv` module does not check this: with an escape character it reads text after a closing quote without error.
    """
    rows = _parse_quoted(re.sub(r"\\.", "", text, flags=re.DOTALL), delimiter, _DOUBLED)
    return rows.is_whole and len(rows.cells) == num_rows and not any('"' in cell for row in rows.cells for cell in row)


def _candidates(text: str, delimiter: str) -> list[str]:
    backslash = [_BACKSLASH] if '\\"' in text else []
    has_blanks = re.search(rf'(?:^|{re.escape(delimiter)}) +"', text, re.MULTILINE) is not None
    return [_DOUBLED, *backslash, *([_BLANKS] if has_blanks else [])]


def _has_quotes_after_blanks(rows: Rows) -> bool:
    """Whether a blank comes before the opening quote of a cell, so that the quotes would be part of the cell."""
    return any(cell[:1] == " " and cell.lstrip()[:1] == '"' for cells in rows.cells for cell in cells)


def _are_around_cells(plain: Rows) -> bool:
    """Whether every cell that contains a quote also starts and ends with one."""
    return all(
        cell.startswith('"') and cell.endswith('"') and len(cell) > 1
        for cells in plain.cells
        for cell in cells
        if '"' in cell
    )


def _explains(plain: Rows, quoted: Rows) -> bool:
    """Whether a program wrote the quotes that quotes the cells which need it, or all cells of a column."""
    if len(quoted.cells) < len(plain.cells):
        return False  # a cell of several lines that are all whole rows
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
    if quoting == _BACKSLASH:
        source = _keep_other_backslashes(source, delimiter)
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


def _keep_other_backslashes(text: str, delimiter: str) -> str:
    r"""Double each backslash that escapes nothing, as in `C:\data`: the `csv` module removes every single one."""
    pattern = rf'\\(?:["\\\r\n{re.escape(delimiter)}])?'
    return re.sub(pattern, lambda match: match[0] if len(match[0]) > 1 else "\\\\", text)


def _row_starts(source: str, delimiter: str, quoting: str, num_rows: int) -> list[int]:
    """Return the line at which each row starts, and the line after the last row."""
    reader = csv.reader(io.StringIO(source), delimiter=delimiter, **_QUOTING[quoting])
    starts = [1]
    for _ in range(num_rows):
        next(reader)
        starts.append(reader.line_num + 1)
    return starts


def _without_blank_rows(rows: list[list[str]], lines: Sequence[int]) -> Rows:
    """Leave out rows that contain only white space."""
    starts_blank = [i for i, row in enumerate(rows) if not row or not row[0] or row[0].isspace()]
    blank = {i for i in starts_blank if not any(map(str.strip, rows[i]))}
    if not blank:
        return Rows(rows, lines)
    kept = [i for i in range(len(rows)) if i not in blank]
    return Rows([rows[i] for i in kept], [lines[i] for i in kept])


@contextmanager
def _long_fields() -> Iterator[None]:
    """Remove the limit of the `csv` module on the length of a cell, which is 131,072 characters."""
    before = csv.field_size_limit(sys.maxsize)
    try:
        yield
    finally:
        csv.field_size_limit(before)
