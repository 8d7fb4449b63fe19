"""The table of results at the end of a run."""

from collections.abc import Mapping, Sequence
from typing import Any

from hf_distill.reporting.few_rows import describe_few_rows
from hf_distill.reporting.history import history_table
from hf_distill.reporting.notebook import MarkdownText
from hf_distill.reporting.probabilities import describe_cross_entropy
from hf_distill.reporting.tables import TEACHER_MEASURES, results_table
from hf_distill.reporting.text import BUSY, PLAIN, finite, is_better, is_error

# Entries of a record's `floor` -> names in the table.
FLOORS = {"labels": "TF-IDF, labels", "teacher_answers": "TF-IDF, teacher's answers"}


def summary(record: Mapping[str, Any]) -> MarkdownText:
    """Return a table that compares teacher, student, baseline and floor. A model without metrics is left out.

    The table is text; as the last line of a notebook cell it is shown as HTML.

    Args:
        record: What `DistillationTrainer.distillation_record` returns, with `metric_name` and `dataset`.

    Raises:
        ValueError: if the record has no `metric_name` or no `dataset`.
    """
    if not {"metric_name", "dataset"} <= record.keys():
        raise ValueError("The record has no `metric_name` or no `dataset`. Set both in `trainer.record` first.")
    metric_name, metrics = record["metric_name"], record["metrics"]
    student, teacher = record["student"], record["teacher"] or {}
    sizes = {"teacher": teacher.get("num_parameters"), "student": student["num_parameters"]}
    sizes["baseline"] = sizes["student"]
    rows = [
        {
            "model": model,
            metric_name: metrics.get(model, {}).get(metric_name),
            "num_parameters": size,
            "p50_ms": record.get("latency", {}).get(model, {}).get("p50_ms"),
        }
        for model, size in sizes.items()
        if model in metrics or (model == "teacher" and metric_name in TEACHER_MEASURES and size is not None)
    ]
    floors = _floor_rows(record)
    table = results_table([*rows, *floors], metric_name, record["dataset"]["eval_rows"])
    notes = _floor_notes(floors, metrics.get("student", {}).get(metric_name), metric_name)
    notes += [line for line in (describe_few_rows(record), describe_cross_entropy(record)) if line]
    if history := history_table(record):
        notes.append(f"\n{history}")
    notes += [f"\n{BUSY}"] if record.get("machine", {}).get("is_busy") else []
    return MarkdownText("\n".join([table, *notes]))


def _floor_rows(record: Mapping[str, Any]) -> list[dict[str, Any]]:
    metric_name = record["metric_name"]
    return [
        {
            "model": FLOORS[name],
            metric_name: floor["metrics"][metric_name],
            "num_parameters": floor["num_parameters"],
            "p50_ms": floor["p50_ms"],
        }
        for name, floor in record.get("floor", {}).items()
        if metric_name in floor["metrics"]
    ]


def _floor_notes(floors: Sequence[Mapping[str, Any]], score: float | None, metric_name: str) -> list[str]:
    """Return a line if a linear model is as good as the student."""
    values = [finite(floor[metric_name]) for floor in floors]
    best = (min if is_error(metric_name) else max)((value for value in values if value is not None), default=None)
    if best is None or score is None or is_better(score, best, metric_name):
        return []
    return [
        f"TF-IDF with a linear model reaches {PLAIN.score(best, metric_name)}, no worse than the student: for these "
        "texts it can be enough."
    ]
