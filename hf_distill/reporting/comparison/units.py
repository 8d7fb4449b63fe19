"""The units that models are scored on: rows, or the words of rows, with their labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np


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
    """

    problem_type: str
    names: list[str]
    labels: np.ndarray
    rows: np.ndarray
    texts: Sequence[Any]
    lengths: np.ndarray
    length_unit: str = "words"

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def num_rows(self) -> int:
        """Number of rows, including rows without a unit."""
        return len(self.lengths)

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
        return replace(
            self,
            labels=self.labels[is_chosen],
            rows=rows,
            texts=[self.texts[row] for row in kept_rows],
            lengths=self.lengths[kept_rows],
        )
