"""The verdict, and the notes that a reader needs to judge it."""

from collections.abc import Mapping
from functools import partial
from typing import Any

from hf_distill.reporting.comparison.quality import BASELINE, TEACHER
from hf_distill.reporting.text import PLAIN, non_inferiority

Models = Mapping[str, Mapping[str, Any]]

_NOT_APPLICABLE = {
    "multi_label_classification": "Deferral does not apply to multi-label classification, because a prediction has no "
    "single confidence.",
    "regression": "Agreement, calibration, classes and deferral do not apply to regression, because its predictions "
    "are numbers and not classes.",
    "token_classification": "Deferral and the list of disagreements do not apply to token classification, because it "
    "predicts words and not whole texts.",
}
_REPLACE = {"yes": True, "no": False, "undecided": None}


def subject_of(models: Models) -> str:
    """Return the model that the verdict is about: the first student, else the first export, else the first other."""
    names = [name for name in models if name != TEACHER]
    for role in ("student", "export"):
        for name in names:
            if models[name]["role"] == role:
                return name
    return names[0]


def make_verdict(models: Models, task: Mapping[str, Any], is_busy: bool) -> dict[str, Any]:
    """Return whether the student can replace the teacher: yes (True), no (False) or undecided (None).

    Yes: the interval of the difference lies above -margin, "non-inferior". No: it lies below -margin. At a level of
    95 % such a claim is wrong in at most 2.5 % of samples.

    Args:
        models: The models of the report.
        task: The task of the report.
        is_busy: Whether the machine was too busy to measure times.
    """
    name = subject_of(models)
    versus, metric = models[name]["versus_teacher"], task["metric_name"]
    if versus is None:
        sentence = _undefined(name, metric) if models[name]["metrics"] else _without_labels(name, models[name])
        return {"sentence": sentence, "replace": None, "model": name}
    scores = (PLAIN.score(models[model]["metrics"][metric]["value"], metric) for model in (name, TEACHER))
    comparison = "on {:,} rows its {} is {}, and the teacher's is {}".format(task["rows"], metric, *scores)
    margin = PLAIN.margin(versus["margin"], metric)
    level = f"With {100 * task['confidence_level']:g} % confidence"
    answer = non_inferiority(versus)
    if answer == "yes":
        sentence = (
            f"Yes, the {name} can replace the teacher: {comparison}. {level} the {name} is less than {margin} worse."
            f"{_gain(models, name, is_busy)}"
        )
    elif answer == "no":
        sentence = (
            f"No, the {name} should not replace the teacher: {comparison}. {level} the {name} is more than {margin} "
            "worse."
        )
    else:
        low, high = (PLAIN.difference(versus[end], metric) for end in ("low", "high"))
        low = low.removesuffix(" points")
        sentence = (
            f"It is undecided whether the {name} can replace the teacher: {comparison}. {level} the difference is "
            f"between {low} and {high}, so the {name} could be more than {margin} worse."
        )
    return {"sentence": sentence, "replace": _REPLACE[answer], "model": name}


def _gain(models: Models, name: str, is_busy: bool) -> str:
    """Return a sentence on speed and size; speed only if the machine was not busy."""
    cost, teacher = models[name]["cost"], models[TEACHER]["cost"]
    gains = [f"is {cost['speedup']:.1f} times as fast"] if cost["speedup"] and not is_busy else []
    if cost["bytes_on_disk"] and teacher["bytes_on_disk"]:
        gains.append(f"needs {100 * cost['bytes_on_disk'] / teacher['bytes_on_disk']:.0f} % of the disk space")
    return f" It {' and '.join(gains)}." if gains else ""


def _undefined(name: str, metric: str) -> str:
    return (
        f"It is unknown whether the {name} can replace the teacher: {metric} is undefined for one of the two models."
    )


def _without_labels(name: str, model: Mapping[str, Any]) -> str:
    agreement = model["fidelity"]["agreement"]
    if agreement is not None:
        fidelity = f"It gives the teacher's answer on {PLAIN.share(agreement['value'])} of the rows."
    else:
        fidelity = f"Its outputs differ from the teacher's by {model['fidelity']['rmse']:.3f} (root mean square)."
    return f"It is unknown whether the {name} can replace the teacher, because no row has a label. {fidelity}"


def make_notes(models: Models, task: Mapping[str, Any], is_busy: bool, num_unlabelled: int) -> list[str]:
    """Return what a reader could otherwise overlook."""
    name = subject_of(models)
    notes = [
        *_about_rows(models[name], task, num_unlabelled),
        _about_baseline(models, name, task),
        _about_runs(name, models[name]["num_runs"]),
        _about_resamples(task),
        _NOT_APPLICABLE.get(task["problem_type"]),
    ]
    if is_busy and models[name]["cost"]["latency"]:
        notes.append(
            "The machine was busy with other work, so the times are unreliable. Measure them again on an idle machine."
        )
    return [note for note in notes if note]


def _about_runs(name: str, num_runs: int) -> str:
    if num_runs == 1:
        return f"The {name} was trained once, so it is unknown how much its score varies with the seed."
    return (
        f"The scores of the {name} are means over {num_runs} runs. The intervals account for the choice of rows, not "
        "for the seed; the standard deviation over the runs (std) is given separately."
    )


def _about_resamples(task: Mapping[str, Any]) -> str | None:
    """Name the metrics whose intervals come from fewer resamples than asked for."""
    fewer = {name: num for name, num in task["num_resamples_by_metric"].items() if num < task["num_resamples"]}
    if not fewer:
        return None
    return (
        f"The intervals of {', '.join(fewer)} come from {min(fewer.values()):,} resamples instead of "
        f"{task['num_resamples']:,}, because a metric without `from_counts` is scored row by row on each resample."
    )


def _about_rows(subject: Mapping[str, Any], task: Mapping[str, Any], num_unlabelled: int) -> list[str]:
    if not subject["metrics"]:
        return ["No row has a label, so there are no scores. The report only compares the models with the teacher."]
    notes = []
    if num_unlabelled:
        notes.append(f"{num_unlabelled:,} more rows have no label. They count only for the agreement.")
    versus, metric = subject["versus_teacher"], task["metric_name"]
    half_width = (versus["high"] - versus["low"]) / 2 if versus else 0.0
    if versus and half_width > versus["margin"]:
        notes.append(
            f"With {task['rows']:,} rows the difference to the teacher is known to within "
            f"{PLAIN.margin(half_width, metric)}, which is more than the margin of "
            f"{PLAIN.margin(versus['margin'], metric)}. More rows give a clearer answer."
        )
    return notes


def _about_baseline(models: Models, name: str, task: Mapping[str, Any]) -> str | None:
    if BASELINE not in models:
        return (
            "There is no baseline (the same student trained without the teacher), so it is unknown whether "
            "distillation paid off."
        )
    versus = models[name]["versus_baseline"]
    if versus is None:
        return None
    show = partial(PLAIN.difference, metric=task["metric_name"])
    interval = PLAIN.interval(versus, show)
    difference = f"{show(versus['difference'])}, {100 * task['confidence_level']:g} % interval {interval}"
    if versus["low"] > 0:
        return f"Distillation paid off: the {name} is clearly above the baseline ({difference})."
    if versus["high"] < 0:
        return f"Distillation did harm: the {name} is clearly below the baseline ({difference})."
    return f"It is unclear whether distillation paid off: the {name} is not clearly above the baseline ({difference})."
