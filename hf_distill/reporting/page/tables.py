"""The tables of `report.html`, as cells of plain text; the template escapes them."""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

from hf_distill.reporting import formats
from hf_distill.reporting.page.class_plots import MOST_CLASSES, worst_first
from hf_distill.reporting.page.cost_plots import one_text
from hf_distill.reporting.page.palette import model_colours

Report = Mapping[str, Any]
Model = Mapping[str, Any]

_NAME_LENGTH = 60  # characters shown of a name; the data at the end of the page has all of it


class Cell(NamedTuple):
    """A number with a smaller line below; the colour of a model beside its name; whether it is "good" or "bad"."""

    text: str
    note: str = ""
    colour: str = ""
    tone: str = ""


class Table(NamedTuple):
    """The first cell of each row is its header. A folded table shows its caption alone until it is asked for."""

    caption: str
    header: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    folded: bool = False


def models_table(report: Report) -> Table:
    """What decides, a model a row."""
    metric, rows = report["task"]["metric_name"], []
    for name, model in report["models"].items():
        cost = model["cost"] or {}
        latency = (one_text(model) or [{}])[0].get("p50_ms")
        rows.append(
            [
                _described(report, name),
                _score((model["metrics"] or {}).get(metric), metric),
                _estimate(model["retention"]),
                _gap(model),
                _not_worse(model["versus_teacher"], metric),
                Cell(formats.quantity(cost.get("num_parameters"))),
                Cell(formats.quantity(cost.get("bytes_on_disk"), "B")),
                Cell(formats.milliseconds(latency)),
                Cell(formats.times(cost.get("speedup"))),
            ]
        )
    header = ["model", metric, "retention", "gap closed", "not worse", "parameters", "on disk", "one text", "speed-up"]
    level = f"{100 * report['task']['confidence_level']:.0f} %"
    return Table(f"All models, with {level} intervals", header, rows)


def metrics_table(report: Report) -> Table | None:
    """Every metric; None when there is only the one of the first table."""
    metrics = report["task"]["metrics"]
    if len(metrics) < 2:
        return None
    rows = [
        [_name(report, name), *(_score((model["metrics"] or {}).get(metric), metric) for metric in metrics)]
        for name, model in report["models"].items()
    ]
    return Table("All metrics", ["model", *metrics], rows)


def tests_table(report: Report) -> Table | None:
    """The paired tests against teacher and baseline."""
    metric = report["task"]["metric_name"]
    rows = []
    for name, model in report["models"].items():
        for other in ("teacher", "baseline"):
            test = model[f"versus_{other}"]
            if test:
                show = partial(formats.difference, metric=metric)
                found = Cell(show(test["difference"]), formats.interval(test, show))
                p_value = Cell(formats.p_value(test["p_value"]), formats.short(test["test"], _NAME_LENGTH))
                rows.append([_name(report, name), Cell(f"the {other}"), found, p_value, _not_worse(test, metric)])
    header = ["model", "against", "difference", "p-value", "not worse"]
    return Table("Paired tests on the same rows", header, rows) if rows else None


def fidelity_table(report: Report) -> Table | None:
    """How close each model is to the teacher, by what its problem type has."""
    columns = {
        "agreement": ("agreement", _estimate),
        "KL divergence": ("kl", lambda kl: Cell(f"{formats.decimal(kl, 4)} nats" if kl is not None else "n/a")),
        "RMSE": ("rmse", lambda rmse: Cell(formats.decimal(rmse))),
        "correlation": ("pearson", lambda pearson: Cell(formats.decimal(pearson))),
    }
    models = {name: model["fidelity"] for name, model in report["models"].items() if model["fidelity"]}
    used = [name for name, (key, _) in columns.items() if any(f.get(key) is not None for f in models.values())]
    rows = [
        [_name(report, name), *(columns[column][1](fidelity.get(columns[column][0])) for column in used)]
        for name, fidelity in models.items()
    ]
    return Table("Fidelity to the teacher", ["model", *used], rows) if used else None


