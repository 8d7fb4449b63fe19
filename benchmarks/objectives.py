"""Compare losses on hidden states and attention with a loss on logits: accuracy, gap closed, time per step.

    python benchmarks/objectives.py --train_file labelled.csv --transfer_file unlabelled.txt --validation_file test.csv
        --teacher demo_output/student/teacher --output_dir movies    (the files are in demo_output/data)
    python benchmarks/objectives.py --train_file banking77/train.csv --validation_file banking77/test.csv
        --label_column_name category --num_labels 1000 --encoder minilm --teacher banking/teacher --output_dir banking

A call runs one task. For every loss, training starts from the same student and takes the same number of steps with a
live teacher. `alone` is the student trained without a teacher on the labelled rows. Agreement and KL (temperature 2)
compare student and teacher on the evaluation rows. With few rows they show differences between losses that the score
cannot show. The time per step is CPU time, summed over the threads of the process, so other work on the machine hardly
changes it. Results are appended to `results.jsonl` in the output folder; a later call with the same folder runs only
what is missing.
"""

import argparse
import copy
import json
import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
import yaml
from datasets import Dataset, concatenate_datasets
from transformers import AutoTokenizer, PreTrainedModel, set_seed

from hf_distill import DistillationTrainer, DistillationTrainingArguments
from hf_distill.data import Task, load_text_dataset, load_transfer_text
from hf_distill.pipeline import ModelReference, StudentOptions, fine_tune, load_with_new_head, make_student
from hf_distill.reporting.markdown import markdown_table
from hf_distill.teachers import load_teacher

LOGITS = {"kl": {"weight": 1.0, "temperature": 2.0}, "ce": 0.1}
MODELS = {"student": "", "teacher": "teacher_"}
FADING = {"schedule": "linear", "start": 1.0, "end": 0.0}
SPECS: dict[str, dict[str, Any]] = {
    "logits": LOGITS,
    "T 4 to 1": {"kl": {"temperature": {"schedule": "linear", "start": 4.0, "end": 1.0}}, "ce": 0.1},
    "+ hidden_mse": {**LOGITS, "hidden_mse": 1.0},
    "+ hidden_cosine": {**LOGITS, "hidden_cosine": 1.0},
    "+ embedding_mse": {**LOGITS, "embedding_mse": 1.0},
    "+ pkd": {**LOGITS, "pkd": 1.0},
    "+ attention_mse": {**LOGITS, "attention_mse": 100.0},
    "+ minilm_relation": {**LOGITS, "minilm_relation": 1.0},
    "+ hidden_mse, fading": {**LOGITS, "hidden_mse": {"weight": FADING}},
    "+ minilm_relation, fading": {**LOGITS, "minilm_relation": {"weight": FADING}},
    "TinyBERT": {**LOGITS, "hidden_mse": 1.0, "embedding_mse": 1.0, "attention_mse": 100.0},
}


def load_rows(options: argparse.Namespace, tokenizer: Any, teacher: PreTrainedModel) -> tuple[Task, Dataset, Dataset]:
    """Return the task in the order of the teacher's classes, the training rows and the evaluation rows."""
    task = load_text_dataset(
        train_file=options.train_file,
        validation_file=options.validation_file,
        label_column_name=options.label_column_name,
    ).for_model(teacher)
    if options.num_labels is not None:  # the other rows lose their labels
        shuffled = task.datasets["train"].shuffle(seed=0)
        task.datasets["train"] = shuffled.select(range(options.num_labels))
        text = shuffled.select(range(options.num_labels, len(shuffled))).remove_columns("label")
    rows = task.tokenize(tokenizer, options.max_seq_length)
    train = rows["train"]
    if options.transfer_file is not None:
        text = load_transfer_text(options.transfer_file, None, task.text_columns)
    if options.transfer_file is not None or options.num_labels is not None:
        unlabelled = task.tokenize_dataset(text, tokenizer, options.max_seq_length)
        train = concatenate_datasets([train, unlabelled.cast(train.features)])
    return task, train, rows[task.validation_splits[0]]


