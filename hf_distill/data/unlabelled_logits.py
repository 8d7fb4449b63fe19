"""Rows with the logits of a teacher and no labels, such as the texts that a language model has answered."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from datasets import ClassLabel, Dataset, List, Value

from hf_distill.classifiers.label_order import teacher_label_names
from hf_distill.classifiers.outputs import TEACHER_LOGITS
from hf_distill.data.columns import is_words
from hf_distill.data.labels.settings import MULTI, REGRESSION, TOKENS, LabelSettings
from hf_distill.data.roles import LABEL_COLUMNS, WORDS, warn_of_labels
from hf_distill.data.table import Table

NameLogits = Callable[[str, Dataset], Dataset]


def add_empty_labels(
    splits: Mapping[str, Sequence[Table]], name_logits: NameLogits, label_name: Any, settings: LabelSettings
) -> tuple[dict[str, list[Table]], list[str]]:
    """Give tables that have `teacher_logits` and no label column an empty one, which declares the classes.

    Args:
        splits: The tables of each split.
        name_logits: From the name of a split and its rows to rows whose logits have the names of their classes.
        label_name: The label column that the user names, if any. Then at least one table must have it.
        settings: How the user wants labels to be read. Without a problem type, and for words, nothing is added.

    Returns:
        The tables, and notes.

    Raises:
        ValueError: if the classes of the logits are not known, or contradict the settings.
    """
    tables = [table for group in splits.values() for table in group]
    name = _label_name(tables, label_name)
    is_settled = settings.problem_type in (None, TOKENS) or any(is_words(table, WORDS) for table in tables)
    if is_settled or name is None or not any(_lacks_labels(table, name) for table in tables):
        return {split: list(group) for split, group in splits.items()}, []
    result: dict[str, list[Table]] = {}
    notes = []
    for split, group in splits.items():
        result[split] = []
        for table in group:
            if _lacks_labels(table, name):
                feature = _feature(table, name_logits(split, table.dataset), settings)
                notes.append(f"{table.source.name} has no labels: its rows are unlabelled, with `{TEACHER_LOGITS}`")
                notes += warn_of_labels(table.names)
                table = table.with_empty_label(name, feature)
            result[split].append(table)
    return result, notes


def _label_name(tables: Sequence[Table], given: Any) -> str | None:
    """Return the label column of the tables that have one, `label` if none has; None for a name that no table has."""
    if given is not None:
        is_found = isinstance(given, str) and any(table.find(given) is not None for table in tables)
        return given if is_found else None
    known = [name for name in LABEL_COLUMNS for table in tables if not _is_empty(table, table.find(name))]
    return (*known, LABEL_COLUMNS[0])[0]


def _lacks_labels(table: Table, name: str) -> bool:
    return TEACHER_LOGITS in table.dataset.column_names and _is_empty(table, table.find(name))


def _is_empty(table: Table, column: str | None) -> bool:
    """Whether a column does not exist, or has no value and declares no classes."""
    if column is None:
        return True
    if column in table.mixed or table.class_names(column) is not None:
        return False
    return table.column(column).null_count == len(table)


def _feature(table: Table, named: Dataset, settings: LabelSettings) -> Any:
    """Return the type of the empty column."""
    names, where = teacher_label_names(named), table.source.path
    if settings.problem_type == REGRESSION:
        if names is not None and len(names) > 1:
            raise ValueError(
                f"{where}: `{TEACHER_LOGITS}` has the classes {', '.join(names)}, and --problem_type (`problem_type`) "
                f"is {REGRESSION}. Pass single_label_classification or multi_label_classification."
            )
        return Value("float32")
    if names is None:
        raise ValueError(
            f"{where} has `{TEACHER_LOGITS}` and no label column, and does not say which class each number belongs "
            "to. Name the classes in the order of the numbers: --class_names (`class_names`)."
        )
    if settings.names is not None and list(settings.names) != names:
        raise ValueError(
            f"--class_names (`class_names`) is {', '.join(settings.names)}, but the numbers in `{TEACHER_LOGITS}` of "
            f"{where} are in the order {', '.join(names)}. Leave out --class_names."
        )
    return List(ClassLabel(names=names)) if settings.problem_type == MULTI else ClassLabel(names=names)