def agreement_tables(report: Report) -> Iterator[Table]:
    """A table a model of how it agrees with the teacher on each class."""
    for name, model in report["models"].items():
        classes = (model["fidelity"] or {}).get("by_class")
        if classes:
            header = ["class", "rows", "teacher finds", "model finds", "agreement"]
            keys = ["teacher", "model", "agreement"]
            yield from _class_tables(
                f"By class: {formats.ends(name, _NAME_LENGTH)}", header, worst_first(classes, keys[-1]), keys
            )


def f1_tables(report: Report) -> Iterator[Table]:
    """A table a model of precision, recall and F1 of each class."""
    keys = ["precision", "recall", "f1"]
    for name, model in report["models"].items():
        if model["by_class"]:
            caption = f"By class: {formats.ends(name, _NAME_LENGTH)}"
            header = ["class", "rows", "precision", "recall", "F1"]
            yield from _class_tables(caption, header, worst_first(model["by_class"], "f1"), keys)


def _class_tables(caption: str, header: list[str], classes: list[dict[str, Any]], keys: list[str]) -> Iterator[Table]:
    rows = [
        [
            Cell(formats.ends(c["label"], _NAME_LENGTH)),
            Cell(formats.whole(c["rows"])),
            *(Cell(formats.share(c[key])) for key in keys),
        ]
        for c in classes
    ]
    count = f"all {len(rows)} classes" if len(rows) > MOST_CLASSES else f"{len(rows)} classes"
    yield Table(f"{caption} ({count}, the worst first)", header, rows, folded=True)


def calibration_table(report: Report) -> Table | None:
    """Before and after temperature scaling."""
    models = {name: model["calibration"] for name, model in report["models"].items() if model["calibration"]}
    rows = []
    for name, found in models.items():
        cells = [_before_and_after(found, key) for key in ("ece", "brier", "nll")]
        rows.append([_name(report, name), *cells, Cell(formats.decimal(found["temperature"], 2))])
    header = ["model", "ECE", "Brier", "NLL", "temperature"]
    if not rows:
        return None
    note = next(iter(models.values()))["note"]
    return Table("As it is, and → after temperature scaling" + (f" ({note})" if note else ""), header, rows)


def length_table(report: Report) -> Table | None:
    """The metric in each bucket of lengths."""
    metric = report["task"]["metric_name"]
    models = {name: model["by_length"] for name, model in report["models"].items() if model["by_length"]}
    if not models:
        return None
    buckets = next(iter(models.values()))
    names = [f"{formats.bucket(b['low'], b['high'])} {formats.short(b['unit'], 20)}" for b in buckets]
    rows = [
        [
            _name(report, name),
            *(_score({"value": b["value"], "low": b["ci_low"], "high": b["ci_high"]}, metric) for b in values),
        ]
        for name, values in models.items()
    ]
    sizes = ", ".join(formats.whole(b["rows"]) for b in buckets)
    return Table(f"{metric} by length of the text ({sizes} rows)", ["model", *names], rows)


def shifted_table(report: Report) -> Table | None:
    """The second evaluation set, from elsewhere."""
    models = {name: model["shifted"] for name, model in report["models"].items() if model["shifted"]}
    if not models:
        return None
    metrics = list(next(iter(models.values()))["metrics"])
    rows = [
        [
            _name(report, name),
            *(_score(found["metrics"].get(metric), metric) for metric in metrics),
            _estimate(found["retention"]),
        ]
        for name, found in models.items()
    ]
    num_rows = formats.whole(next(iter(models.values()))["rows"])
    return Table(f"On the second data set, of another kind ({num_rows} rows)", ["model", *metrics, "retention"], rows)


def cost_table(report: Report) -> Table | None:
    """Size, work and memory."""
    rows = []
    for name, model in report["models"].items():
        cost = model["cost"]
        if cost:
            without = formats.quantity(cost["num_parameters_without_embeddings"])
            parameters = Cell(formats.quantity(cost["num_parameters"]), f"{without} without embeddings")
            others = [("bytes_on_disk", "B"), ("flops_per_example", "FLOP"), ("peak_memory_bytes", "B")]
            cells = [Cell(formats.quantity(cost[key], unit)) for key, unit in others]
            rows.append([_name(report, name), parameters, *cells])
    header = ["model", "parameters", "on disk", "work for one text", "peak memory"]
    return Table("Size, work and memory", header, rows) if rows else None


