"""What metrics are computed from for many resamples of the rows at once: counts, and for regression moments."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Counts:
    """How many units each resample holds. A unit is a row; for token classification, a word.

    Attributes:
        units: `(num_resamples,)`, units in total.
        correct: `(num_resamples,)`, units whose prediction equals the reference in every label.
        references: `(num_resamples, num_labels)`, units that have each class. For token classification this and the
            next two count whole entities of all types together, `(num_resamples, 1)`.
        predictions: `(num_resamples, num_labels)`, units for which each class is predicted.
        both: `(num_resamples, num_labels)`, units that have the class and for which it is predicted.
    """

    units: np.ndarray
    correct: np.ndarray
    references: np.ndarray
    predictions: np.ndarray
    both: np.ndarray


@dataclass(frozen=True)
class Moments:
    """Means over the rows of each resample, `(num_resamples,)`, of predictions x and references y."""

    x: np.ndarray
    y: np.ndarray
    xx: np.ndarray
    yy: np.ndarray
    xy: np.ndarray


@dataclass(frozen=True)
class RegressionMoments:
    """Moments of resamples of a regression with one output.

    Attributes:
        values: Of predictions and references, each standardized by its mean and deviation over all rows.
        ranks: Of their mean ranks within the resample, divided by the number of rows, minus 0.5.
        absolute_error: `(num_resamples,)`, the mean of |x - y|, in the unit of the references.
        squared_error: `(num_resamples,)`, the mean of (x - y)², in the square of that unit.
        variance: `(num_resamples,)`, of the references, in the square of that unit.
    """

    values: Moments
    ranks: Moments
    absolute_error: np.ndarray
    squared_error: np.ndarray
    variance: np.ndarray


def ratio(numerator: np.ndarray, denominator: np.ndarray, otherwise: float = 0.0) -> np.ndarray:
    """Return the quotients, and `otherwise` where the denominator is 0."""
    return np.divide(numerator, denominator, out=np.full(np.shape(denominator), otherwise), where=denominator != 0)
