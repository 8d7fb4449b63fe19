"""Loaders whose last global batch is not what `len(dataset)` says, for `test_counting.py`: in one process and in two.

`run_all` runs all cases in this process; the first process writes what they give.
"""

import functools
import os
from pathlib import Path

import torch
from accelerate import PartialState
from invariance import GradientRecorder, make_args
from tiny import tiny_dataset, tiny_model, tiny_tokenizer
from torch.utils.data import BatchSampler, DataLoader, IterableDataset, SequentialSampler

from hf_distill import DistillationTrainer

COLUMNS = ["input_ids", "token_type_ids", "attention_mask", "labels"]
GLOBAL_BATCH = 8
UNDISPATCHED = {"accelerator_config": {"dispatch_batches": False}}


@functools.cache
def rows_of(num_rows):
    """Rows of one length: accelerate cannot join batches of a stream that were padded to different lengths."""
    tokenizer = tiny_tokenizer()
    rows = tiny_dataset(tokenizer, num_rows, seed=3)
    padded = rows.map(lambda row: tokenizer(row["text"], padding="max_length", max_length=16))
    return padded.select_columns(COLUMNS)


class Stream(IterableDataset):
    """Rows without a length."""

    def __init__(self, num_rows):
        self.rows = list(rows_of(num_rows))

    def __iter__(self):
        yield from self.rows


class Shortened(SequentialSampler):
    """All rows but the last ones, with a length or without."""

    def __init__(self, dataset, num_left_out):
        super().__init__(dataset)
        self.num_left_out = num_left_out

    def __len__(self):
        return super().__len__() - self.num_left_out

    def __iter__(self):
        yield from range(len(self))


class Unsized(Shortened):
    def __len__(self):
        raise TypeError("no length")

    def __iter__(self):
        yield from range(len(self.data_source) - self.num_left_out)


class Lists(BatchSampler):
    """A batch sampler that has neither a sampler nor a batch size: 3 rows, 2 rows, 3 rows, ..."""

    def __init__(self, num_rows):
        self.batches, start = [], 0
        while start < num_rows:
            stop = min(num_rows, start + 3 - len(self.batches) % 2)
            self.batches.append(list(range(start, stop)))
            start = stop

    def __len__(self):
        return len(self.batches)

    def __iter__(self):
        return iter(self.batches)


class ShortSampler(DistillationTrainer):
    def _get_train_sampler(self, train_dataset=None):
        return Shortened(train_dataset, 4)

    def _get_eval_sampler(self, eval_dataset):
        return Shortened(eval_dataset, 4)


class UnsizedSampler(DistillationTrainer):
    def _get_train_sampler(self, train_dataset=None):
        return Unsized(train_dataset, 4)


class OwnLoader(DistillationTrainer):
    """Loads other rows than `train_dataset` has."""

    def get_train_dataloader(self):
        rows = self._remove_unused_columns(self.train_dataset.select(range(11)))
        return self.accelerator.prepare(
            DataLoader(rows, batch_size=self._train_batch_size, collate_fn=self.data_collator)
        )


class OwnBatches(DistillationTrainer):
    """One row of batches of different sizes: in two processes, each batch of the first has one of the second."""

    def get_train_dataloader(self):
        rows = self._remove_unused_columns(self.train_dataset)
        return self.accelerator.prepare(
            DataLoader(rows, batch_sampler=Lists(len(rows)), collate_fn=self.data_collator)
        )


# Name -> class, rows, arguments, and the rows that count in training and in evaluation.
CASES = {
    "the last rows are dropped": (DistillationTrainer, rows_of(20), {"dataloader_drop_last": True}, 16, 16),
    "the last rows are dropped, accumulated": (
        DistillationTrainer, rows_of(30), {"dataloader_drop_last": True, "gradient_accumulation_steps": 2}, 24, 24
    ),
    "a sampler of another length": (ShortSampler, rows_of(16), {}, 12, 12),
    "a sampler without a length": (UnsizedSampler, rows_of(16), {"max_steps": 2}, 12, 16),
    "a loader of a subclass": (OwnLoader, rows_of(16), {}, 11, 16),
    "a stream": (DistillationTrainer, Stream(13), {"max_steps": 2}, 13, 13),
    "a stream that each process reads": (DistillationTrainer, Stream(13), {"max_steps": 2, **UNDISPATCHED}, 13, 13),
    "a short stream that each process reads": (
        DistillationTrainer, Stream(3), {"max_steps": 1, **UNDISPATCHED}, 3, 3
    ),
    "a stream that workers read": (
        DistillationTrainer, Stream(13), {"max_steps": 2, "dataloader_num_workers": 1, **UNDISPATCHED}, 13, 13
    ),
    "datasets' stream that each process reads": (
        DistillationTrainer, rows_of(13).to_iterable_dataset(), {"max_steps": 2, **UNDISPATCHED}, 13, 13
    ),
    "batches that are split": (
        DistillationTrainer, rows_of(13),
        {"accelerator_config": {"split_batches": True}, "per_device_train_batch_size": GLOBAL_BATCH,
         "per_device_eval_batch_size": 4}, 13, 13,
    ),
    "a stream that ends within a step": (
        DistillationTrainer, Stream(20), {"max_steps": 4, "gradient_accumulation_steps": 2}, 20, 20
    ),
}  # fmt: skip


def run_case(name: str, folder: Path) -> dict:
    """Train for one pass or two, and evaluate."""
    cls, rows, changes, *_ = CASES[name]
    recorder, num_processes = GradientRecorder(), int(os.environ.get("WORLD_SIZE", "1"))
    settings = {
        "per_device_train_batch_size": GLOBAL_BATCH // num_processes,
        "per_device_eval_batch_size": 3,
    } | changes
    trainer = cls(
        tiny_model(2, seed=2), tiny_model(4, seed=1), make_args(folder, learning_rate=0.0, **settings),
        train_dataset=rows, eval_dataset=rows, processing_class=tiny_tokenizer(), callbacks=[recorder],
        compute_metrics=lambda p: {"rows": float(len(p.label_ids)), "sum": float(p.predictions.sum())},
    )  # fmt: skip
    trainer.train()
    return {"gradients": recorder.gradients, "evaluation": trainer.evaluate()}


def run_batches_of_different_sizes(folder: Path) -> dict:
    recorder = GradientRecorder()
    OwnBatches(
        tiny_model(2, seed=2), tiny_model(4, seed=1), make_args(folder, learning_rate=0.0),
        train_dataset=rows_of(12), processing_class=tiny_tokenizer(), callbacks=[recorder],
    ).train()  # fmt: skip
    return {"gradients": recorder.gradients}


def run_all(folder: Path) -> None:
    results = {name: run_case(name, folder / "out") for name in CASES}
    results["batches of different sizes"] = run_batches_of_different_sizes(folder / "out")
    if PartialState().is_main_process:
        torch.save(results, folder / "results.pt")
    PartialState().wait_for_everyone()
