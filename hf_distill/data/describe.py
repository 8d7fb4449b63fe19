"""Describe the splits of a task: counts, hashes, contradictions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from datasets import Dataset, DatasetDict

from hf_distill.data.columns import Choice
from hf_distill.data.contradictions import text_keys, texts_in_common, texts_with_several_labels
from hf_distill.data.label_column import LabelColumn
from hf_distill.data.seen_rows import MOST_TRAINED
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
        labels = LabelColumn(dataset, problem_type, label_names)
        described = describe_text(split, dataset, text_columns, origins[split], labels.by_name())
        label = origins[split].label
        if label is not None and (labels.num_labelled or not split.startswith("test")):
            described.label_columns, described.label_reason = label.names, label.reason
            described.labelled_rows, described.classes = labels.num_labelled, labels.counts()
        if split != "train" and "train" in keys and (shared := texts_in_common(keys[split], keys["train"])):
            described.remarks.append(f"{counted(shared, 'text')} {'is' if shared == 1 else 'are'} in train, too")
            if described.labelled_rows and shared > MOST_TRAINED * len(dataset):
                summary.warnings.append(_warn_of_training_texts(split, shared, len(dataset)))
        summary.splits.append(described)
        if (ids := labels.ids()) is not None and (several := texts_with_several_labels(keys[split], ids))[0]:
            number, example = several
            text = " ".join(example.split())[:60]
            summary.warnings.append(f"{split}: several labels for {counted(number, 'text')}, such as {text!r}")
    return summary


def _warn_of_training_texts(split: str, shared: int, num_rows: int) -> str:
    number = f"All {num_rows:,}" if shared == num_rows else f"{shared:,} of {num_rows:,}"
    return f"{number} {split} texts are training texts, so every score on them is too good."


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
