"""The results section of the model card from `report.json`, which `hf-distill compare` writes: scores with intervals.

A value that the report has as null does not apply to the task; it is shown as n/a, or its table is left out.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from hf_distill.hub.card.from_record import score
from hf_distill.hub.card.words import as_text, describe_machine
from hf_distill.reporting.tables import markdown_table
from hf_distill.reporting.text import NOT_AVAILABLE, escape, finite

_Models = Mapping[str, Mapping[str, Any]]


def report_section(report: Mapping[str, Any]) -> str:
    """Write verdict, scores, tests, calibration and cost of every model of the report."""
    task, models = report["task"], report["models"]
    level = f"{100 * task['confidence_level']:g} %"
    parts = [
        "## Results",
        escape(report["verdict"]["sentence"]),
        f"Measured on {escape(task['name'])}, {as_text(task['rows'])} rows, on {escape(as_text(report['created']))}. "
        f"In brackets {level} intervals from {as_text(task['num_resamples'])} bootstrap resamples of the rows.",
        _scores(task, models),
        "Retention is the score divided by the teacher's; gap closed is (student − baseline) / (teacher − baseline), "
        "the baseline being the same student trained without the teacher.",
        "\n".join(f"- {line}" for line in (*_tests(models), *_gaps(models), *_seeds(models))),
        _calibration(models),
        _cost(models, report.get("machine")),
        "\n".join(f"- {escape(note)}" for note in report.get("notes") or []),
    ]
    return "\n\n".join(part for part in parts if part)


def _interval(value: Mapping[str, Any] | None) -> str:
    if not value or finite(value.get("value")) is None:
        return NOT_AVAILABLE
    known = finite(value.get("low")) is not None and finite(value.get("high")) is not None
    return score(value["value"]) + (f" ({value['low']:.4f} to {value['high']:.4f})" if known else "")


def _scores(task: Mapping[str, Any], models: _Models) -> str:
    names = task["metrics"]
    rows = [[name, *(_interval((m.get("metrics") or {}).get(name)) for m in models.values())] for name in names]
    rows += [["retention", *(_interval(m.get("retention")) for m in models.values())]]
    rows += [["gap closed", *(_interval(m.get("gap_closed")) for m in models.values())]]
    rows += [["agreement", *(_interval((m.get("fidelity") or {}).get("agreement")) for m in models.values())]]
    shifted = [(m.get("shifted") or {}).get("metrics") or {} for m in models.values()]
    rows += [[f"{name}, shifted data", *(_interval(found.get(name)) for found in shifted)] for name in names]
    rows = [row for row in rows if set(row[1:]) != {NOT_AVAILABLE}]
    return markdown_table(["metric", *models], rows)


def _tests(models: _Models) -> list[str]:
    lines = []
    for name, model in models.items():
        for other in ("teacher", "baseline"):
            test = model.get(f"versus_{other}")
            if not test or finite(test.get("difference")) is None:
                continue
            line = f"{escape(name)} against the {other}: difference "
            line += escape(_interval({**test, "value": test["difference"]}))
            if finite(test.get("p_value")) is not None:
                line += f", p = {test['p_value']:.3g} ({escape(as_text(test.get('test')))})"
            if test.get("non_inferior") is not None:
                line += f"; {'' if test['non_inferior'] else 'not shown to be '}non-inferior within {test['margin']:g}"
            lines.append(line + ".")
    return lines


def _gaps(models: _Models) -> list[str]:
    notes = {name: model.get("gap_closed_note") for name, model in models.items()}
    return [f"{escape(name)}, gap closed: {escape(as_text(note))}" for name, note in notes.items() if note]


def _seeds(models: _Models) -> list[str]:
    lines = []
    trained = {name: model for name, model in models.items() if model.get("role") in ("student", "baseline")}
    if single := [escape(name) for name, model in trained.items() if model.get("num_runs") == 1]:
        lines.append(f"{', '.join(single)}: of a single run; another seed would give other scores.")
    for name, model in models.items():
        if (runs := model.get("num_runs") or 1) > 1:
            deviations = {metric: values.get("std") for metric, values in (model.get("metrics") or {}).items()}
            said = ", ".join(f"{escape(metric)} {score(std)}" for metric, std in deviations.items())
            lines.append(f"{escape(name)}: means of {runs} runs; standard deviations: {said}.")
    return lines


def _calibration(models: _Models) -> str:
    known = {name: c for name, model in models.items() if (c := model.get("calibration"))}
    if not known:
        return ""
    names = (("expected calibration error", "ece"), ("Brier score", "brier"), ("negative log-likelihood", "nll"))
    rows = [
        [words, *(f"{score(c.get(key))} → {score(c.get(f'{key}_scaled'))}" for c in known.values())]
        for words, key in names
    ]
    rows.append(["temperature", *(_digits(c.get("temperature")) for c in known.values())])
    return "### Calibration\n\nBefore → after temperature scaling.\n\n" + markdown_table(["", *known], rows)


def _cost(models: _Models, machine: Mapping[str, Any] | None) -> str:
    costs = {name: c for name, model in models.items() if (c := model.get("cost"))}
    if not costs:
        return ""
    rows = [
        ["parameters (M)", *(_digits(c.get("num_parameters"), 1e-6) for c in costs.values())],
        ["size on disk (MB)", *(_digits(c.get("bytes_on_disk"), 1e-6) for c in costs.values())],
        *_timings(costs, "latency", "batch {batch_size}, p50 / p95 (ms)", ("p50_ms", "p95_ms")),
        *_timings(costs, "throughput", "batch {batch_size}, texts a second", ("examples_per_second",)),
        ["speed-up over the teacher", *(_digits(c.get("speedup")) for c in costs.values())],
    ]
    where = describe_machine(machine)
    return f"### Cost\n\n{f'On {where}.' if where else ''}\n\n{markdown_table(['', *costs], rows)}"


def _timings(costs: _Models, kind: str, words: str, values: Sequence[str]) -> list[list[str]]:
    """One row for each device, length and batch size that was timed."""
    keys = ("device", "tokens", "batch_size")
    timed = {name: {tuple(t[key] for key in keys): t for t in cost.get(kind) or []} for name, cost in costs.items()}
    rows = []
    for setting in dict.fromkeys(setting for found in timed.values() for setting in found):
        device, tokens, batch_size = setting
        cells = [
            " / ".join(_digits(found.get(setting, {}).get(value)) for value in values) for found in timed.values()
        ]
        rows.append([f"{kind}, {device}, {tokens} tokens, {words.format(batch_size=batch_size)}", *cells])
    return rows


def _digits(value: Any, factor: float = 1.0) -> str:
    return NOT_AVAILABLE if finite(value) is None else f"{value * factor:,.2f}"