def make_arguments(options: argparse.Namespace, folder: str, **settings: Any) -> DistillationTrainingArguments:
    """Return the settings that teacher and students share, with further settings."""
    return DistillationTrainingArguments(
        folder,
        warmup_steps=0.1,
        per_device_train_batch_size=options.batch_size,
        train_sampling_strategy="group_by_length",
        save_strategy="no",
        bf16=options.bf16,
        use_cpu=not torch.cuda.is_available(),
        report_to="none",
        disable_tqdm=True,
        **settings,
    )


def distill(
    options: argparse.Namespace, name: str, spec: dict[str, Any], seed: int, teacher: PreTrainedModel
) -> Iterator[dict[str, Any]]:
    """Train one student and yield its result; for the loss on logits, also the result without a teacher."""
    tokenizer = AutoTokenizer.from_pretrained(options.teacher)
    task, train, validation = load_rows(options, tokenizer, teacher)
    args = make_arguments(
        options,
        str(Path(options.output_dir, "run")),
        objectives=spec,
        seed=seed,
        num_train_epochs=options.epochs,
        max_steps=options.max_steps,
        learning_rate=options.learning_rate,
        per_device_eval_batch_size=64,
    )
    set_seed(seed)
    if options.student is None:
        student_options = StudentOptions(num_hidden_layers=options.student_num_hidden_layers)
    else:
        student_options = StudentOptions(ModelReference(options.student))
    student = make_student(student_options, teacher, task)
    trainer = DistillationTrainer(
        copy.deepcopy(student),
        copy.deepcopy(teacher),  # a loss that reads attention maps switches its teacher to eager attention
        args,
        train_dataset=train,
        eval_dataset=validation,
        processing_class=tokenizer,
        compute_metrics=task.compute_metrics,
    )
    start = time.process_time()
    trainer.train()
    seconds = (time.process_time() - start) / trainer.state.global_step
    metrics = trainer.evaluate()
    scores = {model: metrics[f"eval_{prefix}{task.metric_name}"] for model, prefix in MODELS.items()}
    similarity = {
        "agreement": metrics["eval_agreement"],
        "kl": metrics["eval_loss_kl"] if spec["kl"] == LOGITS["kl"] else None,
    }
    yield {"loss": name, "seed": seed, "seconds_per_step": seconds, **scores, **similarity}
    if name == "logits":
        score = trainer.train_baseline(student).evaluate()[f"eval_{task.metric_name}"]
        yield {"loss": "alone", "seed": seed, "student": score, "teacher": scores["teacher"]}


def fine_tune_teacher(options: argparse.Namespace) -> None:
    """Fine-tune an encoder on the labelled rows, into the teacher's folder."""
    tokenizer = AutoTokenizer.from_pretrained(options.encoder)
    task, _, _ = load_rows(options, tokenizer, None)
    set_seed(0)  # not the seed of the training, or the published numbers would change
    teacher = load_with_new_head(ModelReference(options.encoder), task)
    args = make_arguments(
        options,
        options.teacher,
        num_train_epochs=options.teacher_epochs,
        learning_rate=options.teacher_learning_rate,
    )
    fine_tune(teacher, task, args, options.teacher, tokenizer=tokenizer, max_length=options.max_seq_length)


