"""Metrics of the user: a function of predictions and references, or a module of the `evaluate` library."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from hf_distill.data.metrics import METRICS, Metric
from hf_distill.reporting.requirements import MEASURES
from hf_distill.reporting.text import is_error

MetricFunction = Callable[[Any, Any], float]


def read_metric_functions(functions: Mapping[str, MetricFunction], problem_type: str) -> list[Metric]:
    """Return functions as metrics. Higher is better; scores are shown as plain numbers.

    Args:
        functions: Name -> function of predictions and references, in this order; see [`Metric`] for their form.
        problem_type: The problem type of the models.

    Raises:
        ValueError: for the name of a metric or another number that the report has, or of an error.
        TypeError: for a value that is not a function.
    """
    known = {*(metric.name for metric in METRICS[problem_type]), *MEASURES}
    for name, function in functions.items():
        if name in known:
            raise ValueError(f"The report already has a number {name!r}. Give your function another name.")
        if is_error(name):
            raise ValueError(
                f"{name!r} is the name of an error, and a higher value of your function must be better. Give your "
                "function another name."
            )
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


def module_file(path: str) -> Path:
    """Return the file of a module of the `evaluate` library: `name/name.py` for the folder `name`, or the file."""
    return Path(path) if path.endswith(".py") else Path(path, f"{Path(path).resolve().name}.py")


def load_metric_modules(paths: Sequence[str]) -> dict[str, MetricFunction]:
    """Load modules of the `evaluate` library from local folders; this runs their code.

    Args:
        paths: Folders `name` that have a file `name.py`, or these files.

    Returns:
        `name` -> function of predictions and references.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if two modules have the same name, or a package that a module imports is not installed.
    """
    functions: dict[str, MetricFunction] = {}
    for path in paths:
        file = module_file(path)
        if not file.is_file():
            raise FileNotFoundError(f"There is no module of `evaluate` at {path}: {file} does not exist.")
        if file.stem in functions:
            raise ValueError(f"Two modules of `evaluate` have the name {file.stem!r}. Rename one of them.")
        functions[file.stem] = _load_module(file)
    return functions


def _load_module(file: Path) -> MetricFunction:
    import evaluate  # slow to import

    name = file.stem
    try:
        module = evaluate.load(str(file.resolve()))
    except ImportError as error:
        raise ValueError(f"The module {name!r} of `evaluate` cannot be loaded: {error}") from error

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
