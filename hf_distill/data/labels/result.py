"""The labels of a task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hf_distill.data.table import Table

Columns = Mapping[str, Sequence[tuple[Table, Sequence[str]]]]
"""For each split its tables, each with its label columns: one, several or none."""


@dataclass
class Labels:
    """The labels of a task.

    Attributes:
        problem_type: Problem type.
        names: Name of each class or output, by id; `LABEL_0`, ... if the data have numbers without names; None for a
            regression with one output.
        values: For each split and table the values of the column `label` of a [`Task`].
        feature: The type of this column.
        notes: What was merged, mapped, or read as a missing label.
        warnings: Contradictions in the data.
    """

    problem_type: str
    names: list[str] | None
    values: dict[str, list[Any]]
    feature: Any
    notes: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
