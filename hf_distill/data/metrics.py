"""The metrics of every problem type: the one list that training, exports, reports and model cards read.

To add a metric, append a [`Metric`] to its problem type in `METRICS`. The first metric is the default of its type;
all of them are logged in training and shown in reports and cards. A score must not warn, and is NaN only where it is
undefined. SciPy takes seconds to import, so the functions that need it import it when they are called.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hf_distill.data.resamples import Counts, Moments, ratio


@dataclass(frozen=True)
class Metric:
    """A score of predictions. Higher is better, unless `higher_is_better` says otherwise.

    Attributes:
        name: Key of the score in training logs, `distillation.json`, `report.json` and the model card.
        score: `(predictions, references, num_labels) -> float`, or NaN where the score is undefined. `num_labels` is
            the number of the model's outputs, since the rows need not contain every class. Predictions and references
            have the same shape:

            - single_label_classification: class ids, int64 `(num_rows,)`;
            - multi_label_classification: 0 or 1 for every class, int64 `(num_rows, num_labels)`;
            - regression: float64 `(num_rows,)`, or `(num_rows, num_outputs)` for several outputs;
            - token_classification: for each sentence the list of its words' tags, as strings.
        from_counts: The same score for many resamples at once, `(num_resamples,)`, from
            [`~hf_distill.data.resamples.Counts`]; for regression from
            [`~hf_distill.data.resamples.RegressionMoments`]. If None, `score` runs on the rows of every resample. That
            is slower, so reports then draw fewer resamples.
        lowest: The lowest possible score. Intervals end there.
        highest: The highest possible score.
        is_share: Whether the score is shown in per cent.
        is_row_accuracy: Whether the score is the share of rows that are entirely right. Such a score has a binomial
            standard error, and two models are compared by McNemar's test.
        needs_entities: Whether the score is defined only for tags of the form B-type, I-type and O.
        on_card: Whether the metadata of the model card list the student's score. The card's tables always have it.
        higher_is_better: False for an error.
    """

    name: str
    score: Callable[[Any, Any, int], float]
    from_counts: Callable[[Any], np.ndarray] | None = None
    lowest: float = 0.0
    is_share: bool = True
    on_card: bool = True
    highest: float = 1.0
    is_row_accuracy: bool = False
    needs_entities: bool = False
    higher_is_better: bool = True

    @property
    def sign(self) -> float:
        """1.0 if higher is better, -1.0 for an error: the sign times a difference is a gain."""
        return 1.0 if self.higher_is_better else -1.0

    @property
    def worst(self) -> float:
        """The worst possible score."""
        return self.lowest if self.higher_is_better else self.highest


def _by_counts(from_counts: Callable[[Counts], np.ndarray]) -> Callable[[np.ndarray, np.ndarray, int], float]:
    """Return the `score` of a classification metric: the score of one resample, the rows as they are."""

    def score(predictions: np.ndarray, references: np.ndarray, num_labels: int) -> float:
        return float(from_counts(_count(predictions, references, num_labels))[0])

    return score


def _count(predictions: np.ndarray, references: np.ndarray, num_labels: int) -> Counts:
    """Count the rows as they are, class ids or 0 or 1 for every class."""
    is_right = (predictions == references).reshape(len(references), -1).all(axis=1)
    if references.ndim == 2:
        by_class = [values.sum(axis=0) for values in (references, predictions, references * predictions)]
    else:
        num_labels = max(num_labels, 1 + int(max(predictions.max(), references.max())))
        by_class = [np.bincount(ids, minlength=num_labels) for ids in (references, predictions, references[is_right])]
    return Counts(np.array([len(references)]), is_right.sum(keepdims=True), *(counts[None] for counts in by_class))


def _accuracy(counts: Counts) -> np.ndarray:
    return ratio(counts.correct, counts.units, otherwise=np.nan)


def _f1(counts: Counts) -> np.ndarray:
    """F1 of class 1 where there are two classes; the unweighted mean over the classes where there are more.

    As in scikit-learn, a class that is neither in the references nor in the predictions is left out of the mean.
    """
    f1 = ratio(2 * counts.both, counts.references + counts.predictions, otherwise=np.nan)
    return np.nan_to_num(f1[:, 1]) if f1.shape[1] == 2 else np.nanmean(f1, axis=1)


def _matthews_correlation(counts: Counts) -> np.ndarray:
    """Gorodkin's generalization to several classes; 0 where it is undefined, as in scikit-learn."""
    squares = [counts.units**2 - (by_class**2).sum(axis=1) for by_class in (counts.predictions, counts.references)]
    covariance = counts.correct * counts.units - (counts.references * counts.predictions).sum(axis=1)
    return ratio(covariance, np.sqrt(squares[0] * squares[1]))


