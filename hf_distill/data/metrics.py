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


def _f1_micro(predictions: np.ndarray, references: np.ndarray, num_labels: int) -> float:
    from sklearn.metrics import f1_score

    return float(f1_score(references, predictions, average="micro", zero_division=0.0))


def _f1_macro(predictions: np.ndarray, references: np.ndarray, num_labels: int) -> float:
    from sklearn.metrics import f1_score

    return float(f1_score(references, predictions, average="macro", zero_division=0.0))


def entities(tags: Sequence[str]) -> set[tuple[int, int, str]]:
    """Spans (first word, last word, type) of tags B-type, I-type and O.

    As conlleval reads them, I-type without a span of its type before it begins one.
    """
    spans, start, kind = set(), 0, ""
    for i, tag in enumerate([*tags, "O"]):
        prefix, _, of_tag = tag.partition("-")
        if kind and (prefix != "I" or of_tag != kind):
            spans.add((start, i - 1, kind))
            kind = ""
        if prefix in ("B", "I") and not kind:
            start, kind = i, of_tag
    return spans


def _entity_f1(predictions: Sequence[Sequence[str]], references: Sequence[Sequence[str]], num_labels: int) -> float:
    found = [entities(tags) for tags in predictions]
    wanted = [entities(tags) for tags in references]
    correct = sum(len(a & b) for a, b in zip(found, wanted, strict=True))
    total = sum(map(len, found)) + sum(map(len, wanted))
    return 2 * correct / total if total else 0.0


def _token_accuracy(
    predictions: Sequence[Sequence[str]], references: Sequence[Sequence[str]], num_labels: int
) -> float:
    pairs = [pair for a, b in zip(predictions, references, strict=True) for pair in zip(a, b, strict=True)]
    return sum(a == b for a, b in pairs) / len(pairs)


def _pearson(predictions: np.ndarray, references: np.ndarray, num_labels: int) -> float:
    from scipy.stats import pearsonr

    return _correlation(pearsonr, predictions, references)


def _spearmanr(predictions: np.ndarray, references: np.ndarray, num_labels: int) -> float:
    from scipy.stats import spearmanr

    return _correlation(spearmanr, predictions, references)


def _correlation(correlate: Callable[..., Any], predictions: np.ndarray, references: np.ndarray) -> float:
    """`correlate`, and 0.0 where it is undefined; of several outputs the mean over these.

    A constant has no correlation with anything, and a model early in training may well predict one. 0.0 says that it
    knows nothing, as Matthews' coefficient does; NaN would stop the run when the best checkpoint is chosen by it.
    """
    if predictions.ndim == 2:
        return float(
            np.mean([_correlation(correlate, *pair) for pair in zip(predictions.T, references.T, strict=True)])
        )
    is_finite = np.isfinite(predictions).all() and np.isfinite(references).all()
    if len(references) < 2 or not is_finite or np.ptp(predictions) == 0 or np.ptp(references) == 0:
        return 0.0
    value = float(correlate(predictions, references).statistic)
    return 0.0 if math.isnan(value) else value


METRICS: dict[str, dict[str, Callable[[Any, Any, int], float]]] = {
    "single_label_classification": {
        "accuracy": _accuracy,
        "f1": _f1,
        "matthews_correlation": _matthews_correlation,
    },
    "multi_label_classification": {"f1_micro": _f1_micro, "f1_macro": _f1_macro, "subset_accuracy": _accuracy},
    "regression": {"pearson": _pearson, "spearmanr": _spearmanr},
    "token_classification": {"entity_f1": _entity_f1, "token_accuracy": _token_accuracy},
}


def default_metrics(problem_type: str, label_names: Sequence[str] | None) -> list[str]:
    """Return the metrics to report, the one to compare models by first; spans are counted only if tags spell them."""
    names = list(METRICS[problem_type])
    if problem_type == "token_classification":
        spells_spans = all(name == "O" or name.startswith(("B-", "I-")) for name in label_names or [])
        return names if spells_spans else ["token_accuracy"]
    return names


@functools.cache
def _metric_class() -> type[evaluate.Metric]:
    import evaluate
    from datasets import Features, List, Value

    class OfflineMetric(evaluate.Metric):
        """Computes all of `names` from one pair of predictions and references."""

        def __init__(self, names: tuple[str, ...], problem_type: str) -> None:
            self.names = names
            self.problem_type = problem_type
            super().__init__(keep_in_memory=True)

        def _info(self) -> evaluate.MetricInfo:
            values = {
                "regression": [Value("float64"), List(Value("float64"))],
                "multi_label_classification": [List(Value("int64"))],
                "token_classification": [List(Value("string"))],
            }.get(self.problem_type, [Value("int64")])
            return evaluate.MetricInfo(
                description=" and ".join(self.names),
                citation="",
                inputs_description="",
                features=[Features({"predictions": value, "references": value}) for value in values],
            )

        def _build_data_dir(self) -> str:
            return ""  # `evaluate` makes a folder in the home even if all is kept in memory; the home may be read-only

        def _compute(self, *, predictions: Any, references: Any, num_labels: int | None = None) -> dict[str, float]:
            if self.problem_type != "token_classification":
                predictions, references = np.asarray(predictions), np.asarray(references)
            if num_labels is None and self.problem_type == "single_label_classification":
                num_labels = max(2, 1 + int(max(predictions.max(), references.max())))
            known = METRICS[self.problem_type]
            return {name: known[name](predictions, references, num_labels or 0) for name in self.names}

    return OfflineMetric


