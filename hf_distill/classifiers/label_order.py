"""The class names of dataset columns, which travel with the dataset.

A column of numbers cannot say which class each number belongs to. `datasets` keeps the description of a dataset
through `map`, `select`, `concatenate_datasets` and `save_to_disk`, so the names are a line of the description.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from hf_distill.classifiers.outputs import TEACHER_LOGITS

if TYPE_CHECKING:  # slow to import
    import datasets

LABELS = "labels"


def name_teacher_logits(dataset: datasets.Dataset, label_names: Sequence[str]) -> datasets.Dataset:
    """Note the class of each number of the column `teacher_logits`.

    `TeacherCache`, `soft_labels` and `hf-distill cache` do so; call it for a column from elsewhere.

    Args:
        dataset: Rows with `teacher_logits`.
        label_names: Names of the classes, in the order of the numbers.

    Returns:
        The same rows.

    Raises:
        ValueError: if there is no such column, or it has another number of classes.
    """
    if TEACHER_LOGITS not in dataset.column_names:
        raise ValueError(f"There is no column `{TEACHER_LOGITS}`, only {', '.join(dataset.column_names)}.")
    feature: Any = dataset.features[TEACHER_LOGITS]
    length = getattr(feature, "length", -1)
    if length not in (-1, len(label_names)):
        raise ValueError(f"`{TEACHER_LOGITS}` has {length} numbers a row, and there are {len(label_names)} names.")
    return note_class_names(dataset, TEACHER_LOGITS, label_names)


def teacher_label_names(dataset: datasets.Dataset) -> list[str] | None:
    """Return the class names of `teacher_logits`; None if the dataset does not say them.

    Without a note, the names of a `ClassLabel` in `labels` or `label` are taken: `hf-distill cache` writes both
    columns in one order.

    Raises:
        ValueError: if rows were concatenated whose logits have different orders.
    """
    noted = noted_class_names(dataset, TEACHER_LOGITS)
    return noted if noted is not None else declared_class_names(dataset)


def dataset_label_names(dataset: datasets.Dataset) -> list[str] | None:
    """Return the class names of the labels, from a note or from a `ClassLabel`; None if the dataset has neither.

    Raises:
        ValueError: if rows were concatenated whose labels have different orders.
    """
    noted = noted_class_names(dataset, LABELS) if LABELS in dataset.column_names else None
    return noted if noted is not None else declared_class_names(dataset)


def declared_class_names(dataset: datasets.Dataset) -> list[str] | None:
    """Return the names of the `ClassLabel` in `labels` or `label`, of a row or of each word; None without one."""
    for column in (LABELS, "label"):
        feature: Any = dataset.features.get(column)
        names = getattr(feature, "names", None) or getattr(getattr(feature, "feature", None), "names", None)
        if names:
            return list(names)
    return None


def note_class_names(dataset: datasets.Dataset, column: str, names: Sequence[str]) -> datasets.Dataset:
    """Return the same rows with a note of the names of a column's classes, in the order of the ids."""
    named = copy.copy(dataset)
    named._info = dataset.info.copy()
    others = _line(column).sub("", dataset.info.description or "").strip()
    order = json.dumps(list(names), ensure_ascii=False)
    named._info.description = f"{others}\n{column} are in the order of the classes {order}".strip()
    return named


def noted_class_names(dataset: datasets.Dataset, column: str) -> list[str] | None:
    """Return the names that [`note_class_names`] noted for a column; None without a note.

    Raises:
        ValueError: if rows were concatenated whose notes differ.
    """
    orders = {line: json.loads(line) for line in _line(column).findall(dataset.info.description or "")}
    if len(orders) > 1:
        raise ValueError(
            f"The rows of the column `{column}` have different orders of the classes: {' and '.join(orders)}. Bring "
            "all rows into one order before you concatenate the datasets: for labels with `task.for_model(model)`, "
            "for logits by running one teacher on all of them."
        )
    return next(iter(orders.values()), None)


def _line(column: str) -> re.Pattern[str]:
    return re.compile(rf"^{column} are in the order of the classes (\[.*\])$", re.MULTILINE)
