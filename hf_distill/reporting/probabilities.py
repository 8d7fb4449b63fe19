"""What a report and a record say about the probabilities of the models, beside their scores."""

from collections.abc import Mapping
from typing import Any

from hf_distill.reporting.text import finite

_COMPARED_ROLES = ("teacher", "baseline")


def describe_probabilities(report: Mapping[str, Any]) -> str | None:
    """Return a sentence on calibration for the model of the verdict, the teacher and the baseline.

    Args:
        report: What `Report.to_dict` returns.

    Returns:
        The sentence; None if the model of the verdict has no calibration, as in a regression.
    """
    models, subject = report["models"], report["verdict"]["model"]
    calibrations = {
        name: model["calibration"]
        for name, model in models.items()
        if model["calibration"] and (name == subject or model["role"] in _COMPARED_ROLES)
    }
    if subject not in calibrations:
        return None
    names = [subject, *(name for name in calibrations if name != subject)]
    values = [", ".join(f"{calibrations[name][key]:.3f} ({name})" for name in names) for key in ("nll", "ece")]
    return (
        f"Probabilities, which thresholds and deferral to the teacher depend on: the negative log-likelihood is "
        f"{values[0]}, and the expected calibration error {values[1]}. Lower is better."
    )


def describe_cross_entropy(record: Mapping[str, Any]) -> str | None:
    """Return a sentence on the cross-entropy of student and baseline with the labels.

    Args:
        record: The record of a run.

    Returns:
        The sentence; None if one of the two is not known, for a regression, and with label smoothing or class weights,
        which change the number.
    """
    hard_term = (record.get("objectives") or {}).get("ce") or {}
    if (
        record.get("problem_type") == "regression"
        or hard_term.get("label_smoothing")
        or hard_term.get("class_weights")
    ):
        return None
    metrics = record.get("metrics") or {}
    losses = {model: finite(metrics.get(model, {}).get("loss_ce")) for model in ("student", "baseline")}
    if None in losses.values():
        return None
    return (
        f"Cross-entropy with the labels: student {losses['student']:.3f}, baseline {losses['baseline']:.3f}. Lower is "
        "better: thresholds and deferral to the teacher depend on the probabilities, not only on the answers."
    )
