"""The table of a run's results, aligned for a terminal and valid as Markdown."""

from collections.abc import Mapping, Sequence
from typing import Any

from hf_distill.data.metrics import find_metric
from hf_distill.reporting.markdown import filled_table
from hf_distill.reporting.notebook import MarkdownText
from hf_distill.reporting.statistics import gap_closed, retention
from hf_distill.reporting.text import NOT_AVAILABLE, PLAIN, finite, is_error, number

MODELS = {"teacher": "teacher", "student": "student", "baseline": "baseline (no teacher)"}

# What models are compared by if no row has a label; it says nothing about who is right.
TEACHER_MEASURES = {"agreement": "agreement with the teacher", "loss_kl": "squared error to the teacher"}


def results_table(
    rows: Sequence[Mapping[str, Any]], metric_name: str, num_eval_rows: int | None = None
) -> MarkdownText:
    """Compare teacher, student and baseline.

    Args:
        rows: One for each model: `model` ("teacher", "student" or "baseline"), the score under `metric_name`, and if
            known `num_parameters` and `p50_ms`, the median latency of one text on the CPU.
        metric_name: Name of the score or error.
        num_eval_rows: Number of rows that the score was computed on, for the standard error of an accuracy.

    Returns:
        A Markdown table with aligned columns, without those that are n/a for all models; an empty line; and a line
        about the gap between baseline and teacher, or about rows without labels. A notebook shows it as HTML.
    """
    if metric_name in TEACHER_MEASURES:
        return _teacher_table(rows, metric_name)
    scores = {row["model"]: finite(row.get(metric_name)) for row in rows}
    cells = [
        [
            MODELS.get(row["model"], row["model"]),
            number(scores[row["model"]], ".4f"),
            _retention(scores[row["model"]], scores.get("teacher"), metric_name),
            number(row.get("num_parameters"), ",.1f", 1e-6),
            number(row.get("p50_ms"), ".2f"),
        ]
        for row in rows
    ]
    header = ["model", metric_name, "retention", "parameters (M)", "one text, CPU (ms)"]
    return MarkdownText(f"{filled_table(header, cells)}\n\n{_describe_gap(scores, metric_name, num_eval_rows)}")


def _teacher_table(rows: Sequence[Mapping[str, Any]], measure: str) -> MarkdownText:
    cells = [
        [
            MODELS.get(row["model"], row["model"]),
            number(row.get(measure), ".4f"),
            number(row.get("num_parameters"), ",.1f", 1e-6),
            number(row.get("p50_ms"), ".2f"),
        ]
        for row in rows
    ]
    header = ["model", TEACHER_MEASURES[measure], "parameters (M)", "one text, CPU (ms)"]
    return MarkdownText(
        f"{filled_table(header, cells)}\n\nNo row has a label, so it is unknown how often teacher and student are "
        f"right. The {TEACHER_MEASURES[measure]} compares only their answers."
    )


def _retention(score: float | None, teacher: float | None, metric: str) -> str:
    return PLAIN.share(None if score is None or teacher is None or is_error(metric) else retention(score, teacher))


def _describe_gap(scores: Mapping[str, float | None], metric_name: str, num_eval_rows: int | None) -> str:
    """Return one line: the share of the gap that the student closed, or why there is none."""
    sign = -1 if is_error(metric_name) else 1
    teacher, student, baseline = (None if (x := scores.get(model)) is None else sign * x for model in MODELS)
    if teacher is None or student is None or baseline is None:
        if "baseline" not in scores:
            advice = "no baseline was trained; with labelled training rows, --baseline trains one"
            return f"gap closed: {NOT_AVAILABLE} ({advice})"
        missing = next(model for model in MODELS if scores.get(model) is None)
        return f"gap closed: {NOT_AVAILABLE} (the {missing} has no score)"
    metric = find_metric(metric_name)
    num_rows = num_eval_rows if metric is not None and metric.is_row_accuracy else None
    gap = gap_closed(teacher, student, baseline, num_rows)
    notes = []
    if gap is None:
        notes.append(f"the teacher is not {'clearly ' if num_rows else ''}better than the baseline")
    if not num_rows:
        notes.append("no standard error was computed")
    if student < baseline:
        difference = PLAIN.margin(baseline - student, metric_name)
        notes.append(
            f"the student's {metric_name} is {difference} {'above' if sign < 0 else 'below'} the baseline's; this "
            "table does not test differences, `hf-distill compare` does"
        )
    value = NOT_AVAILABLE if gap is None else f"{round(100 * gap)} %"
    return f"gap closed: {value}" + (f" ({'; '.join(notes)})" if notes else "")
