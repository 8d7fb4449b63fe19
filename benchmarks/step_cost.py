"""Measure the time of one training step: plain Trainer, a hand-written loop, DistillationTrainer live and cached.

    python benchmarks/step_cost.py [--quick]

All of them train the same 2-layer student of MiniLM's width with the same batches, optimizer, schedule and clipping.
The teacher has 6 layers. They take turns in one process, a few steps each, so that other work on the machine slows all
of them alike, and a ratio compares two runs of the same round. The script measures wall time and the CPU time of the
process, which does not include other programs. The weights are random, since speed does not depend on them.
"""

import argparse
import copy
import statistics
import time
from typing import Any

import torch
from datasets import Dataset
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    PreTrainedModel,
    Trainer,
    TrainerCallback,
    TrainingArguments,
    get_linear_schedule_with_warmup,
)

from hf_distill import DistillationTrainer, DistillationTrainingArguments, create_student

BATCH_SIZE, LEARNING_RATE, WARMUP_STEPS = 32, 5e-5, 3  # warm-up steps are not timed
CLOCKS = ("wall", "CPU")
Seconds = dict[str, float]


def make_models() -> tuple[PreTrainedModel, PreTrainedModel]:
    """Return a teacher of MiniLM-L6's shape and a student with two of its layers."""
    torch.manual_seed(0)
    shape = {"hidden_size": 384, "num_hidden_layers": 6, "num_attention_heads": 12, "intermediate_size": 1536}
    teacher = BertForSequenceClassification(BertConfig(**shape, num_labels=2)).eval()
    return teacher, create_student(teacher, num_hidden_layers=2)


def make_rows(num_rows: int) -> Dataset:
    """Return rows with SST-2's lengths, 5 to 60 tokens and 25 on average, with labels and teacher logits."""
    generator = torch.Generator().manual_seed(0)
    lengths = (torch.randn(num_rows, generator=generator) * 10 + 25).clamp(5, 60).long().tolist()
    ids = [torch.randint(1000, 30000, (length,), generator=generator).tolist() for length in lengths]
    return Dataset.from_dict(
        {
            "input_ids": ids,
            "attention_mask": [[1] * length for length in lengths],
            "token_type_ids": [[0] * length for length in lengths],
            "labels": torch.randint(0, 2, (num_rows,), generator=generator).tolist(),
            "teacher_logits": torch.randn(num_rows, 2, generator=generator).tolist(),
        }
    )


def collate(rows: list[dict[str, list]]) -> dict[str, Tensor]:
    """Pad to the longest row of a batch, without a tokenizer."""
    ids = [name for name in ("input_ids", "attention_mask", "token_type_ids") if name in rows[0]]
    others = rows[0].keys() - set(ids)
    padded = {name: pad_sequence([torch.tensor(row[name]) for row in rows], batch_first=True) for name in ids}
    return padded | {name: torch.tensor([row[name] for row in rows]) for name in others}


class StepTimer(TrainerCallback):
    """Measure wall and CPU seconds per step, with data loading and without the warm-up steps."""

    def __init__(self) -> None:
        self.ends: list[tuple[float, float]] = []

    def on_step_end(self, *args: object, **kwargs: object) -> None:
        self.ends.append((time.perf_counter(), time.process_time()))

    def seconds(self) -> Seconds:
        start, end, num_steps = self.ends[WARMUP_STEPS - 1], self.ends[-1], len(self.ends) - WARMUP_STEPS
        return {clock: (b - a) / num_steps for clock, a, b in zip(CLOCKS, start, end, strict=True)}


