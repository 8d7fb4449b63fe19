"""Rows that belong together, such as the sentences of a document, which count as a whole."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from datasets import Dataset

from hf_distill.reporting.comparison.evaluation_set import EvaluationSet
from hf_distill.reporting.comparison.units import Units
from hf_distill.utils.near_misses import did_you_mean

FEWEST_GROUPS = 20  # with fewer, the variance between groups is hardly known: Cameron, Gelbach and Miller (2008)


def read_groups(dataset: Dataset, column: str | None) -> np.ndarray | None:
    """Return the group of each row, numbered from 0; None if there is no column of groups.

    Raises:
        ValueError: if the column does not exist, or a row has no group.
        TypeError: if the column does not hold texts or numbers.
    """
    if column is None:
        return None
    if column not in dataset.column_names:
        raise ValueError(
            f"There is no group column {column!r}.{did_you_mean(column, dataset.column_names)} The columns are "
            f"{', '.join(dataset.column_names)}."
        )
    values = list(dataset[column])
    if all(value is None for value in values):
        raise ValueError(f"The group column {column!r} has no value in any row. Check its name.")
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
    return np.array([ids[value] for value in values])


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
