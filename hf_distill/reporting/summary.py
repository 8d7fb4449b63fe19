"""The table at the end of a run, from its record."""

from collections.abc import Mapping
from typing import Any

from hf_distill.reporting.table import results_table


def summary(record: Mapping[str, Any]) -> str:
    """Compare teacher, student and baseline; a model without metrics is left out.

    Args:
        record: What `DistillationTrainer.distillation_record` returns, with `metric_name` and `dataset`.
    """
    if not {"metric_name", "dataset"} <= record.keys():
        raise ValueError("The record lacks `metric_name` or `dataset`. Put both into `trainer.record` first.")
    metric_name, metrics = record["metric_name"], record["metrics"]
    student, teacher = record["student"], record["teacher"] or {}
    sizes = {"teacher": teacher.get("num_parameters"), "student": student["num_parameters"]}
    sizes["baseline"] = sizes["student"]
    rows = [
        {
            "model": model,
            metric_name: metrics[model].get(metric_name),
            "num_parameters": size,
            "p50_ms": record.get("latency", {}).get(model, {}).get("p50_ms"),
        }
        for model, size in sizes.items()
        if model in metrics
    ]
    return results_table(rows, metric_name, record["dataset"]["eval_rows"])
