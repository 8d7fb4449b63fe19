"""Build the datasets of a task from tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from datasets import Dataset, DatasetDict, Features, concatenate_datasets

from hf_distill.classifiers.outputs import TEACHER_LOGITS
from hf_distill.data.columns import Choice, find_column, holds_text
from hf_distill.data.describe import Origin, summarize
from hf_distill.data.held_out import hold_out
from hf_distill.data.labels.read import Labels, read_labels
from hf_distill.data.labels.settings import LabelSettings
from hf_distill.data.roles import Roles
from hf_distill.data.stored_logits import align_stored_logits
from hf_distill.data.summary import DataSummary
from hf_distill.data.table import Table, counted
from hf_distill.data.texts import Texts

_JOINED_BY = " + "  # in the name of a column that joins several columns


class Assembly:
    """The datasets of a task, built from tables.

    Args:
        splits: The tables of each split.
        roles: The text columns and label columns.
        settings: How to read labels.
        text_column_delimiter: The text between joined text columns. None joins three or more columns with a blank and
            keeps two columns as a pair.
        kept: Names of other columns that the datasets keep, as texts; null where a file has no such column.

    Attributes:
        names: The text columns of the task.
        labels: The labels of all splits.
        datasets: The splits, with the text columns and the column `label`.

    Raises:
        ValueError: if a row has no text, or if labels cannot be read.
    """

    def __init__(
        self,
        splits: Mapping[str, Sequence[Table]],
        roles: Roles,
        settings: LabelSettings,
        text_column_delimiter: str | None,
        kept: Sequence[str] = (),
    ) -> None:
        self.splits, self.roles, self.kept = splits, roles, kept
        self.names, delimiter = joined_name(roles.text.names, text_column_delimiter)
        if "label" in self.names:
            raise ValueError("A text column with the name `label` would be overwritten by the labels. Rename it.")
        label_columns = {
            split: [(table, self._label_columns(split, table)) for table in tables] for split, tables in splits.items()
        }
        self.labels: Labels = read_labels(label_columns, settings, are_tags=roles.has_words)
        self.texts = {
            split: [
                Texts(table, self._text_columns(table), self.names, delimiter, roles.has_words) for table in tables
            ]
            for split, tables in splits.items()
        }
        for parts in self.texts.values():
            for part in parts:
                part.refuse_missing()
        self.datasets = DatasetDict({split: self._dataset(split) for split in splits})
        self.held_out_percentage: float | None = None

    def hold_out(self, percentage: float) -> None:
        """Hold out a percentage of the labelled rows of `train` for validation; see [`held_out.hold_out`].

        Raises:
            ValueError: if there are no training rows, if there already is a validation split, or if no rows can be
                held out.
        """
        validation = [split for split in self.datasets if split.startswith("validation")]
        if validation or "train" not in self.datasets:
            names = ", ".join(self.datasets)
            raise ValueError(
                "--validation_split_percentage (`validation_split_percentage`) takes rows of the split 'train' for "
                f"validation, but the splits are {names}. "
                + ("Leave it out." if validation else "Name training rows with --train_file.")
            )
        train, held_out = hold_out(
            self.datasets["train"], self.names, self.labels.problem_type, self.labels.names, percentage
        )
        others = {split: dataset for split, dataset in self.datasets.items() if split != "train"}
        self.datasets = DatasetDict({"train": train, "validation": held_out, **others})
        self.held_out_percentage = percentage

    def summary(self, notes: Sequence[str]) -> DataSummary:
        """Return the summary; `notes` are the notes on the files."""
        origins = {split: self._origin(split) for split in self.datasets}
        summary = summarize(self.datasets, self.names, self.labels.problem_type, self.labels.names, origins)
        summary.notes = [*notes, *self._about_other_texts(), *self._about_share(summary), *self.labels.notes]
        summary.warnings = [*self.labels.warnings, *summary.warnings]
        return summary

    def _about_other_texts(self) -> list[str]:
        """Return a note if the text was chosen by its name although other columns also hold text."""
        if self.roles.text.reason == "by flag" or self.roles.has_words:
            return []
        first = next(iter(self.splits.values()))[0]
        used = {*self.texts[next(iter(self.splits))][0].columns, *self.roles.label.names}
        others = [name for name in first.names if name not in used and holds_text(first, name)]
        if not others:
            return []
        return [
            f"the text is {' and '.join(map(repr, self.roles.text.names))}, not {', '.join(map(repr, others))}; name "
            "other columns with --text_column_names (`text_column_names`)"
        ]

    def _text_columns(self, table: Table) -> list[str]:
        return [find_column(table, name, "text") for name in self.roles.text.names]

    def _label_columns(self, split: str, table: Table) -> list[str]:
        if split.startswith("test") and all(table.find(name) is None for name in self.roles.label.names):
            return []
        return [find_column(table, name, "label") for name in self.roles.label.names]

    def _dataset(self, split: str) -> Dataset:
        parts = []
        for part, values in zip(self.texts[split], self.labels.values[split], strict=True):
            if self.roles.has_words:
                _check_lengths(part, values)
            column = _as_array(values, self.labels.feature)
            dataset = part.dataset.add_column("label", column, feature=self.labels.feature)
            for name in self.kept:
                if name in dataset.column_names:
                    raise ValueError(f"The column {name!r} is already a column of texts or labels. Name another one.")
                dataset = dataset.add_column(name, _as_texts(part.table, name))
            parts.append(dataset)
        if len({tuple(part.column_names) for part in parts}) > 1:
            raise ValueError(
                f"Some files of the split {split!r} have a column `{TEACHER_LOGITS}`, and others lack it."
            )
        if len(parts) == 1:
            return parts[0]
        return concatenate_datasets(align_stored_logits([part.table for part in self.texts[split]], parts))

    def _about_share(self, summary: DataSummary) -> list[str]:
        """Say how many rows are held out if it is far from the percentage that was asked for."""
        if self.held_out_percentage is None:
            return []
        held_out, left = (summary[split].labelled_rows or 0 for split in ("validation", "train"))
        share = 100 * held_out / (held_out + left)
        if abs(share - self.held_out_percentage) <= max(1.0, 0.2 * self.held_out_percentage):
            return []
        return [
            f"{share:.1f} % of the labelled rows are held out, not {self.held_out_percentage:g} %: the other rows are "
            "in groups of near-duplicates or in classes that are too large or too small to be divided"
        ]

    def _origin(self, split: str) -> Origin:
        if split not in self.splits:  # a part of train
            held_out = f"{self.held_out_percentage:g} % of the labelled rows of train (--validation_split_percentage)"
            remarks = [f"{held_out}, stratified, with near-duplicates on the same side"]
            return replace(self._origin("train"), remarks=remarks)
        tables, roles = self.splits[split], self.roles
        used = {name.partition(".")[0].casefold() for name in (*roles.text.names, *roles.label.names, TEACHER_LOGITS)}
        used |= {name.casefold() for name in (*roles.text.names, *roles.label.names)}
        return Origin(
            sources=[(table.source, len(table)) for table in tables],
            text=Choice(tuple(self.texts[split][0].columns), roles.text.reason),
            label=roles.label if any(self._label_columns(split, table) for table in tables) else None,
            not_read=list(dict.fromkeys(n for table in tables for n in table.names if n.casefold() not in used)),
            remarks=[remark for part in self.texts[split] for remark in part.remarks],
        )


def joined_name(names: Sequence[str], delimiter: str | None) -> tuple[tuple[str, ...], str | None]:
    """Return the text columns of the task, and the text between joined columns; None if they are not joined."""
    if len(names) < 2 or (len(names) == 2 and delimiter is None):
        return tuple(names), None
    return (_JOINED_BY.join(names),), " " if delimiter is None else delimiter


def parts_of_name(name: str) -> list[str]:
    """Return the names of the columns that a joined column was made from."""
    return name.split(_JOINED_BY)


def parts_of_columns(names: Sequence[str]) -> list[str]:
    """Return the names of the columns in the files that the text columns of a task were made from."""
    return [part for name in names for part in parts_of_name(name)]


def _check_lengths(texts: Texts, tags: Sequence[Sequence[int] | None]) -> None:
    words = pc.list_value_length(texts.dataset.data.column(texts.names[0])).to_pylist()
    for row, (num_words, row_tags) in enumerate(zip(words, tags, strict=True)):
        if row_tags is not None and len(row_tags) != num_words:
            raise ValueError(
                f"{texts.table.place(row)}: {counted(num_words, 'word')} but {counted(len(row_tags), 'tag')}. Give "
                "each word a tag or null."
            )


def _as_texts(table: Table, name: str) -> pa.Array:
    """Return the values of a column as texts; null in all rows if the table has no such column."""
    column = table.find(name)
    if column is None:
        return pa.nulls(len(table), pa.string())
    names = table.class_names(column) or []
    values = table.mixed[column] if column in table.mixed else table.column(column).to_pylist()
    if names:
        values = [names[value] if isinstance(value, int) and 0 <= value < len(names) else value for value in values]
    return pa.array([None if value is None else str(value) for value in values], pa.string())


def _as_array(values: Any, feature: Any) -> pa.Array:
    kind = Features({"label": feature}).arrow_schema.field("label").type
    if isinstance(values, np.ndarray) and values.ndim == 2:
        return pa.FixedSizeListArray.from_arrays(pa.array(values.ravel(), kind.value_type), values.shape[1]).cast(kind)
    return pa.array(values, kind)
