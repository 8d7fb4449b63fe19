"""The tables of `report.html`, as cells of plain text; the template escapes them."""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

from hf_distill.reporting.page.class_plots import MOST_CLASSES, worst_first
from hf_distill.reporting.page.cost_plots import single_text_latencies
from hf_distill.reporting.page.palette import model_colors
from hf_distill.reporting.text import (
    HTML,
    NOT_AVAILABLE,
    bucket,
    deferral_cells,
    ends,
    finite,
    non_inferiority,
    p_value,
    short,
    text_length,
    three_digits,
    whole,
)

Report = Mapping[str, Any]
Model = Mapping[str, Any]

_NAME_LENGTH = 60  # characters of a name that are shown; the data at the end of the page have the whole name
_TONES = {"yes": "good", "no": "bad", "not shown": ""}


class Cell(NamedTuple):
    """A number with a smaller line below it, the color of a model beside its name, and the tone "good" or "bad"."""

    text: str
    note: str = ""
    color: str = ""
    tone: str = ""


class Table(NamedTuple):
    """A table whose first cell in each row is the row's header. A folded table shows only its caption at first."""

    caption: str
    header: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    folded: bool = False


def models_table(report: Report) -> Table:
    """Return the table of the numbers that decide, with a row for each model."""
    metric, rows = report["task"]["metric_name"], []
    for name, model in report["models"].items():
        cost = model["cost"] or {}
        latency = (single_text_latencies(model) or [{}])[0].get("p50_ms")
        rows.append(
            [
                _described(report, name),
                score_cell((model["metrics"] or {}).get(metric), metric),
                _share(model["retention"]),
                _gap(model),
                _within_margin(model["versus_teacher"], metric),
                Cell(HTML.quantity(cost.get("num_parameters"))),
                Cell(HTML.quantity(cost.get("bytes_on_disk"), "B")),
                Cell(HTML.milliseconds(latency)),
                Cell(HTML.times(cost.get("speedup"))),
            ]
        )
    header = [
        "model",
        metric,
        "retention",
        "gap closed",
        "within margin",
        "parameters",
        "on disk",
        "one text",
        "speedup",
    ]
    level = f"{100 * report['task']['confidence_level']:.0f} %"
    return Table(f"All models, with {level} intervals", header, rows)


def metrics_table(report: Report) -> Table | None:
    """Return the table of all metrics; None if the first table already shows the only one."""
    metrics = report["task"]["metrics"]
    if len(metrics) < 2:
        return None
    rows = [
        [_name(report, name), *(score_cell((model["metrics"] or {}).get(metric), metric) for metric in metrics)]
        for name, model in report["models"].items()
    ]
    return Table("All metrics", ["model", *metrics], rows)


def tests_table(report: Report) -> Table | None:
    """Return the paired tests against teacher and baseline."""
    metric = report["task"]["metric_name"]
    show = partial(HTML.difference, metric=metric)
    rows = []
    for name, model in report["models"].items():
        for other in ("teacher", "baseline"):
            if test := model[f"versus_{other}"]:
                difference = Cell(show(test["difference"]), HTML.interval(test, show))
                p_value_cell = Cell(p_value(test["p_value"]), short(test["test"], _NAME_LENGTH))
                cells = [difference, p_value_cell, _within_margin(test, metric)]
                rows.append([_name(report, name), Cell(f"the {other}"), *cells])
    header = ["model", "compared with", "difference", "p-value", "within margin"]
    return Table("Paired tests on the same rows", header, rows) if rows else None


def fidelity_table(report: Report) -> Table | None:
    """Return the table of how closely each model follows the teacher, by the measures of its problem type."""
    columns = {
        "agreement": ("agreement", _share),
        "KL divergence": ("kl", lambda kl: Cell(NOT_AVAILABLE if kl is None else f"{HTML.decimal(kl, 4)} nats")),
        "RMSE": ("rmse", lambda rmse: Cell(HTML.decimal(rmse))),
        "correlation": ("pearson", lambda pearson: Cell(HTML.decimal(pearson))),
    }
    models = {name: model["fidelity"] for name, model in report["models"].items() if model["fidelity"]}
    used = [name for name, (key, _) in columns.items() if any(f.get(key) is not None for f in models.values())]
    rows = [
        [_name(report, name), *(columns[column][1](fidelity.get(columns[column][0])) for column in used)]
        for name, fidelity in models.items()
    ]
    return Table("Fidelity to the teacher", ["model", *used], rows) if used else None


