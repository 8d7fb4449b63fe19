"""Check runs on one GPU: correct gradients, also in bfloat16 and compiled, memory, and speed.

    python benchmarks/gpu_check.py [--device cuda] [--quick] [--tables speed] [--rounds 5] [--steps 200]

The first table compares the gradient of one optimizer step with a gradient computed by hand in float64 on the CPU, for
teachers and students that run in lower precision or compiled.

The second table compares steps per second and peak memory with a plain Trainer: interleaved rounds of so many steps
after 20, in bfloat16, for students of 6 and 2 of the 12 layers of a teacher of BERT-base's size. `share` is the speed
as a share of a plain Trainer's; for the live teacher, of a plain step and the teacher's forward pass together.

The third table compares the filling of a cache with the teacher's forward passes alone.

The weights are random, since nothing here depends on them. `--device cpu --quick` only checks that the script runs; it
measures no memory and compiles nothing. The exit status is 1 if a gradient is wrong or a target is missed.
"""

import argparse
import copy
import sys
import tempfile
from typing import Any

import torch
import torch.nn.functional as F
from datasets import Dataset
from gpu_speed import CACHED_TARGETS, QUICK, Size, Speed, is_missed, make_large_model, make_rows
from random_models import make_tokenizer, prepare_process
from tables import to_text
from torch import Tensor, nn
from transformers import PreTrainedModel, TrainerCallback

from hf_distill import DistillationTrainer, DistillationTrainingArguments, create_student

TABLES = ("gradients", "speed", "filling")
TEMPERATURE, SOFT, HARD = 4.0, 1.0, 0.5
# Name -> changed arguments, and the largest relative error that the gradient can have.
PRECISIONS: dict[str, tuple[dict[str, Any], float]] = {
    "float32": ({}, 1e-4),
    "bfloat16 teacher": ({"teacher_dtype": "bfloat16"}, 2e-2),
    "bfloat16": ({"bf16": True}, 5e-2),
    "compiled": ({"torch_compile": True, "tf32": False}, 1e-4),
    "compiled, TF32": ({"torch_compile": True}, 1e-2),  # without `tf32`, transformers switches TF32 on
    "bfloat16, compiled": ({"bf16": True, "torch_compile": True}, 5e-2),
}


class GradientOfFirstStep(TrainerCallback):
    """Records the student's gradient as one float64 vector on the CPU, then stops the training."""

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        self.gradient = torch.cat([p.grad.detach().flatten().double().cpu() for p in model.parameters()])
        control.should_training_stop = True


def make_models(hidden_size: int) -> tuple[PreTrainedModel, PreTrainedModel]:
    """Return a student with 2 of the teacher's 6 layers, and the teacher, without dropout, with different outputs."""
    teacher = make_large_model(6, hidden_size)
    student = create_student(teacher, num_hidden_layers=2)
    for module in [*teacher.modules(), *student.modules()]:
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    with torch.no_grad():
        teacher.classifier.weight.mul_(20)
    return student, teacher


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
        batch_size, length = (8, 16) if args.quick else (64, 128)
        self.rows = make_rows(batch_size, length)
        self.folder, self.device = folder, args.device
        self.settings: dict[str, Any] = {
            "output_dir": folder, "per_device_train_batch_size": batch_size, "num_train_epochs": 1,
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

    def correctness(self, names: list[str]) -> list[dict[str, Any]]:
        expected, table = reference_gradient(self.student, self.teacher, self.rows), []
        for name in names:
            (changes, tolerance), recorder = PRECISIONS[name], GradientOfFirstStep()
            self.distill(recorder, **changes)
            error = ((recorder.gradient - expected).norm() / expected.norm()).item()
            is_correct = "yes" if error < tolerance else "NO"
            table.append(
                {"run": name, "gradient error": f"{error:.1e}", "tolerance": tolerance, "correct": is_correct}
            )
        return table


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument(
        "--quick", action="store_true", help="tiny models, few steps, nothing compiled; not for figures"
    )
    parser.add_argument("--tables", default=",".join(TABLES), help="which tables to make, of: %(default)s")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=200)
    args = parser.parse_args()
    tables = set(args.tables.split(","))
    if unknown := tables - set(TABLES):
        parser.error(f"there is no table {', '.join(sorted(unknown))}, only {', '.join(TABLES)}")
    if args.device == "cuda" and not torch.cuda.is_available():
        parser.error("there is no GPU; `--device cpu --quick` checks that the script runs")
    prepare_process()
    where = torch.cuda.get_device_name() if args.device == "cuda" else "CPU"
    print(f"{where}, torch {torch.__version__}")
    size = QUICK if args.quick else Size(num_rounds=args.rounds, num_steps=args.steps)
    checked: list[dict[str, Any]] = []
    speeds: list[dict[str, Any]] = []
    filling: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        if "gradients" in tables:
            names = [name for name in PRECISIONS if not (args.quick and "compiled" in name)]
            checked = Runs(args, folder).correctness(names)
            print(f"\n{to_text(checked)}", flush=True)
        if tables & {"speed", "filling"}:
            speed = Speed(args.device, size, folder)
        if "speed" in tables:
            for layers, batch_size in CACHED_TARGETS:
                rows = speed.compare(layers, batch_size)
                print(f"\n{to_text(rows)}", flush=True)
                speeds += rows
        if "filling" in tables:
            filling = [speed.filling()]
            print(f"\n{to_text(filling)}", flush=True)
    missed = [row["run"] for row in speeds + filling if is_missed(row)]
    if missed and not args.quick:
        print(f"\nBelow the target: {'; '.join(missed)}.")
    return int(any(row["correct"] == "NO" for row in checked) or (bool(missed) and not args.quick))


if __name__ == "__main__":
    sys.exit(main())