def _f1_micro(counts: Counts) -> np.ndarray:
    return ratio(2 * counts.both.sum(axis=1), (counts.references + counts.predictions).sum(axis=1))


def _f1_macro(counts: Counts) -> np.ndarray:
    return ratio(2 * counts.both, counts.references + counts.predictions).mean(axis=1)


def entities(tags: Sequence[str]) -> set[tuple[int, int, str]]:
    """Return the entities in tags B-type, I-type and O, as (first word, last word, type).

    As in conlleval, an I-type that does not continue an entity of its type begins a new one.
    """
    spans, start, open_type = set(), 0, ""
    for i, tag in enumerate([*tags, "O"]):
        prefix, _, entity_type = tag.partition("-")
        if open_type and (prefix != "I" or entity_type != open_type):
            spans.add((start, i - 1, open_type))
            open_type = ""
        if prefix in ("B", "I") and not open_type:
            start, open_type = i, entity_type
    return spans


def _entity_f1(predictions: Sequence[Sequence[str]], references: Sequence[Sequence[str]], num_labels: int) -> float:
    pairs = [(entities(p), entities(r)) for p, r in zip(predictions, references, strict=True)]
    total = sum(len(predicted) + len(expected) for predicted, expected in pairs)
    return 2 * sum(len(predicted & expected) for predicted, expected in pairs) / total if total else 0.0


def _token_accuracy(
    predictions: Sequence[Sequence[str]], references: Sequence[Sequence[str]], num_labels: int
) -> float:
    pairs = [pair for p, r in zip(predictions, references, strict=True) for pair in zip(p, r, strict=True)]
    return sum(predicted == expected for predicted, expected in pairs) / len(pairs)


def _pearson(predictions: np.ndarray, references: np.ndarray, num_labels: int) -> float:
    from scipy.stats import pearsonr

    return _correlation(pearsonr, predictions, references)


def _spearmanr(predictions: np.ndarray, references: np.ndarray, num_labels: int) -> float:
    from scipy.stats import spearmanr

    return _correlation(spearmanr, predictions, references)


def _correlation(correlate: Callable[..., Any], predictions: np.ndarray, references: np.ndarray) -> float:
    """Return the correlation; for several outputs its mean over the outputs; 0.0 where it is undefined.

    A constant has no correlation with anything, and a model can predict a constant early in training. 0.0 means "no
    information", as for Matthews' coefficient. NaN would stop the run when it chooses the best checkpoint.
    """
    if predictions.ndim == 2:
        outputs = zip(predictions.T, references.T, strict=True)
        return float(np.mean([_correlation(correlate, *output) for output in outputs]))
    is_finite = np.isfinite(predictions).all() and np.isfinite(references).all()
    if len(references) < 2 or not is_finite or np.ptp(predictions) == 0 or np.ptp(references) == 0:
        return 0.0
    value = float(correlate(predictions, references).statistic)
    return 0.0 if math.isnan(value) else value


def _correlation_from_moments(moments: Moments) -> np.ndarray:
    """Return Pearson's coefficient of each resample, and 0 where predictions or references are constant."""
    variances = np.stack([moments.xx - moments.x**2, moments.yy - moments.y**2])
    varies = (variances > 1e-9).all(axis=0)  # the values are of the order of 1
    return ratio((moments.xy - moments.x * moments.y) * varies, np.sqrt(np.where(varies, variances, 1.0).prod(axis=0)))


