"""The models that could replace the teacher: each one is judged, and the cheapest one that can is chosen."""

from collections.abc import Mapping
from typing import Any

from hf_distill.reporting.comparison.groups import FEWEST_GROUPS
from hf_distill.reporting.comparison.quality import BASELINE, BOOTSTRAP, FEWEST_RESAMPLED, TEACHER
from hf_distill.reporting.statistics import holm
from hf_distill.reporting.text import non_inferiority

Models = Mapping[str, Mapping[str, Any]]

YES, NO, NOT_SHOWN = "yes", "no", "not shown"


def candidates(models: Models) -> list[str]:
    """Return the names of the models that could replace the teacher: all but the teacher and the baseline."""
    return [name for name in models if name not in (TEACHER, BASELINE)] or [name for name in models if name != TEACHER]


def correct_for_candidates(models: Models, level: float) -> None:
    """Take `non_inferior` back where it is not significant after Holm's correction for the number of candidates.

    Args:
        models: The models of the report, changed in place.
        level: Level of the intervals.
    """
    tests = [models[name]["versus_teacher"] for name in candidates(models)]
    tests = [test for test in tests if test is not None]
    if len(tests) < 2:
        return
    for test, p_value in zip(tests, holm([test["p_inferior"] for test in tests]), strict=True):
        test["non_inferior"] = test["non_inferior"] and p_value <= (1 - level) / 2


def judge(models: Models, name: str, task: Mapping[str, Any]) -> tuple[str, str]:
    """Return whether a model can replace the teacher (yes, no or not shown), and what decides it.

    Returns:
        The answer and one of "score", "lost class", "vanished class", "few rows", "few groups", "trivial teacher",
        "undefined score" and "no labels".
    """
    model = models[name]
    if not model["metrics"]:
        return NOT_SHOWN, "no labels"
    if model["versus_teacher"] is None:
        return NOT_SHOWN, "trivial teacher" if task["rows"] == 1 else "undefined score"
    if task["trivial"]["reason"]:
        return NOT_SHOWN, "trivial teacher"
    answer, classes = non_inferiority(model["versus_teacher"]), model["lost_classes"]
    if classes and classes["lost"]:
        return NO, "lost class"
    if classes and classes["vanished"] and answer != NO:
        return NOT_SHOWN, "vanished class"
    num_groups = task["groups"]["number"] if task["groups"] else task["rows"]
    if answer == YES and model["versus_teacher"]["test"] == BOOTSTRAP and num_groups < FEWEST_RESAMPLED:
        return NOT_SHOWN, "few rows"
    if answer == YES and task["groups"] and num_groups < FEWEST_GROUPS:
        return NOT_SHOWN, "few groups"
    return answer, "score"


def choose_subject(models: Models, task: Mapping[str, Any], is_busy: bool) -> str:
    """Return the model that the verdict is about.

    It is the cheapest one that can replace the teacher: the fastest on one text if times were measured on an idle
    machine, else the smallest. If none can, it is the first student, else the first export, else the first model.

    Args:
        models: The models of the report.
        task: The task of the report.
        is_busy: Whether the machine was too busy to measure times.
    """
    names = candidates(models)
    able = [name for name in names if judge(models, name, task)[0] == YES]
    if able:
        return min(able, key=lambda name: price(models[name]["cost"], is_busy))
    for role in ("student", "export"):
        for name in names:
            if models[name]["role"] == role:
                return name
    return names[0]


def price(cost: Mapping[str, Any], is_busy: bool) -> tuple[float, float, float]:
    """Return what a model costs, for comparison: the time for one text if it was measured well, then its size."""
    latency = cost["latency"][0]["p50_ms"] if cost["latency"] and not is_busy else 0.0
    return latency, cost["bytes_on_disk"] or float("inf"), cost["num_parameters"] or float("inf")
