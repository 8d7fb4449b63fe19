"""The leaderboard of a report: all models sorted by the metric that decides, with what they cost."""

from collections.abc import Mapping
from typing import Any

from hf_distill.reporting.comparison.candidates import Models, candidates, judge
from hf_distill.reporting.text import finite, is_error


def make_leaderboard(models: Models, task: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return one entry for each model, the best score first; an empty list if no row has a label.

    Args:
        models: The models of the report.
        task: The task of the report.

    Returns:
        Entries of `model`, `value`, `low` and `high` (the score: a mean over runs, with its interval), `answer` (yes,
        no or not shown; None for teacher and baseline), `p50_ms` (the median time for one text on the first device, or
        None), `bytes_on_disk` and `num_parameters`. Undefined scores come last; of equal scores the smaller model
        comes first.
    """
    names = candidates(models)
    entries = [
        {
            "model": name,
            **{key: model["metrics"][task["metric_name"]][key] for key in ("value", "low", "high")},
            "answer": judge(models, name, task)[0] if name in names else None,
            "p50_ms": model["cost"]["latency"][0]["p50_ms"] if model["cost"]["latency"] else None,
            "bytes_on_disk": model["cost"]["bytes_on_disk"],
            "num_parameters": model["cost"]["num_parameters"],
        }
        for name, model in models.items()
        if model["metrics"]
    ]
    sign = 1.0 if is_error(task["metric_name"]) else -1.0
    return sorted(entries, key=lambda entry: _place(entry, sign))


def _place(entry: Mapping[str, Any], sign: float) -> tuple[bool, float, float]:
    value = finite(float(entry["value"]))
    return value is None, sign * (value or 0.0), entry["bytes_on_disk"] or float("inf")
