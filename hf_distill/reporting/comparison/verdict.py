"""The verdict on the question whether a student can replace the teacher."""

from collections.abc import Mapping
from functools import partial
from typing import Any

from hf_distill.data.table import counted
from hf_distill.reporting.comparison.candidates import (
    NO,
    NOT_SHOWN,
    YES,
    Models,
    candidates,
    choose_subject,
    judge,
    price,
)
from hf_distill.reporting.comparison.claims import claim
from hf_distill.reporting.comparison.more_rows import count_more_rows, describe_more_rows
from hf_distill.reporting.comparison.quality import TEACHER
from hf_distill.reporting.text import PLAIN

_REPLACE = {YES: True, NO: False, NOT_SHOWN: None}


def make_verdict(models: Models, task: Mapping[str, Any], is_busy: bool) -> dict[str, Any]:
    """Return whether the student can replace the teacher: yes (True), no (False) or not shown (None).

    Yes: the interval of the difference lies above -margin, "non-inferior". No: it lies below -margin. At a level of
    95 % such a claim is wrong in at most 2.5 % of samples. A yes also needs that the student has lost no class, and
    nothing is shown by a teacher that knows no more than a constant answer. If several models could replace the
    teacher, the tests are corrected for their number, and the verdict names the cheapest one that can.

    Args:
        models: The models of the report.
        task: The task of the report.
        is_busy: Whether the machine was too busy to measure times.

    Returns:
        `sentence`; `by_model`, the verdict on each candidate in a few words; `replace`; `model`, the model that the
        verdict is about; `reason`, what decides, see [`~hf_distill.reporting.comparison.candidates.judge`]; and
        `more_rows`, how many more rows would show a yes if it is not shown, see
        [`~hf_distill.reporting.comparison.more_rows.count_more_rows`], or None.
    """
    name = choose_subject(models, task, is_busy)
    answer, reason = judge(models, name, task)
    by_model, more_rows = {each: claim(models, each, task) for each in candidates(models)}, None
    sentence = f"{by_model[name]}{_details(models, name, task, answer, reason)}"
    if (answer, reason) == (NOT_SHOWN, "score"):
        versus = models[name]["versus_teacher"]
        more_rows = count_more_rows(versus, task, len(candidates(models)))
        margin = PLAIN.margin(versus["margin"], task["metric_name"])
        sentence += f" {describe_more_rows(more_rows, versus, margin, task['groups'] is not None)}"
    if answer == YES:
        advantages = _gain(models, name, is_busy) + _others(models, name, task, is_busy)
        by_model[name] += advantages
        sentence += advantages
    elif others := [other for other in candidates(models) if other != name]:
        answers = ", ".join(f"{other} ({judge(models, other, task)[0]})" for other in others)
        sentence += f" The answers for the other candidates: {answers}."
    return {
        "sentence": sentence,
        "by_model": by_model,
        "replace": _REPLACE[answer],
        "model": name,
        "reason": reason,
        "more_rows": more_rows,
    }


def _details(models: Models, name: str, task: Mapping[str, Any], answer: str, reason: str) -> str:
    """Return the scores of model and teacher, as sentences."""
    if reason == "no labels":
        return f" {_fidelity(models[name])}"
    if reason == "undefined score":
        return ""
    is_open = (answer, reason) == (NOT_SHOWN, "score")
    interval = _interval_of_score(models[name], task["metric_name"]) if is_open else ""
    return f" {_comparison(models, name, task)}{interval}"


def _others(models: Models, name: str, task: Mapping[str, Any], is_busy: bool) -> str:
    """Return which other models can replace the teacher too, if several were candidates."""
    able = [other for other in candidates(models) if other != name and judge(models, other, task)[0] == YES]
    if not able:
        return ""
    lowest, *prices = (price(models[each]["cost"], is_busy) for each in (name, *able))
    if lowest[0]:
        compared = "slower" if all(other[0] > lowest[0] for other in prices) else "not faster"
    else:
        compared = "larger" if all(other > lowest for other in prices) else "not smaller"
    verb = "is" if len(able) == 1 else "are"
    return f" Deploy the {name}: {', '.join(able)} can also replace the teacher, but {verb} {compared}."


def _comparison(models: Models, name: str, task: Mapping[str, Any]) -> str:
    """Return the scores of both models, and the score of the best constant answer."""
    metric, trivial = task["metric_name"], task["trivial"]
    runs = (models[model]["metrics"][metric]["runs"][models[model]["shipped_run"]] for model in (name, TEACHER))
    scores = (PLAIN.score(score, metric) for score in runs)
    constant = f" (always answering {trivial['answer']!r} gives {PLAIN.score(trivial['score'], metric)})"
    rows = counted(task["rows"], "row")
    return "On {} its {} is {}, and the teacher's is {}{}.".format(rows, metric, *scores, constant)


def _interval_of_score(model: Mapping[str, Any], metric: str) -> str:
    """Return the interval of the score of a model with one run; that of several runs is about their mean."""
    score = model["metrics"][metric]
    interval = PLAIN.interval(score, partial(PLAIN.score, metric=metric)) if len(score["runs"]) == 1 else ""
    return f" The interval of its {metric} is {interval}." if interval else ""


def _gain(models: Models, name: str, is_busy: bool) -> str:
    """Return a sentence on speed and size; speed only if the machine was not busy."""
    cost, teacher = models[name]["cost"], models[TEACHER]["cost"]
    gains = [f"is {cost['speedup']:.1f} times as fast as the teacher"] if cost["speedup"] and not is_busy else []
    if cost["bytes_on_disk"] and teacher["bytes_on_disk"]:
        gains.append(f"needs {100 * cost['bytes_on_disk'] / teacher['bytes_on_disk']:.0f} % of the disk space")
    return f" The {name} {' and '.join(gains)}." if gains else ""


def _fidelity(model: Mapping[str, Any]) -> str:
    agreement = model["fidelity"]["agreement"]
    if agreement is not None:
        return f"It gives the teacher's answer on {PLAIN.share(agreement['value'])} of the rows."
    return f"Its outputs differ from the teacher's by {model['fidelity']['rmse']:.3f} (root mean square)."
