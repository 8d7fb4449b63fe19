r"""Measure how time, memory and disk space grow with rows, classes, epochs and the teacher's size.

    python benchmarks/growth.py [--quick] [--output_dir benchmarks/results]

The script uses random rows and random models on the CPU with one thread, and downloads nothing. It measures the CPU
time of the process, which does not include other programs. Only inserting, which waits for the disk, is measured in
wall time. The script needs Linux with glibc, which report the memory of a process.
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

os.environ |= {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false", "KINETO_LOG_LEVEL": "99"}

import datasets
import numpy as np
import torch
import torch.nn.functional as F
from growth_cache import cache_growth, clock, in_new_process, store_growth
from random_models import VOCABULARY, make_model, make_tokenizer, prepare_process
from tables import Row, to_markdown, to_text, write_csv
from torch import Tensor
from torch.profiler import ProfilerActivity, profile
from transformers import PrinterCallback

from hf_distill import DistillationTrainer, DistillationTrainingArguments, functional
from hf_distill.classifiers.outputs import IS_UNIT, ClassifierOutputs
from hf_distill.record import describe_versions
from hf_distill.training.monitor import Observation

BATCH_SIZE, ROW_LENGTH, NUM_ROWS = 32, 32, 256  # of the training runs
STUDENT_SIZE = 64, 2  # hidden size and layers
TEACHER_SIZE = 128, 4
KINDS = ["no teacher", "live", "cached", "cached again"]
NOTES = {
    "store": "Shards of 4,096 rows are written, opened, and read in random order, 10,000 rows at a time. Held: "
    "private memory that the process still has at the end. Peak: largest resident memory, including pages of mapped "
    "files, which the system can take back.",
    "cache": "`TeacherCache.label` on rows of 4 to 11 token ids, with a BERT with 2 layers of width 32. The first "
    "call computes all rows, the second writes a column in another order, the third finds its column.",
    "cache_parts": "Parts of that time, in microseconds per row.",
    "loss": "Forward and backward pass of one loss on given logits, and the sums that the Trainer logs. Peak: largest "
    "number of bytes of tensors that are allocated at the same time, with the gradient, without the logits.",
    "training": f"Training runs with construction, of a student with {STUDENT_SIZE[1]} layers of width "
    f"{STUDENT_SIZE[0]} on {NUM_ROWS} rows of {ROW_LENGTH} tokens. Cached: the teacher runs once over the rows. "
    "Cached again: its outputs are stored.",
}


def plain_kl_div(student: Tensor, teacher: Tensor) -> Tensor:
    log_probs = F.log_softmax(student / 2.0, dim=-1), F.log_softmax(teacher / 2.0, dim=-1)
    return 4.0 * F.kl_div(*log_probs, log_target=True, reduction="batchmean")


def peak_bytes(step: Callable[[], Any]) -> int:
    """Return the largest number of bytes of tensors that a step allocates at the same time."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as trace:
        step()
    events = [event for event in trace.profiler.kineto_results.events() if event.name() == "[memory]"]
    return int(max(np.cumsum([event.nbytes() for event in sorted(events, key=lambda event: event.start_ns())])))


def repeat(step: Callable[[], Any], times: int) -> None:
    for _ in range(times):
        step()


def loss_growth(sizes: list[tuple[int, int]], rounds: int) -> list[Row]:
    prepare_process()
    table = []
    for num_units, num_classes in sizes:
        steps = _loss_steps(num_units, num_classes)
        repeats = 1 if num_units * num_classes > 1e6 else 20
        seconds: dict[str, list[float]] = {name: [] for name in steps}
        for number in range(rounds + 1):
            for name, step in steps.items():
                elapsed = clock(partial(repeat, step, repeats)) / repeats
                seconds[name] += [elapsed] if number else []  # the first round is the warm-up
        for name, step in steps.items():
            peak = peak_bytes(step)
            table.append(
                {
                    "units": num_units,
                    "classes": num_classes,
                    "what": name,
                    "ms": 1e3 * statistics.median(seconds[name]),
                    "peak KB": peak / 1024,
                    "peak / logits": peak / (4 * num_units * num_classes),
                }
            )
    return table


