"""From the logits and labels of an evaluation to named scores: `compute_metrics` as `Trainer` takes it."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from hf_distill.data.metrics import METRICS

if TYPE_CHECKING:  # slow to import
    from typing import TypeAlias

    import evaluate
    from transformers import EvalPrediction

    ComputeMetrics: TypeAlias = Callable[[EvalPrediction], dict[str, float]]
    Scores: TypeAlias = dict[str, float] | float
    MetricLike: TypeAlias = (
        str | Sequence[str] | evaluate.EvaluationModule | Callable[[np.ndarray, np.ndarray], Scores]
    )


def as_compute_metrics(
    metric: MetricLike, problem_type: str, label_names: Sequence[str] | None = None
) -> ComputeMetrics:
    """Make a metric into what `Trainer` takes as `compute_metrics`: from logits and labels to named numbers.

    Rows without a label are left out; the result is empty if no row has one. Predictions can be a tuple whose first
    element is the logits, `(num_examples, num_labels)`, or `(num_examples, 1)` or `(num_examples,)` for regression.
    The metric gets the ids of the largest logits; for multi-label classification, 1 where a logit is above 0; for
    token classification, the tags of each sentence; for regression, the outputs themselves.

    Args:
        metric: One name or several of `hf_distill.data.metrics.METRICS[problem_type]`, an `evaluate` module, or a
            function of predictions and references (in this order, unlike scikit-learn's) that returns a dict, or a
            number, which is named `score`.
        problem_type: `single_label_classification`, `multi_label_classification`, `regression` or
            `token_classification`.
        label_names: Names of the tags by id, for `token_classification`.

    Raises:
        ValueError: for an unknown name or problem type, or token classification without `label_names`.
        TypeError: if `metric` is of another type.
    """
    if problem_type not in METRICS:
        raise ValueError(f"`problem_type` must be one of {', '.join(METRICS)}, got {problem_type!r}.")
    if problem_type == "token_classification" and not label_names:
        raise ValueError("`label_names` is missing: token classification compares tags by name, e.g. B-person.")
    return functools.partial(
        _compute_metrics,
        score=_make_score(metric, problem_type),
        problem_type=problem_type,
        label_names=None if label_names is None else list(label_names),
    )


def with_label_names(compute_metrics: ComputeMetrics, label_names: Sequence[str]) -> ComputeMetrics:
    """Return metrics for a model with more tags than the task. A function of the user stays as it is."""
    if not isinstance(compute_metrics, functools.partial) or compute_metrics.func is not _compute_metrics:
        return compute_metrics  # a function of the user
    return functools.partial(_compute_metrics, **{**compute_metrics.keywords, "label_names": list(label_names)})


def metric_names(compute_metrics: ComputeMetrics) -> list[str] | None:
    """Return the names of the metrics that [`as_compute_metrics`] was given; None for another function."""
    if not isinstance(compute_metrics, functools.partial) or compute_metrics.func is not _compute_metrics:
        return None
    score = compute_metrics.keywords["score"]
    return list(score.args[0]) if isinstance(score, functools.partial) else None


def score_by_name(
    names: Sequence[str], problem_type: str, predictions: Any, references: Any, num_labels: int
) -> dict[str, float]:
    """Return the scores of a problem type's metrics; see [`Metric`] for the shapes."""
    by_name = {metric.name: metric for metric in METRICS[problem_type]}
    return {name: by_name[name].score(predictions, references, num_labels) for name in names}


def logits_of(prediction: EvalPrediction) -> np.ndarray:
    """Return the logits, also if the model returned a tuple."""
    logits = prediction.predictions
    return np.asarray(logits[0] if isinstance(logits, tuple) else logits)


def known_metrics() -> str:
    """Return the names of all metrics by problem type, for messages."""
    return "; ".join(
        f"{', '.join(metric.name for metric in metrics)} ({problem_type})" for problem_type, metrics in METRICS.items()
    )


def _compute_metrics(
    prediction: EvalPrediction, *, score: Callable, problem_type: str, label_names: list[str] | None = None
) -> dict[str, float]:
    logits, references = logits_of(prediction), np.asarray(prediction.label_ids)
    if problem_type == "token_classification":
        predicted_tags, reference_tags = _tags(logits.argmax(axis=-1), references, label_names or [])
        return _as_dict(score(predicted_tags, reference_tags, logits.shape[-1])) if reference_tags else {}
    if problem_type == "regression":
        if logits.size != references.size:
            raise ValueError(
                f"Regression needs one output for each label, got outputs of shape {logits.shape} for labels of shape "
                f"{references.shape}. Build the model with `num_labels=1`."
            )
        shape = (-1,) if references.ndim < 2 or references.shape[1] == 1 else references.shape
        predictions, references = (values.reshape(shape).astype(np.float64) for values in (logits, references))
        is_labelled = ~np.isnan(references.reshape(len(references), -1)).any(axis=1)
    elif problem_type == "multi_label_classification":
        predictions, is_labelled = (logits > 0).astype(np.int64), ~np.isnan(references).any(axis=-1)
        references = np.where(is_labelled[:, None], references, 0).round().astype(np.int64)
    else:
        predictions = logits.argmax(axis=-1)
        is_labelled = references >= 0
    if not is_labelled.any():
        return {}
    return _as_dict(score(predictions[is_labelled], references[is_labelled], logits.shape[-1]))


def _as_dict(scores: Scores) -> dict[str, float]:
    return {name: float(value) for name, value in (scores if isinstance(scores, dict) else {"score": scores}).items()}


def _tags(
    predictions: np.ndarray, references: np.ndarray, label_names: list[str]
) -> tuple[list[list[str]], list[list[str]]]:
    """Return the names of predicted and true tags of each sentence, without the words that have no label."""
    rows = [(p[r >= 0], r[r >= 0]) for p, r in zip(predictions, references, strict=True) if (r >= 0).any()]
    return [[label_names[i] for i in p] for p, _ in rows], [[label_names[i] for i in r] for _, r in rows]


def _make_score(metric: Any, problem_type: str) -> Callable[[Any, Any, int], Scores]:
    if isinstance(metric, str | Sequence):
        names = (metric,) if isinstance(metric, str) else tuple(metric)
        known = {known.name for known in METRICS[problem_type]}
        if not names or set(names) - known:
            unknown = ", ".join(repr(name) for name in names if name not in known) or metric
            raise ValueError(f"Unknown metric {unknown} for {problem_type}. The known ones are: {known_metrics()}.")
        return functools.partial(score_by_name, names, problem_type)
    if callable(metric):
        return lambda predictions, references, num_labels: metric(predictions, references)

    import evaluate

    if isinstance(metric, evaluate.EvaluationModule | evaluate.CombinedEvaluations):
        return lambda predictions, references, num_labels: metric.compute(
            predictions=predictions, references=references
        )
    raise TypeError(f"`metric` must be a name, an `evaluate` module or a function, got {type(metric).__name__}.")
