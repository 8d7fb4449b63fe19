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
from hf_distill.reporting.comparison.groups import FEWEST_GROUPS
from hf_distill.reporting.comparison.more_rows import count_more_rows, describe_more_rows
from hf_distill.reporting.comparison.quality import FEWEST_RESAMPLED, TEACHER
from hf_distill.reporting.text import PLAIN, p_value

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
        `sentence`; `replace`; `model`, the model that the verdict is about; `reason`, what decides, see
        [`~hf_distill.reporting.comparison.candidates.judge`]; and `more_rows`, how many more rows would show a yes if
        it is not shown, see [`~hf_distill.reporting.comparison.more_rows.count_more_rows`], or None.
    """
    name = choose_subject(models, task, is_busy)
    answer, reason = judge(models, name, task)
    sentence, more_rows = _sentence(models, name, task, answer, reason), None
    if (answer, reason) == (NOT_SHOWN, "score"):
        versus = models[name]["versus_teacher"]
        more_rows = count_more_rows(versus, task, len(candidates(models)))
        margin = PLAIN.margin(versus["margin"], task["metric_name"])
        sentence += f" {describe_more_rows(more_rows, versus, margin, task['groups'] is not None)}"
    if answer == YES:
        sentence += _gain(models, name, is_busy) + _others(models, name, task, is_busy)
    elif others := [other for other in candidates(models) if other != name]:
        answers = ", ".join(f"{other} ({judge(models, other, task)[0]})" for other in others)
        sentence += f" The answers for the other candidates: {answers}."
    return {"sentence": sentence, "replace": _REPLACE[answer], "model": name, "reason": reason, "more_rows": more_rows}


def _sentence(models: Models, name: str, task: Mapping[str, Any], answer: str, reason: str) -> str:
    model = models[name]
    if reason == "no labels":
        return f"{_not_shown(name)}, because no row has a label. {_fidelity(model)}"
    if reason == "undefined score":
        return f"{_not_shown(name)}: {task['metric_name']} is undefined for one of the two models."
    comparison = _comparison(models, name, task)
    if reason == "score":
        interval = _interval_of_score(model, task["metric_name"]) if answer == NOT_SHOWN else ""
        return _by_score(name, answer, comparison + interval, model["versus_teacher"], task)
    if reason == "trivial teacher":
        return f"{_not_shown(name)}: {task['trivial']['reason']}. {_capitalize(comparison)}."
    if reason == "few rows":
        kind = "groups" if task["groups"] else "rows"
        return (
            f"{_not_shown(name)}: a verdict on {task['metric_name']} needs at least {FEWEST_RESAMPLED} {kind}. "
            f"{_capitalize(comparison)}."
        )
    if reason == "few groups":
        number = task["groups"]["number"]
        return (
            f"{_not_shown(name)}: there are {number:,} groups of rows, and at least {FEWEST_GROUPS} are needed to "
            f"know how much groups differ. {_capitalize(comparison)}."
        )
    if reason == "lost class":
        return f"{_no(name)}: {_lost(model['lost_classes']['lost'])}. {_capitalize(comparison)}."
    return f"{_not_shown(name)}: {_vanished(model['lost_classes']['vanished'])}. {_capitalize(comparison)}."


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


def _no(name: str) -> str:
    return f"No, the {name} should not replace the teacher"


def _not_shown(name: str) -> str:
    return f"It is not shown that the {name} can replace the teacher"


def _capitalize(text: str) -> str:
    return text[0].upper() + text[1:]


def _comparison(models: Models, name: str, task: Mapping[str, Any]) -> str:
    """Return the scores of both models, and the score of the best constant answer."""
    metric, trivial = task["metric_name"], task["trivial"]
    runs = (models[model]["metrics"][metric]["runs"][models[model]["shipped_run"]] for model in (name, TEACHER))
    scores = (PLAIN.score(score, metric) for score in runs)
    constant = f" (always answering {trivial['answer']!r} gives {PLAIN.score(trivial['score'], metric)})"
    rows = counted(task["rows"], "row")
    return "on {} its {} is {}, and the teacher's is {}".format(rows, metric, *scores) + constant


def _interval_of_score(model: Mapping[str, Any], metric: str) -> str:
    """Return the interval of the score of a model with one run; that of several runs is about their mean."""
    score = model["metrics"][metric]
    interval = PLAIN.interval(score, partial(PLAIN.score, metric=metric)) if len(score["runs"]) == 1 else ""
    return f". The interval of its {metric} is {interval}" if interval else ""


def _by_score(name: str, answer: str, comparison: str, versus: Mapping[str, Any], task: Mapping[str, Any]) -> str:
    metric = task["metric_name"]
    margin = PLAIN.margin(versus["margin"], metric)
    level = f"With {100 * task['confidence_level']:g} % confidence"
    if answer == "yes":
        return (
            f"Yes, the {name} can replace the teacher: {comparison}. {level} the {name} is less than {margin} worse."
        )
    if answer == "no":
        return f"{_no(name)}: {comparison}. {level} the {name} is more than {margin} worse."
    if versus["low"] > -versus["margin"]:
        return (
            f"{_not_shown(name)}: {comparison}. {level} it would be less than {margin} worse if it were the only "
            "candidate, but not after Holm's correction for the number of candidates."
        )
    low, high = (PLAIN.difference(versus[end], metric) for end in ("low", "high"))
    low = low.removesuffix(" points")
    return (
        f"{_not_shown(name)}: {comparison}. {level} the difference is between {low} and {high}, so the {name} could "
        f"be more than {margin} worse."
    )


def _lost(lost: list[dict[str, Any]]) -> str:
    worst = max(lost, key=lambda entry: entry["teacher"] - entry["model"])
    others = f" (and of {len(lost) - 1:,} more)" if len(lost) > 1 else ""
    return (
        f"it loses a class. Of {worst['label']!r}{others} it finds {PLAIN.share(worst['model'])} of {worst['rows']:,} "
        f"rows, and the teacher {PLAIN.share(worst['teacher'])} (p {_equals(worst['p_value'])})"
    )


def _equals(value: float) -> str:
    text = p_value(value)
    return text if text.startswith("<") else f"= {text}"


def _vanished(vanished: list[dict[str, Any]]) -> str:
    largest = max(vanished, key=lambda entry: entry["rows"])
    others = f" and {len(vanished) - 1:,} more" if len(vanished) > 1 else ""
    return (
        f"it never finds the class {largest['label']!r}{others}, of which the teacher finds "
        f"{PLAIN.share(largest['teacher'])} of {largest['rows']:,} rows"
    )


def _gain(models: Models, name: str, is_busy: bool) -> str:
    """Return a sentence on speed and size; speed only if the machine was not busy."""
    cost, teacher = models[name]["cost"], models[TEACHER]["cost"]
    gains = [f"is {cost['speedup']:.1f} times as fast"] if cost["speedup"] and not is_busy else []
    if cost["bytes_on_disk"] and teacher["bytes_on_disk"]:
        gains.append(f"needs {100 * cost['bytes_on_disk'] / teacher['bytes_on_disk']:.0f} % of the disk space")
    return f" It {' and '.join(gains)}." if gains else ""


def _fidelity(model: Mapping[str, Any]) -> str:
    agreement = model["fidelity"]["agreement"]
    if agreement is not None:
        return f"It gives the teacher's answer on {PLAIN.share(agreement['value'])} of the rows."
    return f"Its outputs differ from the teacher's by {model['fidelity']['rmse']:.3f} (root mean square)."
