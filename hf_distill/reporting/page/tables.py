"""The tables of `report.html`, as cells of plain text; the template escapes them."""

from collections.abc import Mapping, Sequence
from functools import partial
from itertools import compress
from typing import Any, NamedTuple

from hf_distill.data.table import counted
from hf_distill.reporting.certainty import describe_certainty
from hf_distill.reporting.page.cost_plots import single_text_latencies
from hf_distill.reporting.page.palette import model_colors
from hf_distill.reporting.text import (
    HTML,
    NOT_AVAILABLE,
    UNCLEAR_GAP,
    bucket,
    deferral_cells,
    ends,
    finite,
    is_clear_gap,
    non_inferiority,
    number,
    p_value,
    short,
)

Report = Mapping[str, Any]
Model = Mapping[str, Any]

_NAME_LENGTH = 60  # characters of a name that are shown; the data at the end of the page have the whole name
NOT_APPLICABLE = "–"  # e.g. the retention of the teacher
_TONES = {"yes": "good", "no": "bad", "not shown": ""}


class Cell(NamedTuple):
    """A number with a smaller line below it, the color of a model beside its name, and the tone "good" or "bad"."""

    text: str
    note: str = ""
    color: str = ""
    tone: str = ""


class Table(NamedTuple):
    """A table whose first cell in each row is the row's header.

    Attributes:
        caption: What the table shows.
        header: Names of the columns.
        rows: Rows of cells.
        folded: Whether only the caption is shown at first.
        note: A sentence below the table.
    """

    caption: str
    header: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    folded: bool = False
    note: str = ""


def models_table(report: Report) -> Table:
    """Return the table of the numbers that decide, with a row for each model, the best score first."""
    metric = report["task"]["metric_name"]
    answers = {entry["model"]: entry["answer"] for entry in report["leaderboard"]}
    rows = []
    for name in answers or report["models"]:
        model = report["models"][name]
        cost = model["cost"] or {}
        latency = (single_text_latencies(model) or [{}])[0].get("p50_ms")
        rows.append(
            [
                _described(report, name),
                score_cell((model["metrics"] or {}).get(metric), metric),
                Cell(NOT_APPLICABLE) if model["role"] == "teacher" else _share(model["retention"]),
                Cell(NOT_APPLICABLE) if model["role"] in ("teacher", "baseline") else _gap(model),
                _answer(answers.get(name)),
                Cell(HTML.quantity(cost.get("num_parameters"))),
                Cell(HTML.quantity(cost.get("bytes_on_disk"), "B")),
                Cell(HTML.milliseconds(latency)),
                Cell(HTML.times(cost.get("speedup"))),
            ]
        )
    header = ["model", metric, "retention", "gap closed", "verdict"]
    header += ["parameters", "on disk", "one text", "speedup"]
    level = f"{100 * report['task']['confidence_level']:.0f} %"
    order = "best first, " if answers else ""
    return Table(f"All models, {order}{level} intervals", *without_empty_columns(header, rows))


def requirements_table(report: Report) -> Table | None:
    """Return the table of the requirements of `--require`; None if there are none."""
    if not (checked := report.get("requirements")):
        return None
    rows = [
        [
            Cell(short(result["text"], _NAME_LENGTH), short(result["reason"] or describe_certainty(result), 200)),
            Cell("met", tone="good") if result["is_met"] else Cell("not met", tone="bad"),
            *(Cell(number(result[key], ".4g")) for key in ("value", "bound")),
        ]
        for result in checked["results"]
    ]
    name = ends(checked["model"], _NAME_LENGTH)
    return Table(f"Requirements on the {name}", ["requirement", "answer", "measured", "bound"], rows)


def metrics_table(report: Report) -> Table | None:
    """Return the table of all metrics; None if the first table already shows the only one."""
    metrics = report["task"]["metrics"]
    if len(metrics) < 2:
        return None
    rows = [
        [name_cell(report, name), *(score_cell((model["metrics"] or {}).get(metric), metric) for metric in metrics)]
        for name, model in report["models"].items()
    ]
    header, rows = without_empty_columns(["model", *metrics], rows)
    return Table("All metrics", header, rows) if len(header) > 1 else None


