"""Measure the cost of a search over temperature and weights: one pass of the teacher, then plain fine-tunings.

    python benchmarks/search_cost.py [--quick] [--num_trials 20] [--num_steps 8]

The script compares `hyperparameter_search` with cached outputs to the same number of runs of a plain Trainer with the
same student, rows and steps, plus one forward pass of the teacher over the rows. The two sides take turns.
"""

import argparse
import copy
import statistics
import tempfile
import time

import torch
from step_cost import BATCH_SIZE, collate, make_models, make_rows
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from torch.utils.data import DataLoader
from transformers import PreTrainedTokenizerFast, Trainer, TrainingArguments

from hf_distill import DistillationTrainer, DistillationTrainingArguments


def make_tokenizer() -> PreTrainedTokenizerFast:
    """Return a tokenizer that only pads, since the rows are token ids."""
    return PreTrainedTokenizerFast(tokenizer_object=Tokenizer(WordLevel({"[PAD]": 0}, "[PAD]")), pad_token="[PAD]")


def settings(folder: str) -> dict:
    return {
        "output_dir": folder,
        "per_device_train_batch_size": BATCH_SIZE,
        "num_train_epochs": 1,
        "save_strategy": "no",
        "eval_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        "logging_strategy": "no",
        "use_cpu": True,
    }


def search(num_trials: int, num_rows: int) -> float:
    """Return the seconds of a search with an empty cache, from the construction of the Trainer to the last trial."""
    teacher, student = make_models()
    rows = make_rows(num_rows).remove_columns("teacher_logits")
    with tempfile.TemporaryDirectory() as folder:
        args = DistillationTrainingArguments(
            **settings(folder), cache_teacher_outputs=True, teacher_cache_dir=f"{folder}/cache"
        )
        start = time.perf_counter()
        trainer = DistillationTrainer(
            None,
            teacher,
            args,
            model_init=lambda trial: copy.deepcopy(student),
            train_dataset=rows,
            eval_dataset=rows.select(range(BATCH_SIZE)),
            processing_class=make_tokenizer(),
            data_collator=collate,
        )
        trainer.hyperparameter_search(
            lambda trial: {
                "temperature": trial.suggest_float("temperature", 1.0, 8.0),
                "hard_label_weight": trial.suggest_float("hard_label_weight", 0.0, 1.0),
            },
            compute_objective=lambda metrics: metrics["eval_loss"],
            n_trials=num_trials,
            backend="optuna",
        )
        return time.perf_counter() - start


def fine_tunings(num_trials: int, num_rows: int) -> float:
    """Return the seconds of the same number of plain runs, each evaluated on the same rows."""
    _, student = make_models()
    rows = make_rows(num_rows).remove_columns("teacher_logits")
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        for _ in range(num_trials):
            trainer = Trainer(
                copy.deepcopy(student),
                TrainingArguments(**settings(folder)),
                train_dataset=rows,
                eval_dataset=rows.select(range(BATCH_SIZE)),
                data_collator=collate,
            )
            trainer.train()
            trainer.evaluate()
        return time.perf_counter() - start


@torch.no_grad()
def teacher_pass(num_rows: int) -> float:
    """Return the seconds of the teacher's forward passes over the rows, in batches of the training batch size."""
    teacher, _ = make_models()
    rows = make_rows(num_rows).remove_columns(["teacher_logits", "labels"])
    start = time.perf_counter()
    for batch in DataLoader(rows, BATCH_SIZE, collate_fn=collate):
        teacher(**batch)
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--num_trials", type=int, default=20)
    parser.add_argument("--num_steps", type=int, default=8, help="number of steps of a trial")
    parser.add_argument("--rounds", type=int, default=2)
    options = parser.parse_args()
    rounds = options.rounds
    num_trials, num_steps = (3, 4) if options.quick else (options.num_trials, options.num_steps)
    num_rows = num_steps * BATCH_SIZE
    ratios = []
    for _ in range(rounds):
        plain_seconds, teacher_seconds, search_seconds = (
            fine_tunings(num_trials, num_rows), teacher_pass(num_rows), search(num_trials, num_rows)
        )  # fmt: skip
        ratios.append((search_seconds - teacher_seconds) / plain_seconds)
        print(
            f"{num_trials} trials {search_seconds:.1f} s; fine-tunings {plain_seconds:.1f} s; "
            f"teacher {teacher_seconds:.2f} s"
        )
    low, median, high = min(ratios), statistics.median(ratios), max(ratios)
    print(f"(search - teacher) / fine-tunings: {median:.3f} ({low:.3f} to {high:.3f}; target <= 1.1)")


if __name__ == "__main__":
    main()
