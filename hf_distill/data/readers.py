"""Files of rows: CSV, TSV, JSON, Parquet, CoNLL, and text with one row a line."""

from __future__ import annotations

import csv
import json
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from datasets import Dataset

PathLike = str | os.PathLike[str]

# A number with leading zeros is a code, and more than 18 digits are an identifier: neither is for arithmetic.
_INTEGER = re.compile(r"-?(0|[1-9]\d{0,17})")
_FLOAT = re.compile(r"-?(0|[1-9]\d{0,17})(\.\d+)?([eE][+-]?\d+)?")


def read_file(file: PathLike) -> Dataset:
    """Read a CSV, TSV, JSON, Parquet, CoNLL or text file.

    Cells of CSV and TSV become numbers where a whole column does. A CoNLL file (`.conll`, `.bio`, `.iob`) has a word
    a line, its tag in the last of the columns if there are several, and an empty line between sentences; it becomes
    the columns `tokens` and `tags`.

    Raises:
        FileNotFoundError: if it is not there.
        ValueError: that names file and line, for what cannot be read.
    """
    path = Path(file)
    suffix = path.suffix.lower()
    if not path.is_file():
        raise FileNotFoundError(f"There is no file {path}.")
    if suffix == ".txt":
        lines = path.read_text(encoding="utf-8-sig").split("\n")
        return Dataset.from_dict({"text": [line.strip() for line in lines if line.strip()]})
    if suffix == ".parquet":
        return Dataset.from_parquet(str(path))
    if suffix in (".json", ".jsonl"):
        return _read_json(path)
    if suffix in (".csv", ".tsv"):
        return _read_delimited(path, suffix)
    if suffix in (".conll", ".bio", ".iob"):
        return _read_conll(path)
    raise ValueError(f"{path} ends in {suffix!r}; .csv, .tsv, .json, .jsonl, .parquet, .conll or .txt is wanted.")


def _read_delimited(path: Path, suffix: str) -> Dataset:
    is_csv = suffix == ".csv"
    with open(path, encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(
            file,
            delimiter="," if is_csv else "\t",
            quoting=csv.QUOTE_MINIMAL if is_csv else csv.QUOTE_NONE,
            strict=True,  # an unbalanced quote is an error instead of a text of many lines
        )
        try:
            header = next(reader, [])
            rows = []
            for row in filter(None, reader):  # a blank line is no row
                if len(row) != len(header):
                    raise ValueError(f"{len(row)} columns, where the header has {len(header)}: {header}")
                rows.append(row)
        except (csv.Error, ValueError) as error:
            raise ValueError(f"{path}, line {reader.line_num}: {error}.") from error
    if len(set(header)) < len(header):
        raise ValueError(f"{path} has two columns of the same name: {header}. Rename one.")
    columns = zip(*rows, strict=True) if rows else [()] * len(header)
    return Dataset.from_dict({name: _typed(cells) for name, cells in zip(header, columns, strict=True)})


def _typed(cells: Sequence[str]) -> list[Any]:
    """Cells as integers, floats or text, whichever the whole column is; None for the empty ones."""
    present = [cell for cell in cells if cell]
    for pattern, number in ((_INTEGER, int), (_FLOAT, float)):
        if all(pattern.fullmatch(cell) for cell in present):
            return [number(cell) if cell else None for cell in cells]
    return [cell or None for cell in cells]


def _read_json(path: Path) -> Dataset:
    text = path.read_text(encoding="utf-8-sig")
    try:
        # Not `splitlines`: a text may hold separators of Unicode, such as U+2028, that end no line of JSON.
        rows = (
            json.loads(text)
            if text.lstrip().startswith("[")
            else [json.loads(line) for line in text.split("\n") if line.strip()]
        )
        names = list(dict.fromkeys(name for row in rows for name in row.keys()))
        return Dataset.from_dict({name: [row.get(name) for row in rows] for name in names})
    except (ValueError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{path}: {error}. Wanted is one JSON object a line, or a list of objects, each column of one type."
        ) from error


def _read_conll(path: Path) -> Dataset:
    sentences: list[list[list[str]]] = [[]]
    num_columns = None
    for number, line in enumerate(path.read_text(encoding="utf-8-sig").split("\n"), start=1):
        # Not `split()`: a word may be, or hold, a space of Unicode.
        cells = [cell for cell in re.split(r"[ \t\r]+", line) if cell]
        if not cells or cells[0] == "-DOCSTART-":
            sentences.append([])
            continue
        num_columns = num_columns or len(cells)
        if len(cells) != num_columns:
            raise ValueError(
                f"{path}, line {number}: {len(cells)} columns, where the first word has {num_columns}: {line!r}."
            )
        sentences[-1].append(cells)
    rows = [sentence for sentence in sentences if sentence]
    columns = {"tokens": 0, "tags": -1} if num_columns != 1 else {"tokens": 0}
    return Dataset.from_dict({name: [[cells[i] for cells in row] for row in rows] for name, i in columns.items()})
