"""Read the cells of label columns."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa

from hf_distill.data.labels.lists import parse_cells
from hf_distill.data.labels.spelling import as_one, form
from hf_distill.data.table import Table
from hf_distill.utils.spelling import spell


@dataclass
class Scalars:
    """A label column with at most one label per row.

    Attributes:
        table: The table.
        split: Name of the split of the table.
        column: Name of the label column.
        values: The distinct labels, as [`spell`] writes them.
        codes: `(rows,)`, the index of each row's label in `values`; -1 for rows without a label.
        declared: Class names that the data declare, if any.
    """

    table: Table
    split: str
    column: str
    values: list[str]
    codes: np.ndarray
    declared: list[str] | None = None

    def counts(self) -> Counter[str]:
        """Return the number of rows of each label."""
        numbers = np.bincount(self.codes[self.codes >= 0], minlength=len(self.values))
        return Counter({value: int(n) for value, n in zip(self.values, numbers, strict=True) if n})

    def place(self, label: str) -> str | None:
        """Return the first place of a label for an error message; None if no row has it."""
        if label not in self.values:
            return None
        return self.table.place(int(np.argmax(self.codes == self.values.index(label))), self.column)

    def without(self, labels: Collection[str]) -> Scalars:
        """Return the column without some labels; their rows become unlabelled."""
        values = [value for value in self.values if value not in labels]
        places = [values.index(value) if value in values else -1 for value in self.values]
        return replace(self, values=values, codes=np.array([*places, -1], dtype=np.int64)[self.codes])

    def as_lists(self) -> Lists:
        """Return the column with each label as a list of one label."""
        cells: list[list[str] | None] = [*([value] for value in self.values), None]
        return Lists(self.table, self.split, self.column, [cells[code] for code in self.codes], self.declared)


@dataclass
class Lists:
    """A label column with a list of labels per row.

    Attributes:
        table: The table.
        split: Name of the split of the table.
        column: Name of the label column.
        rows: The labels of each row, as [`spell`] writes them; None for rows without a list.
        declared: Class names that the data declare, if any.
    """

    table: Table
    split: str
    column: str
    rows: list[list[str] | None]
    declared: list[str] | None = None

    def counts(self) -> Counter[str]:
        """Return the number of times that each label occurs."""
        return Counter(label for row in self.rows for label in row or ())

    def place(self, label: str) -> str | None:
        """Return the first place of a label for an error message; None if no row has it."""
        row = next((row for row, labels in enumerate(self.rows) if labels and label in labels), None)
        return None if row is None else self.table.place(row, self.column)


Cells = Scalars | Lists


class CellReader:
    """Reads label columns.

    Args:
        label_map: The label map, as [`read_label_map`] returns it.
        delimiter: The text between two labels of a cell; None if a cell has one label.

    Attributes:
        merged: Number of rows for each pair of a raw label and its spelling, if they differ.
        mapped: Number of rows for each pair of a label and its value in the label map.
    """

    def __init__(self, label_map: Mapping[str, str | None], delimiter: str | None = None) -> None:
        self.label_map, self.delimiter = label_map, delimiter
        # `TRUE` is what the map says of `true`, unless it says something else of `True`.
        keys = defaultdict[str, list[str]](list)
        for key in label_map:
            keys[as_one(key)].append(key)
        self._same_class = {one: same[-1] for one, same in keys.items() if len({label_map[key] for key in same}) == 1}
        self.merged: Counter[tuple[str, str]] = Counter()
        self.mapped: Counter[tuple[str, str | None]] = Counter()

    def read(self, table: Table, split: str, column: str, *, are_tags: bool = False) -> Cells:
        """Read one column.

        Args:
            table: The table.
            split: Name of the split of the table.
            column: Name of the label column.
            are_tags: Whether each row is a list with one tag for each word. A missing tag is None then.

        Raises:
            ValueError: if the column contains neither labels nor lists of labels.
        """
        declared = table.class_names(column)
        if column in table.mixed and (rows := _choices(table.mixed[column])) is not None:
            return self._lists(table, split, column, rows, None, are_tags)
        for row, value in enumerate(table.mixed.get(column, ())):
            _refuse_nested(value, table, row, column)
        values = table.column(column)
        kind = values.type
        if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
            if self.delimiter is not None:
                raise ValueError(
                    f"{table.source.path}: the label column {column!r} already has lists. Leave out --label_delimiter."
                )
            return self._lists(table, split, column, values.to_pylist(), declared, are_tags)
        if pa.types.is_struct(kind):
            rows = _choices(values.to_pylist())
            if rows is None:
                raise ValueError(_about_struct(table, column, [field.name for field in kind]))
            return self._lists(table, split, column, rows, None, are_tags)
        if pa.types.is_temporal(kind) or pa.types.is_binary(kind) or pa.types.is_nested(kind):
            raise ValueError(
                f"{table.source.path}: the label column {column!r} holds {kind}. Expected a name, a number or a list "
                "of them in each row."
            )
        return self._scalars(table, split, column, values, declared)

    def _scalars(
        self, table: Table, split: str, column: str, array: pa.ChunkedArray, declared: list[str] | None
    ) -> Cells:
        whole = array.combine_chunks() if array.num_chunks else pa.array([], array.type)
        encoded = (whole.cast(pa.float32()) if pa.types.is_float16(whole.type) else whole).dictionary_encode()
        raw = encoded.dictionary.to_pylist()
        places = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False)
        counts = np.bincount(places[places >= 0], minlength=len(raw)).tolist()
        if declared is not None:
            raw = [_declared_name(value, declared, table, column) for value in raw]
        labels = [self._label(value, count) for value, count in zip(raw, counts, strict=True)]
        values = list(dict.fromkeys(label for label in labels if label is not None))
        if self.delimiter is not None:
            lists: list[list[Any]] | None = [[p.strip() for p in value.split(self.delimiter)] for value in values]
        else:
            lists = None if declared is not None else parse_cells(values)
        if lists is not None:
            by_label = dict(zip(values, lists, strict=True))
            cells = [*(None if label is None else by_label[label] for label in labels), None]
            return self._lists(table, split, column, [cells[place] for place in places], None, False)
        index = {label: i for i, label in enumerate(values)}
        codes = np.array([*(-1 if label is None else index[label] for label in labels), -1], dtype=np.int64)
        return Scalars(table, split, column, values, codes[places], declared)

    def _label(self, value: Any, count: int) -> str | None:
        """Return the spelling of a label, or its value in the label map; count what was changed."""
        text = spell(value)
        if isinstance(value, str) and text is not None and text != value:
            self.merged[value, text] += count
        if text is None:
            return None
        key = text if text in self.label_map else self._same_class.get(as_one(text))
        if key is None:
            return text
        self.mapped[key, self.label_map[key]] += count
        return self.label_map[key]

    def _lists(
        self,
        table: Table,
        split: str,
        column: str,
        rows: Sequence[Sequence[Any] | None],
        declared: list[str] | None,
        are_tags: bool,
    ) -> Lists:
        counts = _count_items(table, column, rows)
        if not are_tags and any(spell(item) is None and not isinstance(item, str) for _, item in counts):
            row = next(i for i, items in enumerate(rows) if any(spell(item) is None for item in items or ()))
            raise ValueError(
                f"{table.place(row, column)}: the list {_short(rows[row])} has an empty entry. Fill it in, or "
                "make the whole list null."
            )
        labels = {
            (kind, item): self._label(
                item if declared is None else _declared_name(item, declared, table, column), count
            )
            for (kind, item), count in counts.items()
        }
        if are_tags:  # an id below 0 means that a word has no tag
            labels |= {key: None for key in labels if isinstance(key[1], int) and key[1] < 0}
        read: list[list[Any] | None] = [
            None if row is None else [labels[type(item), item] for item in row] for row in rows
        ]
        if not are_tags:
            read = [None if row is None else _present(row) for row in read]
        return Lists(table, split, column, read, declared)


def _present(row: Sequence[str | None]) -> list[str] | None:
    """Return the labels without None; None if the label map removed all of them."""
    kept = [label for label in row if label is not None]
    return kept if kept or not row else None


def _count_items(table: Table, column: str, rows: Sequence[Sequence[Any] | None]) -> Counter[tuple[type, Any]]:
    counts: Counter[tuple[type, Any]] = Counter()
    for number, row in enumerate(rows):
        _refuse_nested(row, table, number, column)
        counts.update((type(item), item) for item in row or ())
    return counts


def _refuse_nested(value: Any, table: Table, row: int, column: str) -> None:
    if isinstance(value, list) and any(isinstance(item, list | dict) for item in value):
        raise ValueError(
            f"{table.place(row, column)}: {_short(value)} is not a list of labels. Spans such as "
            '[0, 4, "PER"] are not read: convert them to columns `tokens` and `tags`.'
        )


def _declared_name(value: Any, declared: list[str], table: Table, column: str) -> str | None:
    """Return the class name of an id; None for negative ids, which mean that a row has no label."""
    if isinstance(value, str) and spell(value) not in declared and form(spell(value) or "") == "integer":
        value = int(value)  # an id in a format without numbers
    if value is None or (isinstance(value, int) and value < 0):
        return None
    if isinstance(value, int):
        if value >= len(declared):
            raise ValueError(
                f"{table.source.path}: the label column {column!r} has the id {value}, and its {len(declared)} "
                f"classes have the ids 0 to {len(declared) - 1}."
            )
        return declared[value]
    return value


def _choices(values: Sequence[Any]) -> list[list[Any] | None] | None:
    """Return the lists in what Label Studio exports: a label, a list, or `{"choices": [...]}`; else None."""
    rows: list[list[Any] | None] = []
    for value in values:
        inner = value.get("choices") if isinstance(value, dict) and list(value) == ["choices"] else value
        if not (inner is None or isinstance(inner, str) or (isinstance(inner, list) and _are_texts(inner))):
            return None
        rows.append([inner] if isinstance(inner, str) else inner)
    return rows


def _are_texts(items: Sequence[Any]) -> bool:
    return all(isinstance(item, str) for item in items)


def _about_struct(table: Table, column: str, names: Sequence[str]) -> str:
    paths = ",".join(f"{column}.{name}" for name in names[:8])
    return (
        f"{table.source.path}: the label column {column!r} is a dict with the keys {', '.join(names[:8])}. Name one "
        f"of its values, or several with one number for each class: --label_column_name {paths}."
    )


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
