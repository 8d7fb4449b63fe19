"""Whether a model's confidence matches its accuracy, before and after temperature scaling."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from hf_distill.reporting.comparison.calibration_error import NUM_BINS, bins_of, describe_error
from hf_distill.reporting.comparison.quality import Resampling
from hf_distill.reporting.comparison.units import Units
from hf_distill.teachers.calibration import calibrate_temperature, negative_log_likelihood

NOTE = (
    "The temperature is fitted on all rows. The scaled numbers are cross-fitted: each half of the rows is scaled by "
    "the temperature of the other half, so no row is scaled by a temperature that was fitted to it."
)


def describe_calibration(units: Units, logits: np.ndarray, how: Resampling) -> dict[str, Any] | None:
    """Describe the calibration of logits on labelled units.

    Returns:
        Expected calibration error with its interval and its value for a calibrated model, see [`describe_error`];
        Brier score and negative log-likelihood; all of them before and after scaling, the temperature, and the bins of
        both reliability diagrams. None for regression, and if there is only one row.
    """
    if units.problem_type == "regression" or units.num_rows < 2:
        return None
    labels = torch.from_numpy(units.labels)
    temperatures = _cross_fitted(units, logits, labels, how.seed)
    before, after = (_describe(units, logits / t, how) for t in (np.ones_like(temperatures), temperatures))
    scaled = {f"{name}_scaled": value for name, value in after.items()}
    temperature = calibrate_temperature(torch.from_numpy(logits), labels)
    return {**before, "temperature": temperature, **scaled, "note": NOTE}


def _cross_fitted(units: Units, logits: np.ndarray, labels: torch.Tensor, seed: int) -> np.ndarray:
    """Return for each unit the temperature fitted to the half of the rows that it is not in, `(num_units, 1)`."""
    half_of_row = np.random.default_rng(seed).permutation(units.num_rows) % 2
    half = half_of_row[units.rows]
    temperatures = [
        calibrate_temperature(torch.from_numpy(logits[half == other]), labels[half == other]) for other in (1, 0)
    ]
    return np.array(temperatures)[half, None]


def _describe(units: Units, logits: np.ndarray, how: Resampling) -> dict[str, Any]:
    values, labels = torch.from_numpy(logits).double(), torch.from_numpy(units.labels)
    if units.problem_type == "multi_label_classification":
        probabilities = values.sigmoid().numpy()
        confidence, is_right, brier = probabilities, units.labels, (probabilities - units.labels) ** 2
    else:
        probabilities = values.softmax(dim=1).numpy()
        confidence, is_right = (
            probabilities.max(axis=1)[:, None],
            (probabilities.argmax(axis=1) == units.labels)[:, None],
        )
        brier = brier_scores(probabilities, units.labels)
    bins = reliability_bins(confidence.ravel(), is_right.ravel())
    return {
        **describe_error(units, confidence, is_right, how),
        "brier": float(brier.mean()),
        "nll": negative_log_likelihood(values, labels),
        "bins": bins,
    }


def brier_scores(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    r"""Return the Brier score of each unit, $\sum_c (p_c - [y = c])^2$, from 0 to 2.

    This is the original definition, a sum over all classes: Brier (1950), Verification of forecasts expressed in terms
    of probability. With two classes it is twice the square for one class.

    Args:
        probabilities: `(num_units, num_labels)`.
        labels: Class ids, `(num_units,)`.
    """
    is_class = labels[:, None] == np.arange(probabilities.shape[1])
    return ((probabilities - is_class) ** 2).sum(axis=1)


def reliability_bins(confidence: np.ndarray, is_right: np.ndarray) -> list[dict[str, Any]]:
    """Group predictions by confidence into ten bins of equal width.

    A bin includes its lower end; the last bin also includes 1.

    Args:
        confidence: `(num_predictions,)`, from 0 to 1.
        is_right: `(num_predictions,)`, 0 or 1.
    """
    bins = bins_of(confidence)
    values = (None, confidence, is_right.astype(np.float64))
    rows, confidence_sums, num_right = (np.bincount(bins, weights, NUM_BINS) for weights in values)
    return [
        {
            "low": i / NUM_BINS,
            "high": (i + 1) / NUM_BINS,
            "rows": int(rows[i]),
            "confidence": float(confidence_sums[i] / rows[i]) if rows[i] else None,
            "accuracy": float(num_right[i] / rows[i]) if rows[i] else None,
        }
        for i in range(NUM_BINS)
    ]
