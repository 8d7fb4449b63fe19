"""Describe the splits of a task: counts, hashes, contradictions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
from datasets import Dataset, DatasetDict

from hf_distill.data.columns import Choice
from hf_distill.data.contradictions import text_keys, texts_in_common, texts_with_several_labels
from hf_distill.data.labels.settings import MULTI, REGRESSION, SINGLE
from hf_distill.data.summary import DataSummary, SplitSummary, hash_rows
from hf_distill.data.table import Source, counted


@dataclass
class Origin:
    """Where the rows of a split come from.

    Attributes:
        sources: The files with their numbers of rows.
        text: The text columns.
        label: The label columns; None if the split has no labels.
        not_read: Names of the other columns.
        remarks: Notes on the texts.
    """

    sources: list[tuple[Source, int]]
    text: Choice
    label: Choice | None = None
    not_read: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)


def summarize(
    datasets: DatasetDict,
    text_columns: Sequence[str],
    problem_type: str,
    label_names: Sequence[str] | None,
    origins: Mapping[str, Origin],
) -> DataSummary:
    """Return the summary of a task, with warnings about contradictions."""
    summary = DataSummary()
    keys = {split: text_keys(dataset, text_columns) for split, dataset in datasets.items()}
    for split, dataset in datasets.items():
        labels = _Labels(dataset, problem_type, label_names)
        described = describe_text(split, dataset, text_columns, origins[split], labels.by_name())
        label = origins[split].label
        if label is not None and (labels.num_labelled or not split.startswith("test")):
            described.label_columns, described.label_reason = label.names, label.reason
            described.labelled_rows, described.classes = labels.num_labelled, labels.counts()
        if split != "train" and "train" in keys and (shared := texts_in_common(keys[split], keys["train"])):
            described.remarks.append(f"{counted(shared, 'text')} {'is' if shared == 1 else 'are'} in train, too")
        summary.splits.append(described)
        if (ids := labels.ids()) is not None and (several := texts_with_several_labels(keys[split], ids))[0]:
            number, example = several
            text = " ".join(example.split())[:60]
            summary.warnings.append(f"{split}: several labels for {counted(number, 'text')}, such as {text!r}")
    return summary


def describe_text(
    role: str, dataset: Dataset, text_columns: Sequence[str], origin: Origin, labels: Sequence[Any] | None = None
) -> SplitSummary:
    """Describe rows of text. `labels` are the labels by name, which enter the hash."""
    values = [dataset.data.column(name)[0].as_py() for name in text_columns]
    return SplitSummary(
        role=role,
        sources=origin.sources,
        rows=len(dataset),
        text_columns=origin.text.names,
        text_reason=origin.text.reason,
        example=" | ".join(" ".join(value) if isinstance(value, list) else str(value) for value in values),
        not_read=origin.not_read,
        sha256=hash_rows([dataset.data.column(name) for name in text_columns], labels),
        remarks=list(origin.remarks),
    )


class _Labels:
    """The column `label` of a split."""

    def __init__(self, dataset: Dataset, problem_type: str, names: Sequence[str] | None) -> None:
        self.problem_type, self.names = problem_type, list(names or ())
        column = dataset.data.column("label").combine_chunks()
        self.tags = column.to_pylist() if problem_type not in (SINGLE, MULTI, REGRESSION) else []
        self.array = np.zeros(0)
        if not self.tags:
            width = len(self.names) if pa.types.is_nested(column.type) else None
            flat = (column if width is None else column.flatten()).to_numpy(zero_copy_only=False)
            self.array = flat if width is None else flat.reshape(len(column), width)

    @property
    def num_labelled(self) -> int:
        """The number of rows with a label."""
        if self.tags:
            return sum(row is not None and any(tag is not None and tag >= 0 for tag in row) for row in self.tags)
        return int(self._is_labelled().sum())

    def _is_labelled(self) -> np.ndarray:
        if self.problem_type == SINGLE:
            return self.array >= 0
        return np.logical_not(np.isnan(self.array.reshape(len(self.array), -1)).any(axis=1))

    def counts(self) -> dict[str, int]:
        """Return the number of rows (or words) of each class; an empty dict for scores."""
        if self.tags:
            ids = [tag for row in self.tags for tag in row or () if tag is not None and tag >= 0]
            numbers = np.bincount(np.array(ids, dtype=np.int64), minlength=len(self.names))
        elif self.problem_type == SINGLE:
            numbers = np.bincount(self.array[self.array >= 0], minlength=len(self.names))
        elif self.problem_type == MULTI:
            numbers = np.nansum(self.array, axis=0)
        else:
            return {}
        return {name: int(number) for name, number in zip(self.names, numbers, strict=True)}

    def ids(self) -> np.ndarray | None:
        """Return an id for the label of each row, below 0 for rows without a label; None for scores and tags."""
        if self.problem_type == SINGLE:
            return self.array
        if self.problem_type != MULTI:
            return None
        codes = pa.array([row.tobytes() for row in self.array]).dictionary_encode().indices.to_numpy()
        return np.where(self._is_labelled(), codes, -1)

    def by_name(self) -> list[Any] | None:
        """Return the labels by name, so that the order of the classes does not matter; None if no row has a label."""
        if not self.num_labelled:
            return None
        if self.tags:
            return [None if row is None else [self._name(tag) for tag in row] for row in self.tags]
        if self.problem_type == SINGLE:
            return [self._name(i) for i in self.array.tolist()]
        if self.problem_type != MULTI or not np.isin(self.array[self._is_labelled()], (0, 1)).all():
            return self.array.tolist()
        names: list[list[str]] = [[] for _ in self.array]
        for row, place in zip(*np.nonzero(np.nan_to_num(self.array)), strict=True):
            names[row].append(self.names[place])
        return [
            sorted(row) if is_labelled else None for row, is_labelled in zip(names, self._is_labelled(), strict=True)
        ]

    def _name(self, class_id: int | None) -> str | None:
        return None if class_id is None or class_id < 0 else self.names[class_id]
