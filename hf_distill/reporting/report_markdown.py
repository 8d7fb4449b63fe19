"""All tables and notes of a report as Markdown."""

from collections.abc import Mapping, Sequence
from typing import Any

from hf_distill.reporting.markdown import filled_table, markdown_table
from hf_distill.reporting.next_step import describe_next_step
from hf_distill.reporting.probabilities import describe_probabilities
from hf_distill.reporting.requirements import describe_result
from hf_distill.reporting.text import (
    NOT_AVAILABLE,
    PLAIN,
    bullets,
    deferral_cells,
    non_inferiority,
    number,
    one_line,
    text_length,
)
from hf_distill.reporting.weak_spots import describe_weak_spots

Models = Mapping[str, Mapping[str, Any]]


def render_markdown(report: Mapping[str, Any]) -> str:
    """Render a report as Markdown: the verdict, tables of quality, fidelity and cost, thresholds, and notes.

    Args:
        report: What `Report.to_dict` returns.
    """
    models, task = report["models"], report["task"]
    parts = [one_line(report["verdict"]["sentence"])]
    if (step := describe_next_step(report)) is not None:
        parts.append(f"Next step: {one_line(step)}")
    if (probabilities := describe_probabilities(report)) is not None:
        parts.append(one_line(probabilities))
    if checked := report.get("requirements"):
        lines = bullets(map(describe_result, checked["results"]))
        parts += [f"## Requirements on the {one_line(checked['model'])}", lines]
    if any(model["metrics"] for model in models.values()):
        parts += ["## Leaderboard", _leaderboard(report["leaderboard"], task["metric_name"])]
        parts += ["## Quality", _quality(models, task["metric_name"])]
        if len(task["metrics"]) > 1:
            parts.append(_metrics(models, task["metrics"]))
        parts.append(_lengths(models, task["metric_name"]))
    is_regression = task["problem_type"] == "regression"
    title, table = ("## Fidelity", _distances) if is_regression else ("## Fidelity and calibration", _fidelity)
    parts += [title, table(models)]
    parts += describe_weak_spots(report)
    if any(model["shifted"] for model in models.values()):
        parts += ["## Scores on the shifted dataset", _shifted(models, task["metric_name"])]
    parts += ["## Cost", _cost(models)]
    if thresholds := _thresholds(models):
        parts += ["## Handing uncertain texts to the teacher", thresholds]
    parts += ["## Notes", bullets(report["notes"])]
    return "\n\n".join(parts)


def _leaderboard(entries: Sequence[Mapping[str, Any]], metric: str) -> str:
    rows = [
        [
            entry["model"],
            PLAIN.estimated_score(entry, metric),
            entry["answer"] or NOT_AVAILABLE,
            number(entry["p50_ms"], ".2f"),
            number(entry["bytes_on_disk"], ",.1f", 1e-6),
        ]
        for entry in entries
    ]
    return filled_table(["model", metric, "can replace the teacher", "one text (ms)", "disk (MB)"], rows)


def _quality(models: Models, metric: str) -> str:
    rows, margin = [], NOT_AVAILABLE
    for name, model in models.items():
        versus = model["versus_teacher"]
        if versus:
            margin = PLAIN.margin(versus["margin"], metric)
        rows.append(
            [
                f"{name} (mean of {model['num_runs']} runs)" if model["num_runs"] > 1 else name,
                PLAIN.estimated_score(model["metrics"][metric], metric),
                PLAIN.estimate(model["retention"], PLAIN.share),
                PLAIN.gap_closed(model["gap_closed"]),
                _shipped_run(model) + _versus(versus, metric),
                non_inferiority(versus),
                _versus(model["versus_baseline"], metric),
            ]
        )
    header = [
        "model",
        metric,
        "retention",
        "gap closed",
        "difference to the teacher",
        f"within {margin}",
        "difference to the baseline",
    ]
    return filled_table(header, rows)


def _shipped_run(model: Mapping[str, Any]) -> str:
    """Return "run 2: " for a model of several runs, of which one is compared with the teacher; else ""."""
    is_one_of_several = model["num_runs"] > 1 and model["versus_teacher"] is not None
    return f"run {model['shipped_run'] + 1}: " if is_one_of_several else ""


def _versus(versus: Mapping[str, Any] | None, metric: str) -> str:
    if versus is None:
        return NOT_AVAILABLE
    interval = PLAIN.estimated_difference(versus, metric)
    return f"{interval.removesuffix(')')}; p = {versus['p_value']:.2g})"


