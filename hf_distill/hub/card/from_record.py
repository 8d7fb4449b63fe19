"""The results section of the model card from the record alone: what training measured, with one seed."""

from collections.abc import Mapping
from typing import Any

from hf_distill.data.metrics import find_metric
from hf_distill.hub.card.words import ABOUT_GAP, ABOUT_RETENTION, as_text, describe_evaluation
from hf_distill.reporting.history import history_table
from hf_distill.reporting.markdown import markdown_table
from hf_distill.reporting.probabilities import describe_cross_entropy
from hf_distill.reporting.statistics import wilson_interval
from hf_distill.reporting.tables import MODELS, TEACHER_MEASURES, results_table
from hf_distill.reporting.text import BUSY, describe_machine, escape, finite, is_error, number


def results_section(record: Mapping[str, Any]) -> str:
    """Return the comparison of student, teacher and baseline, with an interval for accuracies."""
    metrics, metric_name = record.get("metrics") or {}, record.get("metric_name")
    models = [model for model in MODELS if metrics.get(model)]
    if not models:
        return "## Results\n\nNo evaluation was recorded."
    data = evaluation_data(record.get("dataset"))
    parts = ["## Results", f"Evaluated on {data}." if data else "Evaluation data: not recorded."]
    if metric_name:
        rows = [_row(record, model) for model in models]
        num_rows = (record.get("dataset") or {}).get("eval_rows")
        parts += [results_table(rows, metric_name, num_rows), _explanation(record, metric_name)]
        parts += [describe_cross_entropy(record) or "", history_table(record)]
    parts += _test_scores(record)
    parts += _intervals(record, models)
    names = dict.fromkeys(name for model in models for name in metrics[model] if name != metric_name)
    others = [[name, *(number(metrics[model].get(name), ".4f") for model in models)] for name in names]
    if others:
        parts.append(markdown_table(["metric", *(MODELS[model] for model in models)], others))
    return "\n\n".join(filter(None, parts))


def _test_scores(record: Mapping[str, Any]) -> list[str]:
    """Return a sentence with the scores on test rows, which took no part in training."""
    test, name = record.get("test"), record.get("metric_name")
    if not test or not name:
        return []
    scores = [f"{MODELS[model]} {number(test[model].get(name), '.4f')}" for model in MODELS if test.get(model)]
    return [f"On rows that took no part in training ({test_data(record)}), {escape(name)}: {', '.join(scores)}."]


def test_data(record: Mapping[str, Any]) -> str | None:
    """Return the files and the number of the test rows, escaped; None if there are none."""
    test = record.get("test")
    dataset = record.get("dataset") or {}
    return evaluation_data({**dataset, "eval_split": "test", "eval_rows": test["rows"]}) if test else None


def evaluation_data(dataset: Mapping[str, Any] | None) -> str | None:
    """Return the files or the split behind the scores, and the number of rows, escaped; None if not recorded."""
    if not dataset:
        return None
    rows = f", {escape(as_text(dataset['eval_rows']))} rows" if dataset.get("eval_rows") is not None else ""
    return f"{describe_evaluation(dataset)}{rows}"


def _row(record: Mapping[str, Any], model: str) -> dict[str, Any]:
    description = record.get("teacher") if model == "teacher" else record["student"]
    latency = (record.get("latency") or {}).get(model) or {}
    return {
        **record["metrics"][model],
        "model": model,
        "num_parameters": (description or {}).get("num_parameters"),
        "p50_ms": latency.get("p50_ms"),
    }


def _explanation(record: Mapping[str, Any], metric_name: str) -> str:
    text = ""
    if metric_name not in TEACHER_MEASURES:
        has_retention = record["metrics"].get("teacher") and not is_error(metric_name)
        text = f"{ABOUT_RETENTION} {ABOUT_GAP}" if has_retention else ABOUT_GAP
    if not record.get("latency"):
        return text
    machine = escape(describe_machine(record.get("machine")))
    latency = f"Latency is the time for one text in float32{f', on {machine}' if machine else ''}."
    busy = f" {BUSY}" if (record.get("machine") or {}).get("is_busy") else ""
    return f"{text} {latency}{busy}".strip()


def _intervals(record: Mapping[str, Any], models: list[str]) -> list[str]:
    """Return the Wilson intervals of the metric that is a share of the rows, accuracy for instance."""
    num_rows = (record.get("dataset") or {}).get("eval_rows")
    metric, intervals = None, []
    for model in models:
        scores = record["metrics"][model]
        metric = metric or _row_accuracy(scores)
        accuracy = finite(scores.get(metric))
        if accuracy is not None and num_rows and 0 <= accuracy <= 1:
            low, high = wilson_interval(accuracy, num_rows)
            intervals.append(f"{MODELS[model]} {low:.4f} to {high:.4f}")
    if not intervals:
        return []
    return [
        f"95 % intervals of {metric}, from the number of rows (Wilson, 1927): {', '.join(intervals)}. They do not "
        "test the differences; hf-distill compare does, and gives the other metrics an interval."
    ]


def _row_accuracy(scores: Mapping[str, Any]) -> str | None:
    metrics = (find_metric(name) for name in scores)
    return next((metric.name for metric in metrics if metric is not None and metric.is_row_accuracy), None)
