"""Which rows an optimizer step consists of, and which of them count."""

import copy
from collections.abc import Sequence, Sized
from typing import Any, cast

import datasets
import torch
from accelerate import Accelerator
from accelerate.data_loader import DataLoaderShard
from torch import Tensor
from torch.utils.data import DataLoader

from hf_distill.classifiers.outputs import IS_UNIT, ROW_NUMBER, ROW_OF_UNIT, Batch, ClassifierOutputs
from hf_distill.classifiers.problem_types import ProblemType


class NumberedRows(datasets.Dataset):
    """A dataset that gives a data loader each row's number with the row.

    A column of numbers would copy every dataset that is shuffled or filtered (datasets 5.2).
    """

    @classmethod
    def of(cls, dataset: datasets.Dataset) -> "NumberedRows":
        """Return the same rows, numbered."""
        numbered = copy.copy(dataset)
        numbered.__class__ = cls
        return cast(NumberedRows, numbered)

    def __getitems__(self, keys: list[int]) -> list[dict[str, Any]]:
        return [{**row, ROW_NUMBER: key} for row, key in zip(super().__getitems__(keys), keys, strict=True)]


class Units:
    """Marks and counts the units of batches: the examples or tokens that the loss is a mean over.

    accelerate fills the last global batch with rows from the start of the data. These rows do not count.

    Args:
        problem_type: The student's.
        accelerator: The Trainer's.
    """

    def __init__(self, problem_type: ProblemType, accelerator: Accelerator) -> None:
        self.problem_type, self.accelerator = problem_type, accelerator
        self._train_remainder: int | None = None

    def note_train_loader(self, loader: DataLoader, dataset: Any, repeats_rows: bool) -> None:
        """Note how many distinct rows the last global batch of an epoch has.

        accelerate's own number is lost in the loader of a resumed epoch.

        Args:
            loader: The training loader that accelerate prepared.
            dataset: The rows that it loads.
            repeats_rows: Whether accelerate repeats rows to fill the last global batch.
        """
        self._train_remainder = None
        if not repeats_rows:
            self._train_remainder = 0
        elif hasattr(dataset, "__len__") and isinstance(loader, DataLoaderShard):
            self._train_remainder = len(cast(Sized, dataset)) % loader.total_batch_size

    def mark_training(self, batch: dict[str, Tensor]) -> None:
        """Add the mask of its units to a batch of the training loader."""
        remainder = self.accelerator.gradient_state.remainder
        self._mark(batch, remainder if self._train_remainder is None else self._train_remainder)

    def mark_evaluation(self, batch: dict[str, Tensor]) -> None:
        """Add the mask of its units to a batch of an evaluation loader."""
        self._mark(batch, self.accelerator.gradient_state.remainder)

    def _mark(self, batch: dict[str, Tensor], remainder: int) -> None:
        batch[IS_UNIT] = self.problem_type.units(batch, self._counted_rows(batch, remainder))

    def _counted_rows(self, batch: Batch, remainder: int) -> Tensor:
        """Return which rows count, `(batch,)` bool: all rows except those that accelerate repeats.

        The last global batch is spread over the processes in order, with its `remainder` distinct rows first. A
        remainder of 0 means that the batch is full.
        """
        num_rows = len(batch["input_ids"])
        positions = torch.arange(num_rows, device=self.accelerator.device)
        is_last = self.accelerator.gradient_state.end_of_dataloader
        if self.accelerator.num_processes == 1 or not is_last or remainder <= 0:
            return positions >= 0
        return positions + num_rows * self.accelerator.process_index < remainder

    def count(self, batches: Sequence[Batch], device: torch.device) -> Tensor | None:
        """Count the units of several marked batches over all processes; None for no batches."""
        if not batches:
            return None
        num_units = torch.stack([batch[IS_UNIT].sum() for batch in batches]).sum().to(device)
        return self.accelerator.reduce(num_units, reduction="sum").clamp(min=1)

    def select(
        self, student: ClassifierOutputs, teacher: ClassifierOutputs | None, batch: dict[str, Tensor]
    ) -> tuple[ClassifierOutputs, ClassifierOutputs | None, dict[str, Tensor]]:
        """Return outputs and batch with one row of logits and one label per unit.

        Of token-level outputs only the units remain. Other outputs are returned unchanged, and `IS_UNIT` says which
        rows count.
        """
        all_rows = torch.ones_like(batch["input_ids"][:, 0], dtype=torch.bool)
        is_unit = batch.setdefault(IS_UNIT, self.problem_type.units(batch, all_rows))
        if not self.problem_type.is_token_level:
            return student, teacher, batch
        selected = {IS_UNIT: is_unit[is_unit], ROW_OF_UNIT: is_unit.nonzero()[:, 0]}
        if "labels" in batch:
            selected["labels"] = batch["labels"][is_unit]
        return (
            student.select_units(is_unit),
            None if teacher is None else teacher.select_units(is_unit),
            {**batch, **selected},
        )
