"""The verdict on each candidate in one or two sentences, without its scores."""

from collections.abc import Mapping
from typing import Any

from hf_distill.reporting.comparison.candidates import NO, YES, Models, judge
from hf_distill.reporting.comparison.groups import FEWEST_GROUPS
from hf_distill.reporting.comparison.lost_classes import largest_vanished, worst_lost
from hf_distill.reporting.comparison.quality import FEWEST_RESAMPLED
from hf_distill.reporting.text import PLAIN, equals_p_value


def claim(models: Models, name: str, task: Mapping[str, Any]) -> str:
    """Return whether a candidate can replace the teacher, and what decides it.

    Args:
        models: The models of the report.
        name: Name of the candidate.
        task: The task of the report.
    """
    answer, reason = judge(models, name, task)
    if reason == "score":
        return _by_score(name, answer, models[name]["versus_teacher"], task)
    if reason == "lost class":
        return f"{_no(name)}: {_lost(models[name]['lost_classes']['lost'])}."
    if reason == "no labels":
        return f"{_not_shown(name)}, because no row has a label."
    return f"{_not_shown(name)}: {_obstacle(models[name], task, reason)}."


def _obstacle(model: Mapping[str, Any], task: Mapping[str, Any], reason: str) -> str:
    """Return why nothing can be shown."""
    if reason == "undefined score":
        return f"{task['metric_name']} is undefined for one of the two models"
    if reason == "trivial teacher":
        return task["trivial"]["reason"]
    if reason == "few rows":
        kind = "groups" if task["groups"] else "rows"
        return f"a verdict on {task['metric_name']} needs at least {FEWEST_RESAMPLED} {kind}"
    if reason == "few groups":
        return (
            f"there are {task['groups']['number']:,} groups of rows, and at least {FEWEST_GROUPS} are needed to know "
            "how much groups differ"
        )
    return _vanished(model["lost_classes"]["vanished"])


def _no(name: str) -> str:
    return f"No, the {name} should not replace the teacher"


def _not_shown(name: str) -> str:
    return f"It is not shown that the {name} can replace the teacher"


def _by_score(name: str, answer: str, versus: Mapping[str, Any], task: Mapping[str, Any]) -> str:
    metric = task["metric_name"]
    margin = PLAIN.margin(versus["margin"], metric)
    level = f"with {100 * task['confidence_level']:g} % confidence"
    if answer == YES:
        return f"Yes, the {name} can replace the teacher: {level} it is less than {margin} worse."
    if answer == NO:
        return f"{_no(name)}: {level} it is more than {margin} worse."
    if versus["low"] > -versus["margin"]:
        return (
            f"{_not_shown(name)}: {level} it would be less than {margin} worse if it were the only candidate, but not "
            "after Holm's correction for the number of candidates."
        )
    low, high = (PLAIN.difference(versus[end], metric) for end in ("low", "high"))
    low = low.removesuffix(" points")
    return (
        f"{_not_shown(name)}: {level} the difference is between {low} and {high}, so it could be more than {margin} "
        "worse."
    )


def _lost(lost: list[dict[str, Any]]) -> str:
    worst = worst_lost(lost)
    others = f" (and of {len(lost) - 1:,} more)" if len(lost) > 1 else ""
    return (
        f"it loses a class. Of {worst['label']!r}{others} it finds {PLAIN.share(worst['model'])} of {worst['rows']:,} "
        f"rows, and the teacher {PLAIN.share(worst['teacher'])} (p {equals_p_value(worst['p_value'])})"
    )


def _vanished(vanished: list[dict[str, Any]]) -> str:
    largest = largest_vanished(vanished)
    others = f" and {len(vanished) - 1:,} more" if len(vanished) > 1 else ""
    return (
        f"it never finds the class {largest['label']!r}{others}, of which the teacher finds "
        f"{PLAIN.share(largest['teacher'])} of {largest['rows']:,} rows"
    )
