"""A cascade: the student answers where it is sure, and hands the rest up to the teacher."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from hf_distill.reporting.comparison.scores import class_scorer
from hf_distill.reporting.comparison.units import Units
from hf_distill.reporting.statistics import on_the_sample

NUM_POINTS = 20
_STEPS = 200  # of the search for a threshold, half a per cent each
BELOW_TEACHER = (0.02, 0.01, 0.0)


def describe_deferral(
    units: Units, student: np.ndarray, teacher: np.ndarray, metric: str, wanted: Sequence[float] | None = None
) -> dict[str, Any]:
    """Score the cascade of a student and its teacher on labelled rows, for every share that goes up.

    A row goes up if the student's confidence, its highest probability, is below the threshold: the rejection by
    maximum probability of Hendrycks and Gimpel (2017), https://huggingface.co/papers/1610.02136.

    Args:
        units: Rows with one class each, all of them labelled.
        student: Its logits, `(num_rows, num_labels)`.
        teacher: The same of the teacher.
        metric: Name of the score.
        wanted: Scores to find the threshold for; unset, those of the teacher and of 1 and 2 points below.

    Returns:
        `points`, share and score; `thresholds`, the lowest one that gives a wanted score, with the share that it hands
        up. Both are None where no share gives it, and the threshold where it takes all rows.
    """
    confidence = torch.from_numpy(student).double().softmax(dim=1).amax(dim=1).numpy()
    cascade = _Cascade(units, student, teacher, confidence, metric)
    steps = cascade.steps(_STEPS)
    if wanted is None:
        wanted = [steps[-1]["value"] - below for below in BELOW_TEACHER]
    points = [{"share": step["share"], "value": step["value"]} for step in cascade.steps(NUM_POINTS)]
    nothing = {"share": None, "threshold": None}
    thresholds = []
    for score in wanted:
        step = next((step for step in steps if step["value"] >= score - 1e-12), nothing)
        thresholds.append({"wanted": score, "share": step["share"], "threshold": step["threshold"]})
    return {"points": points, "thresholds": thresholds}


class _Cascade:
    def __init__(
        self, units: Units, student: np.ndarray, teacher: np.ndarray, confidence: np.ndarray, metric: str
    ) -> None:
        self.units, self.metric = units, metric
        self.of_student, self.of_teacher = student.argmax(axis=1), teacher.argmax(axis=1)
        self.confidence, self.ordered = confidence, np.sort(confidence)

    def steps(self, num_steps: int) -> list[dict[str, Any]]:
        """Score the cascade from nothing handed up to everything, each share once."""
        num_rows = len(self.ordered)
        found: dict[float, dict[str, Any]] = {}
        for step in range(num_steps + 1):
            row = round(step / num_steps * num_rows)
            threshold = float(self.ordered[row]) if row < num_rows else None
            goes_up = np.ones(num_rows, dtype=bool) if threshold is None else self.confidence < threshold
            share = float(goes_up.mean())
            if share not in found:
                found[share] = {"share": share, "threshold": threshold, "value": self._score(goes_up)}
        return list(found.values())

    def _score(self, goes_up: np.ndarray) -> float:
        predicted = np.where(goes_up, self.of_teacher, self.of_student)
        scorer = class_scorer(predicted, self.units.labels, len(self.units.names))
        return on_the_sample(scorer, self.units.num_rows)[self.metric]
