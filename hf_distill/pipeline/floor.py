"""The floor of a run or a comparison: what TF-IDF with a linear model gets on the same rows in milliseconds."""

import numpy as np
from datasets import Dataset

from hf_distill.data import Task, as_compute_metrics
from hf_distill.data.metrics import METRICS
from hf_distill.data.tfidf import TFIDF_PROBLEM_TYPES, join_texts, measure_tfidf
from hf_distill.pipeline.inputs import DistillationInputs
from hf_distill.reporting import Report
from hf_distill.trainer import DistillationTrainer


def describe_floor(trainer: DistillationTrainer, inputs: DistillationInputs) -> None:
    """Measure TF-IDF with a linear model, on the main process, and put it into the record of a run as `floor`.

    `floor` has two entries, each as [`measure_tfidf`] returns it: `labels`, fitted on the labelled rows, and
    `teacher_answers`, fitted on these and on the transfer set with the teacher's answers. The second one is left out
    if the teacher did not label the transfer set before training. Words and runs without labels have no floor.

    Args:
        trainer: The Trainer of the student.
        inputs: What it was trained with.
    """
    task = inputs.task
    has_labels = "train" in task.datasets and "labels" in inputs.rows[task.validation_splits[0]].column_names
    if task.problem_type not in TFIDF_PROBLEM_TYPES or not has_labels or not trainer.is_world_process_zero():
        return
    split = task.validation_splits[0]
    texts, labels = (join_texts(task.datasets[split], task.text_columns), np.asarray(inputs.rows[split]["labels"]))
    fits = {
        "labels": (join_texts(task.datasets["train"], task.text_columns), np.asarray(inputs.rows["train"]["labels"]))
    }
    if inputs.transfer is not None and inputs.transfer.teacher_answers is not None:
        train_texts, train_labels = fits["labels"]
        more_texts = join_texts(inputs.transfer.text, task.text_columns)
        answers = inputs.transfer.teacher_answers.astype(train_labels.dtype)
        fits["teacher_answers"] = [*train_texts, *more_texts], np.concatenate([train_labels, answers])
    num_labels = len(task.label_names or ["score"])
    floors = {
        name: measure_tfidf(*fit, texts, labels, task.problem_type, num_labels, task.compute_metrics)
        for name, fit in fits.items()
    }
    trainer.record["floor"] = {name: floor for name, floor in floors.items() if floor is not None}


def add_floor(report: Report, task: Task, rows: Dataset) -> None:
    """Fit TF-IDF with a linear model on the labelled training rows, and add its scores to a comparison.

    Words have no floor, and neither have training rows without labels. Metrics of the user are left out.

    Args:
        report: What `compare_models` returns for `rows`.
        task: The task, with a training split.
        rows: The rows of the comparison.
    """
    if task.problem_type not in TFIDF_PROBLEM_TYPES:
        return
    known = {metric.name for metric in METRICS[task.problem_type]}
    names = [name for name in report.to_dict()["task"]["metrics"] if name in known]
    train = task.datasets["train"]
    floor = measure_tfidf(
        join_texts(train, task.text_columns),
        task.targets(train),
        join_texts(rows, task.text_columns),
        task.targets(rows),
        task.problem_type,
        len(task.label_names or ["score"]),
        as_compute_metrics(names, task.problem_type),
    )
    if floor is not None:
        report.add_floor(floor)
