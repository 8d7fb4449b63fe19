"""A threshold for each class of a multi-label model, chosen on validation rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from hf_distill.data.seen_rows import hash_texts
from hf_distill.reporting.comparison.describe import RunLogits
from hf_distill.reporting.comparison.units import Units

FEWEST_POSITIVES = 5  # validation rows that must have a class before its threshold is chosen


def check_threshold_rows(threshold_units: Units, evaluation_units: Units) -> None:
    """Check rows to choose thresholds on.

    Raises:
        ValueError: if the models are not multi-label classifiers, if a row has no label, or if more than half of the
            evaluation rows are among the rows.
    """
    if threshold_units.problem_type != "multi_label_classification":
        raise ValueError(
            "Thresholds are chosen for multi-label classification, and the models are for "
            f"{threshold_units.problem_type}. Leave out --tune_thresholds (`threshold_dataset`)."
        )
    if not threshold_units.is_labelled.all():
        raise ValueError("`threshold_dataset` has rows without a label. Remove these rows.")
    is_shared = np.isin(hash_texts(evaluation_units.texts), hash_texts(threshold_units.texts))
    if is_shared.mean() > 0.5:
        raise ValueError(
            f"{is_shared.sum():,} of {len(is_shared):,} evaluation rows are among the rows that thresholds are chosen "
            "on, so the scores would be too high. Choose thresholds on other rows."
        )


def choose_thresholds(units: Units, logits: RunLogits) -> dict[str, list[np.ndarray]]:
    """Return the thresholds of each run of each model, as logits `(num_labels,)`.

    A threshold has the highest F1 of its class on these rows; of equal ones it is the closest to a probability of 0.5.
    A class with fewer than 5 rows keeps 0.5.

    Args:
        units: Validation rows, all of them labelled.
        logits: Name of a model -> `(num_rows, num_labels)` of each run.
    """
    has_class = units.labels > 0.5
    return {
        name: [
            np.array([_best_threshold(run[:, i], has_class[:, i]) for i in range(len(units.names))], dtype=run.dtype)
            for run in runs
        ]
        for name, runs in logits.items()
    }


def _best_threshold(scores: np.ndarray, has_class: np.ndarray) -> float:
    if has_class.sum() < FEWEST_POSITIVES:
        return 0.0
    values = np.unique(scores.astype(np.float64))
    middles = (values[:-1] + values[1:]) / 2
    candidates = np.array([0.0, values[0] - 1.0, *middles])
    order = np.argsort(scores)
    # From the lowest score up: how many rows lie at or below a candidate, and how many of these have the class.
    num_below = np.searchsorted(scores[order], candidates, side="right")
    positives_below = np.concatenate([[0], np.cumsum(has_class[order])])[num_below]
    hits = has_class.sum() - positives_below
    f1 = 2 * hits / (len(scores) - num_below + has_class.sum())
    is_best = f1 >= f1.max() - 1e-12
    return float(min(candidates[is_best], key=abs))


def subtract(logits: RunLogits, thresholds: dict[str, list[np.ndarray]]) -> RunLogits:
    """Return logits whose sign is the decision."""
    return {
        name: [run - threshold for run, threshold in zip(runs, thresholds[name], strict=True)]
        for name, runs in logits.items()
    }


def describe_thresholds(names: Sequence[str], threshold: np.ndarray) -> list[dict[str, Any]]:
    """Return the probability of each class from which on it is predicted."""
    probabilities = 1 / (1 + np.exp(-threshold.astype(np.float64)))
    return [{"label": name, "threshold": float(p)} for name, p in zip(names, probabilities, strict=True)]


def about_thresholds(model: Mapping[str, Any]) -> list[str]:
    """Return the note on thresholds, if they were chosen."""
    if model["thresholds"] is None:
        return []
    return [
        "Each class of each model has its own threshold, with the best F1 on the validation rows. Use the thresholds "
        "in production too: report.json has them."
    ]
