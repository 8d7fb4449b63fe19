r"""Measure how much unlabelled text is enough: accuracy and gap closed by the number of texts the teacher labels.

    python benchmarks/transfer_curve.py --data_dir DATA --encoder MINILM [--task banking77] [--bf16] [--quick]

The teacher is fine-tuned on few labels: 1,000 of Banking77 (`DATA/banking77/train.csv` and `test.csv`, columns `text`
and `category`) or 2,000 of SST-2 (`DATA/glue/SST-2`). All students start from the teacher's first and last layer. The
baseline learns from the labels without the teacher. The other students learn from the teacher, on the labelled texts
and on 0, 1,000, 2,000, 4,000 or all of the remaining texts, without their labels. Before that, unlabelled texts are
dropped that are near-duplicates of a labelled text, of an evaluation text or of each other. A larger draw contains the
smaller ones.

Every student, including the baseline, takes the same number of optimizer steps with the same schedule, so fewer texts
are seen more often. The weights after the last step are evaluated; no checkpoint is chosen. The teacher runs once over
all texts, into a store that every student reads. This time is not part of a student's seconds.
"""

import argparse
import csv
import dataclasses
import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ |= {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}

import matplotlib
import torch
from datasets import Dataset, concatenate_datasets, disable_progress_bars
from transformers import (
    AutoTokenizer,
    PreTrainedModel,
    PrinterCallback,
    set_seed,
)
from transformers.utils import logging

from hf_distill import DistillationTrainer, DistillationTrainingArguments, TeacherCache, create_student
from hf_distill.data import Task, drop_near_duplicates, load_task, load_text_dataset, mix_sources
from hf_distill.pipeline import ModelReference, fine_tune, load_with_new_head
from hf_distill.record import describe_versions
from hf_distill.reporting.markdown import markdown_table
from hf_distill.reporting.statistics import gap_closed, standard_error
from hf_distill.teachers import load_teacher

matplotlib.use("Agg")
import matplotlib.pyplot as plt

BASELINE = "no teacher"
Row = dict[str, Any]


@dataclasses.dataclass
class Settings:
    """The settings of a task; `None` in `sizes` stands for all texts."""

    num_labels: int
    temperature: float
    teacher_epochs: int
    teacher_learning_rate: float
    max_steps: int
    sizes: tuple[int | None, ...] = (0, 1000, 2000, 4000, None)
    learning_rate: float = 1e-4


SETTINGS = {
    "banking77": Settings(1000, 1.0, teacher_epochs=30, teacher_learning_rate=3e-4, max_steps=1500),
    "sst2": Settings(2000, 2.0, teacher_epochs=4, teacher_learning_rate=5e-5, max_steps=2000),
}
QUICK = {"num_labels": 96, "teacher_epochs": 1, "max_steps": 3, "sizes": (0, 32, None)}
NUM_QUICK_ROWS = 64  # of unlabelled rows, and of evaluation rows


def load(task_name: str, data_dir: Path) -> Task:
    if task_name == "sst2":
        return load_task("sst2", data_dir / "glue")
    files = {"train_file": data_dir / "banking77/train.csv", "validation_file": data_dir / "banking77/test.csv"}
    return load_text_dataset(**files, text_column_names=["text"], label_column_name="category")


