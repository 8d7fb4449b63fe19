"""Metrics of the user: a function of predictions and references, or a module of the `evaluate` library."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from hf_distill.data.metrics import METRICS, Metric

MetricFunction = Callable[[Any, Any], float]


def read_metric_functions(functions: Mapping[str, MetricFunction], problem_type: str) -> list[Metric]:
    """Return functions as metrics. Higher is better; scores are shown as plain numbers.

    Args:
        functions: Name -> function of predictions and references, in this order; see [`Metric`] for their form.
        problem_type: The problem type of the models.

    Raises:
        ValueError: for the name of a metric that exists.
        TypeError: for a value that is not a function.
    """
    known = {metric.name for metric in METRICS[problem_type]}
    for name, function in functions.items():
        if name in known:
            raise ValueError(f"The report already has a metric {name!r}. Give your function another name.")
        if not callable(function):
            raise TypeError(
                f"`metric_functions[{name!r}]` must be a function of predictions and references, got "
                f"{type(function).__name__}."
            )
    return [_as_metric(name, function) for name, function in functions.items()]


def _as_metric(name: str, function: MetricFunction) -> Metric:
    def score(predictions: Any, references: Any, num_labels: int) -> float:
        return float(function(predictions, references))

    return Metric(name, score, lowest=-math.inf, highest=math.inf, is_share=False, on_card=False)


def load_metric_modules(paths: Sequence[str]) -> dict[str, MetricFunction]:
    """Load modules of the `evaluate` library from local folders; this runs their code.

    Args:
        paths: Folders `name` that have a file `name.py`, or these files.

    Returns:
        `name` -> function of predictions and references.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if two modules have the same name.
    """
    functions: dict[str, MetricFunction] = {}
    for path in map(Path, paths):
        file = path if path.suffix == ".py" else path / f"{path.resolve().name}.py"
        if not file.is_file():
            raise FileNotFoundError(f"There is no module of `evaluate` at {path}: {file} does not exist.")
        if file.stem in functions:
            raise ValueError(f"Two modules of `evaluate` have the name {file.stem!r}. Rename one of them.")
        functions[file.stem] = _load_module(file)
    return functions


def _load_module(file: Path) -> MetricFunction:
    import evaluate  # slow to import

    module, name = evaluate.load(str(file.resolve())), file.stem

    def score(predictions: Any, references: Any) -> float:
        result = module.compute(predictions=predictions, references=references) or {}
        value = result.get(name, next(iter(result.values())) if len(result) == 1 else None)
        if value is None:
            raise ValueError(
                f"The module {name!r} returns {', '.join(result) or 'nothing'}. It must return one number, or "
                f"one with the name {name!r}."
            )
        return float(value)

    return score