def tests_table(report: Report) -> Table | None:
    """Return the paired tests against teacher and baseline."""
    metric = report["task"]["metric_name"]
    show = partial(HTML.difference, metric=metric)
    rows, margin = [], None
    for name, model in report["models"].items():
        for other in ("teacher", "baseline"):
            if test := model[f"versus_{other}"]:
                difference = Cell(show(test["difference"]), HTML.interval(test, show))
                p_value_cell = Cell(p_value(test["p_value"]), short(test["test"], _NAME_LENGTH))
                answer = non_inferiority(test)
                margin = test["margin"] if answer != NOT_AVAILABLE else margin
                cells = [difference, p_value_cell, Cell(NOT_APPLICABLE if answer == NOT_AVAILABLE else answer)]
                rows.append([name_cell(report, name, _compared_runs(model, other)), Cell(f"the {other}"), *cells])
    within = "" if margin is None else f"at most {HTML.margin(margin, metric)} worse"
    header = ["model", "compared with", "difference", "p-value", within]
    return Table("Paired tests on the same rows", *without_empty_columns(header, rows)) if rows else None


def _compared_runs(model: Model, other: str) -> str:
    """Return which of several runs a test is about: the one that is shipped against the teacher, else all of them."""
    if model["num_runs"] < 2:
        return ""
    return f"run {model['shipped_run'] + 1} of {model['num_runs']}" if other == "teacher" else "mean of the runs"


def fidelity_table(report: Report) -> Table | None:
    """Return the table of how closely each model follows the teacher, by the measures of its problem type."""
    columns = {
        "agreement": ("agreement", _share),
        "KL divergence": (
            "kl",
            lambda kl: Cell(NOT_AVAILABLE if kl is None else f"{HTML.decimal(kl, 4)}{HTML.space}nats"),
        ),
        "RMSE": ("rmse", lambda rmse: Cell(HTML.decimal(rmse))),
        "correlation": ("pearson", lambda pearson: Cell(HTML.decimal(pearson))),
    }
    models = {name: model["fidelity"] for name, model in report["models"].items() if model["fidelity"]}
    used = [name for name, (key, _) in columns.items() if any(f.get(key) is not None for f in models.values())]
    rows = [
        [name_cell(report, name), *(columns[column][1](fidelity.get(columns[column][0])) for column in used)]
        for name, fidelity in models.items()
    ]
    return Table("Fidelity to the teacher", ["model", *used], rows) if used else None


def calibration_table(report: Report) -> Table | None:
    """Return the calibration before and after temperature scaling."""
    models = {name: model["calibration"] for name, model in report["models"].items() if model["calibration"]}
    if not models:
        return None
    rows = [
        [
            name_cell(report, name),
            _error(calibration),
            *(_before_and_after(calibration, key) for key in ("brier", "nll")),
            Cell(HTML.decimal(calibration["temperature"], 2)),
        ]
        for name, calibration in models.items()
    ]
    header = ["model", "ECE", "Brier", "NLL", "temperature"]
    note = next(iter(models.values()))["note"]
    return Table("Before → after temperature scaling", header, rows, note=note or "")


def length_table(report: Report) -> Table | None:
    """Return the metric in each bucket of lengths."""
    metric = report["task"]["metric_name"]
    models = {name: model["by_length"] for name, model in report["models"].items() if model["by_length"]}
    if not models:
        return None
    buckets = next(iter(models.values()))
    names = [f"{bucket(b['low'], b['high'])} {short(b['unit'], 20)} ({counted(b['rows'], 'row')})" for b in buckets]
    rows = [
        [
            name_cell(report, name),
            *(score_cell({"value": b["value"], "low": b["ci_low"], "high": b["ci_high"]}, metric) for b in values),
        ]
        for name, values in models.items()
    ]
    return Table(f"Score by length of the text: {metric}", ["model", *names], rows)