class Curve:
    """The runs of one task, all on the same rows.

    Args:
        options: The flags.
        settings: The settings of the task.
        folder: Folder for the store and the output of the trainers.
    """

    def __init__(self, options: argparse.Namespace, settings: Settings, folder: str) -> None:
        self.settings, self.folder, self.bf16 = settings, folder, options.bf16
        self.task = load(options.task, options.data_dir)
        self.tokenizer = AutoTokenizer.from_pretrained(options.encoder)
        rows = self.task.datasets["train"].shuffle(seed=0)
        labelled, rest = rows.select(range(settings.num_labels)), rows.select(range(settings.num_labels, len(rows)))
        evaluation = self.task.datasets["validation"].shuffle(seed=0)
        if options.quick:
            rest, evaluation = rest.select(range(NUM_QUICK_ROWS)), evaluation.select(range(NUM_QUICK_ROWS))
        self.unlabelled, self.dropped = drop_near_duplicates(
            rest.remove_columns("label"),
            self.task.text_columns,
            against={"an evaluation text": evaluation, "a labelled text": labelled},
        )
        self.labelled, self.evaluation = self._tokenize(labelled), self._tokenize(evaluation)
        self.encoder = options.encoder

    def _tokenize(self, rows: Dataset) -> Dataset:
        return self.task.tokenize_dataset(rows, self.tokenizer, max_length=64)

    def rows(self, num_texts: int) -> Dataset:
        """Return the labelled rows and N unlabelled ones."""
        if not num_texts:
            return self.labelled
        texts = self._tokenize(mix_sources([self.unlabelled], num_rows=num_texts)[0])
        return concatenate_datasets([self.labelled, texts.cast(self.labelled.features)])

    def train(
        self, student: PreTrainedModel, teacher: PreTrainedModel | None, rows: Dataset, **changes: Any
    ) -> tuple[float, float]:
        """Train a model, without a teacher on labels only; return its accuracy and its seconds."""
        trainer = self._trainer(student, teacher, rows, **changes)
        start = time.perf_counter()
        trainer.train()
        return trainer.evaluate()["eval_accuracy"], time.perf_counter() - start

    def evaluate(self, model: PreTrainedModel) -> float:
        return self._trainer(model, None, None, objectives={"ce": 1.0}).evaluate()["eval_accuracy"]

    def _trainer(
        self, student: PreTrainedModel, teacher: PreTrainedModel | None, rows: Dataset | None, **changes: Any
    ) -> DistillationTrainer:
        trainer = DistillationTrainer(
            student,
            teacher,
            self._args(**changes),
            train_dataset=rows,
            eval_dataset=self.evaluation,
            processing_class=self.tokenizer,
            compute_metrics=self.task.compute_metrics,
        )
        trainer.remove_callback(PrinterCallback)
        return trainer

    def _args(self, **changes: Any) -> DistillationTrainingArguments:
        return DistillationTrainingArguments(
            f"{self.folder}/out",
            per_device_train_batch_size=32,
            per_device_eval_batch_size=64,
            warmup_steps=0.1,
            train_sampling_strategy="group_by_length",
            save_strategy="no",
            logging_strategy="no",
            report_to="none",
            disable_tqdm=True,
            use_cpu=not torch.cuda.is_available(),
            bf16=self.bf16,
            teacher_cache_dir=f"{self.folder}/store",
            **changes,
        )

    def fine_tune_teacher(self, folder: Path) -> tuple[PreTrainedModel, Row]:
        """Fine-tune the encoder on the labelled rows and save it, or load the teacher that an earlier run saved."""
        if (folder / "config.json").exists():
            teacher, seconds = load_teacher(folder), 0.0
        else:
            teacher, seconds = self._fine_tune(folder)
        accuracy = self.evaluate(teacher)
        return teacher, {"model": "teacher", "texts": 0, "seed": 0, "accuracy": accuracy, "seconds": seconds}

    def _fine_tune(self, folder: Path) -> tuple[PreTrainedModel, float]:
        set_seed(0)  # not the seed of the training, or the published numbers would change
        trainer = fine_tune(
            load_with_new_head(ModelReference(self.encoder), self.task),
            self.task,
            self._args(
                num_train_epochs=self.settings.teacher_epochs, learning_rate=self.settings.teacher_learning_rate
            ),
            folder,
            tokenizer=self.tokenizer,
            train_dataset=self.labelled,
            eval_dataset=self.evaluation,
        )
        (seconds,) = (log["train_runtime"] for log in trainer.state.log_history if "train_runtime" in log)
        return trainer.model, seconds

    def label(self, teacher: PreTrainedModel) -> float:
        """Run the teacher over every text once, and return the seconds that it takes."""
        start, dtype = time.perf_counter(), "bfloat16" if self.bf16 else "float32"
        cache = TeacherCache(f"{self.folder}/store", teacher, self.tokenizer, dtype)
        for rows in (self.rows(len(self.unlabelled)), self.evaluation):
            cache.label(rows)
        return time.perf_counter() - start

    def run(self, teacher: PreTrainedModel, num_texts: int | None, seed: int) -> Row:
        """Train one student; if `num_texts` is None, train the baseline."""
        shared_args = {
            "max_steps": self.settings.max_steps,
            "learning_rate": self.settings.learning_rate,
            "seed": seed,
        }
        loss = {"kl": {"weight": 1.0, "temperature": self.settings.temperature}, "ce": 0.1}
        set_seed(seed)
        student = create_student(teacher, layers=[0, teacher.config.num_hidden_layers - 1])
        if num_texts is None:
            accuracy, seconds = self.train(student, None, self.labelled, objectives={"ce": 1.0}, **shared_args)
        else:
            rows = self.rows(num_texts)
            accuracy, seconds = self.train(
                student, teacher, rows, objectives=loss, cache_teacher_outputs=True, **shared_args
            )
        model = BASELINE if num_texts is None else "distilled"
        return {"model": model, "texts": num_texts or 0, "seed": seed, "accuracy": accuracy, "seconds": seconds}


def summarize(runs: list[Row], num_eval_rows: int) -> list[Row]:
    """Average over the seeds, and compute how much of the gap between baseline and teacher is closed."""
    groups: dict[tuple[str, int], list[Row]] = {}
    for run in runs:
        groups.setdefault((run["model"], run["texts"]), []).append(run)
    means = [
        {"model": model, "texts": texts, "runs": len(group)}
        | {name: statistics.mean(run[name] for run in group) for name in ("accuracy", "seconds")}
        for (model, texts), group in groups.items()
    ]
    teacher, baseline = (
        next(row["accuracy"] for row in means if row["model"] == name) for name in ("teacher", BASELINE)
    )
    for row in means:
        row["gap closed"] = gap_closed(teacher, row["accuracy"], baseline, num_eval_rows)
    return means


