"""Speed and peak memory beside a plain Trainer, in interleaved rounds; `gpu_check.py` prints the tables.

Every round trains a plain Trainer, a live teacher and a cached teacher one after the other, and runs the teacher alone
on the same batches, so that changes of the clock reach all of them. The tables show medians over the rounds.
"""

import copy
import gc
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from datasets import Dataset
from random_models import VOCABULARY, make_model, make_tokenizer
from transformers import PreTrainedModel, Trainer, TrainerCallback, TrainingArguments

from hf_distill import DistillationTrainer, DistillationTrainingArguments, TeacherCache, create_student
from hf_distill.cache.rows import batches_by_length
from hf_distill.cache.teacher_cache import MAX_TOKENS, MAX_TOKENS_ON_GPU

NUM_LABELS = 3
# (layers of the student, batch size) -> the least steps/s of a cached teacher, as a share of a plain Trainer's.
CACHED_TARGETS = {(6, 32): 0.98, (2, 32): 0.95, (6, 256): 0.98, (2, 256): 0.95}
LIVE_TARGET = 0.95  # of the time of a plain step and the teacher's forward pass together
FILLING_TARGET = 0.9  # of the rows/s of the teacher's forward passes over batches of similar lengths


@dataclass(frozen=True)
class Size:
    """How much is measured."""

    num_rounds: int = 5
    num_warmup: int = 20
    num_steps: int = 200
    length: int = 128
    num_rows: int = 60_000  # no epoch ends within the steps that are timed, at 256 rows a step
    num_filling_rows: int = 20_000
    num_layers: int = 12
    hidden_size: int = 768  # with heads of size 64, as in BERT-base


QUICK = Size(1, 1, 2, 16, 1024, 64, num_layers=6, hidden_size=64)


class Clock(TrainerCallback):
    """Measures the seconds of the steps after the warm-up, until the device has finished all its work."""

    def __init__(self, num_warmup: int) -> None:
        self.num_warmup, self.times = num_warmup, []

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step in (self.num_warmup, state.max_steps):
            self.times.append(now())


def now() -> float:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


