"""The tables of `report.html` on slices, confusions, and texts that the model fixes and breaks."""

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

from hf_distill.reporting.page.tables import Cell, Table, score_cell
from hf_distill.reporting.text import HTML, ends, is_clearly_worse, p_value, short, whole

_NAME_LENGTH = 60


def slice_table(report: Mapping[str, Any]) -> Table | None:
    """Return the score of every model on each slice, with the difference to the teacher."""
    metric, names, level = report["task"]["metric_name"], list(report["models"]), report["task"]["confidence_level"]
    show = partial(HTML.difference, metric=metric)
    rows = []
    for part in report["slices"]:
        name = f"{short(part['column'], 40)} = {ends(part['value'], _NAME_LENGTH)}"
        cells = [Cell(name), Cell(whole(part["rows"]))]
        for model in names:
            entry = part["models"][model]
            cell = score_cell(entry, metric)
            if entry.get("difference") is not None:
                note = f"{show(entry['difference'])} to the teacher\np {p_value(entry['p_value'])} (Holm)"
                cell = Cell(cell.text, note, tone="bad" if is_clearly_worse(entry, level) else "")
            cells.append(cell)
        rows.append(cells)
    header = ["slice", "rows", *(ends(name, _NAME_LENGTH) for name in names)]
    return Table(f"{metric} on slices of the rows", header, rows) if rows else None


def confusion_tables(report: Mapping[str, Any]) -> Iterator[Table]:
    """Yield for each model the confusions that the teacher makes less often."""
    header = ["label", "answer", "rows of the model", "rows of the teacher"]
    for name, model in report["models"].items():
        if entries := (model["confusions"] or {"largest": []})["largest"]:
            rows = [
                [
                    Cell(ends(entry["label"], _NAME_LENGTH)),
                    Cell(ends(entry["prediction"], _NAME_LENGTH)),
                    Cell(whole(entry["model"])),
                    Cell(whole(entry["teacher"])),
                ]
                for entry in entries
            ]
            caption = f"Confusions of {ends(name, _NAME_LENGTH)} that the teacher makes less often"
            yield Table(caption, header, rows, folded=True)


def changes_table(report: Mapping[str, Any]) -> Table | None:
    """Return texts that the model of the verdict fixes and breaks."""
    if not (changes := report["changes"]):
        return None
    rows = [
        [
            Cell(f"{kind}, row {whole(entry['row'])}"),
            Cell(short(entry["text"], 200)),
            *(Cell(short(entry[key], _NAME_LENGTH)) for key in ("label", "teacher", "model")),
        ]
        for kind in ("fixed", "broken")
        for entry in changes[kind]["examples"]
    ]
    caption = f"{whole(changes['fixed']['rows'])} texts fixed and {whole(changes['broken']['rows'])} broken: examples"
    return Table(caption, ["", "text", "label", "teacher", "model"], rows, folded=True) if rows else None
