"""The tables of `report.html` about classes: one table for all models, folded because classes can be many."""

from collections.abc import Callable, Mapping
from typing import Any

from hf_distill.reporting.page.class_plots import worst_first
from hf_distill.reporting.page.palette import model_colors
from hf_distill.reporting.page.tables import Cell, Table
from hf_distill.reporting.text import HTML, NOT_AVAILABLE, ends, p_value, whole

Report = Mapping[str, Any]
Classes = list[dict[str, Any]]

_NAME_LENGTH = 60


def agreement_table(report: Report) -> Table | None:
    """Return the agreement of each model with the teacher on each class, and the share of the class that it finds."""
    models = {name: (model["fidelity"] or {}).get("by_class") for name, model in report["models"].items()}
    columns = {name: classes for name, classes in models.items() if classes}
    if not columns:
        return None
    first = worst_first(next(iter(columns.values())), "agreement")
    teacher = {c["label"]: c["teacher"] for c in first}
    rows = [
        [
            Cell(ends(c["label"], _NAME_LENGTH)),
            Cell(whole(c["rows"])),
            Cell(HTML.share(teacher[c["label"]])),
            *_cells(columns, c["label"], _agreement_cell),
        ]
        for c in first
    ]
    header = ["class", "rows", "teacher finds", *(f"{ends(name, 30)}: agreement" for name in columns)]
    return _class_table(header, rows)


def f1_table(report: Report) -> Table | None:
    """Return F1, precision and recall of each model on each class."""
    columns = {name: model["by_class"] for name, model in report["models"].items() if model["by_class"]}
    if not columns:
        return None
    first = next((name for name in columns if report["models"][name]["role"] != "teacher"), next(iter(columns)))
    rows = [
        [Cell(ends(c["label"], _NAME_LENGTH)), Cell(whole(c["rows"])), *_cells(columns, c["label"], _f1_cell)]
        for c in worst_first(columns[first], "f1")
    ]
    header = ["class", "rows", *(f"{ends(name, 30)}: F1" for name in columns)]
    return _class_table(header, rows)


def lost_classes_table(report: Report) -> Table | None:
    """Return the classes that a model loses, or never finds."""
    colors, rows = model_colors(report["models"]), []
    for name, model in report["models"].items():
        lost = model["lost_classes"] or {"lost": [], "vanished": []}
        for entries, what in ((lost["lost"], "lost"), (lost["vanished"], "never found")):
            rows += [
                [
                    Cell(ends(name, _NAME_LENGTH), color=colors[name]),
                    Cell(ends(entry["label"], _NAME_LENGTH), what),
                    Cell(whole(entry["rows"])),
                    Cell(HTML.share(entry["teacher"])),
                    Cell(HTML.share(entry["model"])),
                    Cell(p_value(entry["p_value"])),
                ]
                for entry in entries
            ]
    header = ["model", "class", "rows", "teacher finds", "model finds", "p-value"]
    return Table("Lost classes", header, rows) if rows else None


def _class_table(header: list[str], rows: list[list[Cell]]) -> Table:
    count = "1 class" if len(rows) == 1 else f"{len(rows):,} classes"
    return Table(f"By class: {count}, the worst first", header, rows, folded=True)


def _agreement_cell(entry: Mapping[str, Any]) -> Cell:
    return Cell(HTML.share(entry["agreement"]), f"finds {HTML.share(entry['model'])}")


def _cells(columns: Mapping[str, Classes], label: str, make: Callable[[dict[str, Any]], Cell]) -> list[Cell]:
    entries = [next((c for c in classes if c["label"] == label), None) for classes in columns.values()]
    return [Cell(NOT_AVAILABLE) if entry is None else make(entry) for entry in entries]


def _f1_cell(entry: Mapping[str, Any]) -> Cell:
    return Cell(
        HTML.share(entry["f1"]), f"precision {HTML.share(entry['precision'])}\nrecall {HTML.share(entry['recall'])}"
    )
