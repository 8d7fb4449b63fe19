"""The results section of the model card from `report.json`, which `hf-distill compare` writes: scores with intervals.

A null in the report does not apply to the task. It is shown as n/a, or its table is left out.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from hf_distill.hub.card.words import ABOUT_GAP, ABOUT_RETENTION, as_text
from hf_distill.reporting.markdown import markdown_table
from hf_distill.reporting.probabilities import describe_probabilities
from hf_distill.reporting.text import (
    BUSY,
    NOT_AVAILABLE,
    PLAIN,
    describe_machine,
    escape,
    finite,
    is_error,
    non_inferiority,
    number,
    text_length,
)

_Models = Mapping[str, Mapping[str, Any]]


def report_section(report: Mapping[str, Any]) -> str:
    """Return the verdict, and the scores, tests, calibration and cost of every model of the report."""
    task, models = report["task"], report["models"]
    level = f"{100 * task['confidence_level']:g} %"
    parts = [
        "## Results",
        escape(report["verdict"]["sentence"]),
        escape(describe_probabilities(report) or ""),
        f"Measured on {as_text(task['rows'])} rows of {escape(task['name'])} on {escape(as_text(report['created']))}. "
        f"The {level} intervals in parentheses come from {as_text(task['num_resamples'])} bootstrap resamples.",
        _scores(task, models),
        f"{ABOUT_RETENTION} {ABOUT_GAP}",
        "\n".join(f"- {line}" for line in (*_tests(models, task["metric_name"]), *_gaps(models), *_seeds(models))),
        _calibration(models),
        _cost(models, report.get("machine")),
        "\n".join(f"- {escape(note)}" for note in report.get("notes") or []),
    ]
    return "\n\n".join(part for part in parts if part)


def report_data(report: Mapping[str, Any]) -> str:
    """Return the name and the number of the rows of the report, escaped."""
    return f"{escape(report['task']['name'])}, {as_text(report['task']['rows'])} rows"


def _scores(task: Mapping[str, Any], models: _Models) -> str:
    names, score = task["metrics"], PLAIN.estimated_score
    rows = [[name, *(score((m.get("metrics") or {}).get(name), name) for m in models.values())] for name in names]
    rows += [["retention", *(PLAIN.estimate(m.get("retention"), PLAIN.share) for m in models.values())]]
    rows += [["gap closed", *(PLAIN.gap_closed(m.get("gap_closed")) for m in models.values())]]
    agreements = [(m.get("fidelity") or {}).get("agreement") for m in models.values()]
    rows += [["agreement", *(PLAIN.estimate(agreement, PLAIN.share) for agreement in agreements)]]
    shifted = [(m.get("shifted") or {}).get("metrics") or {} for m in models.values()]
    rows += [[f"{name}, shifted data", *(score(metrics.get(name), name) for metrics in shifted)] for name in names]
    rows = [row for row in rows if set(row[1:]) != {NOT_AVAILABLE}]
    return markdown_table(["metric", *models], rows)


def _tests(models: _Models, metric: str) -> list[str]:
    lines = []
    for name, model in models.items():
        for other in ("teacher", "baseline"):
            test = model.get(f"versus_{other}")
            if not test or finite(test.get("difference")) is None:
                continue
            difference = escape(PLAIN.estimated_difference(test, metric))
            line = f"{escape(name)} {'gain over' if is_error(metric) else 'minus'} the {other}: {difference}"
            if finite(test.get("p_value")) is not None:
                line += f", p = {test['p_value']:.3g} ({escape(as_text(test.get('test')))})"
            if (answer := non_inferiority(test)) != NOT_AVAILABLE:
                line += f"; at most {PLAIN.margin(test['margin'], metric)} worse: {answer}"
            lines.append(line + ".")
    return lines


def _gaps(models: _Models) -> list[str]:
    notes = {name: model.get("gap_closed_note") for name, model in models.items()}
    return [f"{escape(name)}, gap closed: {escape(as_text(note))}" for name, note in notes.items() if note]


def _seeds(models: _Models) -> list[str]:
    lines = []
    trained = {name: model for name, model in models.items() if model.get("role") in ("student", "baseline")}
    if single := [escape(name) for name, model in trained.items() if model.get("num_runs") == 1]:
        lines.append(f"{', '.join(single)}: a single run; another seed would give different scores.")
    for name, model in models.items():
        if (runs := model.get("num_runs") or 1) > 1:
            deviations = {metric: values.get("std") for metric, values in (model.get("metrics") or {}).items()}
            numbers = ", ".join(
                f"{escape(metric)} {NOT_AVAILABLE if finite(std) is None else PLAIN.margin(std, metric)}"
                for metric, std in deviations.items()
            )
            lines.append(f"{escape(name)}: means of {runs} runs; standard deviations: {numbers}.")
    return lines


def _calibration(models: _Models) -> str:
    calibrations = {name: c for name, model in models.items() if (c := model.get("calibration"))}
    if not calibrations:
        return ""
    names = (("expected calibration error", "ece"), ("Brier score", "brier"), ("negative log-likelihood", "nll"))
    rows = [
        [
            words,
            *(f"{number(c.get(key), '.4f')} → {number(c.get(f'{key}_scaled'), '.4f')}" for c in calibrations.values()),
        ]
        for words, key in names
    ]
    rows.append(["temperature", *(number(c.get("temperature"), ".2f") for c in calibrations.values())])
    return "### Calibration\n\nBefore → after temperature scaling.\n\n" + markdown_table(["", *calibrations], rows)


def _cost(models: _Models, machine: Mapping[str, Any] | None) -> str:
    costs = {name: c for name, model in models.items() if (c := model.get("cost"))}
    if not costs:
        return ""
    rows = [
        ["parameters (M)", *(number(c.get("num_parameters"), ",.2f", 1e-6) for c in costs.values())],
        ["size on disk (MB)", *(number(c.get("bytes_on_disk"), ",.2f", 1e-6) for c in costs.values())],
        *_timings(costs, "latency", "batch {batch_size}, p50 / p95 (ms)", ("p50_ms", "p95_ms")),
        *_timings(costs, "throughput", "batch {batch_size}, texts per second", ("examples_per_second",)),
        ["speedup over the teacher", *(number(c.get("speedup"), ",.2f") for c in costs.values())],
    ]
    machine_name = escape(describe_machine(machine))
    measured_on = f"Measured on {machine_name}." if machine_name else ""
    if (machine or {}).get("is_busy"):
        measured_on += f" {BUSY}"
    return f"### Cost\n\n{measured_on}\n\n{markdown_table(['', *costs], rows)}"


def _timings(costs: _Models, kind: str, words: str, values: Sequence[str]) -> list[list[str]]:
    """Return one row for each device, length and batch size that was timed."""
    keys = ("device", "tokens", "batch_size")
    timed = {name: {tuple(t[key] for key in keys): t for t in cost.get(kind) or []} for name, cost in costs.items()}
    rows = []
    for setting in dict.fromkeys(setting for timings in timed.values() for setting in timings):
        device, tokens, batch_size = setting
        cells = [
            " / ".join(number(timings.get(setting, {}).get(value), ",.2f") for value in values)
            for timings in timed.values()
        ]
        rows.append([f"{kind}, {device}, {text_length(tokens)}, {words.format(batch_size=batch_size)}", *cells])
    return rows
