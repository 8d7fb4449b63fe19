"""What is checked and decided before models run: numbers, problem type and metrics."""

from __future__ import annotations

from collections.abc import Sequence

from hf_distill.classifiers.problem_types import resolve_problem_type
from hf_distill.data.metrics import ERROR, METRICS, Metric, default_metrics
from hf_distill.reporting.comparison.contenders import Contender
from hf_distill.reporting.comparison.predict import TorchPredictor


def check_numbers(margin: float, confidence_level: float, latency_rounds: int, num_resamples: int) -> None:
    """Check the ranges of numbers.

    Raises:
        ValueError: for a number out of its range.
    """
    if not 0 < margin < 1 or not 0 < confidence_level < 1 or latency_rounds < 0 or num_resamples < 100:
        raise ValueError(
            "`margin` and `confidence_level` must be between 0 and 1, `latency_rounds` at least 0 and `num_resamples` "
            f"at least 100, got {margin}, {confidence_level}, {latency_rounds} and {num_resamples}."
        )


def problem_type_of(contenders: Sequence[Contender]) -> str:
    """Return the problem type of all models. If none states it, the number of outputs decides."""
    by_model = {}
    for contender in contenders:
        if isinstance(contender.first, TorchPredictor):
            by_model[contender.name] = resolve_problem_type(contender.first.model).name
        elif contender.export is not None:
            by_model[contender.name] = contender.export.record["problem_type"]
    num_labels = len(contenders[0].first.id2label)
    problem_types = set(by_model.values()) or {"regression" if num_labels == 1 else "single_label_classification"}
    if len(problem_types) > 1:
        raise ValueError(f"Models of different problem types cannot be compared: {by_model}.")
    problem_type = problem_types.pop()
    if problem_type not in METRICS or (problem_type == "regression" and num_labels > 1):
        raise ValueError(
            f"Models for {problem_type} with {num_labels} outputs cannot be compared: there is no metric."
        )
    return problem_type


def choose_metrics(
    chosen: str | None, problem_type: str, label_names: Sequence[str], own: Sequence[Metric] = ()
) -> list[Metric]:
    """Return the default metrics, the user's own, and first the chosen one; for a regression it is `ERROR`."""
    known = [metric.name for metric in (*METRICS[problem_type], *own)]
    if chosen is not None and chosen not in known:
        raise ValueError(
            f"`metric_name` must be one of {', '.join(known)} for {problem_type}, got {chosen!r}. To use another "
            "metric, pass it in `metric_functions` (--metric_module)."
        )
    if chosen is None and problem_type == "regression":
        chosen = ERROR
    names = {chosen, *default_metrics(problem_type, label_names)}
    metrics = [*(metric for metric in METRICS[problem_type] if metric.name in names), *own]
    return sorted(metrics, key=lambda metric: metric.name != chosen)
