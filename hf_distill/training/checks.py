"""What is wrong with a tokenised data set, said before training starts."""

from collections.abc import Sequence

import datasets
import numpy as np
import pyarrow.compute as pc
import torch

from hf_distill.classifiers.outputs import TEACHER_LOGITS, WORD_STARTS
from hf_distill.classifiers.problem_types import ProblemType
from hf_distill.functional import IGNORE_INDEX


def check_dataset(
    dataset: object,
    role: str,
    problem_type: ProblemType,
    label_names: Sequence[str],
    *,
    teacher_columns: Sequence[str],
    needs_labels: Sequence[str],
) -> None:
    """Check columns and values of a data set; those that are not a `datasets.Dataset` are only checked for rows.

    Args:
        dataset: Tokenised rows.
        role: "training" or "evaluation", for the messages.
        problem_type: Of the student.
        label_names: Of the student.
        teacher_columns: Columns from which alone the teacher's outputs can come.
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
    label_column = label_column_of(dataset)
    labels = None
    if label_column is not None:
        if problem_type.is_token_level:
            labels = _token_labels(dataset, label_column, role)
        else:
            labels = _values(dataset, label_column)
        _check_labels(labels, label_column, role, problem_type, label_names)
    if problem_type.is_token_level and problem_type.has_label_names:
        _check_unlabelled_sentences(dataset, label_column, role)
    if needs_labels and not problem_type.is_token_level and (labels is None or (labels == IGNORE_INDEX).any()):
        raise ValueError(
            f"`{needs_labels[0]}` needs the label of every row, and the {role} data set has rows without one. Use "
            "`kl`, which learns from unlabelled text."
        )
    if missing := [column for column in teacher_columns if column not in names]:
        raise ValueError(
            f"There is no teacher: `teacher_model` is None and the {role} data set has no column `{missing[0]}`. "
            "Pass one or the other."
        )
    if TEACHER_LOGITS in names and not problem_type.is_token_level:
        _check_teacher_logits(_values(dataset, TEACHER_LOGITS), role, len(label_names))


def labelled_rows(dataset: object, problem_type: ProblemType) -> datasets.Dataset:
    """Return the rows that have a label.

    Raises:
        TypeError: if the data set is not a `datasets.Dataset`.
        ValueError: if no row has one.
    """
    if not isinstance(dataset, datasets.Dataset):
        raise TypeError(f"Only of a `datasets.Dataset` can the labelled rows be chosen, got {type(dataset).__name__}.")
    keep = [row for row, has_label in enumerate(are_labelled(dataset, problem_type)) if has_label]
    if not keep:
        raise ValueError("No row has a label, so there is nothing to train a student on without its teacher.")
    return dataset if len(keep) == len(dataset) else dataset.select(keep)


def are_labelled(dataset: datasets.Dataset, problem_type: ProblemType) -> list[bool]:
    """Say of each row whether it has a label."""
    column = label_column_of(dataset)
    if column is None:
        # The labels of a language model are made of the text, batch by batch.
        return [not problem_type.has_label_names] * len(dataset)
    if problem_type.is_token_level:
        return [any(label != IGNORE_INDEX for label in labels) for labels in dataset[column]]
    return problem_type.is_labelled(torch.tensor(_values(dataset, column))).tolist()


def label_column_of(dataset: datasets.Dataset) -> str | None:
    """Return `labels` or `label`, whichever is there."""
    return next((name for name in ("labels", "label") if name in dataset.column_names), None)


def _values(dataset: datasets.Dataset, column: str) -> np.ndarray:
    values = dataset.select_columns(column).with_format("numpy")[:][column]
    if isinstance(values, np.ndarray) and values.dtype != object:
        return values
    raise ValueError(f"Column `{column}` holds rows of unequal length or no numbers at all. Each row needs the same.")


def _token_labels(dataset: datasets.Dataset, column: str, role: str) -> np.ndarray:
    """Return the labels of all tokens one after the other."""
    rows = dataset.select_columns(["input_ids", column]).with_format("arrow")[:]
    lengths = [pc.list_value_length(rows[name]).to_numpy() for name in ("input_ids", column)]
    if (bad := lengths[0] != lengths[1]).any():
        row = int(bad.argmax())
        raise ValueError(
            f"Row {row} of the {role} data set has {lengths[0][row]} tokens and {lengths[1][row]} labels. Each token "
            f"needs a label, {IGNORE_INDEX} where it is not the first of a word."
        )
    return pc.list_flatten(rows[column]).to_numpy()


def _check_unlabelled_sentences(dataset: datasets.Dataset, label_column: str | None, role: str) -> None:
    if WORD_STARTS in dataset.column_names:
        return
    is_labelled = (
        [] if label_column is None else [any(y != IGNORE_INDEX for y in row) for row in dataset[label_column]]
    )
    if not is_labelled or not all(is_labelled):
        raise ValueError(
            f"The {role} data set has sentences without a label, and no column `{WORD_STARTS}` that says which of "
            "their tokens count: 1 for the first of each word, 0 elsewhere. `hf_distill.data.tokenize_words` makes it."
        )


def _check_labels(
    labels: np.ndarray, column: str, role: str, problem_type: ProblemType, label_names: Sequence[str]
) -> None:
    if not problem_type.is_exclusive:
        outputs = labels.reshape(len(labels), -1)
        if outputs.shape[1] != len(label_names) or not np.issubdtype(labels.dtype, np.floating):
            raise ValueError(
                f"`{column}` of the {role} data set is {labels.dtype} of shape {labels.shape}; {problem_type.name} "
                f"with {len(label_names)} outputs needs floats of shape ({len(labels)}, {len(label_names)})."
            )
        partly = np.isnan(outputs)
        if (bad := partly.any(axis=1) & ~partly.all(axis=1)).any():
            raise ValueError(f"Row {bad.argmax()} of the {role} data set has some targets and lacks others (NaN).")
        if problem_type.has_temperature and (bad := ((outputs < 0) | (outputs > 1)).any(axis=1)).any():
            raise ValueError(
                f"Row {bad.argmax()} of the {role} data set has the labels {outputs[bad.argmax()].tolist()}; "
                f"{problem_type.name} needs numbers from 0 to 1, one for every class."
            )
        return
    if not np.issubdtype(labels.dtype, np.integer) or labels.ndim != 1:
        raise ValueError(
            f"`{column}` of the {role} data set is {labels.dtype} of shape {labels.shape}; {problem_type.name} needs "
            "one integer per row. For targets that are numbers, set `problem_type='regression'` in the config; for "
            "several labels a row, 'multi_label_classification'."
        )
    bad = (labels != IGNORE_INDEX) & ((labels < 0) | (labels >= len(label_names)))
    if bad.any() and problem_type.has_label_names:
        row = int(bad.argmax())
        raise ValueError(
            f"Label {labels[row]} in {'token' if problem_type.is_token_level else 'row'} {row} of the {role} data set "
            f"is out of range: the student has the classes 0 to {len(label_names) - 1} "
            f"({', '.join(list(label_names)[:10])}), and {IGNORE_INDEX} means no label."
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
