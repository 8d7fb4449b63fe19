"""The column `label` of a split: which rows have a label, the counts of the classes, and the labels by name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import pyarrow as pa
from datasets import Dataset

from hf_distill.data.labels.settings import MULTI, REGRESSION, SINGLE


class LabelColumn:
    """The column `label` of a split."""

    def __init__(self, dataset: Dataset, problem_type: str, names: Sequence[str] | None) -> None:
        self.problem_type, self.names = problem_type, list(names or ())
        column = dataset.data.column("label").combine_chunks()
        self.tags = column.to_pylist() if problem_type not in (SINGLE, MULTI, REGRESSION) else []
        self.array = np.zeros(0)
        if not self.tags:
            width = len(self.names) if pa.types.is_nested(column.type) else None
            flat = (column if width is None else column.flatten()).to_numpy(zero_copy_only=False)
            self.array = flat if width is None else flat.reshape(len(column), width)

    @property
    def num_labelled(self) -> int:
        """The number of rows with a label."""
        if self.tags:
            return sum(row is not None and any(tag is not None and tag >= 0 for tag in row) for row in self.tags)
        return int(self._is_labelled().sum())

    def _is_labelled(self) -> np.ndarray:
        if self.problem_type == SINGLE:
            return self.array >= 0
        return np.logical_not(np.isnan(self.array.reshape(len(self.array), -1)).any(axis=1))

    def counts(self) -> dict[str, int]:
        """Return the number of rows (or words) of each class; an empty dict for scores."""
        if self.tags:
            ids = [tag for row in self.tags for tag in row or () if tag is not None and tag >= 0]
            numbers = np.bincount(np.array(ids, dtype=np.int64), minlength=len(self.names))
        elif self.problem_type == SINGLE:
            numbers = np.bincount(self.array[self.array >= 0], minlength=len(self.names))
        elif self.problem_type == MULTI:
            numbers = np.nansum(self.array, axis=0)
        else:
            return {}
        return {name: int(number) for name, number in zip(self.names, numbers, strict=True)}

    def ids(self) -> np.ndarray | None:
        """Return an id for the label of each row, below 0 for rows without a label; None for scores and tags."""
        if self.problem_type == SINGLE:
            return self.array
        if self.problem_type != MULTI:
            return None
        codes = pa.array([row.tobytes() for row in self.array]).dictionary_encode().indices.to_numpy()
        return np.where(self._is_labelled(), codes, -1)

    def strata(self) -> np.ndarray:
        """Return a stratum for each row, -1 for rows without a label.

        It is the class; the rarest of several classes or tags, and one more stratum for rows without any of them; or
        the tenth of the scores (of their mean, if there are several outputs).
        """
        if self.problem_type == SINGLE:
            return self.array
        if self.problem_type == REGRESSION:
            return self._tenths()
        counts = list(self.counts().values())
        return np.array(
            [-1 if row is None else min(row, key=counts.__getitem__, default=len(counts)) for row in self._sets()]
        )

    def _tenths(self) -> np.ndarray:
        scores, is_labelled = self.array.reshape(len(self.array), -1).mean(axis=1), self._is_labelled()
        ranks = np.full(len(scores), -1)
        ranks[is_labelled] = np.argsort(np.argsort(scores[is_labelled], kind="stable"), kind="stable")
        return np.where(is_labelled, ranks * 10 // max(1, int(is_labelled.sum())), -1)

    def _sets(self) -> list[list[int] | None]:
        """Return the classes of each row, None for a row without a label."""
        if self.tags:
            sets = [None if row is None else [tag for tag in row if tag is not None and tag >= 0] for row in self.tags]
            return [row or None for row in sets]
        is_labelled = self._is_labelled().tolist()
        return [
            np.flatnonzero(row > 0.5).tolist() if known else None
            for row, known in zip(self.array, is_labelled, strict=True)
        ]

    def by_name(self) -> list[Any] | None:
        """Return the labels by name, so that the order of the classes does not matter; None if no row has a label."""
        if not self.num_labelled:
            return None
        if self.tags:
            return [None if row is None else [self._name(tag) for tag in row] for row in self.tags]
        if self.problem_type == SINGLE:
            return [self._name(i) for i in cast(list[int], self.array.tolist())]
        if self.problem_type != MULTI or not np.isin(self.array[self._is_labelled()], (0, 1)).all():
            return self.array.tolist()
        names: list[list[str]] = [[] for _ in self.array]
        for row, place in zip(*np.nonzero(np.nan_to_num(self.array)), strict=True):
            names[row].append(self.names[place])
        return [
            sorted(row) if is_labelled else None for row, is_labelled in zip(names, self._is_labelled(), strict=True)
        ]

    def _name(self, class_id: int | None) -> str | None:
        return None if class_id is None or class_id < 0 else self.names[class_id]