def load_metric(names: Sequence[str]) -> evaluate.EvaluationModule:
    """Our counterpart of `evaluate.load`, without the Hub: one module that computes all of `names`.

    Its `compute(predictions=..., references=...)` takes class ids, or scores for `pearson` and `spearmanr`, each
    `(num_examples,)`, of several outputs `(num_examples, num_outputs)`; 0 and 1 of every label, `(num_examples,
    num_labels)`; or the tags of each sentence's words. An optional `num_labels` tells `f1` the number of classes;
    otherwise the largest id seen does.

    Args:
        names: Of `accuracy`, `f1`, `matthews_correlation`; or of `pearson`, `spearmanr`; or, multi-label, of
            `f1_micro`, `f1_macro`, `subset_accuracy`; or, for words, of `entity_f1`, `token_accuracy`. `f1` is that
            of class 1 where there are two classes, and the unweighted mean over the classes where there are more.
            `entity_f1` is that of whole spans in tags B-type, I-type and O, over all types together, as conlleval
            counts.
    """
    for problem_type, known in METRICS.items():
        if names and set(names) <= known.keys():
            return _metric_class()(tuple(names), problem_type)
    raise ValueError(f"No metric computes {list(names)} together. Take names from one of: {_known_metrics()}.")


def as_compute_metrics(metric: Metric, problem_type: str, label_names: Sequence[str] | None = None) -> ComputeMetrics:
    """Make a metric into what `Trainer` takes as `compute_metrics`: from logits and labels to named numbers.

    Rows without a label are left out; the result is empty where no row has one. Predictions may be a tuple whose
    first element are the logits, `(num_examples, num_labels)`, or `(num_examples, 1)` or `(num_examples,)` for
    regression. The metric sees the ids of the largest logits; multi-label, 1 where a logit is above 0; of words, the
    tags; for regression the outputs themselves.

    Args:
        metric: One of our names or several (see [`load_metric`]), an `evaluate` module, or a function of predictions
            and references (in this order, unlike scikit-learn's) that returns a dict, or a number, named `score`.
        problem_type: `single_label_classification`, `multi_label_classification`, `regression` or
            `token_classification`.
        label_names: Of the tags by id, for `token_classification`.
    """
    if problem_type not in METRICS:
        raise ValueError(f"`problem_type` must be one of {', '.join(METRICS)}, got {problem_type!r}.")
    if problem_type == "token_classification" and not label_names:
        raise ValueError("`label_names` is needed: metrics of words compare tags by their names, e.g. B-person.")
    return functools.partial(
        _compute_metrics,
        score=_scorer(metric, problem_type),
        problem_type=problem_type,
        label_names=None if label_names is None else list(label_names),
    )


def logits_of(prediction: EvalPrediction) -> np.ndarray:
    """The logits, also of a model that returned a tuple."""
    logits = prediction.predictions
    return np.asarray(logits[0] if isinstance(logits, tuple) else logits)


def _compute_metrics(
    prediction: EvalPrediction, *, score: Callable, problem_type: str, label_names: list[str] | None = None
) -> dict[str, float]:
    logits, references = logits_of(prediction), np.asarray(prediction.label_ids)
    if problem_type == "token_classification":
        found, wanted = _tags(logits.argmax(axis=-1), references, label_names or [])
        return _named(score(found, wanted, logits.shape[-1])) if wanted else {}
    if problem_type == "regression":
        if logits.size != references.size:
            raise ValueError(
                f"Regression wants one output a row, got outputs of shape {logits.shape} for labels of shape "
                f"{references.shape}. Build the model with `num_labels=1`."
            )
        shape = (-1,) if references.ndim < 2 or references.shape[1] == 1 else references.shape
        predictions, references = logits.reshape(shape), references.reshape(shape)
        labelled = ~np.isnan(references.reshape(len(references), -1)).any(axis=1)
    elif problem_type == "multi_label_classification":
        predictions, labelled = (logits > 0).astype(np.int64), ~np.isnan(references).any(axis=-1)
        references = np.where(labelled[:, None], references, 0).round().astype(np.int64)
    else:
        predictions = logits.argmax(axis=-1)
        labelled = references >= 0
    if not labelled.any():
        return {}
    return _named(score(predictions[labelled], references[labelled], logits.shape[-1]))


def _named(result: Scores) -> dict[str, float]:
    return {name: float(value) for name, value in (result if isinstance(result, dict) else {"score": result}).items()}


def _tags(
    predictions: np.ndarray, references: np.ndarray, label_names: list[str]
) -> tuple[list[list[str]], list[list[str]]]:
    """Names of predicted and true tags of each sentence's words, those without a label left out."""
    rows = [(p[r >= 0], r[r >= 0]) for p, r in zip(predictions, references, strict=True) if (r >= 0).any()]
    return [[label_names[i] for i in p] for p, _ in rows], [[label_names[i] for i in r] for _, r in rows]


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
