"""What the Trainer adds to the batches of any loader and collator: numbers of rows, and the places of units."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from accelerate.data_loader import DataLoaderDispatcher, DataLoaderShard
from torch.utils.data import DataLoader

from hf_distill.classifiers.outputs import IS_COUNTED, ROW_NUMBER, UNIT_PLACES
from hf_distill.classifiers.problem_types import ProblemType
from hf_distill.training.repeated_rows import count_rows


class UnitCollator:
    """Calls a collator on rows without the Trainer's own columns, and adds to the batch what the Trainer reads.

    Here and not in the training step, because finding units by a mask makes a step wait for the device. Numbers and
    places are arrays, which the loader leaves on the CPU: copying them would wait, too.

    Args:
        collate: The collator of a loader.
        problem_type: The student's.
        has_marked_rows: Whether the collator gets pairs of a row and whether it counts.
        is_dispatched: Whether accelerate joins and splits the batches, which it can do with tensors of rows only.
    """

    def __init__(
        self,
        collate: Callable[[list[Any]], Any],
        problem_type: ProblemType,
        has_marked_rows: bool = False,
        is_dispatched: bool = False,
    ) -> None:
        self.collate, self.problem_type = collate, problem_type
        self.has_marked_rows, self.is_dispatched = has_marked_rows, is_dispatched

    def __call__(self, rows: Any) -> Any:
        """Collate rows, and add their numbers, the places of units and which rows count, as far as known."""
        added: dict[str, Any] = {}
        if self.has_marked_rows:
            rows, is_counted = zip(*rows, strict=True)
            added[IS_COUNTED] = torch.tensor(is_counted)
        rows = list(rows)
        if rows and isinstance(rows[0], dict) and ROW_NUMBER in rows[0]:
            added[ROW_NUMBER] = np.array([row[ROW_NUMBER] for row in rows])
            rows = [{name: value for name, value in row.items() if name != ROW_NUMBER} for row in rows]
        batch = self.collate(rows)
        if self.is_dispatched:
            added = {name: torch.as_tensor(values) for name, values in added.items()}
        elif self.problem_type.is_token_level:
            added[UNIT_PLACES] = self.problem_type.unit_places(batch).numpy()
        batch.update(added)
        return batch


def prepare_loader(loader: Any, problem_type: ProblemType) -> None:
    """Let a loader count its rows and its collator find the units; an iterable that is no loader is left as it is."""
    if not isinstance(loader, DataLoader):
        return
    is_dispatched = isinstance(loader, DataLoaderDispatcher)
    base: Any = loader.base_dataloader if isinstance(loader, DataLoaderShard | DataLoaderDispatcher) else loader
    if isinstance(base.collate_fn, UnitCollator):
        return
    has_marked_rows = isinstance(loader, DataLoaderShard) and count_rows(loader)
    base.collate_fn = UnitCollator(base.collate_fn, problem_type, has_marked_rows, is_dispatched)
