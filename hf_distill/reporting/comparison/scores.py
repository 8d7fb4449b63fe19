"""Metrics as functions of how often each row counts, so that thousands of resamples are scored at once.

Their values on the sample itself are those of `hf_distill.data.metrics`.
"""

from __future__ import annotations

import numpy as np

from hf_distill.data.metrics import entities
from hf_distill.reporting.comparison.units import Units
from hf_distill.reporting.statistics import Scorer


def make_scorer(units: Units, logits: np.ndarray) -> Scorer:
    """Return the scorer of a model's logits on labelled units.

    Args:
        units: All of them labelled.
        logits: `(num_units, num_labels)`.
    """
    if units.problem_type == "regression":
        return _regression(logits[:, 0].astype(np.float64), units.labels.astype(np.float64))
    if units.problem_type == "multi_label_classification":
        return _multi_label(logits > 0, units.labels > 0.5)
    if units.problem_type == "token_classification":
        return _tokens(units, logits.argmax(axis=1))
    return class_scorer(logits.argmax(axis=1), units.labels, len(units.names))


def class_counts(units: Units, logits: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return how many units are of each class, predicted as it, and both: three times `(num_labels,)`."""
    if units.problem_type == "multi_label_classification":
        wanted, found = units.labels > 0.5, logits > 0
    else:
        classes = np.arange(len(units.names))
        wanted, found = units.labels[:, None] == classes, logits.argmax(axis=1)[:, None] == classes
    return wanted.sum(axis=0), found.sum(axis=0), (wanted & found).sum(axis=0)


def ratio(numerator: np.ndarray, denominator: np.ndarray, otherwise: float = 0.0) -> np.ndarray:
    """Return the quotients, and `otherwise` where the denominator is 0."""
    return np.divide(numerator, denominator, out=np.full(np.shape(denominator), otherwise), where=denominator != 0)


def class_scorer(predicted: np.ndarray, labels: np.ndarray, num_labels: int) -> Scorer:
    """Return the scorer of predicted classes, `(num_rows,)`, where each row has one."""
    rows, is_right = np.arange(len(labels)), predicted == labels
    found = np.concatenate([labels, num_labels + predicted, 2 * num_labels + labels[is_right]])
    counts = _Counts(np.concatenate([rows, rows, rows[is_right]]), found, (len(labels), 3 * num_labels))

    def score(weights: np.ndarray) -> dict[str, np.ndarray]:
        wanted, found, both = counts(weights)
        rows, correct = weights.sum(axis=1), both.sum(axis=1)
        f1 = ratio(
            2 * both, wanted + found, np.nan
        )  # a class that is in neither is not in the mean, as scikit-learn's
        spread = (rows**2 - (found**2).sum(axis=1)) * (rows**2 - (wanted**2).sum(axis=1))
        return {
            "accuracy": correct / rows,
            "f1": np.nan_to_num(f1[:, 1]) if num_labels == 2 else np.nanmean(f1, axis=1),
            "matthews_correlation": ratio(correct * rows - (wanted * found).sum(axis=1), np.sqrt(spread)),
        }

    return score


def _multi_label(found: np.ndarray, wanted: np.ndarray) -> Scorer:
    rows, columns = np.nonzero(np.concatenate([wanted, found, wanted & found], axis=1))
    counts = _Counts(rows, columns, (len(found), 3 * found.shape[1]))
    is_equal = (found == wanted).all(axis=1).astype(np.float64)

    def score(weights: np.ndarray) -> dict[str, np.ndarray]:
        wanted, found, both = counts(weights)
        return {
            "f1_micro": ratio(2 * both.sum(axis=1), (wanted + found).sum(axis=1)),
            "f1_macro": ratio(2 * both, wanted + found).mean(axis=1),
            "subset_accuracy": weights @ is_equal / weights.sum(axis=1),
        }

    return score


class _Counts:
    """From weights of rows to weights of each class: wanted, found, both, `(num_resamples, num_labels)` each."""

    def __init__(self, rows: np.ndarray, columns: np.ndarray, shape: tuple[int, int]) -> None:
        from scipy.sparse import csr_matrix  # most of it is 0: the work does not grow with the number of classes

        self._rows = csr_matrix((np.ones(len(rows)), (rows, columns)), shape)

    def __call__(self, weights: np.ndarray) -> list[np.ndarray]:
        return np.split(weights @ self._rows, 3, axis=1)


def _tokens(units: Units, predicted: np.ndarray) -> Scorer:
    """Sentences are drawn, whole: the tokens of one are not independent."""
    ends = np.searchsorted(units.rows, np.arange(1, units.num_rows))
    counts = np.zeros((units.num_rows, 5))
    for row, of_row in enumerate(np.split(np.arange(len(units)), ends)):
        wanted, found = units.labels[of_row], predicted[of_row]
        spans = [entities([units.names[i] for i in ids]) for ids in (wanted, found)]
        counts[row] = (len(spans[0]), len(spans[1]), len(spans[0] & spans[1]), len(of_row), (wanted == found).sum())

    def score(weights: np.ndarray) -> dict[str, np.ndarray]:
        wanted, found, both, num_tokens, correct = (weights @ counts).T
        return {"entity_f1": ratio(2 * both, wanted + found), "token_accuracy": ratio(correct, num_tokens)}

    return score


def _regression(predicted: np.ndarray, labels: np.ndarray) -> Scorer:
    ranks, of_labels = _Ranks(predicted), _Ranks(labels)
    first, second = _standardised(predicted), _standardised(labels)
    moments = np.stack([first, second, first**2, second**2, first * second], axis=1)

    def score(weights: np.ndarray) -> dict[str, np.ndarray]:
        total = weights.sum(axis=1)
        # The mean of the ranks is known; without it they are of one size, so that nothing is lost to rounding.
        first, second = (found(weights) / total[:, None] - 0.5 for found in (ranks, of_labels))
        pairs = [(first, None), (second, None), (first, first), (second, second), (first, second)]
        of_ranks = [
            np.einsum("rn,rn->r", weights, a) if b is None else np.einsum("rn,rn,rn->r", weights, a, b)
            for a, b in pairs
        ]
        return {
            "pearson": _correlation((weights @ moments).T / total),
            "spearmanr": _correlation(np.stack(of_ranks) / total),
        }

    return score


def _standardised(values: np.ndarray) -> np.ndarray:
    return (values - values.mean()) / (values.std() if np.ptp(values) else 1.0)


def _correlation(moments: np.ndarray) -> np.ndarray:
    """Pearson's coefficient from the means of x, y, x², y² and xy; 0 where one is constant, which knows nothing."""
    x, y, xx, yy, xy = moments
    spread = np.stack([xx - x * x, yy - y * y])
    is_known = (spread > 1e-9).all(axis=0)  # of values of about the size 1
    return ratio((xy - x * y) * is_known, np.sqrt(np.where(is_known, spread, 1.0).prod(axis=0)))


class _Ranks:
    """Mean ranks of rows that count several times each, `(num_resamples, num_rows)`."""

    def __init__(self, values: np.ndarray) -> None:
        _, self._group = np.unique(values, return_inverse=True)
        self._order = np.argsort(self._group, kind="stable")
        self._starts = np.searchsorted(self._group[self._order], np.arange(self._group.max() + 1))

    def __call__(self, weights: np.ndarray) -> np.ndarray:
        sizes = np.add.reduceat(weights[:, self._order], self._starts, axis=1)
        return (np.cumsum(sizes, axis=1) - (sizes - 1) / 2)[:, self._group]
