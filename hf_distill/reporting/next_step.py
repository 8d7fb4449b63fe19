"""What to do next if a student is not good enough, not shown to be, or misses a requirement."""

from collections.abc import Mapping
from typing import Any

from hf_distill.reporting.comparison.more_rows import IF_TRUE
from hf_distill.reporting.requirements import TIMES, parse_requirement
from hf_distill.reporting.text import rounded_rows

_COSTS = (*TIMES, "size_mb", "num_parameters")
# Reason of a verdict -> what is needed before any student can be judged.
_BEFORE = {
    "no labels": "label some of these rows, because only labels show whether the student is good enough.",
    "undefined score": "compare by another metric (--metric_name), or on rows that have each class.",
    "trivial teacher": "compare on rows of every class, with a teacher that is better than a constant answer "
    "(docs/teachers.md).",
    "few rows": "compare on more labelled rows.",
    "few groups": "compare on rows of more groups.",
}


def describe_next_step(report: Mapping[str, Any]) -> str | None:
    """Return what to do next, in one line; None if the student can replace the teacher and meets all requirements.

    Args:
        report: What `Report.to_dict` returns.
    """
    verdict = report["verdict"]
    unmet = [result for result in report.get("requirements", {"results": []})["results"] if not result["is_met"]]
    if verdict["replace"] is not True and verdict["reason"] in _BEFORE:
        return _BEFORE[verdict["reason"]]
    if unmet:
        return _meet(report, unmet)
    return None if verdict["replace"] is True else _for_verdict(report)


def _for_verdict(report: Mapping[str, Any]) -> str:
    verdict, model = report["verdict"], report["models"][report["verdict"]["model"]]
    if verdict["reason"] == "lost class":
        worst = max(model["lost_classes"]["lost"], key=lambda entry: entry["teacher"] - entry["model"])
        return _learn_class(worst["label"])
    if verdict["reason"] == "vanished class":
        largest = max(model["lost_classes"]["vanished"], key=lambda entry: entry["rows"])
        return f"compare on more rows of the class {largest['label']!r}, and {_learn_class(largest['label'])}"
    if verdict["more_rows"] is not None:
        return f"compare on about {rounded_rows(verdict['more_rows'])}, which would show a yes {IF_TRUE}."
    return _improve(report)


def _meet(report: Mapping[str, Any], unmet: list[Mapping[str, Any]]) -> str | None:
    """Return how to meet requirements."""
    metrics = report["task"]["metrics"]
    parsed = [parse_requirement(result["text"], metrics) for result in unmet]
    missing = [result for result in unmet if result["reason"]]
    if missing and all(requirement.name in TIMES for requirement in parsed):
        is_busy = report["machine"]["is_busy"]
        return "compare again on an idle machine." if is_busy else "measure times: leave out --latency_rounds 0."
    if missing:
        return None  # the reason beside the requirement says what is missing
    are_costs = {requirement.name in _COSTS for requirement in parsed}
    if are_costs == {True, False}:
        return "let `hf-distill search` look for a student that meets all requirements at once (--require)."
    if are_costs == {True}:
        return (
            "train a student with fewer layers, or export this one with --quantize int8 and compare it with "
            "--export_folder; `hf-distill search` finds the cheapest student that meets requirements."
        )
    if all(requirement.name == "ece" for requirement in parsed):
        return _calibrate(report)
    labels = [requirement.label for requirement in parsed if requirement.label is not None]
    return _learn_class(labels[0]) if labels else _improve(report)


def _calibrate(report: Mapping[str, Any]) -> str:
    calibration = report["models"][report["requirements"]["model"]]["calibration"]
    if calibration["ece_scaled"] is None or calibration["ece_scaled"] >= calibration["ece"]:
        return _improve(report)
    return (
        f"divide the logits by {calibration['temperature']:.2f} before the softmax. This lowers the ECE on these rows "
        f"to {calibration['ece_scaled']:.3f} and changes no answer."
    )


def _learn_class(label: str) -> str:
    return (
        f"train the student on more texts of the class {label!r}, labelled or not (--transfer_file), or give classes "
        "weights (docs/objectives.md)."
    )


def _improve(report: Mapping[str, Any]) -> str:
    """Return how to make a better student."""
    model = report["models"][report["verdict"]["model"]]
    if model["role"] == "export" and all(other["role"] != "student" for other in report["models"].values()):
        return "compare the student itself too (--student_model_name_or_path), to see what the export costs."
    versus = model["versus_baseline"]
    if versus is not None and versus["high"] < 0:
        return (
            "check the teacher (docs/troubleshooting.md), because the student is worse than the baseline, which was "
            "trained without it."
        )
    step = (
        "train the student on more unlabelled text (--transfer_file) or on variants of the labelled texts "
        "(--augment), for more epochs, or with more layers"
    )
    has_search = report["task"]["problem_type"] != "token_classification"
    return f"{step}; `hf-distill search` tries several students." if has_search else f"{step}."
