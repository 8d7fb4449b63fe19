"""Measure the cost of `hf-distill search`: its trials and the teacher's pass, against plain fine-tunings.

    python benchmarks/search_cost.py [--quick] [--num_trials 20] [--num_steps 16] [--profile]

A search over temperature and weights, for which every trial trains the same 2-layer student of a 6-layer teacher of
MiniLM's shape, is compared to the same number of runs of a plain Trainer with the same student, rows, steps and one
evaluation, plus one forward pass of the teacher over all rows. No trial is stopped early. What the search does once,
whatever its number of trials, is printed but not compared: it measures the student's latency before the trials. Times
are CPU time of this process, in which other programs do not count. The two sides take turns.
"""

import argparse
import copy
import cProfile
import csv
import pstats
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from made_up import save_word_tokenizer
from random_models import prepare_process
from torch.utils.data import DataLoader
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    DataCollatorWithPadding,
    PreTrainedTokenizerFast,
    PrinterCallback,
    Trainer,
    TrainingArguments,
)

from hf_distill import create_student
from hf_distill.cli import main as hf_distill
from hf_distill.data import load_text_dataset
from hf_distill.search.run import UNMET
from hf_distill.search.trainings import Trainings
from hf_distill.search.trials import Trials

BATCH_SIZE, NUM_EVAL_ROWS = 32, 64
SHAPE = {"hidden_size": 384, "num_hidden_layers": 6, "num_attention_heads": 12, "intermediate_size": 1536}
QUICK_SHAPE = {"hidden_size": 32, "num_hidden_layers": 6, "num_attention_heads": 2, "intermediate_size": 64}
LABELS = {"id2label": {0: "no", 1: "yes"}, "label2id": {"no": 0, "yes": 1}}


class Clock:
    """Measures the CPU seconds of a method, over all its calls."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def around(self, method: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*args: Any) -> Any:
            start = time.process_time()
            try:
                return method(*args)
            finally:
                self.seconds += time.process_time() - start

        return timed


class Sides:
    """A search and plain fine-tunings on the same files.

    Args:
        folder: Folder for models and data.
        num_trials: Number of trials, and of fine-tunings.
        num_steps: Number of optimizer steps of each.
        shape: Shape of the teacher, whose weights are random, since speed does not depend on them.
    """

    def __init__(self, folder: Path, num_trials: int, num_steps: int, shape: dict[str, int]) -> None:
        self.folder, self.num_trials, self.num_steps = folder, num_trials, num_steps
        generator, words = random.Random(0), [f"word{i}" for i in range(30_000)]
        for name, num_rows in (("train", BATCH_SIZE * num_steps), ("validation", NUM_EVAL_ROWS)):
            with (folder / f"{name}.csv").open("w", newline="", encoding="utf-8") as file:
                rows = csv.writer(file)
                rows.writerow(["text", "label"])
                for i in range(num_rows):
                    length = min(max(round(generator.gauss(23, 10)), 3), 58)  # SST-2's, without two special tokens
                    rows.writerow([" ".join(generator.choices(words, k=length)), ("no", "yes")[i % 2]])
        torch.manual_seed(0)
        config = BertConfig(vocab_size=len(words) + 4, **shape, **LABELS)
        self.teacher = BertForSequenceClassification(config).eval()
        self.teacher.save_pretrained(folder / "teacher")
        save_word_tokenizer(words, folder / "teacher")
        self.tokenizer = PreTrainedTokenizerFast.from_pretrained(folder / "teacher")
        (folder / "space.yaml").write_text("depth: [2]\nwidth: [all]\nlayers: [uniform]\nvariant: [float32]\n")
        files = {f"{name}_file": folder / f"{name}.csv" for name in ("train", "validation")}
        self.rows = load_text_dataset(**files).tokenize(self.tokenizer)

    def search(self, output_dir: Path) -> dict[str, float]:
        """Return the seconds of a search with an empty cache: of the teacher, of the trials and of everything."""
        flags = {
            "teacher_model_name_or_path": self.folder / "teacher",
            "train_file": self.folder / "train.csv",
            "validation_file": self.folder / "validation.csv",
            "space": self.folder / "space.yaml",
            "require": "accuracy > 1",  # which no trial meets, so that no finalist is trained
            "num_trials": self.num_trials,
            "max_steps": self.num_steps,
            "eval_strategy": "no",
            "per_device_train_batch_size": BATCH_SIZE,
            "teacher_cache_dir": output_dir / "cache",
            "report_to": "none",
            "use_cpu": True,
            "output_dir": output_dir,
        }
        teacher, trials, start = Clock(), Clock(), time.process_time()
        with (
            patch.object(Trainings, "label", teacher.around(Trainings.label)),
            patch.object(Trials, "run", trials.around(Trials.run)),
        ):
            try:
                hf_distill(["search", *(word for name, value in flags.items() for word in (f"--{name}", str(value)))])
            except SystemExit as stopped:
                if stopped.code != UNMET:
                    raise
        total = time.process_time() - start
        return {"teacher": teacher.seconds, "trials": trials.seconds, "all": total}

    def fine_tunings(self) -> float:
        """Return the seconds of the same number of plain runs, each evaluated once."""
        student = create_student(self.teacher, num_hidden_layers=2)
        start = time.process_time()
        for _ in range(self.num_trials):
            trainer = Trainer(
                copy.deepcopy(student),
                TrainingArguments(
                    f"{self.folder}/plain",
                    per_device_train_batch_size=BATCH_SIZE,
                    max_steps=self.num_steps,
                    save_strategy="no",
                    logging_strategy="no",
                    report_to="none",
                    disable_tqdm=True,
                    use_cpu=True,
                ),
                train_dataset=self.rows["train"],
                eval_dataset=self.rows["validation"],
                processing_class=self.tokenizer,
            )
            trainer.remove_callback(PrinterCallback)
            trainer.train()
            trainer.evaluate()
        return time.process_time() - start

    @torch.no_grad()
    def teacher_pass(self) -> float:
        """Return the seconds of the teacher's forward passes over all rows, in batches of the training batch size."""
        start = time.process_time()
        for rows in self.rows.values():
            inputs = rows.remove_columns("labels")
            for batch in DataLoader(inputs, BATCH_SIZE, collate_fn=DataCollatorWithPadding(self.tokenizer)):
                self.teacher(**batch)
        return time.process_time() - start