def shifted_table(report: Report) -> Table | None:
    """Return the scores on the second, shifted dataset."""
    models = {name: model["shifted"] for name, model in report["models"].items() if model["shifted"]}
    if not models:
        return None
    metrics = list(next(iter(models.values()))["metrics"])
    rows = [
        [
            name_cell(report, name),
            *(score_cell(shifted["metrics"].get(metric), metric) for metric in metrics),
            Cell(NOT_APPLICABLE) if report["models"][name]["role"] == "teacher" else _share(shifted["retention"]),
        ]
        for name, shifted in models.items()
    ]
    num_rows = counted(next(iter(models.values()))["rows"], "row")
    header = ["model", *metrics, "retention"]
    return Table(f"On the shifted dataset ({num_rows})", *without_empty_columns(header, rows))


def thresholds_table(report: Report) -> Table | None:
    """Return the confidence thresholds of a cascade for several losses that are guaranteed."""
    rows = []
    for name, model in report["models"].items():
        for g in (model["deferral"] or {}).get("guarantees") or []:
            cells = [HTML.margin(g["loss"], "accuracy"), HTML.share(g["confidence"]), *deferral_cells(g, HTML)]
            rows.append([name_cell(report, name), *map(Cell, cells)])
    header = ["model", "loses at most", "confidence", "threshold", "texts handed over"]
    return Table("Thresholds", header, rows) if rows else None


def without_empty_columns(header: Sequence[str], rows: Sequence[Sequence[Cell]]) -> tuple[list[str], list[list[Cell]]]:
    """Leave out the columns that have no value in any row."""
    used = [any(row[i].text not in (NOT_AVAILABLE, NOT_APPLICABLE) for row in rows) for i in range(len(header))]
    return list(compress(header, used)), [list(compress(row, used)) for row in rows]


def name_cell(report: Report, name: str, note: str = "") -> Cell:
    """Return the name of a model with its color."""
    return Cell(ends(name, _NAME_LENGTH), note, color=model_colors(report["models"])[name])


def _described(report: Report, name: str) -> Cell:
    model = report["models"][name]
    role = model["role"] if model["role"] != name else ""
    kind = model["format"] if model["format"] != "pytorch" else ""
    seeds = f"{model['num_runs']} seeds" if model["num_runs"] > 1 else ""
    note = " · ".join(short(part, 40) for part in (role, kind, seeds) if part)
    return name_cell(report, name, note)


def score_cell(estimate: Mapping[str, Any] | None, metric: str) -> Cell:
    """Return a score with its interval, and the deviation over seeds if there is one."""
    if estimate is None:
        return Cell(NOT_AVAILABLE)
    show = partial(HTML.score, metric=metric)
    notes = [HTML.interval(estimate, show)]
    if (deviation := finite(estimate.get("std"))) is not None:
        notes.append(f"±{HTML.margin(deviation, metric)}{HTML.space}(seeds)")
    return Cell(show(estimate["value"]), "\n".join(filter(None, notes)))


def _share(estimate: Mapping[str, Any] | None) -> Cell:
    if estimate is None:
        return Cell(NOT_AVAILABLE)
    return Cell(HTML.share(estimate["value"]), HTML.interval(estimate, HTML.share))


def _gap(model: Model) -> Cell:
    if model["gap_closed"] is not None and not is_clear_gap(model["gap_closed"]):
        return Cell(UNCLEAR_GAP, "small gap between teacher and baseline")
    cell = _share(model["gap_closed"])
    return cell._replace(note=short(model["gap_closed_note"], 140)) if model["gap_closed_note"] else cell


def _answer(answer: str | None) -> Cell:
    return Cell(NOT_APPLICABLE) if answer is None else Cell(answer, tone=_TONES[answer])


def _error(calibration: Mapping[str, Any]) -> Cell:
    """Return the calibration error, after scaling, with its interval before, and its value for a calibrated model."""
    cell = _before_and_after(calibration, "ece")
    low, high, expected = (HTML.decimal(calibration[f"ece_{key}"]) for key in ("low", "high", "if_calibrated"))
    return cell._replace(note=f"{cell.note} (before {low} to {high}; if calibrated {expected})")


def _before_and_after(calibration: Mapping[str, Any], key: str) -> Cell:
    after = calibration[f"{key}_scaled"]
    note = "" if after is None else f"→{HTML.space}{HTML.decimal(after)}"
    return Cell(HTML.decimal(calibration[key]), note)
