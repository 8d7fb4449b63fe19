"""The job of every contender, and how a contender's process reports its result.

A contender is a script with a function `train(job, student, teacher)` that returns the first logged loss. It runs as

    python contender.py JOB_FOLDER...

A job folder has `job.json`, which names the folders of models and rows. The process writes `result.json` and the final
weights of the student into it. Contenders import only this file and `loop.py` from the benchmark.
"""

import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import datasets
import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.optim.lr_scheduler import LRScheduler
from torch.optim.optimizer import register_optimizer_step_post_hook
from torch.utils.data import DataLoader, DistributedSampler
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    DataCollatorWithPadding,
    PreTrainedModel,
    get_linear_schedule_with_warmup,
    set_seed,
)
from transformers.utils import logging

NUM_PROCESSES = int(os.environ.get("WORLD_SIZE", 1))
RANK = int(os.environ.get("RANK", 0))

Batch = dict[str, Tensor]
Collate = Callable[[Sequence[dict[str, Any]]], Batch]


class Unsupported(Exception):
    """The contender has no such feature; the message says what is missing."""


@dataclass
class Job:
    r"""Train `student` on `rows`, in the same stored order in every epoch.

    $$L = a \, CE + (1 - a) \, T^2 \, KL(teacher || student)$$, the mean over the rows of a batch.

    Attributes:
        folder: Folder for the results.
        student: Folder of the student and its tokenizer.
        teacher: Folder of the teacher and its tokenizer.
        rows: Shuffled rows with the student's token ids and `labels`.
        teacher_rows: The same rows with the teacher's token ids, if its tokenizer differs.
        is_check: Whether to take one step of plain SGD without dropout, schedule and clipping. The gradient is then
            (weights before - weights after) / learning rate.
    """

    folder: str
    student: str
    teacher: str
    rows: str
    teacher_rows: str | None = None
    batch_size: int = 32
    accumulation_steps: int = 1
    num_epochs: int = 5
    learning_rate: float = 5e-5
    max_grad_norm: float = 1.0
    temperature: float = 2.0
    alpha: float = 0.5
    is_check: bool = False

    def save(self) -> None:
        """Write `job.json` for the contender's process."""
        Path(self.folder).mkdir(parents=True, exist_ok=True)
        Path(self.folder, "job.json").write_text(json.dumps(asdict(self), indent=2))

    def load_models(self) -> tuple[PreTrainedModel, PreTrainedModel]:
        """Load student and teacher in evaluation mode, as `from_pretrained` does."""
        dropout = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0} if self.is_check else {}
        student = AutoModelForSequenceClassification.from_pretrained(self.student, **dropout)
        return student, AutoModelForSequenceClassification.from_pretrained(self.teacher)

    def tokenizer(self, model_folder: str) -> Any:
        """Load the tokenizer in a model's folder."""
        return AutoTokenizer.from_pretrained(model_folder)

    def collate(self, model_folder: str | None = None) -> Collate:
        """Return the collator of all contenders, which pads to the longest row of a batch and returns a dict."""
        pad = DataCollatorWithPadding(self.tokenizer(model_folder or self.student))
        return lambda rows: dict(pad(rows))

    def load_rows(self) -> datasets.Dataset:
        """Load the student's rows."""
        return datasets.load_from_disk(self.rows)

    def load_teacher_rows(self) -> datasets.Dataset:
        """Load the same rows with the teacher's token ids, without labels."""
        return datasets.load_from_disk(self.teacher_rows or self.rows).remove_columns("labels")

    def loader(self, rows: Any = None, collate: Callable | None = None) -> DataLoader:
        """Return a data loader with the job's order of rows."""
        rows = self.load_rows() if rows is None else rows
        sampler = DistributedSampler(rows, NUM_PROCESSES, RANK, shuffle=False) if NUM_PROCESSES > 1 else None
        return DataLoader(rows, self.batch_size, sampler=sampler, collate_fn=collate or self.collate())

    def optimizer(self, parameters: Iterable[Tensor]) -> torch.optim.Optimizer:
        """Return the Trainer's default optimizer; in a check, plain SGD."""
        if self.is_check:
            return torch.optim.SGD(parameters, lr=self.learning_rate)
        return torch.optim.AdamW(parameters, lr=self.learning_rate, weight_decay=0.0, fused=True)

    def schedule(self, optimizer: torch.optim.Optimizer, num_batches: int) -> LRScheduler:
        """Return a linear decay to 0 without warm-up; in a check, a constant schedule."""
        if self.is_check:
            return torch.optim.lr_scheduler.ConstantLR(optimizer, factor=1.0)
        num_steps = self.num_epochs * num_batches // self.accumulation_steps
        return get_linear_schedule_with_warmup(optimizer, 0, num_steps)

    def training_arguments(self) -> dict[str, Any]:
        """Return the job as arguments of `transformers.TrainingArguments` and its subclasses."""
        return {
            "output_dir": str(Path(self.folder, "trainer")),
            "per_device_train_batch_size": self.batch_size,
            "gradient_accumulation_steps": self.accumulation_steps,
            "num_train_epochs": self.num_epochs,
            "learning_rate": self.learning_rate,
            "optim": "sgd" if self.is_check else "adamw_torch_fused",
            "lr_scheduler_type": "constant" if self.is_check else "linear",
            "max_grad_norm": self.max_grad_norm,
            "train_sampling_strategy": "sequential",
            "logging_steps": 1 if self.is_check else 500,
            "save_strategy": "no",
            "report_to": "none",
            "disable_tqdm": True,
            "use_cpu": True,
        }


Train = Callable[[Job, PreTrainedModel, PreTrainedModel], float | None]


def run(train: Train) -> None:
    """Run the jobs named on the command line. Only `train` is timed, not imports and loading."""
    datasets.disable_progress_bars()
    logging.disable_progress_bar()
    for folder in sys.argv[1:]:
        job = Job(**json.loads(Path(folder, "job.json").read_text()))
        Path(folder, f"result{RANK}.json").write_text(json.dumps(_do(job, train), indent=2))


def _do(job: Job, train: Train) -> dict[str, Any]:
    student, teacher = job.load_models()
    set_seed(42)  # as Trainer does: contenders that only draw dropout masks draw the same masks
    step_times: list[float] = []
    counter = register_optimizer_step_post_hook(lambda *_: step_times.append(time.perf_counter()))
    start, cpu_start = time.perf_counter(), time.process_time()
    try:
        first_loss = train(job, student, teacher)
    except Unsupported as missing:
        return {"error": str(missing)}
    except Exception as error:  # an error of a peer is a result
        return {"error": f"{type(error).__name__}: {str(error).strip().splitlines()[0]}"}
    seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - cpu_start
    counter.remove()
    weights = {name: tensor.detach().clone() for name, tensor in student.state_dict().items()}
    save_file(weights, Path(job.folder, f"student{RANK}.safetensors"))
    stepping_seconds = step_times[-1] - step_times[0]
    return {
        "seconds": seconds,
        "cpu_seconds": cpu_seconds,
        "steps": len(step_times),
        "steps_per_second": (len(step_times) - 1) / stepping_seconds if stepping_seconds > 0 else None,
        "first_loss": first_loss,
    }