def make_rows(num_rows: int, length: int) -> Dataset:
    generator = torch.Generator().manual_seed(0)
    lengths = torch.randint(length // 4, length + 1, (num_rows,), generator=generator).tolist()
    ids = [torch.randint(2, VOCABULARY, (n,), generator=generator).tolist() for n in lengths]
    labels = torch.randint(NUM_LABELS, (num_rows,), generator=generator).tolist()
    return Dataset.from_dict({"input_ids": ids, "attention_mask": [[1] * n for n in lengths], "labels": labels})


def make_large_model(num_layers: int, hidden_size: int) -> PreTrainedModel:
    return make_model(NUM_LABELS, hidden_size, num_layers, 0, hidden_size // 64, max_position_embeddings=512)


class Speed:
    """Measures students of one teacher on one device, in bfloat16."""

    def __init__(self, device: str, size: Size, folder: str) -> None:
        self.device, self.folder, self.size = torch.device(device), folder, size
        self.teacher = make_large_model(self.size.num_layers, self.size.hidden_size)
        self.tokenizer, self.rows = make_tokenizer(), make_rows(self.size.num_rows, self.size.length)
        self.filling_rows = self.rows.take(self.size.num_filling_rows)
        self.store = {"cache_teacher_outputs": True, "teacher_cache_dir": f"{folder}/cache"}

    def settings(self, batch_size: int) -> dict[str, Any]:
        return {
            "output_dir": self.folder, "per_device_train_batch_size": batch_size,
            "max_steps": self.size.num_warmup + self.size.num_steps, "save_strategy": "no", "report_to": "none",
            "disable_tqdm": True, "logging_strategy": "no", "use_cpu": self.device.type == "cpu", "bf16": True,
            "dataloader_num_workers": 0 if self.size is QUICK else 4,
        }  # fmt: skip

    def train(self, kind: str, student: PreTrainedModel, batch_size: int) -> tuple[float, float]:
        """Return the seconds of a step, and the peak memory in MiB."""
        clock, settings = Clock(self.size.num_warmup), self.settings(batch_size)
        shared: dict[str, Any] = {
            "model": copy.deepcopy(student), "train_dataset": self.rows, "processing_class": self.tokenizer,
            "callbacks": [clock],
        }  # fmt: skip
        if kind == "plain Trainer":
            trainer = Trainer(args=TrainingArguments(**settings), **shared)
        else:
            args = DistillationTrainingArguments(**settings, **(self.store if kind == "cached teacher" else {}))
            trainer = DistillationTrainer(teacher_model=copy.deepcopy(self.teacher), args=args, **shared)
        if self.device.type == "cuda":
            gc.collect()  # the models of the last run
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
        trainer.train()
        peak = torch.cuda.max_memory_allocated() / 2**20 if self.device.type == "cuda" else float("nan")
        return (clock.times[1] - clock.times[0]) / self.size.num_steps, peak

    @torch.no_grad()
    def teacher_alone(self, batch_size: int) -> float:
        """Return the seconds of the teacher's forward pass on one batch of the training loader."""
        args = TrainingArguments(**self.settings(batch_size))
        trainer = Trainer(self.teacher, args, train_dataset=self.rows, processing_class=self.tokenizer)
        teacher, num_batches, start = copy.deepcopy(self.teacher).to(self.device).eval(), 0, 0.0
        while num_batches < self.size.num_warmup + self.size.num_steps:
            for batch in trainer.get_train_dataloader():
                if num_batches == self.size.num_warmup:
                    start = now()
                inputs = {name: values for name, values in batch.items() if name != "labels"}
                with torch.autocast(self.device.type, torch.bfloat16):
                    teacher(**inputs)
                if (num_batches := num_batches + 1) == self.size.num_warmup + self.size.num_steps:
                    break
        return (now() - start) / self.size.num_steps

    def compare(self, num_layers: int, batch_size: int) -> list[dict[str, Any]]:
        """Return the rows of the table for one student and one batch size."""
        student = create_student(self.teacher, num_hidden_layers=num_layers)
        runs: dict[str, Callable[[], tuple[float, float]]] = {
            kind: lambda kind=kind: self.train(kind, student, batch_size)  # type: ignore[misc]
            for kind in ("plain Trainer", "live teacher", "cached teacher")
        } | {"teacher alone": lambda: (self.teacher_alone(batch_size), float("nan"))}
        found: dict[str, list[tuple[float, float]]] = {kind: [] for kind in runs}
        for _ in range(self.size.num_rounds):
            for kind, run in runs.items():
                found[kind].append(run())
        seconds = {kind: statistics.median(values[0] for values in results) for kind, results in found.items()}
        sums = {"live teacher": seconds["plain Trainer"] + seconds["teacher alone"]}
        targets = {"live teacher": LIVE_TARGET, "cached teacher": CACHED_TARGETS[num_layers, batch_size]}
        return [
            {
                "run": f"{num_layers} layers, batch {batch_size}, {kind}",
                "steps/s": 1 / seconds[kind],
                "share": sums.get(kind, seconds["plain Trainer"]) / seconds[kind],
                "target": targets.get(kind),
                "peak MiB": max(values[1] for values in results),
            }
            for kind, results in found.items()
        ]

    @torch.no_grad()
    def _forward_sorted(self) -> float:
        teacher = copy.deepcopy(self.teacher).to(self.device).eval()
        max_tokens = MAX_TOKENS_ON_GPU if self.device.type == "cuda" else MAX_TOKENS
        inputs = self.filling_rows.remove_columns("labels")
        batches = [
            self.tokenizer.pad(inputs[indices.tolist()], return_tensors="pt")
            for indices in batches_by_length(inputs, max_tokens)
        ]
        start = now()
        for batch in batches:
            with torch.autocast(self.device.type, torch.bfloat16):
                teacher(**batch.to(self.device))
        return now() - start

    def filling(self) -> dict[str, Any]:
        """Return the row of the table for the filling of a cache, beside forward passes over padded batches."""
        fillings, loops = [], []
        for _ in range(self.size.num_rounds):
            with tempfile.TemporaryDirectory() as folder:
                cache = TeacherCache(folder, copy.deepcopy(self.teacher), self.tokenizer, "bfloat16", self.device)
                start = now()
                cache.label(self.filling_rows)
                fillings.append(now() - start)
            loops.append(self._forward_sorted())
        return {
            "run": "cache filling",
            "rows/s": len(self.filling_rows) / statistics.median(fillings),
            "share": statistics.median(loops) / statistics.median(fillings),
            "target": FILLING_TARGET,
        }


def is_missed(row: dict[str, Any]) -> bool:
    """Whether a row of a table has a target and is below it."""
    return row["target"] is not None and row["share"] < row["target"]