class Contenders:
    """Each method trains a fresh copy of the student for `num_steps` and returns the seconds per step."""

    def __init__(self, num_steps: int, bf16: bool, folder: str) -> None:
        self.num_steps, self.bf16 = num_steps, bf16
        self.teacher, self.student = make_models()
        self.rows = make_rows(BATCH_SIZE * num_steps)
        self.plain_rows = self.rows.remove_columns("teacher_logits")
        self.settings: dict[str, Any] = {
            "output_dir": folder,
            "per_device_train_batch_size": BATCH_SIZE,
            "num_train_epochs": 1,
            "learning_rate": LEARNING_RATE,
            "train_sampling_strategy": "sequential",
            "save_strategy": "no",
            "report_to": "none",
            "disable_tqdm": True,
            "logging_strategy": "no",
            "bf16": bf16,
            "use_cpu": True,
        }

    def _autocast(self) -> torch.autocast:
        return torch.autocast("cpu", dtype=torch.bfloat16, enabled=self.bf16)

    def _run(self, trainer: Trainer) -> Seconds:
        timer = StepTimer()
        trainer.add_callback(timer)
        trainer.train()
        return timer.seconds()

    def hand_written_loop(self) -> Seconds:
        """Cross-entropy in a plain PyTorch loop with the Trainer's defaults."""
        student = copy.deepcopy(self.student).train()
        optimizer = torch.optim.AdamW(student.parameters(), lr=LEARNING_RATE, fused=True)
        schedule = get_linear_schedule_with_warmup(optimizer, 0, self.num_steps)
        timer = StepTimer()
        for batch in DataLoader(self.plain_rows, BATCH_SIZE, collate_fn=collate):
            with self._autocast():
                loss = student(**batch).loss
            loss.backward()
            torch.nn.utils.clip_grad_norm_(student.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
            timer.on_step_end()
        return timer.seconds()

    def plain_trainer(self) -> Seconds:
        """Cross-entropy with `transformers.Trainer`."""
        args = TrainingArguments(**self.settings)
        student = copy.deepcopy(self.student)
        return self._run(Trainer(student, args, data_collator=collate, train_dataset=self.plain_rows))

    def cached(self) -> Seconds:
        """KL and cross-entropy, with the teacher's logits from a column."""
        return self._distill(None, self.rows)

    def cached_grouped_by_length(self) -> Seconds:
        """The same with batches of rows of similar length, which need less padding."""
        return self._distill(None, self.rows, train_sampling_strategy="group_by_length")

    def live(self) -> Seconds:
        """KL and cross-entropy, with a live teacher."""
        return self._distill(self.teacher, self.plain_rows)

    def _distill(self, teacher: PreTrainedModel | None, rows: Dataset, **changes: Any) -> Seconds:
        args = DistillationTrainingArguments(**{**self.settings, **changes})
        student = copy.deepcopy(self.student)
        return self._run(DistillationTrainer(student, teacher, args, train_dataset=rows, data_collator=collate))

    @torch.no_grad()
    def teacher_forward(self) -> Seconds:
        """Only the forward pass of the teacher, over the same batches."""
        timer = StepTimer()
        batches = list(DataLoader(self.plain_rows.remove_columns("labels"), BATCH_SIZE, collate_fn=collate))
        for batch in batches:
            with self._autocast():
                self.teacher(**batch)
            timer.on_step_end()
        return timer.seconds()


def measure(rounds: int, num_steps: int, bf16: bool, folder: str) -> dict[str, list[Seconds]]:
    """Let the contenders take turns, in reverse in every second round; return the seconds per step of each round."""
    contenders = Contenders(num_steps, bf16, folder)
    names = ["hand_written_loop", "plain_trainer", "cached", "cached_grouped_by_length", "live", "teacher_forward"]
    seconds: dict[str, list[Seconds]] = {name: [] for name in names}
    for name in names:  # warm up: allocations, lazy imports
        getattr(contenders, name)()
    for i in range(rounds):
        for name in names if i % 2 else reversed(names):
            seconds[name].append(getattr(contenders, name)())
    return seconds


def ratios(seconds: dict[str, list[float]]) -> dict[str, tuple[list[float], float | None]]:
    """Return each ratio by round, and its target: the largest value that it should have, or None."""
    both = [a + b for a, b in zip(seconds["plain_trainer"], seconds["teacher_forward"], strict=True)]
    targets = {
        "cached / plain Trainer": ("cached", seconds["plain_trainer"], 1.02),
        "cached / hand-written loop": ("cached", seconds["hand_written_loop"], 1.10),
        "live / (plain Trainer + teacher)": ("live", both, 1.05),
        "grouped by length / in order": ("cached_grouped_by_length", seconds["cached"], None),
    }
    return {
        title: ([a / b for a, b in zip(seconds[name], others, strict=True)], target)
        for title, (name, others, target) in targets.items()
    }


def report(seconds: dict[str, list[Seconds]]) -> None:
    """Print medians, and ratios with their quartiles."""
    print(f"  {'ms per step':34}" + "".join(f"{clock:>10}" for clock in CLOCKS))
    for name, runs in seconds.items():
        medians = [1000 * statistics.median(run[clock] for run in runs) for clock in CLOCKS]
        print(f"  {name:34}" + "".join(f"{median:10.1f}" for median in medians))
    for clock in CLOCKS:
        by_name = {name: [run[clock] for run in runs] for name, runs in seconds.items()}
        for title, (values, target) in ratios(by_name).items():
            low, median, high = statistics.quantiles(values, n=4)
            target_text = f"; target <= {target}" if target else ""
            print(f"  {title:34} {median:6.3f} in {clock} time (quartiles {low:.3f} to {high:.3f}{target_text})")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--precision", choices=["float32", "bfloat16"], help="unset: both")
    parser.add_argument("--output_dir", default="benchmarks/work/step_cost")
    options = parser.parse_args()
    rounds, num_steps = (3, 13) if options.quick else (options.rounds, 23)
    for precision in ("float32", "bfloat16") if options.precision is None else (options.precision,):
        print(f"\n{precision}, {rounds} rounds of {num_steps - WARMUP_STEPS} steps")
        report(measure(rounds, num_steps, precision == "bfloat16", options.output_dir))


if __name__ == "__main__":
    main()
