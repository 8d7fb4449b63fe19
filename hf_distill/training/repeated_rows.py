"""Which rows of a loader count: accelerate repeats rows from the start of the data to fill the last global batch."""

import copy
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from accelerate.data_loader import BatchSamplerShard, DataLoaderDispatcher, DataLoaderShard, IterableDatasetShard
from torch import Tensor
from torch.utils.data import BatchSampler


class _Counted:
    """Counts the rows that an iterable yields. Everything else is delegated to the iterable."""

    def __init__(self, rows: Iterable[Any]) -> None:
        self._rows, self.num_read = rows, 0

    def __getattr__(self, name: str) -> Any:
        if name == "_rows":  # asked for while the object is copied or unpickled
            raise AttributeError(name)
        return getattr(self._rows, name)

    def __iter__(self) -> Iterator[Any]:
        self.num_read = 0
        for row in self._rows:
            self.num_read += 1
            yield row


class _CountedBatches(_Counted, BatchSampler):
    """Counts the batches and the rows of a batch sampler.

    The length of a sampler or of its dataset would not do: a sampler can have no length, or leave out rows.
    """

    def __iter__(self) -> Iterator[list[Any]]:
        self.num_rows = 0
        for batch in super().__iter__():
            self.num_rows += len(batch)
            yield batch

    def __len__(self) -> int:
        return len(self._rows)  # type: ignore[arg-type]


class _MarkedShard(IterableDatasetShard):
    """Yields each row with whether it counts: accelerate does not tell how many rows it has repeated."""

    def __iter__(self) -> Iterator[tuple[Any, bool]]:
        global_batch = self.batch_size * (1 if self.split_batches else self.num_processes)
        local_batch = global_batch // self.num_processes
        shard = copy.copy(self)
        shard.dataset = counted = _Counted(self.dataset)
        for i, row in enumerate(IterableDatasetShard.__iter__(shard)):
            place = i // local_batch * global_batch + self.process_index * local_batch + i % local_batch
            # The whole global batch was read before its first row is yielded.
            yield row, place < counted.num_read


def count_rows(loader: DataLoaderShard) -> bool:
    """Let a loader count its rows, so that [`num_distinct_rows`] is exact. Call it before the loader is iterated.

    Returns:
        Whether the loader gives its collator pairs of a row and whether it counts.
    """
    shard = _find_shard(loader)
    if shard is not None and not isinstance(shard.batch_sampler, _CountedBatches):
        shard.batch_sampler = _CountedBatches(shard.batch_sampler)
    if type(loader.dataset) is not IterableDatasetShard:
        return False
    # A loader does not let its dataset be replaced. accelerate made this one for this loader alone.
    loader.dataset.__class__ = _MarkedShard
    return True


def num_distinct_rows(loader: Any, num_rows: int) -> int:
    """Return how many rows of the last global batch of a loader are not repeated; 0 if all of them.

    The last global batch is spread over the processes in order, with its distinct rows first.

    Args:
        loader: A loader at its last batch.
        num_rows: Rows of the last batch of this process.
    """
    if isinstance(loader, DataLoaderDispatcher):
        return loader.remainder
    shard = _find_shard(loader) if isinstance(loader, DataLoaderShard) else None
    if shard is None or shard.drop_last or not shard.even_batches:
        return 0
    batches = shard.batch_sampler
    if shard.batch_size is None:  # batches of different sizes: whole batches are repeated
        return batches.num_read % shard.num_processes * num_rows
    return batches.num_rows % (shard.batch_size * (1 if shard.split_batches else shard.num_processes))


def counted_rows(loader: Any, num_rows: int, process_index: int, device: torch.device) -> Tensor:
    """Return which rows of the current batch of a loader count, `(num_rows,)` bool.

    Args:
        loader: The loader that is being iterated; None if there is none.
        num_rows: Rows of the batch.
        process_index: Index of this process.
        device: Where the result is needed.
    """
    positions = torch.arange(num_rows, device=device)
    distinct = num_distinct_rows(loader, num_rows) if loader is not None and loader.end_of_dataloader else 0
    return positions >= 0 if distinct <= 0 else positions + num_rows * process_index < distinct


def _find_shard(loader: DataLoaderShard) -> BatchSamplerShard | None:
    """Return what shares out the batches of a loader among the processes, if anything does."""
    sampler = loader.sampler if isinstance(loader.sampler, BatchSampler) else loader.batch_sampler
    while sampler is not None and not isinstance(sampler, BatchSamplerShard):
        sampler = getattr(sampler, "batch_sampler", None)  # a resumed epoch skips batches of another sampler
    return None if sampler is None or sampler.num_processes == 1 else sampler
