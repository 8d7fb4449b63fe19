"""Scores of a run's answers: on the rows as they are, and on thousands of resamples of the rows at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from hf_distill.data.metrics import Metric, entities
from hf_distill.data.resamples import Counts, Moments, RegressionMoments
from hf_distill.reporting.bootstrap import Scorer
from hf_distill.reporting.comparison.units import Units


class Answers:
    """What one run of a model answers on labelled units, in the form that metrics take.

    Args:
        units: All of them labelled.
        logits: `(num_units, num_labels)`.

    Attributes:
        predictions: One entry for each row, see [`Metric`]; for token classification a list of tags.
        references: The labels in the same form.
        num_labels: Number of classes.
    """

    def __init__(self, units: Units, logits: np.ndarray) -> None:
        self.units, self.num_labels = units, len(units.names)
        self.predictions: Any
        self.references: Any
        if units.problem_type == "regression":
            self.predictions, self.references = logits[:, 0].astype(np.float64), units.labels.astype(np.float64)
        elif units.problem_type == "multi_label_classification":
            self.predictions, self.references = (
                values.astype(np.int64) for values in (logits > 0, units.labels > 0.5)
            )
        elif units.problem_type == "token_classification":
            self.predictions, self.references = _tags(units, logits.argmax(axis=1)), _tags(units, units.labels)
        else:
            self.predictions, self.references = logits.argmax(axis=1), units.labels

    @property
    def are_right(self) -> np.ndarray:
        """Which rows of a classification are right in every label, `(num_rows,)` bool."""
        return (self.predictions == self.references).reshape(len(self.references), -1).all(axis=1)

    def score(self, metric: Metric) -> float:
        """Return the score on the rows as they are."""
        return float(metric.score(self.predictions, self.references, self.num_labels))

    def score_rows(self, metric: Metric, rows: np.ndarray) -> float:
        """Return the score of some rows; a row can occur several times."""
        if self.units.is_token_level:
            chosen: tuple[Any, Any] = ([self.predictions[row] for row in rows], [self.references[row] for row in rows])
        else:
            chosen = (self.predictions[rows], self.references[rows])
        return float(metric.score(*chosen, self.num_labels))


def _tags(units: Units, ids: np.ndarray) -> list[list[str]]:
    sentences = np.split(ids, np.searchsorted(units.rows, np.arange(1, units.num_rows)))
    return [[units.names[i] for i in sentence] for sentence in sentences]


def make_scorer(answers: Answers, metrics: Sequence[Metric]) -> Scorer:
    """Return the scorer of resamples for metrics that have `from_counts`."""
    count = _COUNTERS[answers.units.problem_type](answers)

    def score(draws: np.ndarray) -> dict[str, np.ndarray]:
        counts = count(draws)
        return {metric.name: metric.from_counts(counts) for metric in metrics if metric.from_counts is not None}

    return score


def make_row_by_row_scorer(answers: Answers, metrics: Sequence[Metric]) -> Scorer:
    """Return the scorer of resamples for any metric; it writes the rows of each resample out."""
    all_rows = np.arange(answers.units.num_rows)

    def score(draws: np.ndarray) -> dict[str, np.ndarray]:
        resamples = [np.repeat(all_rows, times) for times in draws.astype(np.int64)]
        return {metric.name: np.array([answers.score_rows(metric, rows) for rows in resamples]) for metric in metrics}

    return score


def check_metrics(metrics: Sequence[Metric], units: Units) -> None:
    """Score the labels against themselves, so that a metric that cannot be computed is an error before models run.

    Raises:
        ValueError: if a score is not a finite number.
    """
    labelled = units.at(units.is_labelled)
    if not len(labelled):
        return
    if units.problem_type == "multi_label_classification":
        logits = 2 * labelled.labels - 1
    else:
        is_regression = units.problem_type == "regression"
        logits = labelled.labels[:, None] if is_regression else np.eye(len(units.names))[labelled.labels]
    answers = Answers(labelled, logits)
    for metric in metrics:
        if not np.isfinite(value := answers.score(metric)):
            raise ValueError(
                f"The metric {metric.name!r} gives {value} for predictions that equal the labels. Its `score` must "
                "return a finite number for them."
            )


def class_counts(units: Units, logits: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return how many units have each class, are predicted as it, and both: three arrays `(num_labels,)`."""
    if units.problem_type == "multi_label_classification":
        has_class, is_predicted = units.labels > 0.5, logits > 0
    else:
        classes = np.arange(len(units.names))
        has_class, is_predicted = units.labels[:, None] == classes, logits.argmax(axis=1)[:, None] == classes
    return has_class.sum(axis=0), is_predicted.sum(axis=0), (has_class & is_predicted).sum(axis=0)


