"""Where a model is weaker than its teacher, for the terminal: slices, confusions, and texts fixed and broken."""

from collections.abc import Mapping
from functools import partial
from typing import Any

from hf_distill.data.table import counted
from hf_distill.reporting.markdown import markdown_table
from hf_distill.reporting.text import NOT_AVAILABLE, PLAIN, escape, short

_LONGEST_TEXT = 100  # characters


def describe_weak_spots(report: Mapping[str, Any]) -> list[str]:
    """Return headings and tables; an empty list if nothing applies.

    Args:
        report: What `Report.to_dict` returns.
    """
    parts = []
    if report["slices"]:
        parts += ["## Slices", _slices(report)]
    if confusions := _confusions(report):
        parts += ["## Confusions that the teacher makes less often", confusions]
    if changes := report["changes"]:
        parts += [f"## Texts that the {escape(report['verdict']['model'])} fixes and breaks", _changes(changes)]
    return parts


def _slices(report: Mapping[str, Any]) -> str:
    metric, names = report["task"]["metric_name"], list(report["models"])
    show = partial(PLAIN.difference, metric=metric)
    rows = []
    for part in report["slices"]:
        cells = [f"{part['column']} = {short(part['value'], 40)}", f"{part['rows']:,}"]
        for name in names:
            entry = part["models"][name]
            text = PLAIN.score(entry["value"], metric)
            if entry.get("difference") is not None:
                interval = PLAIN.interval({"low": entry["difference_low"], "high": entry["difference_high"]}, show)
                text += f" ({interval}; p = {entry['p_value']:.2g})"
            cells.append(text)
        rows.append(cells)
    header = [f"{metric} (difference to the teacher)", "rows", *names]
    return markdown_table(header, rows)


def _confusions(report: Mapping[str, Any]) -> str:
    rows = [
        [
            name,
            short(entry["label"], 40),
            short(entry["prediction"], 40),
            f"{entry['model']:,}",
            f"{entry['teacher']:,}",
        ]
        for name, model in report["models"].items()
        for entry in (model["confusions"] or {"largest": []})["largest"]
    ]
    return markdown_table(["model", "label", "answer", "model", "teacher"], rows) if rows else ""


def _changes(changes: Mapping[str, Any]) -> str:
    rows = [
        [
            f"{kind}, row {entry['row']:,}",
            short(entry["text"], _LONGEST_TEXT),
            short(entry["label"] or NOT_AVAILABLE, 40),
            short(entry["teacher"], 40),
            short(entry["model"], 40),
        ]
        for kind in ("fixed", "broken")
        for entry in changes[kind]["examples"]
    ]
    fixed = counted(changes["fixed"]["rows"], "answer")
    numbers = f"It fixes {fixed} of the teacher and breaks {changes['broken']['rows']:,}."
    return f"{numbers}\n\n{markdown_table(['', 'text', 'label', 'teacher', 'model'], rows)}" if rows else numbers
