r"""Measure what distilling gives if every row has a label: students by variants, steps and loss, and two baselines.

    python benchmarks/all_labels.py --data_dir DATA --encoder MINILM [--tasks sst2,cola] [--seeds 0,1,2] [--arms ...]

A tenth of the training rows, at most 1,000, is held out to choose the checkpoint of the baseline that stops early. All
students start from the same layers of the teacher and see the other rows. They are compared on the validation split,
of SST-2 and GoEmotions also on 4,000 unused training rows; of QNLI, whose training rows are not at hand, the
validation split is divided. Runs are in float32 unless `--bf16` is given. `kl_train` and `kl_held_out` are the
distances to the teacher on 1,000 of the rows that the student was trained on, and on held-out rows: if the first is
small, the limit is not its capacity. For GoEmotions, cross-entropy, calibration error and distances are over texts and
labels; for STS-B, `cross_entropy` and the distances are squared errors. A benchmark that was stopped goes on after the
last finished run. `--tables` only prints the tables of the finished runs. With `--student`, students start from the
layers of another pretrained encoder and read its tokens.

The arms:

- `labels`: the student without a teacher, for as many steps as the others, its last checkpoint;
- `labels_early`: the same with early stopping on the held-out rows, its best checkpoint;
- `labels_variants`: the same as `labels` with 4 variants of each row, which keep the label of their row;
- `soft`: the default loss (T 2, hard weight 0.1) on the labelled rows;
- `variants2`, `variants4`, ...: the default loss, with that many variants of each row, labelled by the teacher;
- `folds4`, ...: the default loss; as many teachers, each fine-tuned without one fold of the rows, label the fold that
  they have not seen; `folds4_variants`: and 4 variants of each of its rows;
- these with `_x3` (three times the steps), `_hard1` (hard weight 1), `_t1` (T 1), `_after` (the first half of the
  steps is on labels alone), `_neighbors`, `_mask`, `_ngram`, `_join` (only these kinds of variants), or several:
  `variants4_x3_hard1`.
"""

import argparse
import csv
import json
import os
import time
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

os.environ |= {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}

import numpy as np
import torch
from all_labels_tables import DIFFERENCES_HEADER, MEANS_HEADER, differences, means
from arm_names import parse
from datasets import Dataset, concatenate_datasets
from random_models import prepare_process
from run_scores import RunScores
from student_tasks import load as load_task
from teacher_folds import split_folds
from transformers import (
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PrinterCallback,
    TrainerCallback,
    set_seed,
)

from hf_distill import DistillationTrainer, DistillationTrainingArguments, TeacherCache, create_student
from hf_distill.classifiers.outputs import TEACHER_LOGITS
from hf_distill.classifiers.token_ids import word_embeddings
from hf_distill.data import Task, augment_texts
from hf_distill.data.augment import SOURCE_ROW
from hf_distill.pipeline import ModelReference, fine_tune, load_with_new_head
from hf_distill.pipeline.early_stopping import early_stopping_arguments
from hf_distill.reporting.markdown import markdown_table
from hf_distill.teachers import load_teacher

# Task -> number of training rows (None: all), epochs and learning rate of the teacher.
TASKS: dict[str, tuple[int | None, int, float]] = {
    "sst2": (8000, 4, 5e-5),
    "cola": (None, 4, 5e-5),
    "mrpc": (None, 5, 5e-5),
    "qnli": (4000, 4, 5e-5),
    "banking77": (None, 6, 3e-4),
    "stsb": (None, 5, 1e-4),
    "goemotions": (10_000, 16, 2e-4),
}
DEFAULT_TASKS = "sst2,cola,mrpc,qnli,banking77"
ARMS = "labels,labels_early,soft,variants4,variants4_x3,labels_variants"
FIELDS = [
    "task", "layers", "seed", "arm", "steps", "metric", "score", "cross_entropy", "calibration_error", "seconds",
    "kl_train", "kl_held_out",
]  # fmt: skip
QUICK_ROWS, MORE_TEST_ROWS = 48, 4000
# Runs of one folder share a teacher and are compared with each other, so these must be the same.
SHARED = (
    "encoder", "student", "steps", "learning_rate", "teacher_epochs", "teacher_learning_rate", "max_seq_length",
    "bf16",
)  # fmt: skip


def load(name: str, data_dir: Path) -> tuple[Task, Dataset, Dataset]:
    """Return a task, the rows to train on and the rows to compare on."""
    task, num_rows = load_task(name, data_dir), TASKS[name][0]
    if name == "qnli":
        rows = task.datasets["train"].shuffle(seed=1)
        return task, rows.take(num_rows), rows.skip(num_rows)
    rows, test = task.datasets["train"].shuffle(seed=0), task.datasets["validation"]
    if num_rows is None:
        return task, rows, test
    unused = rows.skip(num_rows)
    return task, rows, concatenate_datasets([test, unused.take(min(MORE_TEST_ROWS, len(unused)))])


