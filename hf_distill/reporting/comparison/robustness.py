"""Where a model is good and where it is not: short and long texts, one class and the other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from hf_distill.reporting.comparison.quality import Quality, Resampling
from hf_distill.reporting.comparison.scores import class_counts, ratio
from hf_distill.reporting.comparison.units import Units

MOST_BUCKETS = 4
FEWEST_ROWS = 20


def length_buckets(lengths: np.ndarray) -> list[np.ndarray]:
    """Split rows by length into at most four buckets of about as many rows, at least 20 each unless there is one.

    Args:
        lengths: `(num_rows,)`.

    Returns:
        One mask a bucket, `(num_rows,)` bool; rows of one length are in one bucket.
    """
    num_buckets = max(1, min(MOST_BUCKETS, len(lengths) // FEWEST_ROWS))
    edges = np.unique(np.quantile(lengths, np.arange(1, num_buckets) / num_buckets, method="lower"))
    place = np.searchsorted(edges, lengths)  # a bucket ends with its edge
    return [mask for i in range(len(edges) + 1) if (mask := place == i).any()]


def score_by_length(
    units: Units, logits: dict[str, list[np.ndarray]], metric: str, how: Resampling
) -> dict[str, list[dict[str, Any]]]:
    """Score every model on labelled units, bucket by bucket of the lengths of their rows."""
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in logits}
    for of_rows in length_buckets(units.lengths):
        mask = of_rows[units.rows]
        part = units.at(mask)
        quality = Quality(part, {name: [run[mask] for run in runs] for name, runs in logits.items()}, how)
        low, high = int(part.lengths.min()), int(part.lengths.max())
        for name, buckets in found.items():
            estimate = quality.metrics(name, [metric])[metric]
            buckets.append(
                {
                    "low": low,
                    "high": high,
                    "unit": units.length_unit,
                    "rows": part.num_rows,
                    "value": estimate["value"],
                    "ci_low": estimate["low"],
                    "ci_high": estimate["high"],
                }
            )
    return found


def score_by_class(units: Units, runs: Sequence[np.ndarray]) -> list[dict[str, Any]] | None:
    """Precision, recall and F1 of each class on labelled units, the mean over runs; None for regression."""
    if units.problem_type == "regression":
        return None
    scores = []
    for of_run in runs:
        rows, found, both = class_counts(units, of_run)
        scores.append([ratio(both, found), ratio(both, rows), ratio(2 * both, rows + found)])
    means = np.mean(scores, axis=0)
    return [
        {
            "label": name,
            "rows": int(rows[i]),
            **dict(zip(("precision", "recall", "f1"), means[:, i].tolist(), strict=True)),
        }
        for i, name in enumerate(units.names)
    ]
