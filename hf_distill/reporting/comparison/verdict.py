"""One sentence that decides, and the notes that keep a reader honest."""

from collections.abc import Mapping
from typing import Any

from hf_distill.reporting.comparison.quality import BASELINE, TEACHER
from hf_distill.reporting.wording import points, score, share, with_unit

Models = Mapping[str, Mapping[str, Any]]

_NOT_APPLICABLE = {
    "multi_label_classification": "Deferral does not apply to multi-label problems, which have no single confidence.",
    "regression": "Agreement, calibration, classes and deferral do not apply to regression, which decides nothing.",
    "token_classification": "Deferral and lists of disagreements do not apply to words: a sentence goes up whole.",
}


def subject_of(models: Models) -> str:
    """Return the model that the verdict is about: the first student, else the first export, else what there is."""
    names = [name for name in models if name != TEACHER]
    for role in ("student", "export"):
        for name in names:
            if models[name]["role"] == role:
                return name
    return names[0]


def make_verdict(models: Models, task: Mapping[str, Any], is_busy: bool) -> dict[str, Any]:
    """Say whether the student may replace the teacher: yes, no, or that the rows do not show it (None).

    Yes: the interval of the difference lies above -margin, "non-inferior". No: it lies below. A claim at a level of
    95 % is then wrong in at most 2.5 % of samples.
    """
    name = subject_of(models)
    versus, metric = models[name]["versus_teacher"], task["metric_name"]
    if versus is None:
        sentence = _undefined(name, metric) if models[name]["metrics"] else _without_labels(name, models[name])
        return {"sentence": sentence, "replace": None, "model": name}
    own, theirs = (score(models[model]["metrics"][metric]["value"], metric) for model in (name, TEACHER))
    scores = f"{metric} {own} against {theirs} on {task['rows']:,} rows"
    margin, level = with_unit(versus["margin"], metric), share(task["confidence_level"]).replace(".0", "")
    if versus["non_inferior"]:
        replace: bool | None = True
        sentence = (
            f"Yes, the {name} may replace the teacher: {scores}; with {level} confidence it is less than {margin} "
            f"worse{_gain(models, name, is_busy)}."
        )
    elif versus["high"] < -versus["margin"]:
        replace = False
        sentence = (
            f"No, the {name} should not replace the teacher: {scores}; with {level} confidence it is more than "
            f"{margin} worse."
        )
    else:
        replace = None
        ends = " and ".join(points(versus[end], metric, "+") for end in ("low", "high"))
        unit = "" if with_unit(1, metric) == points(1, metric) else " points"
        sentence = (
            f"Not shown that the {name} may replace the teacher: {scores}, and these rows leave open whether it is "
            f"more than {margin} worse (the difference lies between {ends}{unit} with {level} confidence)."
        )
    return {"sentence": sentence, "replace": replace, "model": name}


def _gain(models: Models, name: str, is_busy: bool) -> str:
    """What the replacement buys, where it was measured on a machine that had time for it."""
    cost, teacher = models[name]["cost"], models[TEACHER]["cost"]
    gains = [f"answers {cost['speedup']:.1f} times as fast"] if cost["speedup"] and not is_busy else []
    if cost["bytes_on_disk"] and teacher["bytes_on_disk"]:
        gains.append(f"has {100 * cost['bytes_on_disk'] / teacher['bytes_on_disk']:.0f} % of the size")
    return f"; it {' and '.join(gains)}" if gains else ""


def _undefined(name: str, metric: str) -> str:
    return (
        f"It is unknown whether the {name} can replace the teacher: {metric} is undefined for one of the two models."
    )


def _without_labels(name: str, model: Mapping[str, Any]) -> str:
    agreement = model["fidelity"]["agreement"]
    said = (
        f"it decides as the teacher does on {share(agreement['value'])} of the rows"
        if agreement is not None
        else f"its outputs are {model['fidelity']['rmse']:.3f} (root mean square) away from the teacher's"
    )
    return f"Without labels nobody knows whether the {name} may replace the teacher; {said}."


def make_notes(models: Models, task: Mapping[str, Any], is_busy: bool, num_unlabelled: int) -> list[str]:
    """List what a reader might otherwise not see."""
    name = subject_of(models)
    notes = [_about_rows(models, task, num_unlabelled), _about_baseline(models, name, task["metric_name"])]
    if models[name]["num_runs"] == 1:
        notes.append(f"The {name} was trained once here: how much its score varies with the seed is not known.")
    else:
        notes.append(
            f"Scores of the {name} are means over {models[name]['num_runs']} runs. Intervals are of the rows alone; "
            "the spread over runs (std) is beside them."
        )
    if is_busy and models[name]["cost"]["latency"]:
        notes.append(
            "The machine was busy with other work: do not trust the times, and measure them again when it rests."
        )
    notes.append(_about_resamples(task))
    return [note for note in (*notes, _NOT_APPLICABLE.get(task["problem_type"])) if note]


def _about_resamples(task: Mapping[str, Any]) -> str | None:
    """Name the metrics whose intervals come from fewer resamples than asked for."""
    fewer = {name: num for name, num in task["num_resamples_by_metric"].items() if num < task["num_resamples"]}
    if not fewer:
        return None
    return (
        f"Intervals of {', '.join(fewer)} come from {min(fewer.values()):,} resamples instead of "
        f"{task['num_resamples']:,}, because the metric has no `from_counts`: every resample is scored row by row."
    )


def _about_rows(models: Models, task: Mapping[str, Any], num_unlabelled: int) -> str | None:
    subject = models[subject_of(models)]
    versus = subject["versus_teacher"]
    if not subject["metrics"]:
        return "No row has a label: there are no scores, only what is said of the teacher and the student together."
    notes = []
    if num_unlabelled:
        notes.append(f"{num_unlabelled:,} more rows have no label: they count for the agreement alone.")
    if versus is None:
        return " ".join(notes) or None
    doubt, metric = (versus["high"] - versus["low"]) / 2, task["metric_name"]
    if doubt > versus["margin"]:
        notes.append(
            f"{task['rows']:,} rows leave a doubt of about {with_unit(doubt, metric)} either way on the difference "
            f"to the teacher: too few to tell {with_unit(versus['margin'], metric)}."
        )
    return " ".join(notes) or None


def _about_baseline(models: Models, name: str, metric: str) -> str | None:
    if BASELINE not in models:
        return (
            "There is no baseline, the same student trained without the teacher: whether distilling paid is not known."
        )
    versus = models[name]["versus_baseline"]
    if versus is None:
        return None
    ends = " to ".join(points(versus[end], metric, "+") for end in ("low", "high"))
    difference = f"{points(versus['difference'], metric, '+')}, interval {ends}"
    if versus["low"] > 0:
        return f"Distilling paid: the {name} is clearly above the baseline ({difference})."
    if versus["high"] < 0:
        return f"Distilling did harm: the {name} is clearly below the baseline ({difference})."
    return f"It is not shown that distilling paid: the {name} is not clearly above the baseline ({difference})."
