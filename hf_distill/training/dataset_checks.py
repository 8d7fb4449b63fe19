"""What is wrong with a tokenized dataset, said before training starts."""

from collections.abc import Sequence

import datasets
import numpy as np
import pyarrow.compute as pc

from hf_distill.classifiers.outputs import TEACHER_LOGITS, WORD_STARTS
from hf_distill.classifiers.problem_types import ProblemType
from hf_distill.data.stored_logits import are_unusable
from hf_distill.functional import IGNORE_INDEX
from hf_distill.training.dataset_kinds import columns_of, is_transformed
from hf_distill.training.label_checks import check_labels, warn_of_other_names
from hf_distill.training.labelled_rows import are_labelled, label_column_of, token_labels_of, values_of
from hf_distill.utils.columns import select_formatted


def check_dataset(
    dataset: object,
    role: str,
    problem_type: ProblemType,
    label_names: Sequence[str],
    *,
    teacher_columns: Sequence[str],
    needs_labels: Sequence[str],
) -> None:
    """Check columns and values of a dataset; of other types than `datasets.Dataset` only the teacher's columns.

    Args:
        dataset: Tokenized rows.
        role: "training" or "evaluation", for the messages.
        problem_type: The student's.
        label_names: Names of the student's classes, by id.
        teacher_columns: Columns that the dataset must have because nothing else gives the teacher's outputs.
        needs_labels: Names of objectives that need a label on every row.

    Raises:
        ValueError: for anything that cannot be trained on.
        TypeError: for a dict of datasets.
    """
    if isinstance(dataset, dict):
        raise TypeError(
            f"The {role} dataset is a {type(dataset).__name__} with the splits {', '.join(map(str, dataset))}. Pass "
            f"one of them, `dataset[{next(iter(dataset), 'train')!r}]` for instance."
        )
    if hasattr(dataset, "__len__") and len(dataset) == 0:
        raise ValueError(f"The {role} dataset is empty. Pass at least one row.")
    if missing := [column for column in teacher_columns if column not in columns_of(dataset)]:
        raise ValueError(
            f"There is no teacher: `teacher_model` is None and the {role} dataset has no column `{missing[0]}`. "
            "Pass one or the other."
        )
    if not isinstance(dataset, datasets.Dataset) or is_transformed(dataset):
        return
    names = dataset.column_names
    if "input_ids" not in names:
        raise ValueError(
            f"The {role} dataset has no column `input_ids`, only {', '.join(names)}. Tokenize it first: "
            "`dataset.map(lambda rows: tokenizer(rows['text'], truncation=True), batched=True)`."
        )
    if {"label", "labels"} <= set(names):
        raise ValueError(f"The {role} dataset has both `label` and `labels`. Remove one of them.")
    label_column = label_column_of(dataset)
    labels = None
    if label_column is None:
        warn_of_other_names(dataset, role)
    else:
        _refuse_nulls(dataset, label_column, role, problem_type)
        if problem_type.is_token_level:
            labels = token_labels_of(dataset, label_column, role)
        else:
            labels = values_of(dataset, label_column)
        check_labels(labels, label_column, f"the {role} dataset", problem_type, label_names)
    if problem_type.is_token_level and problem_type.has_label_names:
        _check_unlabelled_sentences(dataset, label_column, role)
    if needs_labels and not problem_type.is_token_level and (labels is None or (labels == IGNORE_INDEX).any()):
        raise ValueError(
            f"`{needs_labels[0]}` needs the label of every row, and the {role} dataset has rows without one. Use "
            "`kl`, which learns from unlabelled text."
        )
    if TEACHER_LOGITS in names and not problem_type.is_token_level:
        check_teacher_logits(values_of(dataset, TEACHER_LOGITS), role, len(label_names))


def check_can_learn(dataset: object, problem_type: ProblemType) -> None:
    """Check that a loss on labels alone has a label to learn from.

    Raises:
        ValueError: if no row has a label.
    """
    if not isinstance(dataset, datasets.Dataset) or is_transformed(dataset):
        return
    if not any(are_labelled(dataset, problem_type)):
        raise ValueError(
            "The loss learns from labels alone, and no row of the training dataset has one, so the student would "
            "learn nothing. Add labels, or an objective that reads a teacher, such as `kl`."
        )


def _refuse_nulls(dataset: datasets.Dataset, column: str, role: str, problem_type: ProblemType) -> None:
    labels = select_formatted(dataset, column, "arrow")[:][column]
    if labels.null_count:
        row = int(pc.index(pc.is_null(labels), True).as_py())
        raise ValueError(
            f"Row {row} of the {role} dataset has no label: `{column}` is null in {labels.null_count:,} of "
            f"{len(labels):,} rows. Use {problem_type.unlabelled} for a row without a label, and for each token or "
            "output of such a row if there are several."
        )


def _check_unlabelled_sentences(dataset: datasets.Dataset, label_column: str | None, role: str) -> None:
    if WORD_STARTS in dataset.column_names:
        return
    is_labelled = (
        [] if label_column is None else [any(y != IGNORE_INDEX for y in row) for row in dataset[label_column]]
    )
    if not is_labelled or not all(is_labelled):
        raise ValueError(
            f"The {role} dataset has sentences without labels, and no column `{WORD_STARTS}` that says which tokens "
            "count: 1 for the first token of each word, 0 elsewhere. `hf_distill.data.tokenize_words` adds it."
        )


def check_teacher_logits(logits: np.ndarray, role: str, num_labels: int) -> None:
    """Refuse a column `teacher_logits` of another width, or with a row that says nothing.

    Args:
        logits: `(num_rows, num_labels)`.
        role: "training" or "evaluation", for the messages.
        num_labels: Number of classes of the student.

    Raises:
        ValueError: that names the shape or the first such row.
    """
    if logits.ndim != 2 or logits.shape[1] != num_labels:
        raise ValueError(
            f"`{TEACHER_LOGITS}` of the {role} dataset has the shape {logits.shape}; the student has {num_labels} "
            f"classes, so ({len(logits)}, {num_labels}) was expected."
        )
    bad = are_unusable(logits)
    if bad.any():
        row = int(bad.argmax())
        raise ValueError(
            f"`{TEACHER_LOGITS}` has no usable value in row {row} of the {role} dataset: {logits[row].tolist()}. "
            "Label this row again."
        )