def profile(sides: Sides, output_dir: Path) -> None:
    """Print the functions of this project and of transformers in which a search spends most time."""
    profiler = cProfile.Profile(time.process_time)
    profiler.runcall(sides.search, output_dir)
    pstats.Stats(profiler).sort_stats("cumulative").print_stats("hf_distill|transformers", 100)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="3 trials of 4 steps with a small teacher")
    parser.add_argument("--num_trials", type=int, default=20)
    parser.add_argument("--num_steps", type=int, default=16, help="number of steps of a trial")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--profile", action="store_true", help="print where the time of one search goes, and stop")
    options = parser.parse_args()
    prepare_process()
    num_trials, num_steps = (3, 4) if options.quick else (options.num_trials, options.num_steps)
    with tempfile.TemporaryDirectory() as folder:
        sides = Sides(Path(folder), num_trials, num_steps, QUICK_SHAPE if options.quick else SHAPE)
        if options.profile:
            profile(sides, Path(folder, "profiled"))
            return
        ratios = []
        for number in range(options.rounds):
            plain, teacher = sides.fine_tunings(), sides.teacher_pass()
            search = sides.search(Path(folder, str(number)))
            ratios.append((search["teacher"] + search["trials"]) / (plain + teacher))
            once = search["all"] - search["teacher"] - search["trials"]
            print(
                f"{num_trials} trials of {num_steps} steps: {search['trials']:.1f} s, the teacher's answers "
                f"{search['teacher']:.2f} s, what is done once {once:.1f} s; fine-tunings {plain:.1f} s, the "
                f"teacher's pass {teacher:.2f} s"
            )
    low, median, high = min(ratios), statistics.median(ratios), max(ratios)
    print(
        "(trials + answers of the teacher) / (fine-tunings + pass of the teacher): "
        f"{median:.3f} ({low:.3f} to {high:.3f}; target <= 1.1)"
    )


if __name__ == "__main__":
    main()
