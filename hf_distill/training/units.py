"""Which rows an optimizer step consists of, and which of them count."""

import copy
from collections.abc import Iterator, Sequence
from typing import Any, cast

import datasets
import torch
from accelerate import Accelerator
from torch import Tensor

from hf_distill.classifiers.outputs import (
    IS_COUNTED,
    IS_UNIT,
    ROW_NUMBER,
    ROW_OF_UNIT,
    STORABLE_OUTPUTS,
    UNIT_PLACES,
    Batch,
    ClassifierOutputs,
)
from hf_distill.classifiers.problem_types import ProblemType
from hf_distill.training.repeated_rows import counted_rows, num_distinct_rows
from hf_distill.utils.columns import select_formatted


class NumberedRows(datasets.Dataset):
    """A dataset that gives a data loader each row's number with the row, and stored teacher outputs as arrays.

    A column of numbers would copy every dataset that is shuffled or filtered (datasets 5.2). The [CLS] states of 32
    rows as nested lists take over 70 ms, as arrays a few.
    """

    _parts: tuple[datasets.Dataset, datasets.Dataset] | None

    @classmethod
    def of(cls, dataset: datasets.Dataset) -> "NumberedRows":
        """Return the same rows, numbered."""
        numbered = copy.copy(dataset)
        numbered.__class__ = cls
        numbered = cast(NumberedRows, numbered)
        stored = [name for name in dataset.column_names if _is_stored_output(name)]
        numbered._parts = None
        if stored and dataset.format["type"] is None and len(stored) < len(dataset.column_names):
            arrays = select_formatted(dataset, stored, "numpy")
            numbered._parts = dataset.remove_columns(stored), arrays
        return numbered

    def __getitems__(self, keys: list[int]) -> list[dict[str, Any]]:
        if self._parts is None:
            rows = super().__getitems__(keys)
        else:
            others, arrays = self._parts
            columns = arrays[keys]
            rows = [
                {**row, **{name: values[i] for name, values in columns.items()}}
                for i, row in enumerate(others.__getitems__(keys))
            ]
        return [{**row, ROW_NUMBER: key} for row, key in zip(rows, keys, strict=True)]


def _is_stored_output(column: str) -> bool:
    return column.startswith("teacher_") and column.endswith(tuple(STORABLE_OUTPUTS))


class Units:
    """Marks and counts the units of batches: the examples or tokens that the loss is a mean over.

    accelerate fills the last global batch with rows from the start of the data. These rows do not count
    ([`~hf_distill.training.repeated_rows`]).

    Args:
        problem_type: The student's.
        accelerator: The Trainer's.

    Attributes:
        evaluated_loader: The loader of the current evaluation.
    """

    def __init__(self, problem_type: ProblemType, accelerator: Accelerator) -> None:
        self.problem_type, self.accelerator = problem_type, accelerator
        self.evaluated_loader: Any = None

    def mark(self, batch: dict[str, Any]) -> None:
        """Add the units, and which of them count, to a batch of the loader that is being iterated."""
        is_counted = self._counted_rows(batch)
        if not self.problem_type.is_token_level:
            batch[IS_UNIT] = is_counted
            return
        places = batch.get(UNIT_PLACES)
        if places is None:  # a loader that is not ours
            places = self.problem_type.unit_places(batch)
        batch[UNIT_PLACES] = places = to_device(torch.as_tensor(places), self.accelerator.device)
        batch[ROW_OF_UNIT] = places // batch["input_ids"].shape[1]
        batch[IS_UNIT] = is_counted.index_select(0, batch[ROW_OF_UNIT])

    def fetch(self, loader: Iterator[dict[str, Any]], num_batches: int) -> list[dict[str, Any]]:
        """Return the marked micro-batches of an optimizer step; empty if the loader has no more batches.

        If the data ends within the step, micro-batches follow in which nothing counts. Trainer takes a step only after
        `num_batches` micro-batches; without these, the gradient would be added to the first step of the next pass.
        """
        batches = []
        for _ in range(num_batches):
            if (batch := next(loader, None)) is None:
                break
            self.mark(batch)
            batches.append(batch)
        empty = [{**batch, IS_UNIT: torch.zeros_like(batch[IS_UNIT])} for batch in batches[-1:]]
        return batches + empty * (num_batches - len(batches))

    def mark_evaluation(self, batch: dict[str, Any]) -> None:
        """Mark a batch of evaluation, and let accelerate leave out repeated rows of predictions, too."""
        loader, is_counted = self.accelerator.gradient_state.active_dataloader, batch.get(IS_COUNTED)
        num_rows, num_processes = len(batch["input_ids"]), self.accelerator.num_processes
        self.mark(batch)
        if loader is None or not loader.end_of_dataloader:
            return
        if loader is not self.evaluated_loader:
            # The training loader at its last batch. accelerate would cut every batch of another loader as its last.
            loader.remainder = 0
        elif is_counted is not None:
            loader.remainder = int(self.accelerator.reduce(is_counted.sum(), reduction="sum"))
        else:
            loader.remainder = num_distinct_rows(loader, num_rows) or num_rows * num_processes

    def _counted_rows(self, batch: dict[str, Any]) -> Tensor:
        if IS_COUNTED in batch:
            return to_device(batch.pop(IS_COUNTED), self.accelerator.device)
        return counted_rows(
            self.accelerator.gradient_state.active_dataloader,
            len(batch["input_ids"]),
            self.accelerator.process_index,
            self.accelerator.device,
        )

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

        Of token-level outputs only the units remain. Other outputs are returned unchanged. `IS_UNIT` says which units
        count.
        """
        if IS_UNIT not in batch:
            self.mark(batch)
        if not self.problem_type.is_token_level:
            return student, teacher, batch
        places = batch[UNIT_PLACES]
        selected = {**batch, **({"labels": batch["labels"].flatten()[places]} if "labels" in batch else {})}
        return (
            student.select_units(places),
            None if teacher is None else teacher.select_units(places),
            selected,
        )


def to_device(values: Tensor, device: torch.device) -> Tensor:
    """Copy a tensor to a device without waiting for it."""
    if device.type != "cuda" or values.device == device:
        return values.to(device)
    return values.pin_memory().to(device, non_blocking=True)
