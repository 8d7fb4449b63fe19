"""The expected calibration error of a sample: its interval, and its value for a model that is perfectly calibrated."""

from __future__ import annotations

import numpy as np

from hf_distill.reporting.bootstrap import draw_resamples
from hf_distill.reporting.comparison.quality import Resampling
from hf_distill.reporting.comparison.units import Units

NUM_BINS = 10
NUM_SIMULATIONS = 200
_CHUNK = 2_000_000  # random numbers in memory at once, 16 MB


def describe_error(units: Units, confidence: np.ndarray, is_right: np.ndarray, how: Resampling) -> dict[str, float]:
    r"""Return the error of a sample, with what is needed to judge it: it is above 0 even for perfect confidences.

    The error is the sum over bins b of $|g_b|$, where $g_b$ is the sum of (right - confidence) in the bin over the
    number of predictions: Naeini et al. (2015), as in Guo et al. (2017), section 2,
    https://huggingface.co/papers/1706.04599. The lower end of the interval is the error minus a quantile of
    $\sum_b |g^*_b - g_b|$ over resamples: by the triangle inequality the error differs from the true one by at most
    $\sum_b |g_b - E g_b|$. The upper end is that of the basic bootstrap interval (Davison and Hinkley 1997, section
    5.2), because the resamples have the same bias upwards as the sample.

    Args:
        units: All of them labelled.
        confidence: `(num_units, num_predictions)`, from 0 to 1.
        is_right: `(num_units, num_predictions)`, 0 or 1.
        how: How the interval is made.

    Returns:
        `ece`, `ece_low`, `ece_high`, and `ece_if_calibrated`: the mean error if each prediction is right with the
        probability of its confidence.
    """
    bins = bins_of(confidence)
    rows = np.broadcast_to(units.rows[:, None], bins.shape)
    places = (rows * NUM_BINS + bins).ravel()
    size = units.num_rows * NUM_BINS
    gaps = np.bincount(places, (is_right - confidence).ravel(), size).reshape(-1, NUM_BINS)
    totals = np.bincount(rows.ravel(), minlength=units.num_rows)
    value, samples, distances = np.abs(gaps.sum(axis=0) / bins.size).sum(), [], []
    for draws in draw_resamples(units.num_rows, how.num_resamples, how.seed, units.groups):
        of_bins = draws @ gaps / (draws @ totals)[:, None]
        samples.append(np.abs(of_bins).sum(axis=1))
        distances.append(np.abs(of_bins - gaps.sum(axis=0) / bins.size).sum(axis=1))
    low = value - np.quantile(np.concatenate(distances), (1 + how.level) / 2)
    high = 2 * value - np.quantile(np.concatenate(samples), (1 - how.level) / 2)
    low = max(0.0, float(low))
    return {
        "ece": float(value),
        "ece_low": low,
        "ece_high": max(low, float(high)),
        "ece_if_calibrated": _if_calibrated(confidence.ravel(), bins.ravel(), how.seed),
    }


def bins_of(confidence: np.ndarray) -> np.ndarray:
    """Return the bin of each confidence: ten bins of equal width, which include their lower end; the last also 1."""
    return np.minimum((confidence * NUM_BINS).astype(int), NUM_BINS - 1)


def _if_calibrated(confidence: np.ndarray, bins: np.ndarray, seed: int) -> float:
    generator, errors = np.random.default_rng(seed), []
    order = np.argsort(bins, kind="stable")
    ordered = confidence[order]
    starts = np.unique(bins[order], return_index=True)[1]
    chunk_size = max(1, _CHUNK // len(ordered))
    for start in range(0, NUM_SIMULATIONS, chunk_size):
        shape = (min(chunk_size, NUM_SIMULATIONS - start), len(ordered))
        gaps = np.add.reduceat((generator.random(shape) < ordered) - ordered, starts, axis=1)
        errors.append(np.abs(gaps).sum(axis=1) / len(ordered))
    return float(np.concatenate(errors).mean())