def _loss_steps(num_units: int, num_classes: int) -> dict[str, Callable[[], Any]]:
    torch.manual_seed(0)
    student = torch.randn(num_units, num_classes, requires_grad=True)
    teacher, labels = torch.randn(num_units, num_classes), torch.randint(num_classes, (num_units,))

    def train(loss: Callable[[], Tensor]) -> None:
        loss().backward()
        student.grad = None

    with tempfile.TemporaryDirectory() as folder:
        trainer = make_trainer("live", folder, num_classes, (16, 1), None, 1)
    batch = {"labels": labels, IS_UNIT: torch.ones(num_units, dtype=torch.bool)}
    terms = dict.fromkeys(trainer.distillation_loss.weights, torch.zeros(num_units))
    seen = Observation(ClassifierOutputs(student.detach()), ClassifierOutputs(teacher), batch, terms, step=1)
    return {
        "kl of hf_distill": lambda: train(lambda: functional.kl_divergence(student, teacher, 2.0).mean()),
        "F.kl_div": lambda: train(lambda: plain_kl_div(student, teacher)),
        "F.cross_entropy": lambda: train(lambda: F.cross_entropy(student, labels)),
        "what training logs": lambda: trainer.bound.monitor.track(seen, True, num_units),
        "what evaluation logs": lambda: trainer.bound.monitor.track(seen, False, None),
    }


def make_trainer(
    kind: str,
    folder: str,
    num_classes: int,
    teacher_size: tuple[int, int],
    rows: datasets.Dataset | None,
    num_epochs: int,
) -> DistillationTrainer:
    """Return a Trainer; `kind` is "no teacher", "live", or "cached" under `folder`."""
    teacher = {} if kind == "no teacher" else {"teacher_model": make_model(num_classes, *teacher_size, seed=1)}
    args = DistillationTrainingArguments(
        folder,
        objectives={"ce": 1.0} if kind == "no teacher" else None,
        cache_teacher_outputs=kind == "cached",
        teacher_cache_dir=f"{folder}/cache" if kind == "cached" else None,
        per_device_train_batch_size=BATCH_SIZE,
        num_train_epochs=num_epochs,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        use_cpu=True,
    )
    student = make_model(num_classes, *STUDENT_SIZE, seed=2)
    trainer = DistillationTrainer(student, args=args, train_dataset=rows, processing_class=make_tokenizer(), **teacher)
    trainer.pop_callback(PrinterCallback)
    return trainer


def training_growth(settings: list[dict[str, Any]], rounds: int) -> list[Row]:
    """Measure the seconds of training runs, including the teacher's pass over the rows."""
    prepare_process()
    seconds = {(i, kind): [] for i in range(len(settings)) for kind in KINDS}
    for number in range(rounds + 1):
        for i, setting in enumerate(settings if number else settings[:1]):  # the first round is the warm-up
            with tempfile.TemporaryDirectory() as folder:
                for kind in KINDS:
                    elapsed = clock(partial(_train, kind.removesuffix(" again"), folder, **setting))
                    seconds[i, kind] += [elapsed] if number else []
    table = []
    for i, setting in enumerate(settings):
        row = {kind + " s": statistics.median(seconds[i, kind]) for kind in KINDS}
        parameters = make_model(setting["num_classes"], *setting["teacher_size"], seed=1).num_parameters() / 1e6
        table.append(
            {
                "what grows": setting["what"],
                "classes": setting["num_classes"],
                "epochs": setting["num_epochs"],
                "teacher's parameters, M": parameters,
                **row,
                "live / cached again": row["live s"] / row["cached again s"],
            }
        )
    return table


def _train(
    kind: str, folder: str, what: str, num_classes: int, num_epochs: int, teacher_size: tuple[int, int]
) -> None:
    draw = np.random.default_rng(0)
    rows = datasets.Dataset.from_dict(
        {
            "input_ids": draw.integers(1, VOCABULARY, (NUM_ROWS, ROW_LENGTH)),
            "labels": draw.integers(0, num_classes, NUM_ROWS),
        }
    )
    make_trainer(kind, folder, num_classes, teacher_size, rows, num_epochs).train()


# ---- The report ----


