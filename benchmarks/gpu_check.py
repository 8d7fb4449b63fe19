"""Check runs on one GPU: correct gradients, also in bfloat16 and compiled, memory, and speed.

    python benchmarks/gpu_check.py [--device cuda] [--quick]

The first table compares the gradient of one optimizer step with a gradient computed by hand in float64 on the CPU, for
teachers and students that run in lower precision or compiled. The second table compares rows per second and peak
memory with a plain Trainer. The weights are random, since neither depends on them. `--device cpu --quick` only checks
that the script runs; it measures no memory and compiles nothing. The exit status is 1 if a gradient is wrong.
"""

import argparse
import copy
import sys
import tempfile
import time
from typing import Any

import torch
import torch.nn.functional as F
from datasets import Dataset
from random_models import VOCABULARY, make_model, make_tokenizer, prepare_process
from tables import to_text
from torch import Tensor, nn
from transformers import PreTrainedModel, Trainer, TrainerCallback, TrainingArguments

from hf_distill import DistillationTrainer, DistillationTrainingArguments, create_student

NUM_LABELS, TEMPERATURE, SOFT, HARD = 3, 4.0, 1.0, 0.5
WARMUP_STEPS = 5  # not timed
# Name -> changed arguments, and the largest relative error that the gradient can have.
PRECISIONS: dict[str, tuple[dict[str, Any], float]] = {
    "float32": ({}, 1e-4),
    "bfloat16 teacher": ({"teacher_dtype": "bfloat16"}, 2e-2),
    "bfloat16": ({"bf16": True}, 5e-2),
    "compiled": ({"torch_compile": True}, 1e-4),
    "bfloat16, compiled": ({"bf16": True, "torch_compile": True}, 5e-2),
}


class GradientOfFirstStep(TrainerCallback):
    """Records the student's gradient as one float64 vector on the CPU, then stops the training."""

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        self.gradient = torch.cat([p.grad.detach().flatten().double().cpu() for p in model.parameters()])
        control.should_training_stop = True


class Clock(TrainerCallback):
    """Measures the seconds of the steps after the warm-up, until the GPU has finished all its work."""

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step in (WARMUP_STEPS, state.max_steps):
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            self.start, self.end = getattr(self, "end", 0.0), time.perf_counter()

    def seconds(self) -> float:
        return self.end - self.start


def make_models(hidden_size: int) -> tuple[PreTrainedModel, PreTrainedModel]:
    """Return a student with 2 of the teacher's 6 layers, and the teacher, without dropout, with different outputs."""
    teacher = make_model(NUM_LABELS, hidden_size, num_hidden_layers=6, seed=0)
    student = create_student(teacher, num_hidden_layers=2)
    for module in [*teacher.modules(), *student.modules()]:
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    with torch.no_grad():
        teacher.classifier.weight.mul_(20)
    return student, teacher


