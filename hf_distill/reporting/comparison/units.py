"""What models are judged on: units, each with its label, and the row that it is of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Units:
    """Rows, or the words or tokens of rows.

    Attributes:
        problem_type: Its name.
        names: Of the classes, by id.
        labels: `(num_units,)`, -100 or NaN where there is none; multi-label `(num_units, num_labels)`.
        rows: `(num_units,)`, the row that each is of, ascending.
        texts: Of the rows: a text, a pair, or words.
        lengths: Of the rows, `(num_rows,)`.
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
        """How many rows there are; those without a unit count too."""
        return len(self.lengths)

    @property
    def is_token_level(self) -> bool:
        """Whether several units are of one row."""
        return self.problem_type == "token_classification"

    @property
    def is_labelled(self) -> np.ndarray:
        """Which units have a label, `(num_units,)` bool."""
        if self.labels.dtype.kind == "f":
            return ~np.isnan(self.labels).reshape(len(self), -1).any(axis=1)
        return self.labels >= 0

    def at(self, is_chosen: np.ndarray) -> Units:
        """Return some of the units, `(num_units,)` bool, and only the rows that these are of, counted anew."""
        kept, rows = np.unique(self.rows[is_chosen], return_inverse=True)
        return replace(
            self,
            labels=self.labels[is_chosen],
            rows=rows,
            texts=[self.texts[row] for row in kept],
            lengths=self.lengths[kept],
        )
