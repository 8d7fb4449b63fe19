"""The table of teacher, student and baseline, as text that is also Markdown."""

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from hf_distill.data.metrics import find_metric
from hf_distill.reporting.statistics import gap_closed, retention

MODELS = {"teacher": "teacher", "student": "student", "baseline": "baseline (no teacher)"}
NOT_AVAILABLE = "n/a"

_MARKDOWN = re.compile(r"[\\`*\[\]<>|&~$@]|(?<![^\W_])_|_(?![^\W_])|:(?=//)")


def one_line(text: str) -> str:
    """Replace whatever does not print, line breaks and direction marks among them, by single spaces."""
    return " ".join("".join(char if char.isprintable() else " " for char in text).split())


def escape(text: str) -> str:
    """Make a string from outside mean itself in Markdown, in a table too."""
    # Unlike after a backslash, a character written as an entity is never markup, wherever it stands.
    return _MARKDOWN.sub(lambda match: f"&#{ord(match[0])};", one_line(text))


def finite(value: Any) -> float | None:
    """The value if it is a finite number, else None."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return value if is_number and math.isfinite(value) else None


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Align cells in columns, the first to the left and numbers to the right; cells are escaped."""
    lines = [[escape(cell) for cell in line] for line in (header, *rows)]
    widths = [max(4, *(len(cell) for cell in column)) for column in zip(*lines, strict=True)]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    text = []
    for first, *others in (lines[0], rule, *lines[1:]):
        cells = [first.ljust(widths[0]), *(c.rjust(width) for c, width in zip(others, widths[1:], strict=True))]
        text.append(f"| {' | '.join(cells)} |")
    return "\n".join(text)


def describe_gap(scores: Mapping[str, float | None], metric_name: str, num_eval_rows: int | None) -> str:
    """One line: the share of the gap that the student closed, or why there is none."""
    teacher, student, baseline = (scores.get(model) for model in MODELS)
    if teacher is None or student is None or baseline is None:
        missing = next(model for model in MODELS if scores.get(model) is None)
        return f"gap closed: {NOT_AVAILABLE} (there is no score of the {missing})"
    metric = find_metric(metric_name)
    has_standard_error = metric is not None and metric.is_row_accuracy
    num_rows = num_eval_rows if has_standard_error else None
    gap = gap_closed(teacher, student, baseline, num_rows)
    notes = []
    if gap is None:
        notes.append(f"the teacher is not {'clearly ' if num_rows else ''}above the baseline")
    if student < baseline:
        notes.append("distilling did not pay here: the student is below the baseline")
    if not num_rows:
        notes.append("no standard error was computed")
    value = NOT_AVAILABLE if gap is None else f"{round(100 * gap)} %"
    return f"gap closed: {value}" + (f" ({'; '.join(notes)})" if notes else "")


def results_table(rows: Sequence[Mapping[str, Any]], metric_name: str, num_eval_rows: int | None = None) -> str:
    """Compare teacher, student and baseline.

    Args:
        rows: One a model: `model` ("teacher", "student" or "baseline"), the score under `metric_name`, and where they
            are known `num_parameters` and `p50_ms`, the median latency of one text on the CPU.
        metric_name: Of the score; higher is better.
        num_eval_rows: Rows that the score was computed on. It gives an accuracy its standard error.

    Returns:
        A Markdown table with aligned columns, an empty line, and a line on the gap between baseline and teacher.
    """
    scores = {row["model"]: finite(row.get(metric_name)) for row in rows}
    cells = [
        [
            MODELS.get(row["model"], row["model"]),
            _format(scores[row["model"]], ".4f"),
            _format_retention(scores[row["model"]], scores.get("teacher")),
            _format(row.get("num_parameters"), ",.1f", 1e-6),
            _format(row.get("p50_ms"), ".2f"),
        ]
        for row in rows
    ]
    header = ["model", metric_name, "retention", "parameters (M)", "CPU latency p50 (ms, batch 1)"]
    return f"{markdown_table(header, cells)}\n\n{describe_gap(scores, metric_name, num_eval_rows)}"


def _format(value: Any, spec: str, factor: float = 1.0) -> str:
    number = finite(value)
    return NOT_AVAILABLE if number is None else format(number * factor, spec)


def _format_retention(score: float | None, teacher: float | None) -> str:
    kept = None if score is None or teacher is None else retention(score, teacher)
    return NOT_AVAILABLE if kept is None else f"{kept:.1%}".replace("%", " %")