def agreement_tables(report: Report) -> Iterator[Table]:
    """Yield for each model the table of its agreement with the teacher on each class."""
    keys = ["teacher", "model", "agreement"]
    header = ["class", "rows", "teacher finds", "model finds", "agreement"]
    for name, model in report["models"].items():
        if classes := (model["fidelity"] or {}).get("by_class"):
            yield _class_table(name, header, worst_first(classes, "agreement"), keys)


def f1_tables(report: Report) -> Iterator[Table]:
    """Yield for each model the table of precision, recall and F1 of each class."""
    keys = ["precision", "recall", "f1"]
    header = ["class", "rows", "precision", "recall", "F1"]
    for name, model in report["models"].items():
        if model["by_class"]:
            yield _class_table(name, header, worst_first(model["by_class"], "f1"), keys)


def _class_table(name: str, header: list[str], classes: list[dict[str, Any]], keys: list[str]) -> Table:
    rows = [
        [Cell(ends(c["label"], _NAME_LENGTH)), Cell(whole(c["rows"])), *(Cell(HTML.share(c[key])) for key in keys)]
        for c in classes
    ]
    count = f"all {len(rows)} classes" if len(rows) > MOST_CLASSES else f"{len(rows)} classes"
    return Table(f"By class: {ends(name, _NAME_LENGTH)} ({count}, the worst first)", header, rows, folded=True)


def calibration_table(report: Report) -> Table | None:
    """Return the calibration before and after temperature scaling."""
    models = {name: model["calibration"] for name, model in report["models"].items() if model["calibration"]}
    if not models:
        return None
    rows = [
        [
            _name(report, name),
            *(_before_and_after(calibration, key) for key in ("ece", "brier", "nll")),
            Cell(HTML.decimal(calibration["temperature"], 2)),
        ]
        for name, calibration in models.items()
    ]
    header = ["model", "ECE", "Brier", "NLL", "temperature"]
    note = next(iter(models.values()))["note"]
    return Table("Before → after temperature scaling" + (f" ({note})" if note else ""), header, rows)


def length_table(report: Report) -> Table | None:
    """Return the metric in each bucket of lengths."""
    metric = report["task"]["metric_name"]
    models = {name: model["by_length"] for name, model in report["models"].items() if model["by_length"]}
    if not models:
        return None
    buckets = next(iter(models.values()))
    names = [f"{bucket(b['low'], b['high'])} {short(b['unit'], 20)}" for b in buckets]
    rows = [
        [
            _name(report, name),
            *(score_cell({"value": b["value"], "low": b["ci_low"], "high": b["ci_high"]}, metric) for b in values),
        ]
        for name, values in models.items()
    ]
    sizes = ", ".join(whole(b["rows"]) for b in buckets)
    return Table(f"{metric} by length of the text ({sizes} rows)", ["model", *names], rows)


def shifted_table(report: Report) -> Table | None:
    """Return the scores on the second, shifted dataset."""
    models = {name: model["shifted"] for name, model in report["models"].items() if model["shifted"]}
    if not models:
        return None
    metrics = list(next(iter(models.values()))["metrics"])
    rows = [
        [
            _name(report, name),
            *(score_cell(shifted["metrics"].get(metric), metric) for metric in metrics),
            _share(shifted["retention"]),
        ]
        for name, shifted in models.items()
    ]
    num_rows = whole(next(iter(models.values()))["rows"])
    return Table(f"On the shifted dataset ({num_rows} rows)", ["model", *metrics, "retention"], rows)


def cost_table(report: Report) -> Table | None:
    """Return size, computation and memory."""
    rows = []
    for name, model in report["models"].items():
        if cost := model["cost"]:
            without = HTML.quantity(cost["num_parameters_without_embeddings"])
            parameters = Cell(HTML.quantity(cost["num_parameters"]), f"{without} without embeddings")
            others = [("bytes_on_disk", "B"), ("flops_per_example", "FLOP"), ("peak_memory_bytes", "B")]
            rows.append([_name(report, name), parameters, *(Cell(HTML.quantity(cost[key], u)) for key, u in others)])
    header = ["model", "parameters", "on disk", "computation for one text", "peak memory"]
    return Table("Size, computation and memory", header, rows) if rows else None


