"""Batches of rows of like length, in an order that depends on the seed, the epoch and the global batch alone."""

from collections.abc import Iterator, Sequence

import torch
from torch.utils.data import Sampler
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

_BATCHES_PER_POOL = 50  # rows are sorted within pools of so many batches: little padding, and still much chance


class LengthGroupedSampler(Sampler[int]):
    """A random order in which each global batch holds rows of like length.

    Trainer's own draws from the global random state and sorts by the batch of one process, so that a resumed run and
    one on another number of processes see other batches. Here neither plays a part.

    Args:
        lengths: Tokens of every row.
        batch_size: Rows of an optimiser step, over all processes and accumulation steps.
        seed: Of the order.
    """

    def __init__(self, lengths: Sequence[int], batch_size: int, seed: int) -> None:
        self.lengths = torch.tensor(lengths)
        self.batch_size, self.seed, self.epoch = batch_size, seed, 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose order comes next."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.lengths)

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed(self.seed + self.epoch)
        order = torch.randperm(len(self.lengths), generator=generator)
        batches: list[torch.Tensor] = []
        for pool in order.split(_BATCHES_PER_POOL * self.batch_size):
            batches += pool[self.lengths[pool].argsort(descending=True, stable=True)].split(self.batch_size)
        # Only the last batch of all may be short, and stays where it is.
        places = torch.randperm(len(batches) - 1, generator=generator).tolist()
        for place in [*places, len(batches) - 1]:
            yield from batches[place].tolist()


class SetEpoch(TrainerCallback):
    """Tells the sampler the epoch; accelerate does not where it skips batches of a resumed run."""

    def __init__(self, sampler: LengthGroupedSampler) -> None:
        self.sampler = sampler

    def on_epoch_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: object
    ) -> None:
        self.sampler.set_epoch(int(state.epoch or 0))
