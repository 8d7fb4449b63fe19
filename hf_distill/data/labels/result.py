"""The labels of a task as they are returned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hf_distill.data.table import Table

Columns = Mapping[str, Sequence[tuple[Table, Sequence[str]]]]
"""For each split its tables, and the label columns of each: one, several, or none."""


@dataclass
class Labels:
    """The labels of a task.

    Attributes:
        problem_type: What kind of problem they make.
        names: Of the classes by id; placeholders (`LABEL_0`, ...) where the data have numbers without names; None for
            a regression with one output.
        values: For each split and table the column `label` of a [`Task`].
        feature: The type of that column.
        notes: What was merged, mapped or taken for missing.
        warnings: Contradictions, a sentence each.
    """

    problem_type: str
    names: list[str] | None
    values: dict[str, list[Any]]
    feature: Any
    notes: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
