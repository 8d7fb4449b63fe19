"""Metrics that need no network: numbers by scikit-learn and SciPy, offered as an `evaluate` module.

`evaluate`, SciPy and the Trainer's classes take seconds to import, hence that is left until a metric is computed.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from typing import TypeAlias

    import evaluate
    from transformers import EvalPrediction

    ComputeMetrics: TypeAlias = Callable[[EvalPrediction], dict[str, float]]
    Scores: TypeAlias = dict[str, float] | float
    Metric: TypeAlias = str | Sequence[str] | evaluate.EvaluationModule | Callable[[np.ndarray, np.ndarray], Scores]


def _accuracy(predictions: np.ndarray, references: np.ndarray, num_labels: int) -> float:
    from sklearn.metrics import accuracy_score

    return float(accuracy_score(references, predictions))


def _f1(predictions: np.ndarray, references: np.ndarray, num_labels: int) -> float:
    from sklearn.metrics import f1_score

    average = "binary" if num_labels == 2 else "macro"
    return float(f1_score(references, predictions, average=average, zero_division=0.0))


def _matthews_correlation(predictions: np.ndarray, references: np.ndarray, num_labels: int) -> float:
    from sklearn.metrics import matthews_corrcoef

    return float(matthews_corrcoef(references, predictions))


def _pearson(predictions: np.ndarray, references: np.ndarray, num_labels: int) -> float:
    from scipy.stats import pearsonr

    return _correlation(pearsonr, predictions, references)


def _spearmanr(predictions: np.ndarray, references: np.ndarray, num_labels: int) -> float:
    from scipy.stats import spearmanr

    return _correlation(spearmanr, predictions, references)


def _correlation(correlate: Callable[..., Any], predictions: np.ndarray, references: np.ndarray) -> float:
    """`correlate`, and 0.0 where it is undefined.

    A constant has no correlation with anything, and a model early in training may well predict one. 0.0 says that it
    knows nothing, as Matthews' coefficient does; NaN would stop the run when the best checkpoint is chosen by it.
    """
    if len(references) < 2 or np.ptp(predictions) == 0 or np.ptp(references) == 0:
        return 0.0
    value = float(correlate(predictions, references).statistic)
    return 0.0 if math.isnan(value) else value


METRICS: dict[str, dict[str, Callable[[np.ndarray, np.ndarray, int], float]]] = {
    "single_label_classification": {
        "accuracy": _accuracy,
        "f1": _f1,
        "matthews_correlation": _matthews_correlation,
    },
    "regression": {"pearson": _pearson, "spearmanr": _spearmanr},
}


@functools.cache
def _metric_class() -> type[evaluate.Metric]:
    import evaluate
    from datasets import Features, Value

    class OfflineMetric(evaluate.Metric):
        """Computes all of `names` from one pair of predictions and references."""

        def __init__(self, names: tuple[str, ...], problem_type: str) -> None:
            self.names = names
            self.problem_type = problem_type
            super().__init__(keep_in_memory=True)

        def _info(self) -> evaluate.MetricInfo:
            value = Value("float64" if self.problem_type == "regression" else "int64")
            return evaluate.MetricInfo(
                description=" and ".join(self.names),
                citation="",
                inputs_description="",
                features=Features({"predictions": value, "references": value}),
            )

        def _build_data_dir(self) -> str:
            return ""  # `evaluate` makes a folder in the home even if all is kept in memory; the home may be read-only

        def _compute(self, *, predictions: Any, references: Any, num_labels: int | None = None) -> dict[str, float]:
            predictions, references = np.asarray(predictions), np.asarray(references)
            if num_labels is None:
                num_labels = max(2, 1 + int(max(predictions.max(), references.max())))
            return {name: METRICS[self.problem_type][name](predictions, references, num_labels) for name in self.names}

    return OfflineMetric


def load_metric(names: Sequence[str]) -> evaluate.EvaluationModule:
    """Our counterpart of `evaluate.load`, without the Hub: one module that computes all of `names`.

    Its `compute(predictions=..., references=...)` takes class ids, or scores for `pearson` and `spearmanr`, each
    `(num_examples,)`. An optional `num_labels` tells `f1` the number of classes; otherwise the largest id seen does.

    Args:
        names: Of `accuracy`, `f1`, `matthews_correlation`; or of `pearson`, `spearmanr`. `f1` is that of class 1
            where there are two classes, and the unweighted mean over the classes where there are more.
    """
    for problem_type, known in METRICS.items():
        if names and set(names) <= known.keys():
            return _metric_class()(tuple(names), problem_type)
    raise ValueError(f"No metric computes {list(names)} together. Take names from one of: {_known_metrics()}.")


def as_compute_metrics(metric: Metric, problem_type: str) -> ComputeMetrics:
    """Make a metric into what `Trainer` takes as `compute_metrics`: from logits and labels to named numbers.

    Rows without a label are left out; the result is empty where no row has one. Predictions may be a tuple whose
    first element are the logits, `(num_examples, num_labels)`, or `(num_examples, 1)` or `(num_examples,)` for
    regression. The metric sees the ids of the largest logits, or the outputs themselves for regression.

    Args:
        metric: One of our names or several (see [`load_metric`]), an `evaluate` module, or a function of predictions
            and references (in this order, unlike scikit-learn's) that returns a dict, or a number, named `score`.
        problem_type: `single_label_classification` or `regression`.
    """
    if problem_type not in METRICS:
        raise ValueError(f"`problem_type` must be one of {', '.join(METRICS)}, got {problem_type!r}.")
    return functools.partial(_compute_metrics, score=_scorer(metric, problem_type), problem_type=problem_type)


def logits_of(prediction: EvalPrediction) -> np.ndarray:
    """The logits, also of a model that returned a tuple."""
    logits = prediction.predictions
    return np.asarray(logits[0] if isinstance(logits, tuple) else logits)


def _compute_metrics(prediction: EvalPrediction, *, score: Callable, problem_type: str) -> dict[str, float]:
    logits, references = logits_of(prediction), np.asarray(prediction.label_ids)
    if problem_type == "regression":
        if logits.size != references.size:
            raise ValueError(
                f"Regression wants one output a row, got outputs of shape {logits.shape} for labels of shape "
                f"{references.shape}. Build the model with `num_labels=1`."
            )
        predictions, references = logits.reshape(-1), references.reshape(-1)
        labelled = ~np.isnan(references)
    else:
        predictions = logits.argmax(axis=-1)
        labelled = references >= 0
    if not labelled.any():
        return {}
    result = score(predictions[labelled], references[labelled], logits.shape[-1])
    return {name: float(value) for name, value in (result if isinstance(result, dict) else {"score": result}).items()}


def _scorer(metric: Any, problem_type: str) -> Callable[[np.ndarray, np.ndarray, int], Scores]:
    if isinstance(metric, str | Sequence):
        names = (metric,) if isinstance(metric, str) else tuple(metric)
        if not names or set(names) - METRICS[problem_type].keys():
            raise ValueError(f"Unknown metric {metric!r} for {problem_type}. Known are: {_known_metrics()}.")
        return functools.partial(_score_by_name, names)
    if callable(metric):
        return lambda predictions, references, num_labels: metric(predictions, references)

    import evaluate

    if isinstance(metric, evaluate.EvaluationModule | evaluate.CombinedEvaluations):
        return lambda predictions, references, num_labels: metric.compute(
            predictions=predictions, references=references
        )
    raise TypeError(f"`metric` must be a name, an `evaluate` module or a function, got {type(metric).__name__}.")


def _score_by_name(
    names: tuple[str, ...], predictions: np.ndarray, references: np.ndarray, num_labels: int
) -> dict[str, float]:
    scores = load_metric(names).compute(predictions=predictions, references=references, num_labels=num_labels)
    assert scores is not None  # None is the answer of other processes than the first, and there is only one
    return scores


def _known_metrics() -> str:
    return "; ".join(f"{', '.join(known)} ({problem_type})" for problem_type, known in METRICS.items())
