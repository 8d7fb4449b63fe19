"""What is wrong with a tokenised data set, said before training starts."""

from collections.abc import Sequence

import datasets
import numpy as np
import torch

from hf_distill.functional import IGNORE_INDEX
from hf_distill.outputs import TEACHER_LOGITS
from hf_distill.problem_types import ProblemType


def check_dataset(
    dataset: object,
    role: str,
    problem_type: ProblemType,
    label_names: Sequence[str],
    *,
    needs_teacher_logits: bool,
    needs_labels: Sequence[str],
) -> None:
    """Check columns and values of a data set; those that are not a `datasets.Dataset` are only checked for rows.

    Args:
        dataset: Tokenised rows.
        role: "training" or "evaluation", for the messages.
        problem_type: Of the student.
        label_names: Of the student.
        needs_teacher_logits: Whether the teacher's outputs can only come from the column `teacher_logits`.
        needs_labels: Objectives that cannot do without a label.

    Raises:
        ValueError: that says what was found, what was expected and what to do.
    """
    if hasattr(dataset, "__len__") and len(dataset) == 0:
        raise ValueError(f"The {role} data set is empty. Pass at least one row.")
    if not isinstance(dataset, datasets.Dataset):
        return
    names = dataset.column_names
    if "input_ids" not in names:
        raise ValueError(
            f"The {role} data set has no column `input_ids`, only {', '.join(names)}. Tokenise it first: "
            "`dataset.map(lambda rows: tokenizer(rows['text'], truncation=True), batched=True)`."
        )
    if {"label", "labels"} <= set(names):
        raise ValueError(f"The {role} data set has both `label` and `labels`. Remove the one that is not meant.")
    label_column = _label_column(dataset)
    labels = None if label_column is None else _values(dataset, label_column)
    if labels is not None and label_column is not None:
        _check_labels(labels, label_column, role, problem_type, label_names)
    if needs_labels and (labels is None or (labels == IGNORE_INDEX).any()):
        raise ValueError(
            f"`{needs_labels[0]}` needs the label of every row, and the {role} data set has rows without one. Use "
            "`kl`, which learns from unlabelled text."
        )
    if needs_teacher_logits and TEACHER_LOGITS not in names:
        raise ValueError(
            f"There is no teacher: `teacher_model` is None and the {role} data set has no column `{TEACHER_LOGITS}`. "
            "Pass one or the other."
        )
    if TEACHER_LOGITS in names:
        _check_teacher_logits(_values(dataset, TEACHER_LOGITS), role, len(label_names))


def labelled_rows(dataset: object, problem_type: ProblemType) -> datasets.Dataset:
    """Return the rows that have a label.

    Raises:
        TypeError: if the data set is not a `datasets.Dataset`.
        ValueError: if no row has one.
    """
    if not isinstance(dataset, datasets.Dataset):
        raise TypeError(f"Only of a `datasets.Dataset` can the labelled rows be chosen, got {type(dataset).__name__}.")
    column = _label_column(dataset)
    labelled = [] if column is None else problem_type.is_labelled(torch.tensor(_values(dataset, column))).tolist()
    keep = [row for row, is_labelled in enumerate(labelled) if is_labelled]
    if not keep:
        raise ValueError("No row has a label, so there is nothing to train a student on without its teacher.")
    return dataset if len(keep) == len(dataset) else dataset.select(keep)


def _label_column(dataset: datasets.Dataset) -> str | None:
    return next((name for name in ("labels", "label") if name in dataset.column_names), None)


def _values(dataset: datasets.Dataset, column: str) -> np.ndarray:
    values = dataset.select_columns(column).with_format("numpy")[:][column]
    if isinstance(values, np.ndarray) and values.dtype != object:
        return values
    raise ValueError(f"Column `{column}` holds rows of unequal length or no numbers at all. Each row needs the same.")


def _check_labels(
    labels: np.ndarray, column: str, role: str, problem_type: ProblemType, label_names: Sequence[str]
) -> None:
    if not problem_type.has_classes:
        partly = np.isnan(labels.reshape(len(labels), -1))
        if (bad := partly.any(axis=1) & ~partly.all(axis=1)).any():
            raise ValueError(f"Row {bad.argmax()} of the {role} data set has some targets and lacks others (NaN).")
        return
    if not np.issubdtype(labels.dtype, np.integer) or labels.ndim != 1:
        raise ValueError(
            f"`{column}` of the {role} data set is {labels.dtype} of shape {labels.shape}; {problem_type.name} needs "
            "one integer per row. For targets that are numbers, set `problem_type='regression'` in the config."
        )
    bad = (labels != IGNORE_INDEX) & ((labels < 0) | (labels >= len(label_names)))
    if bad.any():
        row = int(bad.argmax())
        raise ValueError(
            f"Label {labels[row]} in row {row} of the {role} data set is out of range: the student has the classes 0 "
            f"to {len(label_names) - 1} ({', '.join(list(label_names)[:10])}), and {IGNORE_INDEX} means no label."
            + (" The Hub's GLUE marks rows without a label by -1: replace it." if labels[row] == -1 else "")
        )


def _check_teacher_logits(logits: np.ndarray, role: str, num_labels: int) -> None:
    if logits.ndim != 2 or logits.shape[1] != num_labels:
        raise ValueError(
            f"`{TEACHER_LOGITS}` of the {role} data set has the shape {logits.shape}; the student has {num_labels} "
            f"classes, so ({len(logits)}, {num_labels}) was expected."
        )
    bad = np.isnan(logits).any(axis=1) | np.isposinf(logits).any(axis=1) | np.isneginf(logits).all(axis=1)
    if bad.any():
        row = int(bad.argmax())
        raise ValueError(
            f"`{TEACHER_LOGITS}` has no usable value in row {row} of the {role} data set: {logits[row].tolist()}. "
            "Label this row again."
        )