def plot(path: Path, tables: dict[str, list[Row]]) -> None:
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(2, 2, figsize=(11, 8), layout="constrained")

    def draw(axis: Any, title: str, label: str, rows: Sequence[Row], x: str, lines: dict[str, str]) -> None:
        for name, y in lines.items():
            first = {row[x]: row[y] for row in reversed(rows)}
            axis.plot(list(first), list(first.values()), "o-", label=name)
        axis.set(title=title, xlabel=x, ylabel=label)

    two_classes = [row for row in tables["store"] if row["classes"] == 2]
    lines = {name: f"{name} us/row" for name in ("insert", "open", "find", "read")}
    draw(axes[0, 0], "Store", "microseconds per row", two_classes, "rows", lines)
    for call in dict.fromkeys(row["call"] for row in tables["cache"]):
        rows = [row for row in tables["cache"] if row["call"] == call]
        draw(axes[0, 1], "Labelling through the cache", "peak memory, MB", rows, "rows", {call: "peak MB"})
    for what in dict.fromkeys(row["what"] for row in tables["loss"]):
        rows = [row | {"us/unit": 1e3 * row["ms"] / row["units"]} for row in tables["loss"] if row["what"] == what]
        draw(axes[1, 0], "Loss, forward and backward", "microseconds per unit", rows, "classes", {what: "us/unit"})
    axes[1, 0].set_yscale("log")
    by_teacher = [row for row in tables["training"] if row["what grows"] == "teacher"]
    lines = {kind: f"{kind} s" for kind in KINDS}
    draw(axes[1, 1], "Training runs", "seconds", by_teacher, "teacher's parameters, M", lines)
    for axis in axes.flat:
        axis.set_xscale("linear" if axis is axes[1, 1] else "log")
        axis.set_ylim(bottom=None if axis is axes[1, 0] else 0)
        axis.legend(fontsize=8)
    figure.savefig(path, dpi=120, metadata={"Software": None})
    plt.close(figure)


def settings(quick: bool) -> list[dict[str, Any]]:
    default = {"num_classes": 2, "num_epochs": 2, "teacher_size": TEACHER_SIZE}
    classes = [2, 1000] if quick else [2, 10, 100, 1000]
    epochs = [1, 4] if quick else [1, 3, 10]
    teachers = [(64, 2), (128, 4)] if quick else [(64, 2), (128, 4), (192, 6), (256, 8)]
    return [
        *({**default, "what": "classes", "num_classes": n} for n in classes),
        *({**default, "what": "epochs", "num_epochs": n} for n in epochs),
        *({**default, "what": "teacher", "teacher_size": size} for size in teachers),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="smaller sizes and fewer rounds, under a minute")
    parser.add_argument("--output_dir", type=Path, default=Path(__file__).parent / "results")
    options = parser.parse_args()
    options.output_dir.mkdir(parents=True, exist_ok=True)
    quick, start = options.quick, time.time()
    stores = [(10_000, 2), (100_000, 2)] if quick else [(10_000, 2), (100_000, 2), (100_000, 77), (1_000_000, 2)]
    caches = [cache_growth(n) for n in ([1000, 10_000] if quick else [1000, 10_000, 100_000])]
    losses = [(32, 2), (32, 10), (32, 100), (32, 1000), (128, 30_522)]
    losses += [] if quick else [(1024, 30_522)]
    tables = {
        "store": [store_growth(*size) for size in stores],
        "cache": [row for calls, _ in caches for row in calls],
        "cache_parts": [row for _, parts in caches for row in parts],
        "loss": in_new_process(loss_growth, losses, 3 if quick else 5),
        "training": training_growth(settings(quick), 1 if quick else 3),
    }
    versions = ", ".join(f"{name} {version}" for name, version in describe_versions().items())
    command = "python benchmarks/growth.py" + " --quick" * quick
    text = ["# Growth", f"`{command}`, CPU time of one thread; {versions}."]
    for name, rows in tables.items():
        print(f"\n{NOTES[name]}\n\n{to_text(rows)}")
        text.append(f"{NOTES[name]}\n\n{to_markdown(rows)}")
        write_csv(options.output_dir / f"growth_{name}.csv", rows)
    (options.output_dir / "growth.md").write_text("\n\n".join(text) + "\n", encoding="utf-8")
    plot(options.output_dir / "growth.png", tables)
    print(f"\nDone in {(time.time() - start) / 60:.1f} minutes. Tables and plot are in {options.output_dir}.")


if __name__ == "__main__":
    main()
