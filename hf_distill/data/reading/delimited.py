"""Read CSV and TSV files."""

from __future__ import annotations

import re
from collections.abc import Sequence

import pyarrow as pa
from datasets import Dataset

from hf_distill.data.reading.conll import looks_like_conll, read_conll
from hf_distill.data.reading.content import Content
from hf_distill.data.reading.dialects import DELIMITERS, PLAIN, Rows, detect_delimiter, parse
from hf_distill.data.reading.encodings import decode
from hf_distill.data.reading.headers import is_certainly_header, may_be_header
from hf_distill.data.reading.json_rows import refuse_json
from hf_distill.data.reading.options import ReadOptions
from hf_distill.data.reading.text_lines import MARK, clean_name, split_lines, without_inner_marks
from hf_distill.data.table import Source, Table, counted

_NUMBER = re.compile(r"[-+]?\d+([.,]\d+)?")
_EXCEL_HINT = re.compile(r"sep=(.)", re.IGNORECASE)


def read_delimited(content: Content, options: ReadOptions) -> Table:
    """Read a CSV or TSV file. All cells are read as text.

    The delimiter and the quoting are detected from the content, not from the suffix. Blank lines, a line `sep=;`,
    comment lines before the header and repetitions of the header are left out. If `options` has column names, the
    file has no header; but a first line with these names, or with another number of cells, is read as the header.

    Raises:
        ValueError: if rows have different numbers of cells, if quotes do not match, if two columns have the same
            name, or if the file holds JSON. The message names the file and the line.
    """
    text, encoding = decode(content, options.encoding)
    expected = "\t" if content.suffix in (".tsv", ".tab") else ","
    if expected == "\t" and options.column_names is None and looks_like_conll(text):
        return read_conll(content, options)
    text, num_marks = without_inner_marks(text)
    refuse_json(text, content.path)
    notes = [f"left out: {counted(num_marks, 'byte-order mark')} inside the file"] if num_marks else []
    num_skipped, delimiter = _skip_to_header(text, expected, options.column_names, notes)
    rows, quoting = parse(_after_lines(text, num_skipped), delimiter, delimiter == "\t")
    rows = Rows(rows.cells, [line + num_skipped for line in rows.lines] if num_skipped else rows.lines, rows.error)
    _check(rows, content.path, delimiter, num_skipped)
    names, has_header = _header(rows, content.path, options.column_names, notes)
    rows = _without_repetitions(rows, has_header, notes)
    columns = list(zip(*rows.cells[has_header:], strict=True)) or [()] * len(names)
    source = Source(
        content.path,
        content.name,
        "TSV" if delimiter == "\t" else "CSV",
        delimiter,
        None if quoting == PLAIN else quoting,
        encoding,
        tuple(notes),
        _doubt_about_row(rows, has_header),
    )
    return Table(
        source,
        Dataset.from_dict({name: pa.array(cells, pa.string()) for name, cells in zip(names, columns, strict=True)}),
        line_of=lambda row: rows.lines[row + has_header],
        header_doubt=_header_doubt(rows, columns, options.column_names) if has_header else None,
    )


def _skip_to_header(text: str, expected: str, column_names: Sequence[str] | None, notes: list[str]) -> tuple[int, str]:
    """Return the number of lines before the header, and the delimiter."""
    lines = split_lines(text[:100_000])
    num_columns = None if column_names is None else len(column_names)
    start = next((i for i, line in enumerate(lines) if line.strip()), 0)
    hint = _EXCEL_HINT.fullmatch(lines[start].strip().strip('"') if start < len(lines) else "")
    if hint is not None:
        notes.append(f"line {start + 1} is `sep={hint[1]}`")
        return start + 1, hint[1]
    comments = next((i for i, line in enumerate(lines[start:]) if not line.startswith("#")), 0)
    if not comments:
        return start, detect_delimiter(text, expected, num_columns)
    delimiter = detect_delimiter(_after_lines(text, start + comments), expected, num_columns)
    width, first = lines[start + comments].count(delimiter), lines[start]
    if first.count(delimiter) == width and (width or first[1:2] != " "):  # a header can start with `#`
        return start, detect_delimiter(text, expected, num_columns)
    notes.append(f"left out: {counted(comments, 'comment line')} before the header")
    return start + comments, delimiter


def _after_lines(text: str, number: int) -> str:
    end, position = "\n" if "\n" in text else "\r", 0
    for _ in range(number):
        position = text.find(end, position) + 1
    return text[position:]


def _check(rows: Rows, path: str, delimiter: str, num_skipped: int) -> None:
    if rows.error is not None:
        line, _, reason = rows.error.removeprefix("line ").partition(": ")
        raise ValueError(
            f"{path}, line {int(line) + num_skipped}: {reason}. Put cells that contain quotes in double quotes, and "
            'double the quotes inside ("he said ""no"""), or save the file as JSON Lines.'
        )
    if not rows.is_whole:
        odd = rows.odd_rows
        row, header = odd[0], rows.cells[0]
        raise ValueError(
            f"{path}, line {rows.lines[row]}: {len(rows.cells[row])} columns, where the header has {len(header)}: "
            f"{_short(rows.cells[row])} under {_short(header)}"
            + (f", and {counted(len(odd) - 1, 'more line')} like it" if len(odd) > 1 else "")
            + f". Put cells that contain the delimiter ({DELIMITERS.get(delimiter, delimiter)}) in double quotes, or "
            "correct the lines."
        )


