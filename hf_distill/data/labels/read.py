"""Read the labels of a task from the label columns of all splits together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from datasets import ClassLabel, List, Value

from hf_distill.data.labels.cells import CellReader, Cells, Lists, Scalars
from hf_distill.data.labels.classes import Classes
from hf_distill.data.labels.problem import LabelCounts, listed, problem_of_lists, problem_of_scalars
from hf_distill.data.labels.result import Columns, Labels
from hf_distill.data.labels.settings import MULTI, REGRESSION, SINGLE, TOKENS, LabelSettings
from hf_distill.data.labels.vectors import read_several_columns, read_vectors
from hf_distill.data.table import counted


def read_labels(columns: Columns, settings: LabelSettings, *, are_tags: bool = False) -> Labels:
    """Read the label columns of all splits together, so that each class has the same id in all splits.

    Args:
        columns: The tables of each split with their label columns. A table without a label column is unlabelled.
        settings: How to read labels.
        are_tags: Whether each row has one tag for each word.

    Raises:
        ValueError: if labels cannot be read, or can be read in several ways. The message names the setting that
            decides.
    """
    reader = CellReader(settings.mapping, settings.label_delimiter)
    names = next((names for tables in columns.values() for _, names in tables if names), ())
    if len(names) > 1:
        return read_several_columns(columns, names, settings)
    cells = [
        reader.read(table, split, column[0], are_tags=are_tags)
        for split, tables in columns.items()
        for table, column in tables
        if column
    ]
    labels = _OneColumn(columns, cells, settings, are_tags).labels()
    labels.notes += _notes(reader)
    return labels


def _notes(reader: CellReader) -> list[str]:
    merged = [
        f"{raw!r} is read as {label!r} ({counted(count, 'row')})"
        for (raw, label), count in reader.merged.most_common(8)
    ]
    mapped = [
        f"{label!r} is {'unlabelled' if new is None else repr(new)} with --label_map ({counted(count, 'row')})"
        for (label, new), count in reader.mapped.most_common(8)
    ]
    unused = [key for key in reader.label_map if key not in {label for label, _ in reader.mapped}]
    return [
        *merged,
        *mapped,
        *([f"no row has the label {', '.join(map(repr, unused))} of --label_map"] if unused else []),
    ]


class _OneColumn:
    """One label column in each table: names, numbers, or lists of them."""

    def __init__(self, columns: Columns, cells: Sequence[Cells], settings: LabelSettings, are_tags: bool) -> None:
        self.columns, self.cells, self.settings, self.are_tags = columns, list(cells), settings, are_tags
        self.notes: list[str] = []

    def labels(self) -> Labels:
        """Derive the problem type, and read the labels."""
        if self.are_tags:
            return self._tags()
        lists = [column for column in self.cells if isinstance(column, Lists)]
        if lists:
            lists = [column if isinstance(column, Lists) else column.as_lists() for column in self.cells]
            problem_type, are_vectors = problem_of_lists(lists, self.settings)
            if are_vectors:
                rows = {id(column.table): column.rows for column in lists}
                return read_vectors(self.columns, rows, self.settings, problem_type)
            if problem_type == MULTI:
                return self._sets(lists)
            scalars = [_first_of_each(column) for column in lists]
        else:
            scalars = [column for column in self.cells if isinstance(column, Scalars)]
            problem_type = problem_of_scalars(scalars, self.settings)
        if problem_type == MULTI:
            return self._sets([column.as_lists() for column in scalars])
        scalars = self._without_missing(scalars, problem_type)
        return self._numbers(scalars) if problem_type == REGRESSION else self._classes(scalars)

    def _without_missing(self, columns: Sequence[Scalars], problem_type: str) -> list[Scalars]:
        """Make rows unlabelled whose label is NaN among numbers, or -1 in all rows of a split."""
        labels = LabelCounts(columns, self.settings.agreed)
        missing = set(labels.of("nan"))
        if missing:
            self.notes.append(f"{listed(labels.of('nan'))}: read as no label")
        train = {label for column in columns if column.split == "train" for label in column.values}
        result = []
        for column in columns:
            is_empty = column.split != "train" and column.values == ["-1"] and bool(train) and "-1" not in train
            if is_empty and problem_type == SINGLE:
                self.notes.append(f"{column.split}: -1 in every row, read as no label")
            result.append(column.without({*missing, *(["-1"] if is_empty else [])}))
        return result

    def _classes(self, columns: Sequence[Scalars]) -> Labels:
        classes = Classes(columns, self.settings)
        classes.refuse_ids([column for column in columns if column.split == "train"])
        by_table = {}
        for column in columns:
            ids = [classes.ids[classes.name(column, label)] for label in column.values]
            by_table[id(column.table)] = np.array([*ids, -1], dtype=np.int64)[column.codes]
        values = self._values(by_table, lambda size: np.full(size, -1, dtype=np.int64))
        return self._with_classes(SINGLE, classes, values, ClassLabel(names=classes.names))

    def _sets(self, columns: Sequence[Lists]) -> Labels:
        """Read lists of classes: 0 or 1 for each class, NaN for a row without a list."""
        classes = Classes(columns, self.settings, least=1)
        size, by_table = len(classes.names), {}
        for column in columns:
            encoded = np.zeros((len(column.rows), size), dtype=np.float32)
            ids = {label: classes.ids[classes.name(column, label)] for label in column.counts()}
            for i, row in enumerate(column.rows):
                encoded[i, [ids[label] for label in row or ()]] = 1
            encoded[[row is None for row in column.rows]] = np.nan
            by_table[id(column.table)] = encoded
        values = self._values(by_table, lambda rows: np.full((rows, size), np.nan, dtype=np.float32))
        return self._with_classes(MULTI, classes, values, List(Value("float32"), length=size))

    def _tags(self) -> Labels:
        """Read tags: an id for each word, -1 for a word without a tag, None for a row without tags."""
        columns = [column for column in self.cells if isinstance(column, Lists)]
        if self.settings.problem_type not in (None, TOKENS) or len(columns) < len(self.cells):
            raise ValueError("Expected a list of tags in each row, one tag for each word.")
        present = [
            Lists(c.table, c.split, c.column, [r and [t for t in r if t is not None] for r in c.rows], c.declared)
            for c in columns
        ]
        classes = Classes(present, self.settings)
        by_table = {}
        for column, without_gaps in zip(columns, present, strict=True):
            ids = {label: classes.ids[classes.name(without_gaps, label)] for label in without_gaps.counts()}
            by_table[id(column.table)] = [
                None if row is None else [-1 if tag is None else ids[tag] for tag in row] for row in column.rows
            ]
        values = self._values(by_table, lambda rows: [None] * rows)
        return self._with_classes(TOKENS, classes, values, List(ClassLabel(names=classes.names)))

    def _numbers(self, columns: Sequence[Scalars]) -> Labels:
        """Read one number per row, NaN for a row without a label."""
        _refuse_class_names(self.settings)
        by_table = {}
        for column in columns:
            numbers = np.array([*map(float, column.values), np.nan])
            if not np.isfinite(numbers[:-1]).all():
                label = column.values[int(np.argmin(np.isfinite(numbers[:-1])))]
                raise ValueError(f"{column.place(label)}: the score {label} is not finite. Correct the label.")
            by_table[id(column.table)] = numbers[column.codes].astype(np.float32)
        values = self._values(by_table, lambda rows: np.full(rows, np.nan, dtype=np.float32))
        return Labels(REGRESSION, None, values, Value("float32"), self.notes)

    def _values(self, by_table: Mapping[int, Any], none: Any) -> dict[str, list[Any]]:
        return {
            split: [by_table[id(table)] if id(table) in by_table else none(len(table)) for table, _ in tables]
            for split, tables in self.columns.items()
        }

    def _with_classes(self, problem_type: str, classes: Classes, values: dict[str, list[Any]], feature: Any) -> Labels:
        notes = [*self.notes, *classes.notes]
        return Labels(problem_type, classes.names, values, feature, notes, classes.warnings)


def _first_of_each(column: Lists) -> Scalars:
    values = list(column.counts())
    places = {label: place for place, label in enumerate(values)}
    codes = [places[row[0]] if row else -1 for row in column.rows]
    return Scalars(column.table, column.split, column.column, values, np.array(codes, dtype=np.int64), column.declared)


def _refuse_class_names(settings: LabelSettings) -> None:
    if settings.names is not None:
        raise ValueError(
            f"--class_names is {', '.join(settings.names)}, but the labels are scores. Leave out --class_names, or "
            f"pass --problem_type {SINGLE} (`problem_type`)."
        )
