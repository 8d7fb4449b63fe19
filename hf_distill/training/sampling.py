"""The order of training rows: batches of similar length that depend only on the seed, the epoch and the batch size."""

from collections.abc import Iterator, Sequence

import torch
from datasets import Dataset
from torch.utils.data import Sampler
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

_BATCHES_PER_POOL = 50  # rows are sorted within pools of this many batches: little padding, and still much randomness


class LengthGroupedSampler(Sampler[int]):
    """A random order in which each global batch holds rows of similar length.

    Trainer's sampler draws from the global random state and sorts by the batch of one process, so a resumed run or a
    run on another number of processes gets other batches. This order depends on neither.

    Args:
        lengths: Tokens of every row.
        batch_size: Rows of an optimizer step, over all processes and accumulation steps.
        seed: Seed of the order.
    """

    def __init__(self, lengths: Sequence[int], batch_size: int, seed: int) -> None:
        self.lengths = torch.tensor(lengths)
        self.batch_size, self.seed, self.epoch = batch_size, seed, 0

    @classmethod
    def of(cls, dataset: Dataset, args: TrainingArguments, per_process_batch_size: int) -> "LengthGroupedSampler":
        """Return the sampler of a tokenized dataset for the batches and the seed of a Trainer."""
        batch_size = per_process_batch_size * args.gradient_accumulation_steps * args.world_size
        seed = args.seed if args.data_seed is None else args.data_seed
        return cls([len(ids) for ids in dataset["input_ids"]], batch_size, seed)

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
        # Only the last batch can be short, and it stays last.
        places = torch.randperm(len(batches) - 1, generator=generator).tolist()
        for place in [*places, len(batches) - 1]:
            yield from batches[place].tolist()


class SetEpoch(TrainerCallback):
    """Tells the sampler the epoch, which accelerate does not do when it skips batches of a resumed run."""

    def __init__(self, sampler: LengthGroupedSampler) -> None:
        self.sampler = sampler

    def on_epoch_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: object
    ) -> None:
        self.sampler.set_epoch(int(state.epoch or 0))