def _short(cells: Sequence[str]) -> str:
    return str([cell if len(cell) <= 40 else f"{cell[:37]}..." for cell in cells[:12]])


def _header(rows: Rows, path: str, column_names: tuple[str, ...] | None, notes: list[str]) -> tuple[list[str], bool]:
    """Return the column names, and whether the first row is a header."""
    first = rows.cells[0] if rows.cells else []
    names = [clean_name(cell) for cell in first]
    if column_names is not None and (not first or len(first) == len(column_names)):
        is_header = [name.casefold() for name in names] == [name.casefold() for name in column_names]
        if not is_header and sorted(map(str.casefold, names)) == sorted(map(str.casefold, column_names)):
            raise ValueError(
                f"{path}, line {rows.lines[0]}: the header has the columns in the order {', '.join(names)}, and "
                f"--column_names (`column_names`) says {', '.join(column_names)}. Leave it out: the file has a header."
            )
        if is_header:
            notes.append(f"left out: line {rows.lines[0]}, which has the names of --column_names")
        elif first and is_certainly_header(rows.cells):
            raise ValueError(
                f"{path}, line {rows.lines[0]} is a header with the columns {', '.join(names)}, and --column_names "
                f"(`column_names`) says {', '.join(column_names)}. --column_names is for files without a header. "
                f"Leave it out{_hint(names, column_names)}, or remove the line."
            )
        return list(column_names), is_header
    if column_names is not None:
        notes.append(f"line {rows.lines[0]} is read as the header: it has {len(first)} cells, not {len(column_names)}")
    if changed := [(cell, name) for cell, name in zip(first, names, strict=True) if cell.strip(MARK) != name]:
        notes.append("header: " + ", ".join(f"{cell!r} is read as {name!r}" for cell, name in changed))
    if any("\x00" in name for name in names):
        raise ValueError(f"{path}, line {rows.lines[0]}: a zero byte in the header {_short(first)}. Remove it.")
    if twice := [name for name in dict.fromkeys(names) if name and names.count(name) > 1]:
        raise ValueError(
            f"{path}, line {rows.lines[0]}: two columns of the same name {twice[0]!r} in the header {_short(first)}. "
            "Rename one. If the line is a row and not a header, pass --column_names text,label (`column_names`)."
        )
    return [name or f"(column {i} without a name)" for i, name in enumerate(names, start=1)], bool(first)


def _hint(names: Sequence[str], column_names: Sequence[str]) -> str:
    """Return the flags that choose the columns which the user named, by their names in the header."""
    named = dict(zip(map(str.casefold, column_names), names, strict=True))
    text = ["--text_column_names", named["text"]] if "text" in named else []
    label = ["--label_column_name", named["label"]] if "label" in named else []
    return f" and pass {' '.join([*text, *label])}" if text or label else ""


def _doubt_about_row(rows: Rows, has_header: bool) -> tuple[str, ...]:
    """Return a warning if the first row may be a header although the user named the columns."""
    if has_header or not rows.cells or not may_be_header(rows.cells):
        return ()
    return (
        f"line {rows.lines[0]} is read as a row, but {_short(rows.cells[0])} looks like a header. If it is one, leave "
        "out --column_names (`column_names`)",
    )


def _without_repetitions(rows: Rows, has_header: bool, notes: list[str]) -> Rows:
    """Leave out rows that repeat the header, as in a file that was joined from several files."""
    if not has_header or len(rows.cells[0]) < 2:
        return rows
    header = rows.cells[0]
    kept = [i for i, cells in enumerate(rows.cells) if i == 0 or cells != header]
    if len(kept) == len(rows.cells):
        return rows
    notes.append(f"left out: {counted(len(rows.cells) - len(kept), 'repetition')} of the header")
    return Rows([rows.cells[i] for i in kept], [rows.lines[i] for i in kept])


def _header_doubt(rows: Rows, columns: Sequence[Sequence[str]], column_names: tuple[str, ...] | None) -> str | None:
    """Return why the first line may be a row; None if it looks like a header."""
    if not rows.cells:
        return None
    header, where = rows.cells[0], f"line {rows.lines[0]} is read as the header, but"
    if column_names is not None:
        return f"{where} it has {len(header)} cells, and --column_names has {len(column_names)} names"
    if numbers := [cell for cell in header if _NUMBER.fullmatch(cell.strip())]:
        return f"{where} its cell {numbers[0]!r} is a number"
    repeated = [cell for cell, below in zip(header, columns, strict=True) if cell and cell in below[:1000]]
    if repeated and len(header) > 1:
        return f"{where} its cell {repeated[0]!r} is also in a row below"
    if len(header) == 1 and (parts := re.split(r"[^\w ]+", header[0])) and len(parts) > 1 and "label" in parts:
        return f"{where} {header[0]!r} looks like several names with an unknown delimiter"
    if len(header) == 1 and columns[0]:
        if len(header[0].split()) > 1 or any(len(cell.split()) == 1 for cell in columns[0][:1000]):
            return f"{where} {header[0]!r} could be a text"
    return None
