"""The results section of the model card, from the record alone: what training measured, on one seed."""

from collections.abc import Mapping
from typing import Any

from hf_distill.data.metrics import find_metric
from hf_distill.hub.card.words import as_text, describe_dataset, describe_machine
from hf_distill.reporting.statistics import wilson_interval
from hf_distill.reporting.tables import MODELS, markdown_table, results_table
from hf_distill.reporting.text import NOT_AVAILABLE, escape, finite


def results_section(record: Mapping[str, Any]) -> str:
    """Compare student, teacher and baseline; accuracies get an interval."""
    metrics, metric_name = record.get("metrics") or {}, record.get("metric_name")
    models = [model for model in MODELS if metrics.get(model)]
    dataset = record.get("dataset") or {}
    if not models:
        return "## Results\n\nNo evaluation was recorded."
    parts = [f"## Results\n\n{evaluated_on(dataset)}"]
    if metric_name:
        rows = [_row(record, model) for model in models]
        parts += [results_table(rows, metric_name, dataset.get("eval_rows")), _reading(record)]
    parts += _intervals(record, models)
    names = dict.fromkeys(name for model in models for name in metrics[model] if name != metric_name)
    others = [[name, *(score(metrics[model].get(name)) for model in models)] for name in names]
    if others:
        parts.append(markdown_table(["metric", *(MODELS[model] for model in models)], others))
    return "\n\n".join(parts)


def evaluated_on(dataset: Mapping[str, Any]) -> str:
    """One sentence on the rows behind the scores."""
    split = f", split {escape(dataset['eval_split'])}" if dataset.get("eval_split") else ""
    rows = f", {escape(as_text(dataset['eval_rows']))} rows" if dataset.get("eval_rows") is not None else ""
    return f"Evaluated on {describe_dataset(dataset)}{split}{rows}."


def score(value: Any) -> str:
    """Four digits, or n/a."""
    return NOT_AVAILABLE if finite(value) is None else f"{value:.4f}"


def _row(record: Mapping[str, Any], model: str) -> dict[str, Any]:
    described = record.get("teacher") if model == "teacher" else record["student"]
    latency = (record.get("latency") or {}).get(model) or {}
    return {
        **record["metrics"][model],
        "model": model,
        "num_parameters": (described or {}).get("num_parameters"),
        "p50_ms": latency.get("p50_ms"),
    }


def _reading(record: Mapping[str, Any]) -> str:
    text = (
        "Retention is the score divided by the teacher's. The baseline is the same student trained without the "
        "teacher, and gap closed is (student − baseline) / (teacher − baseline)."
    )
    if not record.get("latency"):
        return text
    machine = describe_machine(record.get("machine"))
    return f"{text} Latency is of one text in float32{f', on {machine}' if machine else ''}."


def _intervals(record: Mapping[str, Any], models: list[str]) -> list[str]:
    """Return the Wilson intervals of the accuracies, the scores that are shares of the rows."""
    num_rows = (record.get("dataset") or {}).get("eval_rows")
    intervals = []
    for model in models:
        accuracy = finite(_accuracy(record["metrics"][model]))
        if accuracy is not None and num_rows and 0 <= accuracy <= 1:
            low, high = wilson_interval(accuracy, num_rows)
            intervals.append(f"{MODELS[model]} {low:.4f} to {high:.4f}")
    if not intervals:
        return []
    return [
        f"95 % intervals of the accuracies, from the number of rows (Wilson, 1927): {', '.join(intervals)}. They do "
        "not test the differences; hf-distill compare does."
    ]


def _accuracy(scores: Mapping[str, Any]) -> Any:
    metrics = (find_metric(name) for name in scores)
    return next((scores[metric.name] for metric in metrics if metric is not None and metric.is_row_accuracy), None)