def make_rows(num_rows: int, length: int) -> Dataset:
    generator = torch.Generator().manual_seed(0)
    lengths = torch.randint(length // 2, length + 1, (num_rows,), generator=generator).tolist()
    ids = [torch.randint(2, VOCABULARY, (n,), generator=generator).tolist() for n in lengths]
    labels = torch.randint(NUM_LABELS, (num_rows,), generator=generator).tolist()
    return Dataset.from_dict({"input_ids": ids, "attention_mask": [[1] * n for n in lengths], "labels": labels})


def reference_gradient(student: PreTrainedModel, teacher: PreTrainedModel, rows: Dataset) -> Tensor:
    """Return the gradient of the mean of SOFT T^2 KL + HARD CE, computed by hand in float64 on the CPU."""
    student, teacher = copy.deepcopy(student).cpu().double(), copy.deepcopy(teacher).cpu().double()
    batch = make_tokenizer().pad(rows.remove_columns("labels")[:], return_tensors="pt")
    logits = student(**batch).logits
    with torch.no_grad():
        p = torch.softmax(teacher(**batch).logits / TEMPERATURE, dim=-1)
    soft = TEMPERATURE**2 * (p * (p.log() - torch.log_softmax(logits / TEMPERATURE, dim=-1))).sum(-1)
    hard = F.cross_entropy(logits, torch.tensor(rows["labels"]), reduction="none")
    (SOFT * soft + HARD * hard).mean().backward()
    return torch.cat([parameter.grad.flatten() for parameter in student.parameters()])


class Runs:
    """Training runs of copies of one student on one device."""

    def __init__(self, args: argparse.Namespace, folder: str) -> None:
        self.student, self.teacher = make_models(64 if args.quick else 768)
        self.batch_size, self.length = (8, 16) if args.quick else (64, 128)
        self.num_steps = WARMUP_STEPS + (5 if args.quick else 100)
        self.rows = make_rows(self.batch_size * self.num_steps, self.length)
        self.folder, self.device = folder, args.device
        self.settings: dict[str, Any] = {
            "output_dir": folder, "per_device_train_batch_size": self.batch_size, "num_train_epochs": 1,
            "train_sampling_strategy": "sequential", "max_grad_norm": 0.0, "save_strategy": "no", "report_to": "none",
            "disable_tqdm": True, "logging_strategy": "no", "use_cpu": args.device == "cpu",
        }  # fmt: skip

    def distill(self, callback: TrainerCallback, **changes: Any) -> None:
        args = DistillationTrainingArguments(
            temperature=TEMPERATURE, soft_label_weight=SOFT, hard_label_weight=HARD, **self.settings, **changes
        )
        student, teacher = copy.deepcopy(self.student), copy.deepcopy(self.teacher)
        DistillationTrainer(
            student, teacher, args, train_dataset=self.rows, processing_class=make_tokenizer(), callbacks=[callback]
        ).train()

    def fine_tune(self, callback: TrainerCallback, **changes: Any) -> None:
        Trainer(
            copy.deepcopy(self.student), TrainingArguments(**self.settings, **changes), train_dataset=self.rows,
            processing_class=make_tokenizer(), callbacks=[callback],
        ).train()  # fmt: skip

    def correctness(self, names: list[str]) -> list[dict[str, Any]]:
        expected, table = reference_gradient(self.student, self.teacher, self.rows.select(range(self.batch_size))), []
        for name in names:
            (changes, tolerance), recorder = PRECISIONS[name], GradientOfFirstStep()
            self.distill(recorder, **changes)
            error = ((recorder.gradient - expected).norm() / expected.norm()).item()
            is_correct = "yes" if error < tolerance else "NO"
            table.append(
                {"run": name, "gradient error": f"{error:.1e}", "tolerance": tolerance, "correct": is_correct}
            )
        return table

    def cost(self, precision: str, changes: dict[str, Any]) -> list[dict[str, Any]]:
        cached = {"cache_teacher_outputs": True, "teacher_cache_dir": f"{self.folder}/cache"}
        trainings = {
            "plain Trainer": lambda clock: self.fine_tune(clock, **changes),
            "live teacher": lambda clock: self.distill(clock, **changes),
            "cached teacher": lambda clock: self.distill(clock, **changes, **cached),
        }
        table: list[dict[str, Any]] = []
        for name, train in trainings.items():
            clock, peak = Clock(), None
            if self.device == "cuda":
                torch.cuda.reset_peak_memory_stats()
            train(clock)
            if self.device == "cuda":
                peak = torch.cuda.max_memory_allocated() / 2**20
            rate = (self.num_steps - WARMUP_STEPS) * self.batch_size / clock.seconds()
            ratio = rate / (table[0]["rows/s"] if table else rate)
            table.append({"run": f"{name}, {precision}", "rows/s": rate, "/ plain Trainer": ratio, "peak MiB": peak})
        return table


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument(
        "--quick", action="store_true", help="tiny models, few steps, nothing compiled; not for figures"
    )
    args = parser.parse_args()
    if args.device == "cuda" and not torch.cuda.is_available():
        parser.error("there is no GPU; `--device cpu --quick` checks that the script runs")
    prepare_process()
    with tempfile.TemporaryDirectory() as folder:
        runs = Runs(args, folder)
        checked = runs.correctness([name for name in PRECISIONS if not (args.quick and "compiled" in name)])
        costs = runs.cost("float32", {}) + runs.cost("bfloat16", {"bf16": True})
    where = torch.cuda.get_device_name() if args.device == "cuda" else "CPU"
    print(f"{where}, torch {torch.__version__}\n\n{to_text(checked)}\n\n{to_text(costs)}")
    return int(any(row["correct"] == "NO" for row in checked))


if __name__ == "__main__":
    sys.exit(main())