class Bench:
    """The runs of one task.

    Args:
        name: The task.
        options: The flags.
    """

    def __init__(self, name: str, options: argparse.Namespace) -> None:
        self.name, self.options = name, options
        self.folder = options.work_dir / name
        self._check_settings()
        self.task, rows, test = load(name, options.data_dir)
        num_rows, epochs, learning_rate = TASKS[name]
        self.teacher_epochs = options.teacher_epochs or epochs
        self.teacher_learning_rate = options.teacher_learning_rate or learning_rate
        if options.quick:
            num_rows, self.teacher_epochs = QUICK_ROWS, 1
            test = test.select(range(min(QUICK_ROWS, len(test))))
        rows = rows.select(range(min(num_rows or len(rows), len(rows))))
        num_held_out = min(1000, len(rows) // 10)
        held_out, self.train = rows.select(range(num_held_out)), rows.select(range(num_held_out, len(rows)))
        self.teacher_tokenizer = AutoTokenizer.from_pretrained(options.encoder)
        self.tokenizer = AutoTokenizer.from_pretrained(options.student or options.encoder)
        self.held_out_texts, self.test_texts = held_out, test
        self.held_out, self.train_rows = self._tokenize(held_out), self._tokenize(self.train)
        labels, num_labels = np.array(self._tokenize(test)["labels"]), len(self.task.label_names or [0])
        self.scores = RunScores(self.task.problem_type, self.task.metric_name, labels, num_labels)

    def _check_settings(self) -> None:
        path = self.folder / "settings.json"
        settings = {name: getattr(self.options, name) for name in SHARED}
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(settings))
        before = json.loads(path.read_text())
        if other := [f"--{name} {before.get(name)}" for name in SHARED if before.get(name) != settings[name]]:
            raise SystemExit(
                f"The runs in {self.folder} have other settings: {', '.join(other)}. Pass these, or another "
                "--work_dir and another --output_dir."
            )

    @cached_property
    def teacher(self) -> PreTrainedModel:
        """The teacher, which is fine-tuned before the first run that needs it."""
        return self._make_teacher("teacher", self.train)

    def _tokenize(self, rows: Dataset, tokenizer: PreTrainedTokenizerBase | None = None) -> Dataset:
        return self.task.tokenize_dataset(rows, tokenizer or self.tokenizer, max_length=self.options.max_seq_length)

    def _args(self, folder: Path, **changes: Any) -> DistillationTrainingArguments:
        return DistillationTrainingArguments(
            str(folder),
            per_device_train_batch_size=32,
            per_device_eval_batch_size=64,
            warmup_steps=0.1,
            train_sampling_strategy="group_by_length",
            logging_strategy="no",
            report_to="none",
            disable_tqdm=True,
            use_cpu=not torch.cuda.is_available(),
            bf16=self.options.bf16,
            **{"save_strategy": "no", **changes},
        )

    def _make_teacher(self, name: str, train: Dataset) -> PreTrainedModel:
        folder = self.folder / name
        if not (folder / "model.safetensors").exists():
            set_seed(0)
            args = self._args(folder, num_train_epochs=self.teacher_epochs, learning_rate=self.teacher_learning_rate)
            model = load_with_new_head(ModelReference(self.options.encoder), self.task)
            splits = {"train_dataset": train, "eval_dataset": self.held_out_texts}
            rows = {name: self._tokenize(split, self.teacher_tokenizer) for name, split in splits.items()}
            fine_tune(model, self.task, args, folder, tokenizer=self.teacher_tokenizer, **rows)
        return load_teacher(folder)

    def _labelled(self, rows: Dataset, teacher: PreTrainedModel | None = None) -> Dataset:
        """Return texts as the student's tokens, with the logits of a teacher from its store."""
        store = TeacherCache(self.folder / "store", teacher or self.teacher, self.teacher_tokenizer)
        logits = store.label(self._tokenize(rows, self.teacher_tokenizer)).select_columns([TEACHER_LOGITS])
        return concatenate_datasets([self._tokenize(rows), logits], axis=1)

    def _make_student(self) -> PreTrainedModel:
        source = self.teacher
        if self.options.student is not None:
            source = load_with_new_head(ModelReference(self.options.student), self.task)
        return create_student(source, self.options.num_hidden_layers)

    # ---- Runs ----

    def run(self, arm: str, seed: int) -> dict[str, Any]:
        """Train a student, store its logits on the test rows, and return what is known of it."""
        parts = parse(arm)
        if not self.scores.kind.has_temperature and "_t" in arm:
            raise SystemExit(f"The arm {arm!r} has a temperature, and the outputs of {self.name} have none.")
        steps = round(self.options.steps * parts["x"])
        set_seed(seed)
        student = self._make_student()
        tempered = {"temperature": parts["t"]} if self.scores.kind.has_temperature else {}
        soft = {"kl": {"weight": 1.0, **tempered}, "ce": parts["hard"]}
        changes: dict[str, Any] = {"max_steps": steps, "learning_rate": self.options.learning_rate, "seed": seed}
        changes["objectives"] = {"ce": 1.0} if parts["kind"] == "labels" else soft
        callbacks: list[TrainerCallback] = []
        if parts["is_early"]:
            args = self._args(self.folder / "run", num_train_epochs=1)
            stopping, callback = early_stopping_arguments(args, len(self.train_rows), self.task.metric_name)
            changes |= {**stopping, **({"max_steps": steps} if self.options.quick else {})}
            callbacks = [callback]
        rows = self._rows(parts)
        start, steps_before = time.perf_counter(), steps // 2 if parts["is_after"] else 0
        if steps_before:
            changes["max_steps"] = steps - steps_before
            on_labels = {**changes, "max_steps": steps_before, "objectives": {"ce": 1.0}}
            self._trainer(student, self.train_rows, [], on_labels).train()
        trainer = self._trainer(student, rows, callbacks, changes)
        trainer.train()
        seconds = time.perf_counter() - start
        scores = self.store(arm, seed, trainer, steps_before + trainer.state.global_step, seconds)
        some = self.train.take(min(len(self.train), 1000))
        distances = {
            "kl_train": self.distance(trainer, some),
            "kl_held_out": self.distance(trainer, self.held_out_texts),
        }
        return scores | {name: round(value, 4) for name, value in distances.items()}

    def _rows(self, parts: dict[str, Any]) -> Dataset:
        """Return the training rows of an arm, with the answers of its teacher."""
        copies, is_soft = parts["copies"], parts["kind"] == "soft"
        if parts["folds"]:
            return self.fold_rows(parts["folds"], copies, parts["methods"])
        rows = self._labelled(self.train) if is_soft else self.train_rows
        if not copies:
            return rows
        variants = self.variants(self.train, copies, parts["methods"], keeps_labels=not is_soft)
        return concatenate_datasets([rows, self._labelled(variants) if is_soft else self._tokenize(variants)])

    def _trainer(
        self, student: PreTrainedModel, rows: Dataset, callbacks: list[TrainerCallback], changes: dict[str, Any]
    ) -> DistillationTrainer:
        trainer = DistillationTrainer(
            student,
            args=self._args(self.folder / "run", **changes),
            train_dataset=rows,
            eval_dataset=self.held_out,
            processing_class=self.tokenizer,
            compute_metrics=self.task.compute_metrics,
            callbacks=callbacks,
        )
        trainer.remove_callback(PrinterCallback)
        return trainer

    def distance(self, trainer: DistillationTrainer, rows: Dataset) -> float:
        """Return the mean of the `kl` loss at temperature 1 over texts: KL(teacher || student), or squared error."""
        teacher = torch.tensor(np.array(self._labelled(rows)[TEACHER_LOGITS][:]))
        student = torch.tensor(trainer.predict(self._tokenize(rows)).predictions)
        return self.scores.kind.soft_loss(student, teacher, 1.0).mean().item()

    def store(self, arm: str, seed: int, trainer: DistillationTrainer, steps: int, seconds: float) -> dict[str, Any]:
        """Store the logits of a model on the test rows, and return its scores."""
        test = self._tokenize(self.test_texts, trainer.processing_class)
        logits = np.asarray(trainer.predict(test).predictions, dtype=np.float32)
        np.save(self.path(arm, seed), logits)
        values = {
            "score": self.scores.of_rows(logits),
            "cross_entropy": self.scores.losses(logits).mean(),
            "calibration_error": self.scores.calibration_error(logits),
        }
        return {
            "task": self.name, "layers": self.options.num_hidden_layers, "seed": seed, "arm": arm, "steps": steps,
            "metric": self.task.metric_name, "seconds": round(seconds),
            **{name: value if value is None else round(float(value), 4) for name, value in values.items()},
        }  # fmt: skip

    def score_teacher(self) -> dict[str, Any]:
        """Return the scores of the teacher."""
        args = self._args(self.folder / "run", objectives={"ce": 1.0})
        trainer = DistillationTrainer(self.teacher, args=args, processing_class=self.teacher_tokenizer)
        return self.store("teacher", 0, trainer, 0, 0.0)

    def path(self, arm: str, seed: int) -> Path:
        """Return the file with the logits of a run."""
        return self.folder / f"{arm}-{self.options.num_hidden_layers}-{seed}.npy"

    def fold_rows(self, num_folds: int, copies: int, methods: Mapping[str, float]) -> Dataset:
        """Return the training rows and their variants, with the logits of a teacher that has not seen the row."""
        parts, every_row = [], np.arange(len(self.train))
        for i, fold in enumerate(split_folds(self.train, self.task, num_folds)):
            others = self.train.select(np.setdiff1d(every_row, fold))
            teacher = self._make_teacher(f"teacher_{i + 1}_of_{num_folds}", others)
            rows = self.train.select(fold)
            parts.append(self._labelled(rows, teacher))
            if copies:
                parts.append(self._labelled(self.variants(rows, copies, methods, keeps_labels=False), teacher))
        return concatenate_datasets(parts)

    def variants(self, source: Dataset, copies: int, methods: Mapping[str, float], *, keeps_labels: bool) -> Dataset:
        """Return variants of rows, without labels or with the label of their row."""
        columns = list(self.task.text_columns)
        texts = augment_texts(
            source,
            text_columns=columns,
            tokenizer=self.teacher_tokenizer,
            embeddings=word_embeddings(self.teacher).cpu().numpy(),
            methods=methods,
            copies=copies,
        )
        rows = texts.select_columns(columns)
        if keeps_labels:
            labels = source.select(texts[SOURCE_ROW]).select_columns(["label"])
            rows = concatenate_datasets([rows, labels], axis=1)
        return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data_dir", type=Path, required=True)
    parser.add_argument("--encoder", required=True, help="path of the pretrained encoder")
    parser.add_argument("--tasks", default=DEFAULT_TASKS, help=f"of {', '.join(TASKS)}; default: %(default)s")
    parser.add_argument("--arms", default=ARMS)
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--num_hidden_layers", type=int, default=3)
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--learning_rate", type=float, default=1e-4)
    parser.add_argument("--student", help="path of another pretrained encoder, of whose layers students are made")
    parser.add_argument("--teacher_epochs", type=int, help="default: those of the task")
    parser.add_argument("--teacher_learning_rate", type=float, help="default: that of the task")
    parser.add_argument("--bf16", action="store_true", help="train in bfloat16 autocast")
    parser.add_argument("--max_seq_length", type=int, default=64)
    parser.add_argument("--work_dir", type=Path, default=Path(__file__).parent / "work" / "all_labels")
    parser.add_argument("--output_dir", type=Path, default=Path(__file__).parent / "results")
    parser.add_argument("--minus", default="labels,labels_early", help="arms that every other arm is compared with")
    parser.add_argument("--tables", action="store_true", help="do not train; print the tables of the finished runs")
    parser.add_argument("--quick", action="store_true", help="few rows and 3 steps, to check that the script runs")
    options = parser.parse_args()
    prepare_process()
    arms, seeds = options.arms.split(","), [int(seed) for seed in options.seeds.split(",")]
    minus = options.minus.split(",")
    for arm in [*arms, *minus]:
        parse(arm)
    if options.quick:
        options.steps, options.work_dir = 3, options.work_dir / "quick"
    options.output_dir.mkdir(parents=True, exist_ok=True)
    path = options.output_dir / f"all_labels{'_quick' if options.quick else ''}.csv"
    done = list(csv.DictReader(path.open(encoding="utf-8"))) if path.exists() else []
    finished = {(row["task"], row["layers"], row["seed"], row["arm"]) for row in done}
    layers, table = options.num_hidden_layers, list[list[str]]()
    for name in options.tasks.split(","):
        bench = Bench(name, options)
        runs = [(arm, seed) for arm in arms for seed in seeds]
        for arm, seed in [] if options.tables else [("teacher", 0), *runs]:
            if (name, str(layers), str(seed), arm) in finished and bench.path(arm, seed).exists():
                continue
            row = bench.score_teacher() if arm == "teacher" else bench.run(arm, seed)
            with path.open("a", newline="", encoding="utf-8") as file:
                writer = csv.DictWriter(file, FIELDS)
                if file.tell() == 0:
                    writer.writeheader()
                writer.writerow(row)
            done.append(row)
            print(row, flush=True)
        known = [(arm, seed) for arm in dict.fromkeys([*arms, *minus]) for seed in seeds]
        logits = {run: np.load(bench.path(*run)) for run in known if bench.path(*run).exists()}
        table += differences(name, layers, bench.scores, logits, minus)
    print(f"\n{markdown_table(MEANS_HEADER, means(done))}\n\n{markdown_table(DIFFERENCES_HEADER, table)}")


if __name__ == "__main__":
    main()
