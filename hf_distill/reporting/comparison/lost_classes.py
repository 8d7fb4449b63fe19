"""Classes that a model finds less often than the teacher, or no longer at all.

A score over all rows hides the loss of a rare class: with 21 rows of 4,000, its recall can fall to 0 while the
accuracy falls by half a point.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from hf_distill.reporting.comparison.units import Units
from hf_distill.reporting.statistics import holm, sign_test

LARGEST_LOSS = 0.1  # of a class's recall
FEWEST_FOUND = 3  # rows of a class that the teacher must find before a model that finds none has lost the class


def describe_lost_classes(
    units: Units, teacher: np.ndarray, model: np.ndarray, level: float = 0.95
) -> dict[str, Any] | None:
    """Test for each class whether the model finds fewer of its units than the teacher.

    A class is lost if its recall falls by more than 10 points, and the exact one-sided McNemar test is significant
    after Holm's correction for the number of classes. A word of a sentence is not independent of the others, so for
    token classification the test compares sentences: in how many of them the teacher finds more words of the class,
    and in how many the model does. Rows in groups are compared by groups in the same way.

    Args:
        units: All of them labelled.
        teacher: Logits of the teacher, `(num_units, num_labels)`.
        model: Logits of one run of the model, of the same shape.
        level: One minus the level of the tests.

    Returns:
        `lost`, and `vanished`: the classes that the model never finds and of which the teacher finds at least 3
        units, where the test is not significant. Both are lists of `label`, `rows`, the recalls `teacher` and
        `model`, and `p_value` (corrected). Also `num_classes` that have units, and `num_too_small`: in so many of
        them a loss of 10 points could not be significant. None for regression.
    """
    if units.problem_type == "regression":
        return None
    has_class, teacher_finds, model_finds = _found(units, teacher, model)
    sizes, of_teacher, of_model = (table.sum(axis=0) for table in (has_class, teacher_finds, model_finds))
    present = np.flatnonzero(sizes)
    difference = _by_group(units, teacher_finds) - _by_group(units, model_finds)
    p_values = holm([sign_test(*_num_signs(difference[:, i])) for i in present])
    tested = [
        {
            "label": units.names[i],
            "rows": int(sizes[i]),
            "teacher": float(of_teacher[i] / sizes[i]),
            "model": float(of_model[i] / sizes[i]),
            "p_value": p_value,
        }
        for i, p_value in zip(present, p_values, strict=True)
    ]
    num_groups = (_by_group(units, has_class) > 0).sum(axis=0)
    is_lost = [of_teacher[i] - of_model[i] > LARGEST_LOSS * sizes[i] for i in present]
    is_significant = [p_value < 1 - level for p_value in p_values]
    is_gone = [of_teacher[i] >= FEWEST_FOUND and of_model[i] == 0 for i in present]
    return {
        "lost": [entry for entry, *both in zip(tested, is_lost, is_significant, strict=True) if all(both)],
        "vanished": [
            entry for entry, gone, known in zip(tested, is_gone, is_significant, strict=True) if gone and not known
        ],
        "num_classes": len(present),
        "num_too_small": sum(_is_too_small(sizes[i], num_groups[i], len(present), level) for i in present),
    }


def worst_lost(lost: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the lost class whose recall falls most."""
    return max(lost, key=lambda entry: entry["teacher"] - entry["model"])


def largest_vanished(vanished: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the vanished class with most rows."""
    return max(vanished, key=lambda entry: entry["rows"])


def _found(units: Units, *logits: np.ndarray) -> list[np.ndarray]:
    """Return which units have each class, and in which of these each model finds it, `(num_units, num_labels)`."""
    classes = np.arange(len(units.names))
    if units.problem_type == "multi_label_classification":
        has_class, chosen = units.labels > 0.5, [values > 0 for values in logits]
    else:
        has_class = units.labels[:, None] == classes
        chosen = [values.argmax(axis=1)[:, None] == classes for values in logits]
    return [has_class, *(has_class & is_chosen for is_chosen in chosen)]


def _by_group(units: Units, table: np.ndarray) -> np.ndarray:
    sums = np.zeros((units.num_groups, table.shape[1]), dtype=np.int64)
    np.add.at(sums, units.row_groups[units.rows], table)
    return sums


def _num_signs(difference: np.ndarray) -> tuple[int, int]:
    return int((difference > 0).sum()), int((difference < 0).sum())


def _is_too_small(size: int, num_groups: int, num_classes: int, level: float) -> bool:
    """Return whether the smallest loss above 10 points is not significant, although nothing was gained elsewhere."""
    num_lost = min(int(LARGEST_LOSS * size + 1e-9) + 1, num_groups)
    return sign_test(num_lost, 0) * num_classes >= 1 - level
