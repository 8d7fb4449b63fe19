"""Where a model is strong and where it is weak: by length of the text, and by class."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from hf_distill.data.metrics import Metric
from hf_distill.data.resamples import ratio
from hf_distill.reporting.comparison.quality import Quality, Resampling
from hf_distill.reporting.comparison.scores import class_counts
from hf_distill.reporting.comparison.units import Units

MOST_BUCKETS = 4
FEWEST_ROWS = 20


def length_buckets(lengths: np.ndarray) -> list[np.ndarray]:
    """Split rows by length into buckets of about equal size: one for every 20 rows, but at most four.

    Rows of equal length are always in the same bucket.

    Args:
        lengths: `(num_rows,)`.

    Returns:
        One mask for each bucket, `(num_rows,)` bool.
    """
    num_buckets = max(1, min(MOST_BUCKETS, len(lengths) // FEWEST_ROWS))
    edges = np.unique(np.quantile(lengths, np.arange(1, num_buckets) / num_buckets, method="lower"))
    bucket_of_row = np.searchsorted(edges, lengths)  # the edge is the last length of its bucket
    return [mask for i in range(len(edges) + 1) if (mask := bucket_of_row == i).any()]


def score_by_length(
    units: Units, logits: dict[str, list[np.ndarray]], metric: Metric, how: Resampling
) -> dict[str, list[dict[str, Any]]]:
    """Score every model on labelled units in each bucket of row lengths."""
    by_model: dict[str, list[dict[str, Any]]] = {name: [] for name in logits}
    for in_bucket in length_buckets(units.lengths):
        mask = in_bucket[units.rows]
        part = units.at(mask)
        quality = Quality(part, {name: [run[mask] for run in runs] for name, runs in logits.items()}, [metric], how)
        for name, buckets in by_model.items():
            estimate = quality.estimates(name)[metric.name]
            buckets.append(
                {
                    "low": int(part.lengths.min()),
                    "high": int(part.lengths.max()),
                    "unit": units.length_unit,
                    "rows": part.num_rows,
                    "value": estimate["value"],
                    "ci_low": estimate["low"],
                    "ci_high": estimate["high"],
                }
            )
    return by_model


def score_by_class(units: Units, runs: Sequence[np.ndarray]) -> list[dict[str, Any]] | None:
    """Return precision, recall and F1 of each class on labelled units, as means over runs; None for regression."""
    if units.problem_type == "regression":
        return None
    scores = []
    for logits in runs:
        has_class, is_predicted, both = class_counts(units, logits)
        scores.append([ratio(both, is_predicted), ratio(both, has_class), ratio(2 * both, has_class + is_predicted)])
    means = np.mean(scores, axis=0)
    return [
        {
            "label": name,
            "rows": int(has_class[i]),
            **dict(zip(("precision", "recall", "f1"), means[:, i].tolist(), strict=True)),
        }
        for i, name in enumerate(units.names)
    ]
