"""Requirements on a model in one line each, such as `accuracy >= 0.98 * teacher` or `recall[fraud] >= 0.9`."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hf_distill.data.metrics import METRICS
from hf_distill.reporting.certainty import Interval, describe_certainty
from hf_distill.reporting.statistics import wilson_interval
from hf_distill.reporting.text import is_error
from hf_distill.utils.near_misses import did_you_mean

_LINE = re.compile(
    r"(?P<name>\w+)\s*(?:\[(?P<label>.+)\])?\s*(?P<sign>>=|<=|>|<)\s*"
    r"(?:(?P<number>[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)(?P<relative>\s*\*\s*teacher)?|(?P<teacher>teacher))"
)
_SIGNS: dict[str, Callable[[float, float], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
}
_OF_CLASS = ("recall", "precision", "f1")
Model = Mapping[str, Any]


def _latency(key: str) -> Callable[[Model], Any]:
    return lambda model: model["cost"]["latency"][0][key] if model["cost"]["latency"] else None


# Name -> where a report has the number of a model.
MEASURES: dict[str, Callable[[Model], Any]] = {
    "agreement": lambda model: (model["fidelity"]["agreement"] or {}).get("value") if model["fidelity"] else 1.0,
    "ece": lambda model: (model["calibration"] or {}).get("ece"),
    "latency_p50_ms": _latency("p50_ms"),
    "latency_p95_ms": _latency("p95_ms"),
    "latency_p99_ms": _latency("p99_ms"),
    "num_parameters": lambda model: model["cost"]["num_parameters"],
    "size_mb": lambda model: None if model["cost"]["bytes_on_disk"] is None else model["cost"]["bytes_on_disk"] / 1e6,
}
_OF_DECISIONS = ("agreement", "ece")  # a regression makes none
_SHARES = (*_OF_DECISIONS, *_OF_CLASS)
TIMES = ("latency_p50_ms", "latency_p95_ms", "latency_p99_ms")


@dataclass(frozen=True)
class Requirement:
    """A bound on one number of a model.

    Attributes:
        text: The requirement as it was written.
        name: A metric (accuracy), `recall`, `precision` or `f1` of a class, `agreement`, `ece`, `latency_p50_ms`,
            `latency_p95_ms` or `latency_p99_ms` of one evaluation text on the first device of the report,
            `num_parameters`, `size_mb` (10^6 bytes).
        label: The class, for `recall[label]`.
        sign: One of >=, <=, > and <.
        factor: The bound, or what the teacher's number is multiplied with.
        is_relative: Whether the bound is a multiple of the teacher's number.
    """

    text: str
    name: str
    label: str | None
    sign: str
    factor: float
    is_relative: bool

    def check(self, report: Mapping[str, Any], model: str) -> dict[str, Any]:
        """Compare a model of a report with the bound.

        Args:
            report: The content of a report.
            model: Name of the model.

        Returns:
            `text`, `is_met`, the model's `value`, the `bound`, and a `reason` if a number is missing, which counts as
            not met; how certain the answer is: `interval`, `certainty` and `more_rows`, see
            [`~hf_distill.reporting.certainty.Interval.compare`]. They are None for numbers without an interval.
        """
        models = report["models"]
        value = self._value(models[model], report)
        bound = self.factor
        if self.is_relative:
            of_teacher = self._value(next(iter(models.values())), report)
            bound = float("nan") if of_teacher is None else self.factor * of_teacher
        result = {"text": self.text, "value": value, "bound": bound, "is_met": False, "reason": None}
        result |= {"interval": None, "certainty": None, "more_rows": None}
        if value is None or bound != bound:
            return {**result, "reason": f"the report has no {self.name} for it"}
        if self.name in TIMES and report["machine"]["is_busy"]:
            return {**result, "reason": "the machine was busy, so times are unreliable"}
        is_met, interval = _SIGNS[self.sign](value, bound), self._interval(models[model], report)
        return {**result, "is_met": is_met, **(interval.compare(value, bound, is_met) if interval else {})}

    def _interval(self, model: Model, report: Mapping[str, Any]) -> Interval | None:
        """Return the interval of the model's number; relative to the teacher, as if the teacher's were known."""
        task, level, num_rows = report["task"], report["task"]["confidence_level"], report["task"]["rows"]
        if self.label is not None:
            (entry,) = (entry for entry in model["by_class"] if entry["label"] == self.label)
            is_share_of_rows = self.name == "recall" and model["num_runs"] == 1 and entry["rows"] > 0
            if self.is_relative or not is_share_of_rows or task["groups"]:
                return None
            return Interval(*wilson_interval(entry["recall"], entry["rows"], level), entry["rows"], level)
        if self.name == "agreement":
            estimate = model["fidelity"] and model["fidelity"]["agreement"]
            num_rows += task["unlabelled_rows"] if model["metrics"] else 0
        elif self.name not in model["metrics"]:
            return None
        elif self.is_relative:
            estimate = self._interval_by_difference(model, report)
        else:
            estimate = model["metrics"][self.name] if model["num_runs"] == 1 else None
        if estimate is None or estimate["low"] is None or estimate["high"] is None:
            return None
        return Interval(estimate["low"], estimate["high"], num_rows, level)

    def _interval_by_difference(self, model: Model, report: Mapping[str, Any]) -> Mapping[str, float] | None:
        """Return the interval of the paired difference to the teacher, at the teacher's score."""
        versus = model["versus_teacher"]
        if versus is None or self.name != report["task"]["metric_name"]:
            return None
        of_teacher = self._value(next(iter(report["models"].values())), report)
        if of_teacher is None:
            return None
        if is_error(self.name):  # the difference is the teacher's error minus the model's
            return {"low": of_teacher - versus["high"], "high": of_teacher - versus["low"]}
        return {"low": of_teacher + versus["low"], "high": of_teacher + versus["high"]}

    def _value(self, model: Model, report: Mapping[str, Any]) -> float | None:
        if self.label is not None:
            classes = {entry["label"]: entry for entry in model["by_class"] or []}
            if self.label not in classes:
                raise ValueError(f"`{self.text}`: {_no_class(self.label, list(classes))}")
            return classes[self.label][self.name]
        if self.name in MEASURES:
            return MEASURES[self.name](model)
        estimate = model["metrics"].get(self.name)
        return None if estimate is None else estimate["runs"][model["shipped_run"]]


