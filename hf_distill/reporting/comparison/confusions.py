"""What a model takes for what: the confusion matrix, and the confusions that the teacher makes less often."""

from __future__ import annotations

from typing import Any

import numpy as np

from hf_distill.reporting.comparison.units import Units

MOST_CLASSES = 20  # with more, a matrix is too large to read
MOST_CONFUSIONS = 10


def describe_confusions(units: Units, teacher: np.ndarray, model: np.ndarray) -> dict[str, Any] | None:
    """Count the units of each class by the model's answer.

    Args:
        units: All of them labelled.
        teacher: Logits of the teacher, `(num_units, num_labels)`.
        model: Logits of one run of the model, of the same shape.

    Returns:
        `matrix`, a row for each class and a column for each answer, in the order of the labels (None with more than 20
        classes); and `largest`, up to 10 confusions that the model makes more often than the teacher, each with its
        `label`, the wrong `prediction`, and the numbers of units in `model` and `teacher`; the largest difference
        comes first. None unless each unit has one class.
    """
    if units.problem_type not in ("single_label_classification", "token_classification"):
        return None
    counts, teacher_counts = (_matrix(units, logits) for logits in (model, teacher))
    added = counts - teacher_counts
    np.fill_diagonal(added, 0)
    order = np.argsort(-added, axis=None, kind="stable")[:MOST_CONFUSIONS]
    places = [divmod(int(place), len(units.names)) for place in order]
    return {
        "matrix": counts.tolist() if len(units.names) <= MOST_CLASSES else None,
        "largest": [
            {
                "label": units.names[label],
                "prediction": units.names[prediction],
                "model": int(counts[label, prediction]),
                "teacher": int(teacher_counts[label, prediction]),
            }
            for label, prediction in places
            if added[label, prediction] > 0
        ],
    }


def _matrix(units: Units, logits: np.ndarray) -> np.ndarray:
    num_labels = len(units.names)
    pairs = units.labels * num_labels + logits.argmax(axis=1)
    return np.bincount(pairs, minlength=num_labels**2).reshape(num_labels, num_labels)
