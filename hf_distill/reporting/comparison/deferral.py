"""A cascade: the student answers where it is confident, and hands the other texts to the teacher."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from hf_distill.data.metrics import Metric
from hf_distill.reporting.comparison.units import Units

NUM_POINTS = 20
_STEPS = 200  # thresholds that the search tries; they are half a per cent of the rows apart
BELOW_TEACHER = (0.02, 0.01, 0.0)


def describe_deferral(
    units: Units, student: np.ndarray, teacher: np.ndarray, metric: Metric, wanted: Sequence[float] | None = None
) -> dict[str, Any]:
    """Score the cascade of a student and its teacher for every share of rows that the teacher answers.

    The teacher answers a row if the student's confidence, its highest probability, is below the threshold. This is
    the rejection by maximum probability of Hendrycks and Gimpel (2017), https://huggingface.co/papers/1610.02136.

    Args:
        units: Rows with one class each, all of them labelled.
        student: Logits of the student, `(num_rows, num_labels)`.
        teacher: Logits of the teacher, of the same shape.
        metric: The score.
        wanted: Scores to find thresholds for. By default the teacher's score, and the scores 1 and 2 points below it.

    Returns:
        `points`, each with the share of rows that the teacher answers and the score; and `thresholds`, each with the
        lowest threshold that gives a wanted score and the share that it hands over. Share and threshold are None if no
        share gives the score; the threshold alone is None if the teacher must answer every row.
    """
    cascade = _Cascade(units, student, teacher, metric)
    steps = cascade.steps(_STEPS)
    if wanted is None:
        wanted = [steps[-1]["value"] - below for below in BELOW_TEACHER]
    points = [{"share": step["share"], "value": step["value"]} for step in cascade.steps(NUM_POINTS)]
    not_reached = {"share": None, "threshold": None}
    thresholds = []
    for score in wanted:
        step = next((step for step in steps if step["value"] >= score - 1e-12), not_reached)
        thresholds.append({"wanted": score, "share": step["share"], "threshold": step["threshold"]})
    return {"points": points, "thresholds": thresholds}


class _Cascade:
    def __init__(self, units: Units, student: np.ndarray, teacher: np.ndarray, metric: Metric) -> None:
        self.units, self.metric = units, metric
        self.student_classes, self.teacher_classes = student.argmax(axis=1), teacher.argmax(axis=1)
        self.confidence = torch.from_numpy(student).double().softmax(dim=1).amax(dim=1).numpy()
        self.sorted_confidence = np.sort(self.confidence)

    def steps(self, num_steps: int) -> list[dict[str, Any]]:
        """Score the cascade from no row to all rows for the teacher, each share once."""
        num_rows = len(self.confidence)
        by_share: dict[float, dict[str, Any]] = {}
        for step in range(num_steps + 1):
            row = round(step / num_steps * num_rows)
            threshold = float(self.sorted_confidence[row]) if row < num_rows else None
            is_handed_over = np.ones(num_rows, dtype=bool) if threshold is None else self.confidence < threshold
            share = float(is_handed_over.mean())
            if share not in by_share:
                by_share[share] = {"share": share, "threshold": threshold, "value": self._score(is_handed_over)}
        return list(by_share.values())

    def _score(self, is_handed_over: np.ndarray) -> float:
        predictions = np.where(is_handed_over, self.teacher_classes, self.student_classes)
        return float(self.metric.score(predictions, self.units.labels, len(self.units.names)))