def parse_requirement(text: str, own_metrics: Sequence[str] = (), problem_type: str | None = None) -> Requirement:
    """Parse `NAME SIGN BOUND`: `accuracy >= 0.98 * teacher`, `recall[fraud] >= 0.9`, `latency_p95_ms <= 5`.

    Args:
        text: The requirement.
        own_metrics: Names of the user's own metrics, which a requirement can bound too.
        problem_type: Only its numbers can be bounded; those of every type if it is None, or a type without metrics.

    Raises:
        ValueError: for a line of another form, or a name that reports of this problem type do not have.
    """
    match = _LINE.fullmatch(text.strip())
    if match is None:
        raise ValueError(
            "A requirement has the form NAME SIGN BOUND, such as `accuracy >= 0.98 * teacher` or "
            f"`recall[fraud] >= 0.9`, got {text!r}."
        )
    name, label = match["name"], match["label"]
    known = list(_OF_CLASS) if label is not None else _numbers(own_metrics, problem_type)
    if name not in known:
        of_class = " of a class" if label is not None else ""
        raise ValueError(
            f"`{text}`: there is no number {name!r}{of_class}.{did_you_mean(name, known)} There are "
            f"{', '.join(known)}."
        )
    is_relative = match["relative"] is not None or match["teacher"] is not None
    factor = 1.0 if match["teacher"] is not None else float(match["number"])
    shares = {*(metric.name for of_type in METRICS.values() for metric in of_type if metric.is_share), *_SHARES}
    if name in shares and not is_relative and not 0 <= factor <= 1:
        raise ValueError(f"`{text}`: {name} is a share from 0 to 1, got {factor:g}. Write 0.95 for 95 %.")
    return Requirement(text.strip(), name, label, match["sign"], factor, is_relative)


def _numbers(own_metrics: Sequence[str], problem_type: str | None) -> list[str]:
    """Return what a requirement can bound."""
    types = [problem_type] if problem_type in METRICS else METRICS
    metrics = [metric.name for each in types for metric in METRICS[each]]
    measures = [name for name in MEASURES if problem_type != "regression" or name not in _OF_DECISIONS]
    return list(dict.fromkeys([*metrics, *own_metrics, *measures]))


def check_labels(requirements: Sequence[Requirement], labels: Sequence[str] | None) -> None:
    """Check that the classes of requirements exist.

    Raises:
        ValueError: for a class that does not exist.
    """
    for requirement in requirements:
        if requirement.label is not None and requirement.label not in (labels or []):
            raise ValueError(f"`{requirement.text}`: {_no_class(requirement.label, labels or [])}")


def _no_class(label: str, labels: Sequence[str]) -> str:
    suggestion = did_you_mean(label, labels)
    return f"there is no class {label!r}.{suggestion} The classes are {', '.join(labels) or 'none'}."


def describe_result(result: Mapping[str, Any]) -> str:
    """Return one line on a requirement: whether it is met, the value and the bound, and whether rows are too few."""
    answer = "met" if result["is_met"] else "not met"
    if result["reason"]:
        return f"{answer}: {result['text']} ({result['reason']})"
    measured = f"{answer}: {result['text']} (measured {result['value']:.4g}, bound {result['bound']:.4g})"
    return "; ".join(filter(None, [measured, describe_certainty(result)]))