def to_table(means: list[Row]) -> str:
    cells = [
        [
            row["model"],
            f"{row['texts']:,}",
            str(row["runs"]),
            f"{row['accuracy']:.1%}".replace("%", " %"),
            "n/a" if row["gap closed"] is None else f"{row['gap closed']:.0%}".replace("%", " %"),
            f"{row['seconds']:.0f}",
        ]
        for row in means
    ]
    return markdown_table(["model", "unlabelled texts", "runs", "accuracy", "gap closed", "seconds"], cells)


def plot(means: list[Row], title: str, path: Path) -> None:
    points = [row for row in means if row["model"] == "distilled"]
    figure, axes = plt.subplots(figsize=(6, 4), layout="constrained")
    axes.plot([row["texts"] for row in points], [100 * row["accuracy"] for row in points], "o-", label="distilled")
    for row, style in zip([row for row in means if row["model"] != "distilled"], ("--", ":"), strict=True):
        axes.axhline(100 * row["accuracy"], color="grey", linestyle=style, label=row["model"])
    axes.set(xlabel="unlabelled texts", ylabel="accuracy, %", title=title)
    axes.legend()
    figure.savefig(path, dpi=150)
    plt.close(figure)


def describe(curve: Curve, teacher_seconds: float, num_texts: int) -> str:
    settings, dropped = curve.settings, ", ".join(f"{n:,} of {name}" for name, n in curve.dropped.items())
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else f"CPU, {torch.get_num_threads()} threads"
    precision = "bfloat16 autocast" if curve.bf16 else "float32"
    versions = ", ".join(f"{name} {value}" for name, value in describe_versions().items())
    return (
        f"{len(curve.labelled):,} labels, {len(curve.evaluation):,} evaluation texts (standard error about "
        f"{100 * standard_error(0.8, len(curve.evaluation)):.1f} points at 80 %). Near-duplicates dropped from the "
        f"unlabelled texts: {dropped or 'none'}. The teacher is fine-tuned for {settings.teacher_epochs} epochs at a "
        f"learning rate of {settings.teacher_learning_rate:g}. Every student takes {settings.max_steps:,} steps of 32 "
        f"rows with a learning rate of {settings.learning_rate:g} and temperature {settings.temperature:g}, starting "
        "from layers of the teacher. Gap closed = (student - baseline) / (teacher - baseline). The teacher labelled "
        f"{num_texts:,} texts in {teacher_seconds:.0f} s. {device}, {precision}; {versions}."
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data_dir", type=Path, required=True)
    parser.add_argument("--encoder", required=True, help="path or Hub id of the pretrained encoder")
    parser.add_argument(
        "--teacher", type=Path, help="folder of the teacher; if it does not exist, the teacher is fine-tuned"
    )
    parser.add_argument("--task", choices=SETTINGS, default="banking77")
    parser.add_argument("--max_steps", type=int, help="number of steps of every student; unset: the task's")
    parser.add_argument("--seeds", default="0", help="seeds of the students, e.g. 0,1,2")
    parser.add_argument("--bf16", action="store_true", help="bfloat16 autocast, also for the teacher")
    parser.add_argument("--quick", action="store_true", help="use few rows and steps, to check that the script runs")
    parser.add_argument("--output_dir", type=Path, default=Path(__file__).parent / "results")
    options = parser.parse_args()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    disable_progress_bars()
    changes = (QUICK if options.quick else {}) | ({"max_steps": options.max_steps} if options.max_steps else {})
    settings = dataclasses.replace(SETTINGS[options.task], **changes)
    with tempfile.TemporaryDirectory() as folder:
        curve = Curve(options, settings, folder)
        teacher, teacher_run = curve.fine_tune_teacher(options.teacher or Path(folder, "teacher"))
        print({**teacher_run, "accuracy": round(teacher_run["accuracy"], 4)}, flush=True)
        runs, teacher_seconds = [teacher_run], curve.label(teacher)
        all_texts = len(curve.unlabelled)
        sizes = sorted({all_texts if size is None else min(size, all_texts) for size in settings.sizes})
        for num_texts in (None, *sizes):
            for seed in map(int, options.seeds.split(",")):
                runs.append(curve.run(teacher, num_texts, seed))
                print({**runs[-1], "accuracy": round(runs[-1]["accuracy"], 4)}, flush=True)
        means = summarize(runs, len(curve.evaluation))
        text = describe(curve, teacher_seconds, all_texts + len(curve.labelled) + len(curve.evaluation))
    table = to_table(means)
    print(f"\n{text}\n\n{table}")
    options.output_dir.mkdir(parents=True, exist_ok=True)
    path = options.output_dir / f"transfer_curve_{options.task}{'_quick' if options.quick else ''}"
    with path.with_suffix(".csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(runs[0]))
        writer.writeheader()
        writer.writerows(runs)
    path.with_suffix(".md").write_text(f"# How much unlabelled text is enough: {options.task}\n\n{text}\n\n{table}\n")
    plot(means, f"{options.task}, {len(curve.labelled):,} labels", path.with_suffix(".png"))


if __name__ == "__main__":
    main()
