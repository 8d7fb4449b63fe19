"""Rows that belong together, such as the sentences of a document, which count as a whole."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from datasets import Dataset

from hf_distill.reporting.comparison.evaluation_set import EvaluationSet
from hf_distill.reporting.comparison.units import Units

FEWEST_GROUPS = 20  # with fewer, the variance between groups is hardly known: Cameron, Gelbach and Miller (2008)


def take_groups(dataset: Dataset, column: str | None, others: Sequence[str]) -> tuple[Dataset, np.ndarray | None]:
    """Return the dataset without the column of groups, and the group of each row, numbered from 0.

    Args:
        dataset: The rows.
        column: Name of the column; None if rows are independent.
        others: Names of the text and label columns. A column that is one of them stays in the dataset.

    Raises:
        ValueError: if the column does not exist, or a row has no group.
        TypeError: if the column does not hold texts or numbers.
    """
    if column is None:
        return dataset, None
    if column not in dataset.column_names:
        raise ValueError(f"There is no group column {column!r}. The columns are {', '.join(dataset.column_names)}.")
    values = list(dataset[column])
    ids: dict[Any, int] = {}
    for row, value in enumerate(values):
        if value is None or value == "" or value != value:
            raise ValueError(
                f"Row {row} has no group in column {column!r}. Name its group, or remove the row. A row that belongs "
                "to no other row is a group of its own."
            )
        if not isinstance(value, str | int | float):
            raise TypeError(f"The group column {column!r} holds {type(value).__name__}, not texts or numbers.")
        ids.setdefault(value, len(ids))
    groups = np.array([ids[value] for value in values])
    return (dataset if column in others else dataset.remove_columns(column)), groups


def with_groups(rows: EvaluationSet, groups: np.ndarray | None, column: str | None) -> EvaluationSet:
    """Return the evaluation set with its groups.

    Raises:
        ValueError: if all labelled rows belong to one group.
    """
    if groups is None:
        return rows
    units = replace(rows.units, groups=groups)
    if units.is_labelled.any() and units.at(units.is_labelled).num_groups == 1:
        raise ValueError(
            f"All labelled rows have the same group in column {column!r}, so nothing is known about other groups. "
            "Check the name of the column, or leave it out."
        )
    return replace(rows, units=units)


def describe_groups(units: Units, column: str | None) -> dict[str, Any] | None:
    """Return the `column`, the `number` of groups and the rows of the `largest`; None if rows are independent."""
    if units.groups is None:
        return None
    sizes = np.unique(units.groups, return_counts=True)[1]
    return {"column": column, "number": len(sizes), "largest": int(sizes.max())}
