"""Measure which student to take: which layers, how many neurons, or no layers at all.

    python benchmarks/student_choice.py --data_dir DATA --encoder MINILM --output_dir OUT [--tasks sst2 mrpc]
        [--seeds 0 1] [--arms layers3 width static layers2 model2vec] [--quick]

For each task, the encoder is fine-tuned once into the teacher. All students of a task learn from the teacher's cached
answers, with the same rows, steps, learning rate and default loss. The weights after the last step are evaluated. The
groups of arms run in this order, each on all tasks:

- `layers3`: 3 layers of the teacher: evenly spaced (the default), the first, the last.
- `width`: 3 layers with 768 and 384 of 1,536 neurons, only with the first seed. The layers are the ones that have the
  lowest mean cross-entropy in `layers3` on the same task.
- `static`: the static student on the same rows, and with the teacher's answers to further texts (single texts only).
- `layers2`: as `layers3` with 2 layers, only for single texts.
- `model2vec`: model2vec's own classifier on the labels of the same rows, only for single texts. It runs only if
  `--arms` names it, and installs two packages into `work/`.

| task | training rows | test rows | epochs of teacher and students |
| --- | --- | --- | --- |
| SST-2 | 4,000 | 872, the dev set | 2 and 2 |
| MRPC | 2,668 | 1,408: the dev set and 1,000 training rows | 4 and 2 |
| QNLI | 3,463 of the dev set | the other 2,000 | 3 and 2 |
| Banking77 | 5,000 | 3,080, the test set | 6 and 3 |
| 20 Newsgroups, from `newsgroups.py` | 4,000 | 7,528, the test set | 3 and 3 |

With two seeds, the teachers take about 20 minutes of one core that does 3 steps of a 3-layer MiniLM a second (32 texts
of 25 tokens), `layers3` 36, `width` 7, `static` 3 and `layers2` 10. An arm that is finished appends a row to
`student_choice.csv` in the output folder; a later call with the same folder runs only what is missing.
"""

import argparse
import dataclasses
import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ |= {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}

import numpy as np
import torch
from arm_results import Results, Row
from datasets import Dataset, concatenate_datasets
from made_up import make_up
from model2vec_arm import fit_model2vec
from random_models import prepare_process
from student_tasks import QUICK, SETTINGS, Settings, load
from tables import to_markdown
from transformers import AutoTokenizer, PreTrainedModel, PrinterCallback, set_seed

from hf_distill import DistillationTrainer, DistillationTrainingArguments
from hf_distill.pipeline import StudentOptions, fine_tune, make_student
from hf_distill.students import LAYER_CHOICES
from hf_distill.teachers import load_teacher

GROUPS = ("layers3", "width", "static", "layers2", "model2vec")
WIDTHS = (768, 384)
DEFAULT = "3 layers, uniform"
MAX_LENGTH = 64


@dataclasses.dataclass(frozen=True)
class Arm:
    """One student of a task; `options` is None for model2vec's classifier."""

    name: str
    options: StudentOptions | None
    has_further_texts: bool = False


def layer_arms(num_layers: int) -> list[Arm]:
    return [
        Arm(f"{num_layers} layers, {choice}", StudentOptions(None, num_layers, choice)) for choice in LAYER_CHOICES
    ]


