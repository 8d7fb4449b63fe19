"""Data without any label: a task for a teacher's classes, and texts that are held out to compare models on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from datasets import Dataset, DatasetDict

from hf_distill.classifiers.outputs import TEACHER_LOGITS
from hf_distill.data.compute_metrics import as_compute_metrics
from hf_distill.data.label_column import LabelColumn
from hf_distill.data.metrics import default_metrics
from hf_distill.data.task import Task
from hf_distill.data.transfer import SEED

HELD_OUT_SHARE, MIN_HELD_OUT, MAX_HELD_OUT = 0.1, 200, 2000


def unlabelled_task(
    text: Dataset, problem_type: str, label_names: list[str] | None, split: str = "train", name: str = "text"
) -> Task:
    """Return a task with one split of unlabelled text for a teacher with this problem type and these classes."""
    metric_names = default_metrics(problem_type, label_names)
    return Task(
        name=name,
        datasets=DatasetDict({split: text}),
        text_columns=tuple(column for column in text.column_names if column != TEACHER_LOGITS),
        problem_type=problem_type,
        label_names=label_names,
        metric_name=metric_names[0],
        compute_metrics=as_compute_metrics(metric_names, problem_type, label_names),
        dataset_id=name,
    )


def has_labels(task: Task) -> bool:
    """Return whether any row of a task has a label."""
    return any(
        LabelColumn(dataset.flatten_indices(), task.problem_type, task.label_names).num_labelled
        for dataset in task.datasets.values()
        if "label" in dataset.column_names
    )


def hold_out_of_train(task: Task) -> Task:
    """Return a task without labels whose validation split is held out of its training split."""
    train, validation = hold_out_texts(task.datasets["train"], task.text_columns)
    return replace(task, datasets=DatasetDict({**task.datasets, "train": train, "validation": validation}))


def hold_out_texts(text: Dataset, text_columns: Sequence[str], seed: int = SEED) -> tuple[Dataset, Dataset]:
    """Split unlabelled text into rows to train on and rows to compare student and teacher on.

    A tenth of the texts is held out, at least 200 and at most 2,000, but not more than half of them. Equal texts are
    on the same side. The same texts are drawn in every run.

    Args:
        text: Rows of text.
        text_columns: One column, or the two columns of a pair.
        seed: Seed of the draw.

    Returns:
        The rows for training and the rows for evaluation, both in the order of `text`.

    Raises:
        ValueError: if there are fewer than two different texts.
    """
    keys = [repr(row) for row in zip(*(text[column][:] for column in text_columns), strict=True)]
    distinct = list(dict.fromkeys(keys))
    if len(distinct) < 2:
        raise ValueError(
            f"There are {len(distinct)} different texts, too few to train on some and to compare the models on others."
        )
    wanted = min(max(round(HELD_OUT_SHARE * len(distinct)), MIN_HELD_OUT), MAX_HELD_OUT, len(distinct) // 2)
    drawn = {distinct[i] for i in np.random.default_rng(seed).permutation(len(distinct))[:wanted]}
    is_drawn = np.array([key in drawn for key in keys])
    return text.select(np.flatnonzero(~is_drawn)), text.select(np.flatnonzero(is_drawn))
