"""Divide rows into folds, so that each fold is labelled by a teacher that has not seen it."""

import numpy as np
from datasets import Dataset

from hf_distill.data import Task
from hf_distill.data.held_out import hold_out


def split_folds(rows: Dataset, task: Task, num_folds: int) -> list[np.ndarray]:
    """Return the numbers of the rows of each fold. Folds are stratified; near-duplicates are in one fold.

    Raises:
        ValueError: if `num_folds` is less than 2, or if there are too few rows for a fold.
    """
    if num_folds < 2:
        raise ValueError(f"A teacher that has not seen a fold needs at least 2 folds, got {num_folds}.")
    rest = rows.add_column("row", np.arange(len(rows)))
    folds = []
    for num_left in range(num_folds, 1, -1):
        rest, fold = hold_out(rest, task.text_columns, task.problem_type, task.label_names, 100 / num_left)
        folds.append(np.array(fold["row"]))
    return [*folds, np.array(rest["row"])]
