"""Errors that are too rare for a sample to show them, and what they would cost a metric."""

from __future__ import annotations

import math

import numpy as np

from hf_distill.data.metrics import Metric
from hf_distill.reporting.comparison.scores import Answers
from hf_distill.reporting.comparison.units import Units
from hf_distill.reporting.statistics import unseen_share

_NUM_ERRORS = 3  # rule of three: -ln(0.05) is about 3


def unseen_loss(units: Units, metric: Metric, level: float = 0.95) -> float:
    r"""Return how much a perfect score falls by errors that are so rare that the rows need not show one.

    The bootstrap misses such errors: if all rows are right, so are all resamples. With probability `level`, none of n
    rows shows an error that is less frequent than $-\ln(1 - \mathrm{level}) / n$, about 3 errors in n rows. For a mean
    over classes it matters which class has them: three errors in a class of two rows cost a whole recall. So the
    errors are put into each class in turn, and the largest loss counts.

    Args:
        units: All of them labelled.
        metric: The metric.
        level: Level of the interval.

    Returns:
        The loss, at least 0; 0 for regression, whose outputs are never all alike.
    """
    if units.problem_type == "regression":
        return 0.0
    share = unseen_share(units.fewest_independent_rows, level)
    if units.is_token_level or metric.is_row_accuracy:
        return share
    errors_per_mistake = share * units.num_rows / _NUM_ERRORS
    perfect = _score(units, metric, None)
    losses = [perfect - _score(units, metric, label) for label in range(len(units.names))]
    return max([share, *(errors_per_mistake * loss for loss in losses if not math.isnan(loss))])


def _score(units: Units, metric: Metric, label: int | None) -> float:
    """Return the score of perfect answers, but for errors in a few units of a class."""
    if units.problem_type == "multi_label_classification":
        logits = np.where(units.labels > 0.5, 1.0, -1.0)
        if label is not None:
            logits[np.flatnonzero(units.labels[:, label] > 0.5)[:_NUM_ERRORS], label] = -1.0
    else:
        answers = units.labels.copy()
        sizes = np.bincount(units.labels[units.labels != label], minlength=len(units.names))
        answers[np.flatnonzero(units.labels == label)[:_NUM_ERRORS]] = sizes.argmax()
        logits = np.eye(len(units.names))[answers]
    return Answers(units, logits).score(metric)
