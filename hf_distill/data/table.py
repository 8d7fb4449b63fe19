"""The rows of a file or a split, before anything is decided about their columns."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
from datasets import ClassLabel, Dataset, LargeList, List
from datasets.table import InMemoryTable


def name_some(names: Sequence[str], most: int = 10) -> str:
    """Return names with commas between them, and of many only the first ones and how many more there are."""
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def counted(number: int, noun: str) -> str:
    """Return a number and a noun, in the plural unless the number is 1."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def no_rows(paths: Sequence[str], remedy: str = "Add rows, or leave the file out.") -> str:
    """Return the message for files without rows.

    Args:
        paths: The files.
        remedy: What to do.
    """
    return f"{', '.join(paths)}: no rows. {remedy}"


@dataclass(frozen=True)
class Source:
    """Where rows come from, and how they were read.

    Attributes:
        path: The name of the file in error messages: the path that the user gave, or the id of a dataset on the Hub.
        name: The name of the file without local folders, for the summary and the record.
        format: `CSV`, `JSON Lines`, `Parquet`, ...
        delimiter: The character between two cells; None if the format has no cells.
        quoting: How cells are quoted; None if no cell is quoted.
        encoding: Encoding of the text; None for binary formats.
        notes: What the reader changed or left out, one note each.
        warnings: What the reader may have understood wrongly.
    """

    path: str
    name: str
    format: str
    delimiter: str | None = None
    quoting: str | None = None
    encoding: str | None = None
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    def with_notes(self, *notes: str) -> Source:
        """Return this source with more notes."""
        return replace(self, notes=(*self.notes, *notes))


class Table:
    """The rows and columns of one file, or of one split of a dataset.

    Args:
        source: Where the rows come from.
        dataset: The columns that hold values of one type.
        mixed: The columns that hold values of several types, such as `1` and `"1"` in one JSON file, by name.
        names: All column names in the order of the file; None for the columns of `dataset`.
        line_of: Function from a row to the line of the file at which it starts; None if the format has no lines.
        declared: Class names that a dataset card declares, by column.
        header_doubt: Why the first line may not be a header; None if it looks like one.
        has_only_texts: Whether the format is one text per line, without columns.

    Attributes:
        has_empty_label: Whether the labels are not in the data; see [`Table.with_empty_label`].
    """

    def __init__(
        self,
        source: Source,
        dataset: Dataset,
        *,
        mixed: Mapping[str, Sequence[Any]] | None = None,
        names: Sequence[str] | None = None,
        line_of: Callable[[int], int] | None = None,
        declared: Mapping[str, list[str]] | None = None,
        header_doubt: str | None = None,
        has_only_texts: bool = False,
    ) -> None:
        self.source, self.dataset, self.mixed = source, dataset, dict(mixed or {})
        self.names = list(dataset.column_names if names is None else names)
        self.line_of, self.declared = line_of, dict(declared or {})
        self.header_doubt, self.has_only_texts = header_doubt, has_only_texts
        self.has_empty_label = False
        self._num_rows = len(next(iter(self.mixed.values()))) if self.mixed else len(dataset)

    def __len__(self) -> int:
        return self._num_rows

    def place(self, row: int, column: str | None = None) -> str:
        """Return file, line, row (counted from 1) and column for an error message."""
        line = "" if self.line_of is None else f"line {self.line_of(row)} "
        where = f"{self.source.path}, {line}(row {row + 1})" if line else f"{self.source.path}, row {row + 1}"
        return where if column is None else f"{where}, column {column!r}"

    def places(self, is_meant: np.ndarray, column: str | None = None) -> str:
        """Return the place of the first of some rows, `(num_rows,)` bool, and how many more there are."""
        number = int(is_meant.sum())
        more = f", and {counted(number - 1, 'more row')}" if number > 1 else ""
        return f"{self.place(int(is_meant.argmax()), column)}{more}"

    def select(self, rows: Sequence[int], *notes: str) -> Table:
        """Return a table with some of the rows, and notes about the other rows."""
        line_of, places = self.line_of, list(map(int, rows))
        return Table(
            self.source.with_notes(*notes),
            take_rows(self.dataset, places) if self.dataset.column_names else self.dataset,
            mixed={name: [values[row] for row in places] for name, values in self.mixed.items()},
            names=self.names,
            line_of=None if line_of is None else lambda row: line_of(places[row]),
            declared=self.declared,
            header_doubt=self.header_doubt,
            has_only_texts=self.has_only_texts,
        )

    def with_empty_label(self, name: str, feature: Any) -> Table:
        """Return a table with an empty label column, which declares the classes by its type."""
        table, column = copy.copy(self), self.find(name)
        kept = self.dataset if column is None else self.dataset.remove_columns(column)
        table.dataset = kept.add_column(column or name, [None] * len(self), feature=feature)
        table.names = self.names if column is not None else [*self.names, name]
        table.has_empty_label = True
        return table

    def find(self, name: str) -> str | None:
        """Return the name of a column as the table spells it; upper and lower case do not matter.

        A path such as `data.text` or `annotations.0.label` selects nested values, which become a column.

        Returns:
            The name; None if there is no such column.

        Raises:
            ValueError: if several column names differ from `name` only by case.
        """
        if name in self.names or name in self.dataset.column_names or name in self.mixed:
            return name
        alike = [column for column in self.names if column.casefold() == name.strip().casefold()]
        if len(alike) > 1:
            raise ValueError(f"{self.source.path} has the columns {alike}. Name one of them exactly, not {name!r}.")
        if alike:
            return alike[0]
        return name if self._add_nested(name) else None

    def column(self, name: str) -> pa.ChunkedArray:
        """Return the values of a column.

        Raises:
            ValueError: if the column holds values of several types. The message names the row where the type changes.
        """
        if name in self.mixed:
            row, reason = why_mixed(self.mixed[name])
            raise ValueError(f"{self.place(row, name)}: {reason}. Give all rows a value of one type.")
        return self.dataset.data.column(name)

    def feature(self, name: str) -> Any:
        """Return the `datasets` feature of a column; None for a column that holds values of several types."""
        return self.dataset.features.get(name)

    def class_names(self, name: str) -> list[str] | None:
        """Return the class names that the type of a column or the dataset card declares; None if they declare none."""
        feature = self.feature(name)
        feature = feature.feature if isinstance(feature, List | LargeList) else feature
        return list(feature.names) if isinstance(feature, ClassLabel) else self.declared.get(name)

    def describe_columns(self) -> str:
        """Return the column names for an error message, with the paths to nested values."""
        nested = [path for name in self.names for path in self._nested_paths(name)]
        inside = f" (nested: {', '.join(nested[:12])})" if nested else ""
        return f"{', '.join(map(self._described, self.names)) or 'no columns'}{inside}"

    def _described(self, name: str) -> str:
        if name in self.mixed:
            return f"{name!r} (of several types)"
        kind = self.dataset.data.column(name).type
        is_text = pa.types.is_string(kind) or pa.types.is_large_string(kind)
        return repr(name) if is_text or self._is_nested(name) else f"{name!r} ({kind})"

    def _values(self, name: str) -> Sequence[Any]:
        return self.mixed[name] if name in self.mixed else self.dataset.data.column(name).to_pylist()

    def _add_nested(self, path: str) -> bool:
        """Add a column with the nested values at a path; return False if the path leads nowhere."""
        head, _, rest = path.strip().partition(".")
        if not rest or self.find(head) is None or not self._nested_paths(str(self.find(head))):
            return False
        values = [_follow(value, rest.split(".")) for value in self._values(str(self.find(head)))]
        if all(value is None for value in values):
            return False
        self._add(path, values)
        return True

    def _add(self, name: str, values: Sequence[Any]) -> None:
        array = typed(values)
        if array is None:
            self.mixed[name] = values
        else:
            self.dataset = self.dataset.add_column(name, array)

    def _nested_paths(self, name: str) -> list[str]:
        """Return the paths to the values in the first row of a nested column; an empty list for other columns."""
        is_nested = name in self.mixed or self._is_nested(name)
        first = next((value for value in self._values(name) if value), None) if is_nested else None
        return list(_paths(name, first)) if isinstance(first, dict | list) else []

    def _is_nested(self, name: str) -> bool:
        kind = self.dataset.data.column(name).type
        is_list = pa.types.is_list(kind) or pa.types.is_large_list(kind)
        return pa.types.is_struct(kind) or (is_list and pa.types.is_nested(kind.value_type))


