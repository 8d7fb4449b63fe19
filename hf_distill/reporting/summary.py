"""The table of results at the end of a run."""

from collections.abc import Mapping
from typing import Any

from hf_distill.reporting.tables import TEACHER_MEASURES, results_table
from hf_distill.reporting.text import BUSY


def summary(record: Mapping[str, Any]) -> str:
    """Return a table that compares teacher, student and baseline. A model without metrics is left out.

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
    table = results_table(rows, metric_name, record["dataset"]["eval_rows"])
    return f"{table}\n\n{BUSY}" if record.get("machine", {}).get("is_busy") else table