def _single_label_counter(answers: Answers) -> Callable[[np.ndarray], Counts]:
    predictions, references, num_labels = answers.predictions, answers.references, answers.num_labels
    rows, is_right = np.arange(len(references)), predictions == references
    columns = np.concatenate([references, num_labels + predictions, 2 * num_labels + references[is_right]])
    by_class = _Sums(np.concatenate([rows, rows, rows[is_right]]), columns, (len(rows), 3 * num_labels))

    def count(draws: np.ndarray) -> Counts:
        in_references, in_predictions, in_both = by_class(draws)
        return Counts(draws.sum(axis=1), in_both.sum(axis=1), in_references, in_predictions, in_both)

    return count


def _multi_label_counter(answers: Answers) -> Callable[[np.ndarray], Counts]:
    predictions, references = answers.predictions, answers.references
    rows, columns = np.nonzero(np.concatenate([references, predictions, references * predictions], axis=1))
    by_class = _Sums(rows, columns, (len(references), 3 * answers.num_labels))
    are_right = answers.are_right.astype(np.float64)

    def count(draws: np.ndarray) -> Counts:
        return Counts(draws.sum(axis=1), draws @ are_right, *by_class(draws))

    return count


def _token_counter(answers: Answers) -> Callable[[np.ndarray], Counts]:
    """Resamples draw whole sentences, because the words of a sentence are not independent."""
    by_sentence = np.zeros((answers.units.num_rows, 5))
    for row, (predicted, expected) in enumerate(zip(answers.predictions, answers.references, strict=True)):
        spans = entities(predicted), entities(expected)
        num_right = sum(tag == other for tag, other in zip(predicted, expected, strict=True))
        by_sentence[row] = len(expected), num_right, len(spans[1]), len(spans[0]), len(spans[0] & spans[1])

    def count(draws: np.ndarray) -> Counts:
        words, right, *entity_counts = (draws @ by_sentence).T
        return Counts(words, right, *(numbers[:, None] for numbers in entity_counts))

    return count


class _Sums:
    """Sums over the rows of each resample of a table that is mostly 0, in three blocks of columns of equal width."""

    def __init__(self, rows: np.ndarray, columns: np.ndarray, shape: tuple[int, int]) -> None:
        from scipy.sparse import csr_matrix  # sparse, so that the time does not grow with the number of classes

        self._table = csr_matrix((np.ones(len(rows)), (rows, columns)), shape)

    def __call__(self, draws: np.ndarray) -> list[np.ndarray]:
        return np.split(draws @ self._table, 3, axis=1)


def _regression_counter(answers: Answers) -> Callable[[np.ndarray], RegressionMoments]:
    prediction_ranks, reference_ranks = _Ranks(answers.predictions), _Ranks(answers.references)
    x, y = _standardize(answers.predictions), _standardize(answers.references)
    errors, scale = answers.predictions - answers.references, answers.references.var()
    powers = np.stack([x, y, x**2, y**2, x * y, np.abs(errors), errors**2], axis=1)

    def count(draws: np.ndarray) -> RegressionMoments:
        total = draws.sum(axis=1)
        # The mean rank is known. Without it, ranks are of the order of 1 and their squares lose no precision.
        x, y = (ranks(draws) / total[:, None] - 0.5 for ranks in (prediction_ranks, reference_ranks))
        sums = [np.einsum("rn,rn->r", draws, ranks) for ranks in (x, y)]
        sums += [np.einsum("rn,rn,rn->r", draws, *pair) for pair in ((x, x), (y, y), (x, y))]
        *means, absolute_error, squared_error = (draws @ powers).T / total
        values = Moments(*means)
        standardized = values.yy - values.y**2
        variance = scale * np.where(standardized > 1e-9, standardized, 0.0)
        return RegressionMoments(values, Moments(*np.stack(sums) / total), absolute_error, squared_error, variance)

    return count


def _standardize(values: np.ndarray) -> np.ndarray:
    return (values - values.mean()) / (values.std() if np.ptp(values) else 1.0)


class _Ranks:
    """Mean ranks of rows that were drawn several times each, `(num_resamples, num_rows)`."""

    def __init__(self, values: np.ndarray) -> None:
        _, self._group = np.unique(values, return_inverse=True)
        self._order = np.argsort(self._group, kind="stable")
        self._starts = np.searchsorted(self._group[self._order], np.arange(self._group.max() + 1))

    def __call__(self, draws: np.ndarray) -> np.ndarray:
        sizes = np.add.reduceat(draws[:, self._order], self._starts, axis=1)
        return (np.cumsum(sizes, axis=1) - (sizes - 1) / 2)[:, self._group]


_COUNTERS: dict[str, Callable[[Answers], Callable[[np.ndarray], Any]]] = {
    "single_label_classification": _single_label_counter,
    "multi_label_classification": _multi_label_counter,
    "token_classification": _token_counter,
    "regression": _regression_counter,
}