def speed_table(report: Report) -> Table | None:
    """Latency and throughput, a column a device, length and batch size."""
    models = {name: model["cost"] for name, model in report["models"].items() if model["cost"]}
    columns: dict[tuple[Any, ...], dict[str, Cell]] = {}
    for name, cost in models.items():
        for e in cost["latency"] or []:
            cell = Cell(formats.milliseconds(e["p50_ms"]), f"95 % within {formats.milliseconds(e['p95_ms'])}")
            columns.setdefault((e["device"], e["tokens"], e["batch_size"]), {})[name] = cell
        for e in cost["throughput"] or []:
            cell = Cell(f"{formats.three_digits(e['examples_per_second'])} a second")
            columns.setdefault((e["device"], e["tokens"], e["batch_size"]), {}).setdefault(name, cell)
    header = [f"{formats.short(device, 20)}, {tokens} tokens, batch {size}" for device, tokens, size in columns]
    rows = [[_name(report, name), *(c.get(name, Cell("n/a")) for c in columns.values())] for name in models]
    return Table("Speed", ["model", *header], rows) if columns else None


def thresholds_table(report: Report) -> Table | None:
    """Where to set the threshold of a cascade for a wanted score."""
    metric = report["task"]["metric_name"]
    rows = []
    for name, model in report["models"].items():
        for found in (model["deferral"] or {}).get("thresholds") or []:
            share = "not reached" if found["share"] is None else formats.share(found["share"])
            cells = [formats.score(found["wanted"], metric), formats.decimal(found["threshold"]), share]
            rows.append([_name(report, name), *map(Cell, cells)])
    header = ["model", f"wanted {metric}", "hand over below", "texts handed over"]
    return Table("Thresholds to set", header, rows) if rows else None


def _name(report: Report, name: str) -> Cell:
    return Cell(formats.ends(name, _NAME_LENGTH), colour=model_colours(report["models"])[name])


def _described(report: Report, name: str) -> Cell:
    model = report["models"][name]
    role = model["role"] if model["role"] != name else ""
    kind = model["format"] if model["format"] != "pytorch" else ""
    seeds = f"{model['num_runs']} seeds" if model["num_runs"] > 1 else ""
    note = " · ".join(formats.short(part, 40) for part in (role, kind, seeds) if part)
    return _name(report, name)._replace(note=note)


def _score(estimate: Mapping[str, Any] | None, metric: str) -> Cell:
    if estimate is None:
        return Cell("n/a")
    show = partial(formats.score, metric=metric)
    spread = estimate.get("std")
    seeds = f"±{formats.score(spread, metric)} (seeds)".replace(" ", formats.NO_BREAK) if spread is not None else ""
    return Cell(show(estimate["value"]), "\n".join(filter(None, [formats.interval(estimate, show), seeds])))


def _estimate(estimate: Mapping[str, Any] | None) -> Cell:
    if estimate is None:
        return Cell("n/a")
    return Cell(formats.share(estimate["value"]), formats.interval(estimate, formats.share))


def _gap(model: Model) -> Cell:
    cell = _estimate(model["gap_closed"])
    return cell._replace(note=formats.short(model["gap_closed_note"], 140)) if model["gap_closed_note"] else cell


def _not_worse(test: Mapping[str, Any] | None, metric: str) -> Cell:
    if test is None or test.get("non_inferior") is None:
        return Cell("n/a")
    margin = f"margin{formats.NO_BREAK}{formats.difference(test['margin'], metric).lstrip('+')}"
    return Cell("yes", margin, tone="good") if test["non_inferior"] else Cell("not shown", margin, tone="bad")


def _before_and_after(found: Mapping[str, Any], key: str) -> Cell:
    after = found[f"{key}_scaled"]
    return Cell(formats.decimal(found[key]), "" if after is None else f"→{formats.NO_BREAK}{formats.decimal(after)}")
