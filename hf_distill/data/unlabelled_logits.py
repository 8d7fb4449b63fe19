"""Rows with the logits of a teacher and no label column, such as the texts that a language model has answered."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from datasets import ClassLabel, Dataset, List, Value

from hf_distill.classifiers.label_order import teacher_label_names
from hf_distill.classifiers.outputs import TEACHER_LOGITS
from hf_distill.data.labels.settings import MULTI, REGRESSION, TOKENS
from hf_distill.data.roles import LABEL_COLUMNS, TAG_COLUMNS, warn_of_labels
from hf_distill.data.table import Table


def add_empty_labels(
    splits: Mapping[str, Sequence[Table]], name_logits: Callable[[str, Dataset], Dataset], problem_type: str | None
) -> tuple[dict[str, list[Table]], list[str]]:
    """Give tables that have `teacher_logits` and no label column an empty one, which declares the classes.

    Args:
        splits: The tables of each split.
        name_logits: From the name of a split and its rows to rows whose logits have the names of their classes.
        problem_type: The problem type that the user names; without one, and for words, nothing is added.

    Returns:
        The tables, and notes.

    Raises:
        ValueError: if the classes of the logits are not known.
    """
    if problem_type in (None, TOKENS):
        return {split: list(tables) for split, tables in splits.items()}, []
    result, notes = {}, []
    for split, tables in splits.items():
        result[split] = [table if _has_labels(table) else _with_label(table, split, name_logits, str(problem_type))
                         for table in tables]  # fmt: skip
        if any(table.has_empty_label for table in result[split]):
            notes.append(f"{split} has no label column: its rows are unlabelled, and `{TEACHER_LOGITS}` teaches them")
            notes += [note for table in tables for note in warn_of_labels(table.names)]
    return result, notes


def _has_labels(table: Table) -> bool:
    """Whether a table has a label column, or has no logits that would make up for it."""
    known = any(name.casefold() in (*LABEL_COLUMNS, *TAG_COLUMNS) for name in table.names)
    return known or TEACHER_LOGITS not in table.dataset.column_names


def _with_label(table: Table, split: str, name_logits: Callable[[str, Dataset], Dataset], problem_type: str) -> Table:
    if problem_type == REGRESSION:
        feature: Any = Value("float32")
    else:
        names = teacher_label_names(name_logits(split, table.dataset))
        if names is None:
            raise ValueError(
                f"{table.source.path} has `{TEACHER_LOGITS}` and no label column, and does not say which class each "
                "number belongs to. Name the classes in the order of the numbers: --class_names (`class_names`)."
            )
        feature = List(ClassLabel(names=names)) if problem_type == MULTI else ClassLabel(names=names)
    return table.with_empty_label(feature)
