"""The verdict on the question whether the student can replace the teacher."""

from collections.abc import Mapping
from typing import Any

from hf_distill.reporting.comparison.quality import TEACHER
from hf_distill.reporting.text import PLAIN, non_inferiority, p_value

Models = Mapping[str, Mapping[str, Any]]

_REPLACE = {"yes": True, "no": False, "not shown": None}


def subject_of(models: Models) -> str:
    """Return the model that the verdict is about: the first student, else the first export, else the first other."""
    names = [name for name in models if name != TEACHER]
    for role in ("student", "export"):
        for name in names:
            if models[name]["role"] == role:
                return name
    return names[0]


def make_verdict(models: Models, task: Mapping[str, Any], is_busy: bool) -> dict[str, Any]:
    """Return whether the student can replace the teacher: yes (True), no (False) or not shown (None).

    Yes: the interval of the difference lies above -margin, "non-inferior". No: it lies below -margin. At a level of
    95 % such a claim is wrong in at most 2.5 % of samples. A yes also needs that the student has lost no class, and
    nothing is shown by a teacher that knows no more than a constant answer.

    Args:
        models: The models of the report.
        task: The task of the report.
        is_busy: Whether the machine was too busy to measure times.

    Returns:
        `sentence`; `replace`; `model`, the model that the verdict is about; and `reason`, one of "score", "lost
        class", "vanished class", "trivial teacher", "undefined score" and "no labels".
    """
    name = subject_of(models)
    versus, metric = models[name]["versus_teacher"], task["metric_name"]
    if not models[name]["metrics"]:
        return _verdict(name, "not shown", "no labels", _without_labels(name, models[name]))
    if versus is None:
        reason = f"{metric} is undefined for one of the two models"
        return _verdict(name, "not shown", "undefined score", f"{_not_shown(name)}: {reason}.")
    comparison = _comparison(models, name, task)
    if task["trivial"]["reason"]:
        sentence = f"{_not_shown(name)}: {task['trivial']['reason']}. {_capitalize(comparison)}."
        return _verdict(name, "not shown", "trivial teacher", sentence)
    classes, answer = models[name]["lost_classes"], non_inferiority(versus)
    if classes and classes["lost"]:
        sentence = f"{_no(name)}: {_lost(name, classes['lost'])}. {_capitalize(comparison)}."
        return _verdict(name, "no", "lost class", sentence)
    if classes and classes["vanished"] and answer != "no":
        sentence = f"{_not_shown(name)}: {_vanished(name, classes['vanished'])}. {_capitalize(comparison)}."
        return _verdict(name, "not shown", "vanished class", sentence)
    gain = _gain(models, name, is_busy) if answer == "yes" else ""
    return _verdict(name, answer, "score", f"{_by_score(name, answer, comparison, versus, task)}{gain}")


def _verdict(name: str, answer: str, reason: str, sentence: str) -> dict[str, Any]:
    return {"sentence": sentence, "replace": _REPLACE[answer], "model": name, "reason": reason}


def _no(name: str) -> str:
    return f"No, the {name} should not replace the teacher"


def _not_shown(name: str) -> str:
    return f"It is not shown that the {name} can replace the teacher"


def _capitalize(text: str) -> str:
    return text[0].upper() + text[1:]


def _comparison(models: Models, name: str, task: Mapping[str, Any]) -> str:
    """Return the scores of both models, and the score of the best constant answer."""
    metric, trivial = task["metric_name"], task["trivial"]
    scores = (PLAIN.score(models[model]["metrics"][metric]["value"], metric) for model in (name, TEACHER))
    constant = f" (always answering {trivial['answer']!r} gives {PLAIN.score(trivial['score'], metric)})"
    return "on {:,} rows its {} is {}, and the teacher's is {}".format(task["rows"], metric, *scores) + constant


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
    low, high = (PLAIN.difference(versus[end], metric) for end in ("low", "high"))
    low = low.removesuffix(" points")
    return (
        f"{_not_shown(name)}: {comparison}. {level} the difference is between {low} and {high}, so the {name} could "
        f"be more than {margin} worse."
    )


def _lost(name: str, lost: list[dict[str, Any]]) -> str:
    worst = max(lost, key=lambda entry: entry["teacher"] - entry["model"])
    others = f" (and of {len(lost) - 1:,} more)" if len(lost) > 1 else ""
    return (
        f"it loses a class. Of {worst['label']!r}{others} it finds {PLAIN.share(worst['model'])} of {worst['rows']:,} "
        f"rows, and the teacher {PLAIN.share(worst['teacher'])} (p {_equals(worst['p_value'])})"
    )


def _equals(value: float) -> str:
    text = p_value(value)
    return text if text.startswith("<") else f"= {text}"


def _vanished(name: str, vanished: list[dict[str, Any]]) -> str:
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


def _without_labels(name: str, model: Mapping[str, Any]) -> str:
    agreement = model["fidelity"]["agreement"]
    if agreement is not None:
        fidelity = f"It gives the teacher's answer on {PLAIN.share(agreement['value'])} of the rows."
    else:
        fidelity = f"Its outputs differ from the teacher's by {model['fidelity']['rmse']:.3f} (root mean square)."
    return f"{_not_shown(name)}, because no row has a label. {fidelity}"
