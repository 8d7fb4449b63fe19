"""The metric of student and baseline after each evaluation of a training: where it would have been enough to stop."""

from collections.abc import Mapping, Sequence
from typing import Any

from hf_distill.data.metrics import find_metric
from hf_distill.reporting.markdown import markdown_table
from hf_distill.reporting.text import finite, number

MAX_ROWS = 12
_LOWER_IS_BETTER = ("loss", "loss_kl")


def history_table(record: Mapping[str, Any]) -> str:
    """Return a table of the metric against steps and epochs, and the step of the student's best evaluation.

    Args:
        record: The record of a run, whose `history` has the evaluations of student and baseline in training.

    Returns:
        Markdown; empty if the student was evaluated less than twice. Of more than 12 evaluations, 12 are shown, among
        them the best and the last.
    """
    name, history = record.get("metric_name"), record.get("history") or {}
    student = [entry for entry in history.get("student", []) if finite(entry.get(name)) is not None]
    if len(student) < 2 or name is None:
        return ""
    metric = find_metric(name)
    is_error = name in _LOWER_IS_BETTER if metric is None else not metric.higher_is_better
    best = min(student, key=lambda entry: entry[name] * (1 if is_error else -1))
    baseline = {entry["step"]: entry.get(name) for entry in history.get("baseline", [])}
    header = ["step", "epoch", f"student, {name}", *(["baseline"] if baseline else [])]
    rows = [
        [
            f"{entry['step']:,}",
            number(entry["epoch"], ".2f"),
            number(entry[name], ".4f"),
            *([number(baseline.get(entry["step"]), ".4f")] if baseline else []),
        ]
        for entry in _shown(student, best)
    ]
    last = student[-1]["step"]
    line = f"The student's best evaluation is after step {best['step']:,} of {last:,}."
    if best is student[-1]:
        line += (
            " That is its last one, so a longer training can be better. With the cache it does not run the teacher."
        )
    return f"{markdown_table(header, rows)}\n\n{line}"


def _shown(entries: Sequence[Mapping[str, Any]], best: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return at most 12 entries: evenly spaced ones from the first to the last, and the best."""
    if len(entries) <= MAX_ROWS:
        return list(entries)
    num_even = MAX_ROWS - 1
    places = {round(i * (len(entries) - 1) / (num_even - 1)) for i in range(num_even)} | {entries.index(best)}
    return [entries[place] for place in sorted(places)]
