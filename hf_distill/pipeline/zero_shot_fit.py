"""Compare a zero-shot teacher with a constant answer on the rows to evaluate on, before a student is trained."""

from typing import Any

import numpy as np
from datasets import Dataset

from hf_distill.classifiers.problem_types import PROBLEM_TYPES
from hf_distill.data import Task
from hf_distill.data.metrics import METRICS
from hf_distill.data.table import counted
from hf_distill.data.transfer import logits_column
from hf_distill.reporting.comparison.quality import Resampling
from hf_distill.reporting.comparison.trivial import describe_trivial
from hf_distill.reporting.comparison.units import Units
from hf_distill.reporting.text import PLAIN
from hf_distill.training.labelled_rows import are_labelled


def measure_zero_shot(rows: Dataset, task: Task) -> dict[str, Any] | None:
    """Compare the teacher's answers with the best constant answer.

    Args:
        rows: The rows to evaluate on, with `labels` and `teacher_logits`.
        task: The task.

    Returns:
        `rows`, the number of labelled rows, `metric_name`, and what
        [`~hf_distill.reporting.comparison.trivial.describe_trivial`] returns. None without labels, or for a metric
        of the user.
    """
    metric = next((metric for metric in METRICS[task.problem_type] if metric.name == task.metric_name), None)
    labelled = np.flatnonzero(are_labelled(rows, PROBLEM_TYPES[task.problem_type]))
    if metric is None or not len(labelled):
        return None
    chosen = rows.select(labelled)
    numbers = np.arange(len(chosen))
    labels, names = np.array(chosen["labels"][:]), task.label_names or []
    units = Units(task.problem_type, names, labels, numbers, [""] * len(chosen), np.ones_like(numbers))
    trivial = describe_trivial(units, logits_column(chosen), metric, Resampling())
    return {"rows": len(chosen), "metric_name": metric.name, **trivial}


def describe_weakness(fit: dict[str, Any]) -> str | None:
    """Return a warning about a teacher that is not clearly better than a constant answer; None if it is.

    Args:
        fit: What [`measure_zero_shot`] returns.
    """
    if fit["reason"] is None:
        return None
    name, score = fit["metric_name"], fit["score"] + fit["difference"]
    return (
        f"THE TEACHER MAY KNOW NOTHING OF THESE CLASSES: on {counted(fit['rows'], 'labelled row')}, {fit['reason']} "
        f"({name} {PLAIN.score(score, name)} against {PLAIN.score(fit['score'], name)}). A student learns what its "
        "teacher knows. Describe the classes better (--candidate_labels with descriptions, --hypothesis_template), "
        "use a stronger teacher, or label more rows."
    )
