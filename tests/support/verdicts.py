"""Verdicts on arrays of labels and answers, without models."""

import numpy as np

from hf_distill.data.metrics import ERROR, METRICS, find_metric
from hf_distill.reporting.comparison.candidates import correct_for_candidates
from hf_distill.reporting.comparison.describe import Comparison
from hf_distill.reporting.comparison.notes import make_notes, make_warnings
from hf_distill.reporting.comparison.quality import Resampling
from hf_distill.reporting.comparison.units import Units
from hf_distill.reporting.comparison.verdict import make_verdict

ACCURACY = find_metric("accuracy")
SINGLE, MULTI, TOKENS = "single_label_classification", "multi_label_classification", "token_classification"


def make_units(labels, names, problem_type=SINGLE, rows=None, groups=None):
    labels = np.asarray(labels)
    rows = np.arange(len(labels)) if rows is None else np.asarray(rows)
    num_rows = int(rows.max()) + 1
    return Units(problem_type, list(names), labels, rows, ["text"] * num_rows, np.ones(num_rows), groups=groups)


def logits_for(predicted, num_labels):
    return 4.0 * np.eye(num_labels)[np.asarray(predicted)]


def compare(units, metric_name=None, shipped=None, costs=None, **logits):
    """Return the verdict, the notes and the models of a report without models that run.

    Args:
        units: The labelled rows.
        metric_name: The metric that decides; by default the first one.
        shipped: Name -> the run that is used.
        costs: Name -> milliseconds for one text.
        logits: Name -> logits, or a list of logits of several runs.
    """
    if metric_name is None and units.problem_type == "regression":
        metric_name = ERROR
    metrics = sorted(METRICS[units.problem_type], key=lambda metric: metric.name != metric_name)
    if metric_name is None and units.problem_type == TOKENS:
        metrics = [find_metric("token_accuracy")]
    runs = {name: values if isinstance(values, list) else [values] for name, values in logits.items()}
    shipped = dict.fromkeys(runs, 0) | (shipped or {})
    comparison = Comparison(units, runs, metrics, 0.01, Resampling(1000), shipped)
    models = {}
    for name, of_model in runs.items():
        role = name if name in ("teacher", "baseline") else "student"
        latency = [{"p50_ms": costs[name]}] if costs else []
        models[name] = {
            "role": role, "pairing": None,
            "num_runs": len(of_model), "shipped_run": shipped[name], "shipped_reason": "a reason",
            "cost": {"speedup": None, "bytes_on_disk": 10, "num_parameters": 5, "latency": latency},
            **comparison.describe(name),
        }  # fmt: skip
    correct_for_candidates(models, 0.95)
    task = {
        "repeated_rows": 0, "groups": comparison.describe_groups("document"),
        "metric_name": metrics[0].name, "rows": comparison.num_rows, "confidence_level": 0.95, "num_resamples": 1000,
        "num_resamples_by_metric": {}, "problem_type": units.problem_type, "trivial": comparison.describe_trivial(),
    }  # fmt: skip
    verdict = make_verdict(models, task, is_busy=False)
    notes = make_warnings(models, verdict["model"], task, False)
    return verdict, notes + make_notes(models, verdict["model"], task, comparison.num_unlabelled), models


def judge(units, teacher, student, metric_name=None):
    """Return the verdict and the notes on one student."""
    return compare(units, metric_name, teacher=teacher, student=student)[:2]
