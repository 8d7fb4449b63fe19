"""What to do next if a student is not good enough, not shown to be, or misses a requirement."""

from collections.abc import Mapping
from typing import Any

from hf_distill.data.metrics import METRICS
from hf_distill.reporting.comparison.lost_classes import largest_vanished, worst_lost
from hf_distill.reporting.comparison.more_rows import IF_TRUE
from hf_distill.reporting.requirements import TIMES, Requirement, parse_requirement
from hf_distill.reporting.text import rounded_rows

_COSTS = (*TIMES, "size_mb", "num_parameters")
# Reason of a verdict -> what is needed before any student can be judged.
_BEFORE = {
    "no labels": "label some of these rows, because only labels show whether the student is good enough.",
    "undefined score": "compare by another metric (--metric_name), or on rows with different labels.",
    "trivial teacher": "compare on rows with different labels, with a teacher that is better than a constant answer "
    "(docs/teachers.md).",
    "few rows": "compare on more labelled rows.",
    "few groups": "compare on rows of more groups.",
}


def describe_next_step(report: Mapping[str, Any]) -> str | None:
    """Return what to do next, in one line.

    Args:
        report: What `Report.to_dict` returns.

    Returns:
        None if the student can replace the teacher and meets all requirements whose numbers can be measured.
    """
    verdict = report["verdict"]
    is_good = verdict["replace"] is True
    if not is_good and verdict["reason"] in _BEFORE:
        return _BEFORE[verdict["reason"]]
    unmet = [result for result in report.get("requirements", {"results": []})["results"] if not result["is_met"]]
    if missed := [result for result in unmet if not result["reason"]]:
        return _meet(report, missed)
    return _measure(report, unmet) if is_good else _for_verdict(report)


def _for_verdict(report: Mapping[str, Any]) -> str:
    verdict, model = report["verdict"], report["models"][report["verdict"]["model"]]
    if verdict["reason"] == "lost class":
        return _learn_class(worst_lost(model["lost_classes"]["lost"])["label"])
    if verdict["reason"] == "vanished class":
        label = largest_vanished(model["lost_classes"]["vanished"])["label"]
        return f"compare on more rows of the class {label!r}, and {_learn_class(label)}"
    if verdict["more_rows"] is not None:
        rows = f"{rounded_rows(verdict['more_rows'])}{' in groups like these' if report['task']['groups'] else ''}"
        return f"compare on about {rows}, which would show a yes {IF_TRUE}."
    return _improve(report)


def _measure(report: Mapping[str, Any], unmet: list[Mapping[str, Any]]) -> str | None:
    """Return how to measure the numbers that requirements miss; None if the reason beside each of them says it."""
    if not unmet or any(requirement.name not in TIMES for requirement in _parse(report, unmet)):
        return None
    if any(result["value"] is None for result in unmet):
        return "measure times: leave out --latency_rounds 0."
    return "compare again on an idle machine."


def _parse(report: Mapping[str, Any], results: list[Mapping[str, Any]]) -> list[Requirement]:
    return [parse_requirement(result["text"], report["task"]["metrics"]) for result in results]


def _meet(report: Mapping[str, Any], missed: list[Mapping[str, Any]]) -> str:
    """Return how to meet requirements whose numbers were measured."""
    requirements = _parse(report, missed)
    are_costs = {requirement.name in _COSTS for requirement in requirements}
    if are_costs == {True, False} and _can_search(report, requirements):
        return "let `hf-distill search` look for a student that meets all requirements at once (--require)."
    if True in are_costs:
        return _make_cheaper(report)
    if all(requirement.name == "ece" for requirement in requirements):
        return _calibrate(report)
    labels = [requirement.label for requirement in requirements if requirement.label is not None]
    return _learn_class(labels[0]) if labels else _improve(report)


def _can_search(report: Mapping[str, Any], requirements: list[Requirement]) -> bool:
    """Return whether `hf-distill search` handles the task, and can judge by these requirements."""
    problem_type = report["task"]["problem_type"]
    names = {"agreement", *_COSTS, *(metric.name for metric in METRICS[problem_type])}
    are_known = all(requirement.label is not None or requirement.name in names for requirement in requirements)
    return problem_type != "token_classification" and are_known


def _make_cheaper(report: Mapping[str, Any]) -> str:
    step = "train a smaller student (docs/students.md)"
    if report["models"][report["requirements"]["model"]]["role"] != "export":
        step += ", or export this one with --quantize int8 and compare it with --export_folder"
    search = "; `hf-distill search` finds the cheapest student that meets requirements"
    return f"{step}{search if _can_search(report, []) else ''}."


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
        "train the student on more unlabelled text (--transfer_file; for pairs of texts also --augment 4), for more "
        "epochs, or train a larger one"
    )
    return f"{step}; `hf-distill search` tries several students." if _can_search(report, []) else f"{step}."
