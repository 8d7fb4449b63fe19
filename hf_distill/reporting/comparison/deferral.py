"""A cascade: the student answers where it is confident, and hands the other texts to the teacher."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from hf_distill.data.metrics import Metric
from hf_distill.reporting.comparison.units import Units

NUM_POINTS = 20
TIMES_MARGIN = (0.5, 1.0, 2.0)  # the losses that thresholds are given for


def describe_deferral(
    units: Units, student: np.ndarray, teacher: np.ndarray, metric: Metric, margin: float, level: float = 0.95
) -> dict[str, Any]:
    """Score the cascade of a student and its teacher, and find thresholds whose loss is bounded.

    The teacher answers a row if the student's confidence, its highest probability, is below the threshold. This is
    the rejection by maximum probability of Hendrycks and Gimpel (2017), https://huggingface.co/papers/1610.02136.

    Args:
        units: Rows with one class each, all of them labelled.
        student: Logits of the student, `(num_rows, num_labels)`.
        teacher: Logits of the teacher, of the same shape.
        metric: The score of `points`.
        margin: The loss that `threshold` guarantees: a share of the rows.
        level: Confidence of the guarantee.

    Returns:
        `points`, each with the share of rows that the teacher answers and the score. `threshold`, `share`, `loss` and
        `confidence`: if the teacher answers the rows with a confidence below `threshold`, a `share` of these rows,
        then with this `confidence` the cascade is wrong and the teacher right on at most the share `loss` of all rows.
        So the cascade's accuracy is at most `loss` below the teacher's. `threshold` is None if the teacher must answer
        all rows; `share` is None too if there are too few rows for any guarantee. `temperature`, by which logits are
        divided before the softmax. `guarantees`, the same for half and twice the loss, each with this confidence on
        its own. `smallest_loss`, the smallest loss that so many rows can guarantee. Where rows come in groups, all
        but `points` are None or empty: the guarantee needs independent rows.
    """
    cascade = _Cascade(units, student, teacher, metric)
    points = cascade.points()
    fields = ("threshold", "share", "loss", "confidence", "temperature", "smallest_loss")
    if units.groups is not None:
        return {"points": points, **dict.fromkeys(fields), "guarantees": []}
    guarantees = [cascade.guarantee(times * margin, level) for times in TIMES_MARGIN]
    return {
        "points": points,
        **guarantees[TIMES_MARGIN.index(1.0)],
        "temperature": 1.0,
        "smallest_loss": smallest_loss(len(units), level),
        "guarantees": guarantees,
    }


def certify(
    confidence: np.ndarray, loses: np.ndarray, loss: float, level: float = 0.95
) -> tuple[float | None, float | None]:
    r"""Return the lowest threshold whose true loss is at most `loss`, and the share of rows below it.

    Learn then Test: Angelopoulos et al. (2021), https://huggingface.co/papers/2110.01052, section 2.3, fixed-sequence
    testing. The thresholds are tested from the highest, at which the teacher answers all rows, downwards, until the
    hypothesis of a larger loss is not rejected. The exact binomial p-value is
    $P(\mathrm{Bin}(n, \mathrm{loss}) \le k)$ for k rows above the threshold on which only the teacher is right.

    All rows can be used to choose the threshold: the loss never rises with it, so a wrong choice must reject the
    highest threshold whose loss is too large, which has a probability of at most 1 - level. For the same reason the
    confidences of the rows can be the thresholds.

    Args:
        confidence: The student's, `(num_rows,)`.
        loses: Rows on which the student is wrong and the teacher right, `(num_rows,)` bool.
        loss: A share of the rows.
        level: Confidence of the guarantee.

    Returns:
        The threshold is None if the teacher must answer all rows, and the share too if this many rows guarantee
        nothing.
    """
    from scipy.stats import binom  # slow to import

    num_rows = len(confidence)
    if smallest_loss(num_rows, level) > loss:
        return None, None
    thresholds, starts = np.unique(np.sort(confidence), return_index=True)
    lost_above = np.cumsum(loses[np.argsort(confidence, kind="stable")][::-1])[::-1][starts]
    is_certified = binom.cdf(lost_above, num_rows, loss) <= 1 - level
    if not is_certified[-1]:
        return None, 1.0
    lowest = int(is_certified.argmax())  # the number of lost rows falls with the threshold
    return (0.0, 0.0) if lowest == 0 else (float(thresholds[lowest]), float(starts[lowest] / num_rows))


def smallest_loss(num_rows: int, level: float = 0.95) -> float:
    r"""Return the loss that rows without any lost one guarantee, $1 - (1 - \mathrm{level})^{1/n}$, about 3 / n."""
    return float(1 - (1 - level) ** (1 / num_rows))


class _Cascade:
    def __init__(self, units: Units, student: np.ndarray, teacher: np.ndarray, metric: Metric) -> None:
        self.units, self.metric = units, metric
        self.student_classes, self.teacher_classes = student.argmax(axis=1), teacher.argmax(axis=1)
        self.confidence = torch.from_numpy(student).double().softmax(dim=1).amax(dim=1).numpy()

    def points(self) -> list[dict[str, float]]:
        """Score the cascade from no row to all rows for the teacher, each share once."""
        num_rows, ordered = len(self.confidence), np.sort(self.confidence)
        by_share: dict[float, dict[str, float]] = {}
        for step in range(NUM_POINTS + 1):
            row = round(step / NUM_POINTS * num_rows)
            is_handed_over = self.confidence < ordered[row] if row < num_rows else np.ones(num_rows, dtype=bool)
            share = float(is_handed_over.mean())
            if share not in by_share:
                by_share[share] = {"share": share, "value": self._score(is_handed_over)}
        return list(by_share.values())

    def guarantee(self, loss: float, level: float) -> dict[str, float | None]:
        labels = self.units.labels
        loses = (self.student_classes != labels) & (self.teacher_classes == labels)
        threshold, share = certify(self.confidence, loses, loss, level)
        return {"threshold": threshold, "share": share, "loss": loss, "confidence": level}

    def _score(self, is_handed_over: np.ndarray) -> float:
        predictions = np.where(is_handed_over, self.teacher_classes, self.student_classes)
        return float(self.metric.score(predictions, self.units.labels, len(self.units.names)))