def _mean_absolute_error(predictions: np.ndarray, references: np.ndarray, num_labels: int) -> float:
    return float(np.abs(predictions - references).mean())


def _root_mean_squared_error(predictions: np.ndarray, references: np.ndarray, num_labels: int) -> float:
    """Root of the mean squared error; for several outputs the mean of the roots."""
    return float(np.sqrt(np.square(predictions - references).mean(axis=0)).mean())


def _r2(predictions: np.ndarray, references: np.ndarray, num_labels: int) -> float:
    """Coefficient of determination; for several outputs its mean; 0.0 where it is undefined, as for correlations."""
    variance = np.atleast_1d(references.var(axis=0))
    squared_error = np.atleast_1d(np.square(predictions - references).mean(axis=0))
    return float(_explained(squared_error, variance * (np.atleast_1d(np.ptp(references, axis=0)) > 0)).mean())


def _explained(squared_error: np.ndarray, variance: np.ndarray) -> np.ndarray:
    return np.where(variance > 0, 1 - ratio(squared_error, variance), 0.0)


# The first metric of a problem type is the default one to train by. It is also the default one to compare models by,
# but for a regression that is `ERROR`: predictions of 10 y + 1000 correlate perfectly with y.
ERROR = "mae"
METRICS: dict[str, tuple[Metric, ...]] = {
    "single_label_classification": (
        Metric("accuracy", _by_counts(_accuracy), _accuracy, is_row_accuracy=True),
        Metric("f1", _by_counts(_f1), _f1),
        Metric(
            "matthews_correlation",
            _by_counts(_matthews_correlation),
            _matthews_correlation,
            lowest=-1.0,
            is_share=False,
        ),
    ),
    "multi_label_classification": (
        Metric("f1_micro", _by_counts(_f1_micro), _f1_micro),
        Metric("f1_macro", _by_counts(_f1_macro), _f1_macro),
        Metric("subset_accuracy", _by_counts(_accuracy), _accuracy, is_row_accuracy=True),
    ),
    "regression": (
        Metric("pearson", _pearson, lambda m: _correlation_from_moments(m.values), lowest=-1.0, is_share=False),
        Metric("spearmanr", _spearmanr, lambda m: _correlation_from_moments(m.ranks), lowest=-1.0, is_share=False),
        Metric(
            ERROR,
            _mean_absolute_error,
            lambda m: m.absolute_error,
            highest=math.inf,
            is_share=False,
            higher_is_better=False,
        ),
        Metric(
            "rmse",
            _root_mean_squared_error,
            lambda m: np.sqrt(m.squared_error),
            highest=math.inf,
            is_share=False,
            higher_is_better=False,
        ),
        Metric("r2", _r2, lambda m: _explained(m.squared_error, m.variance), lowest=-math.inf, is_share=False),
    ),
    "token_classification": (
        Metric("entity_f1", _entity_f1, _f1_micro, needs_entities=True),
        Metric("token_accuracy", _token_accuracy, _accuracy),
    ),
}


def find_metric(name: str) -> Metric | None:
    """Return the metric of this name, whatever its problem type; None if `METRICS` has none."""
    return next((metric for metrics in METRICS.values() for metric in metrics if metric.name == name), None)


def default_metrics(problem_type: str, label_names: Sequence[str] | None) -> list[str]:
    """Return the names of the metrics to report. The first one is the default to compare models by.

    Args:
        problem_type: A key of `METRICS`.
        label_names: Names of the classes. Metrics of entities are left out unless all tags are of the form B-type,
            I-type and O.
    """
    has_entities = all(name == "O" or name.startswith(("B-", "I-")) for name in label_names or [])
    return [metric.name for metric in METRICS[problem_type] if has_entities or not metric.needs_entities]
