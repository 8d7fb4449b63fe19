"""The floor of a run: what TF-IDF with a linear model gets on the same rows in milliseconds."""

import numpy as np

from hf_distill.data.tfidf import TFIDF_PROBLEM_TYPES, join_texts, measure_tfidf
from hf_distill.pipeline.inputs import DistillationInputs
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
