"""Which rows an optimiser step consists of, in which order, and which of them count."""

import copy
from collections.abc import Mapping, Sequence, Sized
from typing import Any, cast

import datasets
import torch
from accelerate.data_loader import DataLoaderShard
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler, SequentialSampler
from transformers import Trainer

from hf_distill.classifiers.outputs import IS_UNIT, ROW_NUMBER, ROW_OF_UNIT, Batch, ClassifierOutputs
from hf_distill.classifiers.problem_types import ProblemType
from hf_distill.training.sampling import LengthGroupedSampler, SetEpoch


class NumberedRows(datasets.Dataset):
    """A data set that gives a data loader each row's number with the row.

    A column of numbers would be a copy of every data set that is shuffled or filtered (datasets 5.2).
    """

    @classmethod
    def of(cls, dataset: datasets.Dataset) -> "NumberedRows":
        """Return the same rows, numbered."""
        numbered = copy.copy(dataset)
        numbered.__class__ = cls
        return cast(NumberedRows, numbered)

    def __getitems__(self, keys: list[int]) -> list[dict[str, Any]]:
        return [{**row, ROW_NUMBER: key} for row, key in zip(super().__getitems__(keys), keys, strict=True)]


class Units(Trainer):
    """The part of [`DistillationTrainer`] that deals rows out and counts them."""

    problem_type: ProblemType

    def _remove_unused_columns(self, dataset: datasets.Dataset, description: str | None = None) -> datasets.Dataset:
        # The last that Trainer does to a data set before it makes the loader.
        return NumberedRows.of(super()._remove_unused_columns(dataset, description))

    def _get_train_sampler(self, train_dataset: Dataset | None = None) -> Sampler | None:
        dataset = self.train_dataset if train_dataset is None else train_dataset
        if self.args.train_sampling_strategy != "group_by_length" or not isinstance(dataset, datasets.Dataset):
            return super()._get_train_sampler(train_dataset)
        batch_size = self._train_batch_size * self.args.gradient_accumulation_steps * self.args.world_size
        seed = self.args.seed if self.args.data_seed is None else self.args.data_seed
        sampler = LengthGroupedSampler([len(ids) for ids in dataset["input_ids"]], batch_size, seed)
        self.pop_callback(SetEpoch)
        self.add_callback(SetEpoch(sampler))
        return sampler

    def _get_eval_sampler(self, eval_dataset: Dataset) -> Sampler | None:
        # Trainer's would follow `train_sampling_strategy`, and `predict` would return rows out of order.
        if self.args.world_size > 1 or not hasattr(eval_dataset, "__len__"):
            return None
        return SequentialSampler(eval_dataset)

    def _counted_rows(self, inputs: Batch, remainder: int) -> Tensor:
        """Return which rows count, `(batch,)` bool: all but those that accelerate repeats at the end of the data.

        The last global batch lies over the processes in order, its own `remainder` rows first; 0 if it is full.
        """
        num_rows = len(inputs["input_ids"])
        positions = torch.arange(num_rows, device=self.args.device)
        is_last = self.accelerator.gradient_state.end_of_dataloader
        if self.accelerator.num_processes == 1 or not is_last or remainder <= 0:
            return positions >= 0
        return positions + num_rows * self.accelerator.process_index < remainder

    def get_train_dataloader(self) -> DataLoader:
        """Return the training loader, and note how many rows its last global batch has of its own."""
        loader = super().get_train_dataloader()
        # Not from accelerate's state: in the loader of a resumed epoch it has lost the number.
        self._train_remainder: int | None = None
        if self.args.train_sampling_strategy == "batch_rebalance":
            self._train_remainder = 0  # that sampler repeats nothing
        elif hasattr(self.train_dataset, "__len__") and isinstance(loader, DataLoaderShard):
            self._train_remainder = len(cast("Sized", self.train_dataset)) % loader.total_batch_size
        return loader

    def get_batch_samples(
        self, epoch_iterator: Any, num_batches: int, device: torch.device
    ) -> tuple[list[dict[str, Tensor]], Tensor | None]:
        """Fetch the micro-batches of one optimiser step, each with a mask of its units, and count the units of all."""
        batches = []
        # Resumed at its end, Trainer would take one step more than `max_steps` (transformers 5.23).
        for _ in range(num_batches if self.state.global_step < self.state.max_steps else 0):
            if (batch := next(epoch_iterator, None)) is None:
                break
            remainder = self.accelerator.gradient_state.remainder
            rows = self._counted_rows(batch, remainder if self._train_remainder is None else self._train_remainder)
            batch[IS_UNIT] = self.problem_type.units(batch, rows)
            batches.append(batch)
        return batches, self._get_num_items_in_batch(batches, device)

    def _get_num_items_in_batch(
        self, batch_samples: Sequence[Mapping[str, Tensor]], device: torch.device
    ) -> Tensor | None:
        if not batch_samples:
            return None
        num_units = torch.stack([batch[IS_UNIT].sum() for batch in batch_samples]).sum().to(device)
        return self.accelerator.reduce(num_units, reduction="sum").clamp(min=1)

    def _at_units(
        self, student: ClassifierOutputs, teacher: ClassifierOutputs | None, inputs: dict[str, Tensor]
    ) -> tuple[ClassifierOutputs, ClassifierOutputs | None, dict[str, Tensor]]:
        """Return outputs and batch with one row of logits and one label a unit.

        Rows stay as they are, and `IS_UNIT` says which of them count. Of the tokens only the units are left.
        """
        rows = torch.ones_like(inputs["input_ids"][:, 0], dtype=torch.bool)
        is_unit = inputs.setdefault(IS_UNIT, self.problem_type.units(inputs, rows))
        if not self.problem_type.is_token_level:
            return student, teacher, inputs
        of_units = {IS_UNIT: is_unit[is_unit], ROW_OF_UNIT: is_unit.nonzero()[:, 0]}
        if "labels" in inputs:
            of_units["labels"] = inputs["labels"][is_unit]
        return student.at(is_unit), None if teacher is None else teacher.at(is_unit), {**inputs, **of_units}