def speed_table(report: Report) -> Table | None:
    """Return latency and throughput, with a column for each device, length and batch size."""
    models = {name: model["cost"] for name, model in report["models"].items() if model["cost"]}
    columns: dict[tuple[Any, ...], dict[str, Cell]] = {}
    for name, cost in models.items():
        for e in cost["latency"] or []:
            ends_at = [(95, e["p95_ms"]), *([(99, e["p99_ms"])] if e["p99_ms"] is not None else [])]
            note = "\n".join(f"{share} % within {HTML.milliseconds(value)}" for share, value in ends_at)
            cell = Cell(HTML.milliseconds(e["p50_ms"]), note)
            columns.setdefault((e["device"], e["tokens"], e["batch_size"]), {})[name] = cell
        for e in cost["throughput"] or []:
            cell = Cell(f"{three_digits(e['examples_per_second'])} texts/s")
            columns.setdefault((e["device"], e["tokens"], e["batch_size"]), {}).setdefault(name, cell)
    header = [f"{short(device, 20)}, {text_length(tokens)}, batch {size}" for device, tokens, size in columns]
    rows = [[_name(report, name), *(c.get(name, Cell(NOT_AVAILABLE)) for c in columns.values())] for name in models]
    return Table("Speed", ["model", *header], rows) if columns else None


def thresholds_table(report: Report) -> Table | None:
    """Return the confidence thresholds of a cascade for several losses that are guaranteed."""
    rows = []
    for name, model in report["models"].items():
        for g in (model["deferral"] or {}).get("guarantees") or []:
            cells = [HTML.margin(g["loss"], "accuracy"), HTML.share(g["confidence"]), *deferral_cells(g, HTML)]
            rows.append([_name(report, name), *map(Cell, cells)])
    header = ["model", "loses at most", "confidence", "hand over if the model is less sure than", "texts handed over"]
    return Table("Thresholds", header, rows) if rows else None


def _name(report: Report, name: str) -> Cell:
    return Cell(ends(name, _NAME_LENGTH), color=model_colors(report["models"])[name])


def _described(report: Report, name: str) -> Cell:
    model = report["models"][name]
    role = model["role"] if model["role"] != name else ""
    kind = model["format"] if model["format"] != "pytorch" else ""
    seeds = f"{model['num_runs']} seeds" if model["num_runs"] > 1 else ""
    note = " · ".join(short(part, 40) for part in (role, kind, seeds) if part)
    return _name(report, name)._replace(note=note)


def score_cell(estimate: Mapping[str, Any] | None, metric: str) -> Cell:
    """Return a score with its interval, and the deviation over seeds if there is one."""
    if estimate is None:
        return Cell(NOT_AVAILABLE)
    show = partial(HTML.score, metric=metric)
    notes = [HTML.interval(estimate, show)]
    if (deviation := finite(estimate.get("std"))) is not None:
        notes.append(f"±{show(deviation)}{HTML.space}(seeds)")
    return Cell(show(estimate["value"]), "\n".join(filter(None, notes)))


def _share(estimate: Mapping[str, Any] | None) -> Cell:
    if estimate is None:
        return Cell(NOT_AVAILABLE)
    return Cell(HTML.share(estimate["value"]), HTML.interval(estimate, HTML.share))


def _gap(model: Model) -> Cell:
    cell = _share(model["gap_closed"])
    return cell._replace(note=short(model["gap_closed_note"], 140)) if model["gap_closed_note"] else cell


def _within_margin(test: Mapping[str, Any] | None, metric: str) -> Cell:
    answer = non_inferiority(test)
    if test is None or answer == NOT_AVAILABLE:
        return Cell(NOT_AVAILABLE)
    return Cell(answer, f"margin{HTML.space}{HTML.margin(test['margin'], metric)}", tone=_TONES[answer])


def _before_and_after(calibration: Mapping[str, Any], key: str) -> Cell:
    after = calibration[f"{key}_scaled"]
    note = "" if after is None else f"→{HTML.space}{HTML.decimal(after)}"
    return Cell(HTML.decimal(calibration[key]), note)
