"""The class names of a column of teacher logits, which travel with the dataset.

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

_LINE = re.compile(rf"^{TEACHER_LOGITS} are in the order of the classes (\[.*\])$", re.MULTILINE)


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
    named = copy.copy(dataset)
    named._info = dataset.info.copy()
    others = _LINE.sub("", dataset.info.description or "").strip()
    names = json.dumps(list(label_names), ensure_ascii=False)
    named._info.description = f"{others}\n{TEACHER_LOGITS} are in the order of the classes {names}".strip()
    return named


def teacher_label_names(dataset: datasets.Dataset) -> list[str] | None:
    """Return the class names of `teacher_logits`; None if the dataset does not say them.

    Without a note, the names of a `ClassLabel` in `labels` or `label` are taken: `hf-distill cache` writes both
    columns in one order.

    Raises:
        ValueError: if rows were concatenated whose logits have different orders.
    """
    orders = {line: json.loads(line) for line in _LINE.findall(dataset.info.description or "")}
    if len(orders) > 1:
        raise ValueError(
            f"The rows of the column `{TEACHER_LOGITS}` have different orders of the classes: {' and '.join(orders)}. "
            "Label them all by one teacher, or reorder one column before the datasets are concatenated."
        )
    if orders:
        return next(iter(orders.values()))
    features: Any = dataset.features
    names = (getattr(features[column], "names", None) for column in ("labels", "label") if column in features)
    return next(filter(None, names), None)
