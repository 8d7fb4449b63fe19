"""The metrics of `METRICS` as a module of the `evaluate` library, without the Hub."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from hf_distill.data.compute_metrics import known_metrics, score_by_name
from hf_distill.data.metrics import METRICS

if TYPE_CHECKING:
    import evaluate


@functools.cache
def _module_class() -> type[evaluate.Metric]:
    import evaluate  # slow to import
    from datasets import Features, List, Value

    class OfflineMetric(evaluate.Metric):
        """Computes several metrics of one problem type from one pair of predictions and references."""

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
            # `evaluate` makes a folder in the home directory even with `keep_in_memory`; it can be read-only.
            return ""

        def _compute(self, *, predictions: Any, references: Any, num_labels: int | None = None) -> dict[str, float]:
            if self.problem_type != "token_classification":
                predictions, references = np.asarray(predictions), np.asarray(references)
            if num_labels is None and self.problem_type == "single_label_classification":
                num_labels = max(2, 1 + int(max(predictions.max(), references.max())))
            return score_by_name(self.names, self.problem_type, predictions, references, num_labels or 0)

    return OfflineMetric


def load_metric(names: Sequence[str]) -> evaluate.EvaluationModule:
    """Return one module that computes several of our metrics: `evaluate.load` without the Hub.

    Its `compute(predictions=..., references=...)` takes what [`Metric`] describes as predictions and references. An
    optional `num_labels` tells `f1` the number of classes; if it is missing, the largest class id decides.

    Args:
        names: Names of metrics of one problem type in `METRICS`.

    Raises:
        ValueError: if no problem type has all of them.
    """
    for problem_type, metrics in METRICS.items():
        if names and set(names) <= {metric.name for metric in metrics}:
            return _module_class()(tuple(names), problem_type)
    raise ValueError(f"No metric computes {list(names)} together. Take names from one of: {known_metrics()}.")