def _metrics(models: Models, metrics: Sequence[str]) -> str:
    rows = [
        [
            name,
            *(PLAIN.estimated_score(model["metrics"][metric], metric) for metric in metrics),
            number(model["metrics"][metrics[0]]["std"], ".4f"),
        ]
        for name, model in models.items()
    ]
    return filled_table(["model", *metrics, f"std of {metrics[0]} over runs"], rows)


def _lengths(models: Models, metric: str) -> str:
    buckets = next(iter(models.values()))["by_length"]
    header = [metric, *(f"{b['low']} to {b['high']} {b['unit']} ({b['rows']:,} rows)" for b in buckets)]
    rows = [[name, *(PLAIN.score(b["value"], metric) for b in model["by_length"])] for name, model in models.items()]
    return filled_table(header, rows)


def _fidelity(models: Models) -> str:
    rows = []
    for name, model in models.items():
        fidelity, calibration = model["fidelity"] or {}, model["calibration"] or {}
        errors = [calibration.get(key) for key in ("ece_if_calibrated", "ece_scaled", "brier", "brier_scaled")]
        ece = {"value": None, "low": None, "high": None}
        if calibration:
            ece = {key: calibration[name] for key, name in zip(ece, ("ece", "ece_low", "ece_high"), strict=True)}
        rows.append(
            [
                name,
                PLAIN.estimate(fidelity.get("agreement"), PLAIN.share),
                number(fidelity.get("kl"), ".3f"),
                PLAIN.estimate(ece, PLAIN.decimal),
                *(number(error, ".3f") for error in errors),
                number(calibration.get("temperature"), ".2f"),
            ]
        )
    header = [
        "model",
        "agreement",
        "KL (nats)",
        "ECE",
        "ECE if calibrated",
        "ECE scaled",
        "Brier",
        "scaled",
        "temperature",
    ]
    return filled_table(header, rows)


def _distances(models: Models) -> str:
    """Return how far the outputs of each model are from the teacher's; for regression."""
    rows = []
    for name, model in models.items():
        fidelity = model["fidelity"] or {}
        rows.append([name, number(fidelity.get("rmse"), ".3f"), number(fidelity.get("pearson"), ".3f")])
    return markdown_table(["model", "difference (RMSE)", "correlation"], rows)


def _shifted(models: Models, metric: str) -> str:
    rows = [
        [
            name,
            PLAIN.estimated_score(model["shifted"]["metrics"][metric], metric),
            PLAIN.estimate(model["shifted"]["retention"], PLAIN.share),
        ]
        for name, model in models.items()
    ]
    return filled_table(["model", metric, "retention"], rows)


def _cost(models: Models) -> str:
    first = next(iter(models.values()))["cost"]
    header = ["model", "parameters (M)", "without embeddings", "disk (MB)", "GFLOPs", "memory (MB)"]
    header += [f"{e['device']} {text_length(e['tokens'])} p50 / p95 / p99 (ms)" for e in first["latency"]]
    header += [f"{e['device']} {text_length(e['tokens'])} (texts/s)" for e in first["throughput"]]
    rows = []
    for name, model in models.items():
        cost = model["cost"]
        times = {(e["device"], e["tokens"]): _times(e) for e in cost["latency"]}
        speeds = {(e["device"], e["tokens"]): f"{e['examples_per_second']:,.0f}" for e in cost["throughput"]}
        rows.append(
            [
                name,
                number(cost["num_parameters"], ",.1f", 1e-6),
                number(cost["num_parameters_without_embeddings"], ",.1f", 1e-6),
                number(cost["bytes_on_disk"], ",.1f", 1e-6),
                number(cost["flops_per_example"], ".3f", 1e-9),
                number(cost["peak_memory_bytes"], ",.0f", 1e-6),
                *(times.get((e["device"], e["tokens"]), NOT_AVAILABLE) for e in first["latency"]),
                *(speeds.get((e["device"], e["tokens"]), NOT_AVAILABLE) for e in first["throughput"]),
                number(cost["speedup"], ".2f"),
            ]
        )
    return filled_table([*header, "speedup"], rows)


def _times(entry: Mapping[str, Any]) -> str:
    return " / ".join(number(entry[key], ".2f") for key in ("p50_ms", "p95_ms", "p99_ms"))


def _thresholds(models: Models) -> str:
    rows = [
        [name, PLAIN.margin(g["loss"], "accuracy"), PLAIN.share(g["confidence"]), *deferral_cells(g, PLAIN)]
        for name, model in models.items()
        for g in (model["deferral"] or {"guarantees": []})["guarantees"]
    ]
    header = ["model", "loses at most", "confidence", "if the model is less sure than", "texts handed over"]
    return markdown_table(header, rows) if rows else ""
