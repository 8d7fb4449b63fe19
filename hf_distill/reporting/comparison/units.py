"""The units that models are scored on: rows, or the words of rows, with their labels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from hf_distill.reporting.statistics import design_effect


@dataclass(frozen=True)
class Units:
    """Rows, or the words or tokens of rows.

    Attributes:
        problem_type: Name of the problem type.
        names: Names of the classes by id.
        labels: `(num_units,)`, -100 or NaN for a unit without a label; multi-label `(num_units, num_labels)`.
        rows: `(num_units,)`, the row that each unit belongs to, ascending.
        texts: For each row a text, a pair or a list of words.
        lengths: `(num_rows,)`, the lengths of the rows.
        length_unit: "words" or "tokens".
        groups: `(num_rows,)`, the group of each row, numbered from 0, e.g. the document of a sentence; None if rows
            are independent. Intervals and tests count whole groups.
    """

    problem_type: str
    names: list[str]
    labels: np.ndarray
    rows: np.ndarray
    texts: Sequence[Any]
    lengths: np.ndarray
    length_unit: str = "words"
    groups: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def num_rows(self) -> int:
        """Number of rows, including rows without a unit."""
        return len(self.lengths)

    @property
    def row_groups(self) -> np.ndarray:
        """The group of each row, `(num_rows,)`; each row is a group if rows are independent."""
        return np.arange(self.num_rows) if self.groups is None else self.groups

    @property
    def num_groups(self) -> int:
        """Number of groups; of rows if rows are independent."""
        return len(np.unique(self.row_groups))

    @property
    def fewest_independent_rows(self) -> float:
        """The number of independent rows that tell as much, if the rows of a group are all alike."""
        return (
            self.num_rows
            if self.groups is None
            else self.num_rows / design_effect(np.zeros(self.num_rows), self.groups)
        )

    @property
    def degrees_of_freedom(self) -> float:
        """Degrees of freedom of a variance between groups; infinite if rows are independent."""
        return math.inf if self.groups is None else self.num_groups - 1

    @property
    def is_token_level(self) -> bool:
        """Whether a row can have several units."""
        return self.problem_type == "token_classification"

    @property
    def is_labelled(self) -> np.ndarray:
        """Which units have a label, `(num_units,)` bool."""
        if self.labels.dtype.kind == "f":
            return ~np.isnan(self.labels).reshape(len(self), -1).any(axis=1)
        return self.labels >= 0

    def at(self, is_chosen: np.ndarray) -> Units:
        """Return the chosen units, `(num_units,)` bool, and only their rows, which are numbered from 0 again."""
        kept_rows, rows = np.unique(self.rows[is_chosen], return_inverse=True)
        groups = None if self.groups is None else np.unique(self.groups[kept_rows], return_inverse=True)[1]
        return replace(
            self,
            labels=self.labels[is_chosen],
            rows=rows,
            texts=[self.texts[row] for row in kept_rows],
            lengths=self.lengths[kept_rows],
            groups=groups,
        )
