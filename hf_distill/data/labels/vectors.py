"""Read labels with one number for each class: lists of equal length, or several columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from datasets import ClassLabel, List, Value

from hf_distill.data.labels.cells import CellReader, Scalars
from hf_distill.data.labels.result import Columns, Labels
from hf_distill.data.labels.settings import MULTI, REGRESSION, SINGLE, LabelSettings
from hf_distill.data.labels.spelling import form, map_to_paste
from hf_distill.data.table import Table, counted

Rows = Sequence[list[str] | None]
_TRUTH = {"True": 1.0, "False": 0.0}
_ZERO_OR_ONE = {"0", "1", "0.0", "1.0", *_TRUTH}


def rows_of_several_columns(table: Table, split: str, columns: Sequence[str], settings: LabelSettings) -> Rows:
    """Return the numbers of several columns in each row; None for rows where all are empty.

    Raises:
        ValueError: if a label is not a number, or if only some of the columns are empty in a row.
    """
    reader = CellReader(settings.mapping)
    cells = [reader.read(table, split, column) for column in columns]
    numbers = []
    for column in cells:
        if not isinstance(column, Scalars):
            raise ValueError(
                f"{table.source.path}: the label column {column.column!r} holds lists. Name only this column."
            )
        for label in column.values:
            if form(label) not in ("integer", "whole", "number", "bool"):
                raise ValueError(
                    f"{column.place(label)}: the label is {label!r}. Expected a number in each of several "
                    "label columns: 0, 1 or a score."
                )
        labels = [*(label.capitalize() for label in column.values), None]
        numbers.append([labels[code] for code in column.codes])
    rows: list[list[str] | None] = []
    for i, row in enumerate(zip(*numbers, strict=True)):
        present = [value for value in row if value is not None]
        if not present:
            rows.append(None)
        elif len(present) < len(row):
            raise ValueError(
                f"{table.place(i)}: some of the label columns are empty. Fill in all of them or none of them."
            )
        else:
            rows.append(present)
    return rows


def read_several_columns(columns: Columns, names: Sequence[str], settings: LabelSettings) -> Labels:
    """Read several label columns: 0 and 1 tell whether a row has a class, other numbers are scores.

    -1 in all columns marks a row that nobody labelled, unless the numbers are scores.
    """
    unlabelled = ["-1"] * len(names)
    rows = {
        id(table): rows_of_several_columns(table, split, table_columns, settings)
        for split, tables in columns.items()
        for table, table_columns in tables
        if table_columns
    }
    present = {value for lists in rows.values() for row in lists if row not in (None, unlabelled) for value in row}
    short = [name.rpartition(".")[2] for name in names]  # the class of `label.joy` is `joy`
    names = short if len(set(short)) == len(names) else names
    problem_type = settings.problem_type or (MULTI if present <= _ZERO_OR_ONE else REGRESSION)
    if problem_type != REGRESSION:
        rows = {table: [None if row == unlabelled else row for row in lists] for table, lists in rows.items()}
    elif settings.problem_type is None:
        _refuse_minus_one(columns, rows)
    return read_vectors(columns, rows, settings, problem_type, names)


def _refuse_minus_one(columns: Columns, rows: Mapping[int, Rows]) -> None:
    """Refuse -1 beside numbers from 0 to 1: it can be a score, or mean that a label is missing."""
    numbers = {value for lists in rows.values() for row in lists for value in row or () if value not in _TRUTH}
    if "-1" not in numbers or any(not 0 <= float(value) <= 1 for value in numbers - {"-1"}):
        return
    tables = (table for parts in columns.values() for table, _ in parts)
    table, row = next((t, i) for t in tables for i, row in enumerate(rows.get(id(t), ())) if row and "-1" in row)
    raise ValueError(
        f"{table.place(row)}: -1 in a label column, and all other numbers are from 0 to 1. If -1 is a score, "
        f"pass --problem_type {REGRESSION} (`problem_type`). If it means no, pass {map_to_paste({'-1': '0'})}. If it "
        "means that the label is missing, empty all label columns of the row."
    )


def read_vectors(
    columns: Columns,
    rows: Mapping[int, Rows],
    settings: LabelSettings,
    problem_type: str,
    column_names: Sequence[str] | None = None,
) -> Labels:
    """Read one number for each output in each row, NaN for a row without numbers.

    Args:
        columns: The tables of each split.
        rows: The numbers of the rows, by `id` of the table; a table without an entry is unlabelled.
        settings: How to read labels.
        problem_type: Problem type.
        column_names: Names of the columns of the numbers, if there are several columns.

    Raises:
        ValueError: if rows have different lengths, if a number is out of range, or if the class names do not fit.
    """
    size = _common_length(columns, rows)
    names, order = _names(size, settings, column_names)
    values = {
        split: [_as_array(rows.get(id(table), [None] * len(table)), size)[:, order] for table, _ in tables]
        for split, tables in columns.items()
    }
    for split, parts in values.items():
        for array, (table, _) in zip(parts, columns[split], strict=True):
            _check_range(array, table, problem_type)
    if problem_type == SINGLE:
        return _one_hot(values, columns, names)
    arrays = {split: [array.astype(np.float32) for array in parts] for split, parts in values.items()}
    return Labels(problem_type, names, dict(arrays), List(Value("float32"), length=size))


def _common_length(columns: Columns, rows: Mapping[int, Rows]) -> int:
    length = None
    for tables in columns.values():
        for table, _ in tables:
            for i, row in enumerate(rows.get(id(table), ())):
                length = len(row) if length is None and row is not None else length
                if row is not None and len(row) != length:
                    raise ValueError(
                        f"{table.place(i)}: {counted(len(row), 'number')}, but an earlier row has {length}. Give each "
                        "row a number for each output, or null."
                    )
    if length is None:
        paths = [table.source.path for tables in columns.values() for table, _ in tables]
        raise ValueError(f"{', '.join(paths)}: no row has a label. Fill in the label column, or name another column.")
    return length


def _names(size: int, settings: LabelSettings, column_names: Sequence[str] | None) -> tuple[list[str], list[int]]:
    """Return the names of the outputs, and the index of each among the numbers."""
    names = settings.names
    if names is None:
        return list(column_names or [f"LABEL_{i}" for i in range(size)]), list(range(size))
    folded = [name.casefold() for name in column_names or names]
    if len(names) != size or set(folded) != {name.casefold() for name in names}:
        of_columns = f", of the columns {', '.join(column_names)}" if column_names else ""
        raise ValueError(
            f"The labels are {size} numbers in each row{of_columns}, and --class_names has {', '.join(names)}. "
            "Name each of them once."
        )
    return names, [folded.index(name.casefold()) for name in names]


def _as_array(rows: Rows, size: int) -> np.ndarray:
    none = [np.nan] * size
    numbers = [none if row is None else [_TRUTH[v] if v in _TRUTH else float(v) for v in row] for row in rows]
    return np.array(numbers, dtype=np.float64).reshape(len(rows), size)


def _check_range(array: np.ndarray, table: Table, problem_type: str) -> None:
    is_out = np.isinf(array) if problem_type == REGRESSION else (array < 0) | (array > 1)
    if is_out.any():
        row = int(np.argmax(is_out.any(axis=1)))
        expected = "finite numbers" if problem_type == REGRESSION else "numbers from 0 to 1"
        raise ValueError(f"{table.place(row)}: the label is {array[row].tolist()}; {problem_type} expects {expected}.")


def _one_hot(values: Mapping[str, Sequence[np.ndarray]], columns: Columns, names: list[str]) -> Labels:
    """Read rows with exactly one 1 as classes."""
    ids: dict[str, list[np.ndarray]] = {}
    for split, parts in values.items():
        ids[split] = []
        for array, (table, _) in zip(parts, columns[split], strict=True):
            is_labelled = ~np.isnan(array).any(axis=1)
            is_odd = is_labelled & (((array == 1).sum(axis=1) != 1) | ((array == 0).sum(axis=1) != len(names) - 1))
            if is_odd.any():
                row = int(np.argmax(is_odd))
                raise ValueError(
                    f"{table.place(row)}: the label is {array[row].tolist()}; {SINGLE} expects one 1 and "
                    f"zeros. Correct the label, or pass --problem_type {MULTI}."
                )
            ids[split].append(np.where(is_labelled, np.nan_to_num(array).argmax(axis=1), -1))
    return Labels(SINGLE, names, dict(ids), ClassLabel(names=names))