def run_missing(options: argparse.Namespace, specs: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """Run what is missing in the output folder, and return all results."""
    path = Path(options.output_dir, "results.jsonl")
    path.parent.mkdir(parents=True, exist_ok=True)
    results = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    if options.encoder is not None and not Path(options.teacher, "config.json").exists():
        fine_tune_teacher(options)
    teacher = load_teacher(options.teacher)
    for seed in options.seeds:
        for name, spec in specs.items():
            if any((result["loss"], result["seed"]) == (name, seed) for result in results):
                continue
            for result in distill(options, name, spec, seed, teacher):
                results.append(result)
                print(json.dumps(result), flush=True)
                with path.open("a") as file:
                    file.write(json.dumps(result) + "\n")
    return results


def _mean(values: list[float | None], spec: str) -> str:
    known = [value for value in values if value is not None]
    return format(statistics.mean(known), spec).replace("%", " %") if known else ""


def table(results: list[dict[str, Any]]) -> str:
    """Compare the losses: means over seeds, and the mean difference to the loss on logits with the same seed."""
    by_loss: dict[str, dict[int, dict[str, Any]]] = {}
    for result in results:
        by_loss.setdefault(result["loss"], {})[result["seed"]] = result
    logits, baseline = by_loss["logits"], by_loss["alone"]
    rows = []
    for name, by_seed in by_loss.items():
        scores = [result["student"] for result in by_seed.values()]
        gains = [by_seed[seed]["student"] - logits[seed]["student"] for seed in by_seed if seed in logits]
        error = f" ± {statistics.stdev(gains) / len(gains) ** 0.5:.4f}" if len(gains) > 1 else ""
        closed = [
            (result["student"] - baseline[seed]["student"]) / (result["teacher"] - baseline[seed]["student"])
            for seed, result in by_seed.items()
            if result["teacher"] != baseline[seed]["student"]
        ]
        values = {
            key: [r[key] for r in by_seed.values() if key in r] for key in ("seconds_per_step", "agreement", "kl")
        }
        rows.append(
            [
                name,
                f"{statistics.mean(scores):.4f}",
                f"{statistics.mean(closed):.0%}" if closed else "n/a",
                "" if name == "logits" else f"{statistics.mean(gains):+.4f}{error}",
                *(_mean(values[key], spec) for key, spec in (("agreement", ".1%"), ("kl", ".4f"))),
                _mean(values["seconds_per_step"], ".3f"),
                str(len(scores)),
            ]
        )
    header = [
        "loss",
        "score",
        "gap closed",
        "against logits (standard error)",
        "agreement",
        "KL",
        "CPU s per step",
        "seeds",
    ]
    return markdown_table(header, rows) + f"\n\nteacher: {results[0]['teacher']:.4f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--train_file", required=True, help="labelled rows: CSV, TSV, JSON or Parquet")
    parser.add_argument("--validation_file", required=True, help="rows to compare on")
    parser.add_argument("--label_column_name", help="unset: label")
    parser.add_argument("--transfer_file", help="unlabelled text to train on as well")
    parser.add_argument("--num_labels", type=int, help="keep the labels of N rows, drawn at random; unset: all")
    parser.add_argument("--encoder", help="if there is no teacher yet, fine-tune this encoder on the labelled rows")
    parser.add_argument("--teacher_epochs", type=float, default=30.0)
    parser.add_argument("--teacher_learning_rate", type=float, default=3e-4)
    parser.add_argument(
        "--teacher", required=True, help="path or Hub id of the fine-tuned teacher; it needs its tokenizer"
    )
    parser.add_argument(
        "--student", help="path or Hub id of a student with the same tokenizer; unset: copy layers of the teacher"
    )
    parser.add_argument("--student_num_hidden_layers", type=int, default=3)
    parser.add_argument("--output_dir", required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--specs", help="YAML file, name of a loss to objectives; one must be named `logits`")
    parser.add_argument("--losses", nargs="+", help="names of the losses to run; unset: all")
    parser.add_argument("--epochs", type=float, default=3.0)
    parser.add_argument("--max_steps", type=int, default=-1)
    parser.add_argument("--learning_rate", type=float, default=1e-4)
    parser.add_argument("--batch_size", type=int, default=32)
    parser.add_argument("--max_seq_length", type=int, default=128)
    parser.add_argument("--bf16", action="store_true")
    options = parser.parse_args()
    specs = yaml.safe_load(Path(options.specs).read_text()) if options.specs else SPECS
    chosen = {name: spec for name, spec in specs.items() if name in ["logits", *(options.losses or specs)]}
    results = run_missing(options, chosen)
    print("\n" + table(results))


if __name__ == "__main__":
    main()