class TaskRuns:
    """The runs of one task, all on the same rows.

    Args:
        name: One of `SETTINGS`.
        settings: The settings of the task.
        options: The flags.
        folder: Folder for the teacher and its answers.
    """

    def __init__(self, name: str, settings: Settings, options: argparse.Namespace, folder: Path) -> None:
        self.name, self.settings, self.folder, self.encoder = name, settings, folder, options.encoder
        self.tokenizer = AutoTokenizer.from_pretrained(options.encoder)
        self.task = load(name, options.data_dir)
        rows = self.task.datasets["train"].shuffle(seed=0)
        train, held_out, texts = np.split(np.arange(len(rows)), np.cumsum([settings.num_rows, settings.num_held_out]))
        parts = [] if name == "qnli" else [self.task.datasets["validation"]]
        self.train_texts, self.test_texts = rows.select(train), concatenate_datasets([*parts, rows.select(held_out)])
        self.train_rows, self.test_rows = self._tokenize(self.train_texts), self._tokenize(self.test_texts)
        self.further_texts = rows.select(texts[: settings.num_further_texts]).remove_columns("label")
        self.teacher_folder = folder / "teachers" / name

    def _tokenize(self, rows: Dataset) -> Dataset:
        return self.task.tokenize_dataset(rows, self.tokenizer, MAX_LENGTH)

    def arms(self, group: str, results: list[Row]) -> list[Arm]:
        """Return the arms of a group; the results say which layers the arms of `width` keep."""
        is_single_text = len(self.task.text_columns) == 1
        if group == "layers3":
            return layer_arms(3)
        if group == "layers2":
            return layer_arms(2) if is_single_text else []
        if group == "model2vec":
            return [Arm("model2vec's classifier", None)] if is_single_text else []
        if group == "static":
            static = StudentOptions(static_dim=min(256, self.teacher().config.hidden_size)) if is_single_text else None
            return [Arm("static", static), Arm("static, further texts", static, True)] if static else []
        layers = self._best_layers(results)
        return [Arm(f"3 layers, {layers}, {n} neurons", StudentOptions(None, 3, layers, None, n)) for n in WIDTHS]

    def _best_layers(self, results: list[Row]) -> str:
        def cross_entropy(choice: str) -> float:
            arm = f"3 layers, {choice}"
            values = [r["cross_entropy"] for r in results if (r["task"], r["arm"]) == (self.name, arm)]
            return statistics.mean(map(float, values)) if values else float("inf")

        return min(LAYER_CHOICES, key=cross_entropy)

    def teacher(self) -> PreTrainedModel:
        """Fine-tune the encoder and save it, or load the teacher that an earlier call saved."""
        if not (self.teacher_folder / "config.json").exists():
            fine_tune(
                self.encoder,
                self.task,
                self._args(self.settings.teacher_epochs, self.settings.teacher_learning_rate, seed=0),
                self.teacher_folder,
                tokenizer=self.tokenizer,
                train_dataset=self.train_rows,
                eval_dataset=self.test_rows,
            )
        return load_teacher(self.teacher_folder)

    def run_teacher(self) -> tuple[Row, np.ndarray]:
        start = time.perf_counter()
        teacher = self.teacher()
        seconds = time.perf_counter() - start
        trainer = self._trainer(teacher, None, None, self._args(1, 0.0, seed=0, objectives={"ce": 1.0}))
        return self._result("teacher", 0, trainer, seconds)

    def run(self, arm: Arm, seed: int) -> tuple[Row, np.ndarray]:
        """Train one student; return its row of the table, and correctness and cross-entropy of each test row."""
        if arm.options is None:
            return self._run_model2vec(arm.name, seed)
        set_seed(seed)
        teacher, settings = self.teacher(), self.settings
        student = make_student(arm.options, teacher, self.task, self.train_rows, self.tokenizer)
        is_static = arm.options.static_dim is not None
        args = self._args(
            settings.static_epochs if is_static else settings.student_epochs,
            settings.static_learning_rate if is_static else settings.learning_rate,
            seed,
            cache_teacher_outputs=True,
            teacher_cache_dir=str(self.folder / "store"),
        )
        rows = self.train_rows
        if arm.has_further_texts:
            rows = concatenate_datasets([rows, self._tokenize(self.further_texts).cast(rows.features)])
        trainer = self._trainer(student, teacher, rows, args)
        start = time.perf_counter()
        trainer.train()
        return self._result(arm.name, seed, trainer, time.perf_counter() - start)

    def _trainer(
        self,
        model: PreTrainedModel,
        teacher: PreTrainedModel | None,
        rows: Dataset | None,
        args: DistillationTrainingArguments,
    ) -> DistillationTrainer:
        trainer = DistillationTrainer(
            model, teacher, args, train_dataset=rows, eval_dataset=self.test_rows, processing_class=self.tokenizer
        )
        trainer.remove_callback(PrinterCallback)
        return trainer

    def _args(self, epochs: int, learning_rate: float, seed: int, **changes: Any) -> DistillationTrainingArguments:
        return DistillationTrainingArguments(
            str(self.folder / "run"),
            num_train_epochs=epochs,
            learning_rate=learning_rate,
            seed=seed,
            per_device_train_batch_size=32,
            per_device_eval_batch_size=64,
            warmup_steps=0.1,
            train_sampling_strategy="group_by_length",
            save_strategy="no",
            logging_strategy="no",
            report_to="none",
            disable_tqdm=True,
            use_cpu=True,
            **changes,
        )

    def _result(self, arm: str, seed: int, trainer: DistillationTrainer, seconds: float) -> tuple[Row, np.ndarray]:
        logits = torch.tensor(trainer.predict(self.test_rows).predictions).float()
        cost = {
            "parameters": trainer.model.num_parameters(),
            "steps": trainer.state.global_step,
            "seconds": round(seconds, 1),
        }
        return self._score(arm, seed, logits, cost)

    def _score(self, arm: str, seed: int, logits: torch.Tensor, cost: Row) -> tuple[Row, np.ndarray]:
        labels = torch.tensor(self.test_rows["labels"])
        correct = (logits.argmax(dim=1) == labels).float()
        cross_entropy = torch.nn.functional.cross_entropy(logits, labels, reduction="none")
        means = {"accuracy": correct.mean().item(), "cross_entropy": cross_entropy.mean().item()}
        row = {"task": self.name, "arm": arm, "seed": seed, **means, **cost}
        return row, torch.stack([correct, cross_entropy]).numpy()

    def _run_model2vec(self, arm: str, seed: int) -> tuple[Row, np.ndarray]:
        (column,) = self.task.text_columns
        probabilities, cost = fit_model2vec(
            self.encoder,
            self.folder / "model2vec",
            list(self.train_texts[column]),
            list(self.train_rows["labels"]),
            list(self.test_texts[column]),
            seed,
        )
        logits = torch.tensor(probabilities).float().clamp(min=torch.finfo().tiny).log()
        return self._score(arm, seed, logits, cost)