def take_rows(dataset: Dataset, rows: Sequence[int] | np.ndarray) -> Dataset:
    """Return a dataset of some rows. `dataset` must not have indices; `flatten_indices` takes 100 times as long."""
    return Dataset(InMemoryTable(dataset.data.table.take(pa.array(rows, pa.int64()))), info=dataset.info)


def table_of_values(
    source: Source, columns: Mapping[str, Sequence[Any]], line_of: Callable[[int], int] | None = None
) -> Table:
    """Make a table from Python values by column."""
    arrays = {name: typed(values) for name, values in columns.items()}
    dataset = Dataset.from_dict({name: array for name, array in arrays.items() if array is not None})
    mixed = {name: columns[name] for name, array in arrays.items() if array is None}
    return Table(source, dataset, mixed=mixed, names=list(columns), line_of=line_of)


def typed(values: Sequence[Any]) -> pa.Array | None:
    """Return an array of the values; None if they have several types, or a type that Arrow cannot hold."""
    try:
        array = pa.array(values)
    except (pa.ArrowException, OverflowError, UnicodeError):
        return None
    if pa.types.is_floating(array.type) and all(
        value is None or type(value) is int or value != value for value in values
    ):
        return pa.array([None if value != value else value for value in values], pa.int64())  # integers and NaN
    return array


def why_mixed(values: Sequence[Any]) -> tuple[int, str]:
    """Return the first row whose type differs from the rows before it, and a description of the problem."""
    first = next(value for value in values if value is not None)
    for row, value in enumerate(values):
        if value is not None and typed([first, value]) is None:
            reason = f"{value!r} is {_kind(value)}, and {first!r} in an earlier row is {_kind(first)}"
            return row, reason if typed([value]) is not None else f"{value!r} is not valid text or too large a number"
    return 0, f"the values, such as {first!r}, have several types"


def _kind(value: Any) -> str:
    names: dict[type, str] = {str: "text", bool: "true or false", int: "a number", float: "a number"}
    return names.get(type(value), f"a {type(value).__name__}")


def _follow(value: Any, parts: Sequence[str]) -> Any:
    for part in parts:
        if isinstance(value, dict):
            value = value.get(part)
        elif isinstance(value, list) and part.isdigit():
            value = value[int(part)] if int(part) < len(value) else None
        else:
            return None
    return value


def _paths(prefix: str, value: Any) -> list[str]:
    if isinstance(value, dict):
        return [path for name, inner in value.items() for path in _paths(f"{prefix}.{name}", inner)]
    if isinstance(value, list) and value and isinstance(value[0], dict | list):
        return _paths(f"{prefix}.0", value[0])
    return [prefix]
