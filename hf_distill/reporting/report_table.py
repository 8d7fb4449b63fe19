"""A report as text: aligned in a terminal, and Markdown elsewhere."""

from collections.abc import Mapping, Sequence
from typing import Any

from hf_distill.reporting.table import NOT_AVAILABLE, markdown_table, one_line
from hf_distill.reporting.wording import estimate, number, points, score, share, with_unit


def render_markdown(report: Mapping[str, Any]) -> str:
    """Render what `Report.to_dict` returns: the verdict, tables of quality, fidelity and cost, thresholds, notes."""
    models = report["models"]
    parts = [one_line(report["verdict"]["sentence"])]
    if any(model["metrics"] for model in models.values()):
        parts += ["## Quality", _quality(models, report["task"])]
        if len(report["task"]["metrics"]) > 1:
            parts.append(_metrics(models, report["task"]["metrics"]))
        parts.append(_lengths(models, report["task"]["metric_name"]))
    parts += ["## Fidelity and calibration", _fidelity(models)]
    if any(model["shifted"] for model in models.values()):
        parts += ["## On the shifted rows", _shifted(models, report["task"]["metric_name"])]
    parts += ["## Cost", _cost(models)]
    if deferral := _deferral(models, report["task"]["metric_name"]):
        parts += ["## Handing unsure texts up to the teacher", deferral]
    parts += ["## Notes", "\n".join(f"- {one_line(note)}" for note in report["notes"])]
    return "\n\n".join(parts)


def _quality(models: Mapping[str, Any], task: Mapping[str, Any]) -> str:
    metric = task["metric_name"]
    rows, margin = [], NOT_AVAILABLE
    for name, model in models.items():
        versus = model["versus_teacher"]
        within = NOT_AVAILABLE
        if versus:
            margin, within = with_unit(versus["margin"], metric), _within(versus)
        rows.append(
            [
                f"{name} (mean of {model['num_runs']} runs)" if model["num_runs"] > 1 else name,
                estimate(model["metrics"][metric], metric),
                estimate(model["retention"], "retention"),
                estimate(model["gap_closed"], "gap closed"),
                _versus(versus, metric),
                within,
                _versus(model["versus_baseline"], metric),
            ]
        )
    header = ["model", metric, "retention", "gap closed", "to the teacher", f"within {margin}", "to the baseline"]
    return markdown_table(header, rows)


def _within(versus: Mapping[str, Any]) -> str:
    if versus["non_inferior"]:
        return "yes"
    return "no" if versus["high"] < -versus["margin"] else "not shown"


def _versus(versus: Mapping[str, Any] | None, metric: str) -> str:
    if versus is None:
        return NOT_AVAILABLE
    difference, low, high = (points(versus[name], metric, "+") for name in ("difference", "low", "high"))
    return f"{difference} ({low} to {high}; p = {versus['p_value']:.2g})"


def _metrics(models: Mapping[str, Any], metrics: Sequence[str]) -> str:
    header = ["model", *metrics, "spread over runs (std)"]
    return markdown_table(
        header,
        [
            [
                name,
                *(estimate(model["metrics"][metric], metric) for metric in metrics),
                number(model["metrics"][metrics[0]]["std"], ".4f"),
            ]
            for name, model in models.items()
        ],
    )


def _lengths(models: Mapping[str, Any], metric: str) -> str:
    first = next(iter(models.values()))["by_length"]
    header = [metric, *(f"{of['low']} to {of['high']} {of['unit']} ({of['rows']:,})" for of in first)]
    return markdown_table(
        header, [[name, *(score(of["value"], metric) for of in model["by_length"])] for name, model in models.items()]
    )


def _fidelity(models: Mapping[str, Any]) -> str:
    rows = []
    for name, model in models.items():
        of_teacher, calibration = model["fidelity"] or {}, model["calibration"] or {}
        figures = [calibration.get(key) for key in ("ece", "ece_scaled", "brier", "brier_scaled", "temperature")]
        rows.append(
            [
                name,
                estimate(of_teacher.get("agreement"), "agreement"),
                number(of_teacher.get("kl"), ".3f"),
                *(number(figure, ".3f") for figure in figures[:4]),
                number(figures[4], ".2f"),
            ]
        )
    header = ["model", "agreement", "KL (nats)", "ECE", "scaled", "Brier", "scaled", "temperature"]
    return markdown_table(header, rows)


def _shifted(models: Mapping[str, Any], metric: str) -> str:
    return markdown_table(
        ["model", metric, "retention"],
        [
            [name, estimate(model["shifted"]["metrics"][metric], metric), estimate(model["shifted"]["retention"], "")]
            for name, model in models.items()
        ],
    )


def _cost(models: Mapping[str, Any]) -> str:
    first = next(iter(models.values()))["cost"]
    header = ["model", "parameters (M)", "without embeddings", "disk (MB)", "GFLOPs", "memory (MB)"]
    header += [f"{of['device']} {of['tokens']} tokens p50 / p95 (ms)" for of in first["latency"]]
    header += [f"{of['device']} {of['tokens']} tokens (texts/s)" for of in first["throughput"]]
    rows = []
    for name, model in models.items():
        cost = model["cost"]
        found = {(of["device"], of["tokens"]): f"{of['p50_ms']:.2f} / {of['p95_ms']:.2f}" for of in cost["latency"]}
        speeds = {(of["device"], of["tokens"]): f"{of['examples_per_second']:,.0f}" for of in cost["throughput"]}
        rows.append(
            [
                name,
                number(cost["num_parameters"], ",.1f", 1e-6),
                number(cost["num_parameters_without_embeddings"], ",.1f", 1e-6),
                number(cost["bytes_on_disk"], ",.1f", 1e-6),
                number(cost["flops_per_example"], ".3f", 1e-9),
                number(cost["peak_memory_bytes"], ",.0f", 1e-6),
                *(found.get((of["device"], of["tokens"]), NOT_AVAILABLE) for of in first["latency"]),
                *(speeds.get((of["device"], of["tokens"]), NOT_AVAILABLE) for of in first["throughput"]),
                number(cost["speedup"], ".2f"),
            ]
        )
    return markdown_table([*header, "times as fast"], rows)


def _deferral(models: Mapping[str, Any], metric: str) -> str:
    rows = [
        [name, score(of["wanted"], metric), share(of["share"]), number(of["threshold"], ".4f")]
        for name, model in models.items()
        for of in (model["deferral"] or {"thresholds": []})["thresholds"]
    ]
    return (
        markdown_table(["model", f"{metric} wanted", "texts handed up", "when less sure than"], rows) if rows else ""
    )