def run_missing(options: argparse.Namespace, settings: dict[str, Settings], results: Results, folder: Path) -> None:
    """Run the arms that have no result yet, one group after the other."""
    runs = {name: TaskRuns(name, settings[name], options, folder) for name in options.tasks}
    for group in [group for group in GROUPS if group in options.arms]:
        for name, task_runs in runs.items():
            if not results.has(name, "teacher", 0):
                results.add(*task_runs.run_teacher())
            for seed in options.seeds[:1] if group == "width" else options.seeds:
                for arm in task_runs.arms(group, results.rows):
                    if not results.has(name, arm.name, seed):
                        results.add(*task_runs.run(arm, seed))


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data_dir", type=Path, help="folder that holds glue/ and banking77/")
    parser.add_argument("--encoder", help="path or Hub id of the pretrained encoder, e.g. a 6-layer MiniLM")
    parser.add_argument("--output_dir", type=Path, help="folder for results, teachers and the teachers' answers")
    parser.add_argument("--tasks", nargs="+", choices=SETTINGS, default=list(SETTINGS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--arms", nargs="+", choices=GROUPS, default=list(GROUPS[:-1]), help="groups of students")
    parser.add_argument(
        "--quick", action="store_true", help="made-up texts and a tiny encoder, into OUTPUT_DIR/quick or nowhere"
    )
    options = parser.parse_args()
    if not options.quick and None in (options.data_dir, options.encoder, options.output_dir):
        parser.error("--data_dir, --encoder and --output_dir are needed unless --quick is given")
    return options


def main() -> None:
    options = parse_options()
    prepare_process()
    settings = SETTINGS
    with tempfile.TemporaryDirectory() as temporary:
        if options.quick:
            make_up(Path(temporary))
            options.data_dir, options.encoder = Path(temporary), f"{temporary}/encoder"
            options.output_dir = (options.output_dir or Path(temporary)) / "quick"
            settings = {
                name: dataclasses.replace(s, **QUICK, num_held_out=min(s.num_held_out, 64))
                for name, s in SETTINGS.items()
            }
        results = Results(options.output_dir / "student_choice.csv", DEFAULT)
        run_missing(options, settings, results, options.output_dir)
        print(f"\n{to_markdown(results.table())}\n\nThe default: {DEFAULT}. ±: standard error over the test rows.")


if __name__ == "__main__":
    main()
