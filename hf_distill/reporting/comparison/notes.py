"""The notes of a report: what a reader needs to judge the verdict."""

from collections.abc import Mapping
from functools import partial
from typing import Any

from hf_distill.data.table import counted
from hf_distill.reporting.comparison.candidates import Models
from hf_distill.reporting.comparison.lost_classes import LARGEST_LOSS
from hf_distill.reporting.comparison.quality import BASELINE, FEWEST_SEEDS
from hf_distill.reporting.text import BUSY, PLAIN, is_error

_NOT_APPLICABLE = {
    "multi_label_classification": "Deferral does not apply to multi-label classification, because a prediction has no "
    "single confidence.",
    "regression": "Agreement, calibration, classes and deferral do not apply to regression, because its predictions "
    "are numbers and not classes.",
    "token_classification": "Deferral and the list of disagreements do not apply to token classification, because it "
    "predicts words and not whole texts.",
}


def make_warnings(models: Models, name: str, task: Mapping[str, Any], is_busy: bool) -> list[str]:
    """Return the notes that change how to read scores and times.

    Args:
        models: The models of the report.
        name: The model that the verdict is about.
        task: The task of the report.
        is_busy: Whether the machine was too busy to measure times.
    """
    warnings = [
        _about_repetitions(task) if models[name]["metrics"] else None,
        *_about_pairings(models, are_guesses=True),
        _about_errors(task) if models[name]["metrics"] else None,
        BUSY if is_busy and models[name]["cost"]["latency"] else None,
    ]
    return [warning for warning in warnings if warning]


def make_notes(models: Models, name: str, task: Mapping[str, Any], num_unlabelled: int) -> list[str]:
    """Return what a reader could otherwise overlook, beside the warnings.

    Args:
        models: The models of the report.
        name: The model that the verdict is about.
        task: The task of the report.
        num_unlabelled: Number of rows without a label.
    """
    notes = [
        *_about_rows(models[name], task, num_unlabelled),
        about_baseline(models, name, task),
        _about_runs(name, models[name], task),
        _about_deferral(name, models[name]["deferral"]),
        _about_resamples(task) if models[name]["metrics"] else None,
        *_about_pairings(models, are_guesses=False),
        _NOT_APPLICABLE.get(task["problem_type"]),
    ]
    return [note for note in notes if note]


def _about_runs(name: str, model: Mapping[str, Any], task: Mapping[str, Any]) -> str:
    """Return which run the verdict is about, and what is known about other seeds."""
    num_runs = model["num_runs"]
    if num_runs == 1:
        return f"One run says nothing about the recipe: another seed would give the {name} another score."
    text = (
        f"The verdict is about run {model['shipped_run'] + 1} of {num_runs} of the {name}: {model['shipped_reason']}. "
        "The tables show means over the runs, with intervals that account for the choice of rows only."
    )
    if not model["metrics"]:
        return text
    if model["recipe"] is None and num_runs >= FEWEST_SEEDS:
        return f"{text} The {task['metric_name']} of a run is undefined, so they say nothing about the recipe."
    if model["recipe"] is None:
        return f"{text} Fewer than {FEWEST_SEEDS} runs say nothing about the recipe."
    show = partial(PLAIN.difference, metric=task["metric_name"])
    mean, interval = show(model["recipe"]["difference"]), PLAIN.interval(model["recipe"], show)
    return (
        f"{text} The recipe: on average, another seed differs from the teacher by {mean} "
        f"({100 * task['confidence_level']:g} % t interval over seeds and rows {interval})."
    )


def _about_deferral(name: str, deferral: Mapping[str, Any] | None) -> str | None:
    """Return what is guaranteed if the teacher answers the texts on which the model is unsure."""
    if deferral is None:
        return None
    if deferral["confidence"] is None:
        return "There is no guaranteed threshold for deferral, because the rows of a group are not independent."
    loss, smallest = (PLAIN.margin(deferral[key], "accuracy") for key in ("loss", "smallest_loss"))
    if deferral["share"] is None:
        return (
            f"Deferral: these rows are too few to guarantee a loss of {loss}; they can guarantee {smallest} at best."
        )
    confidence = f"with {100 * deferral['confidence']:g} % confidence"
    if deferral["threshold"] is None:
        return f"Deferral: the teacher must answer all texts for a loss of at most {loss} {confidence}."
    return (
        f"Deferral: at a threshold of {deferral['threshold']:.4f}, {PLAIN.share(deferral['share'])} of the texts go "
        f"to the teacher, and {confidence} the {name} and the teacher together lose at most {loss} against the "
        "teacher. "
        f"These rows can guarantee a loss of {smallest} at best."
    )


def _about_errors(task: Mapping[str, Any]) -> str | None:
    if not is_error(task["metric_name"]):
        return None
    return (
        f"The {task['metric_name']} is an error, so lower is better. Differences are gains: a positive one means that "
        "the model's error is lower."
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
        verb = "has" if num_unlabelled == 1 else "have"
        notes.append(f"{counted(num_unlabelled, 'more row')} {verb} no label. They count only for the fidelity.")
    if task["groups"] and subject["versus_teacher"]:
        notes.append(_about_groups(task, subject["versus_teacher"]["design_effect"]))
    if subject["versus_teacher"]:
        notes.append(_about_size(subject["versus_teacher"], task))
    classes = subject["lost_classes"]
    if classes and classes["num_too_small"] and not classes["lost"]:  # a lost class has decided the verdict
        notes.append(
            f"{classes['num_too_small']:,} of {classes['num_classes']:,} classes "
            f"{'has' if classes['num_too_small'] == 1 else 'have'} too few rows to see that a model finds "
            f"{PLAIN.margin(LARGEST_LOSS, 'accuracy')} fewer of them than the teacher."
        )
    return notes


def _about_pairings(models: Models, are_guesses: bool) -> list[str]:
    """Return how outputs without names were paired with the classes."""
    pairings = [model["pairing"] for model in models.values() if model["pairing"]]
    return [" ".join(pairing["note"]) for pairing in pairings if pairing["is_guess"] == are_guesses]


def _about_repetitions(task: Mapping[str, Any]) -> str | None:
    repeated = task["repeated_rows"]
    if not repeated:
        return None
    return (
        f"{counted(repeated, 'row')} {'repeats' if repeated == 1 else 'repeat'} the text of an earlier row. Intervals "
        "and tests count them as independent, so they promise too much; remove the repetitions for a verdict that "
        "holds."
    )


def _about_groups(task: Mapping[str, Any], design_effect: float) -> str:
    groups, rows = task["groups"], task["rows"]
    return (
        f"The {rows:,} rows come in {groups['number']:,} groups (column {groups['column']!r}), and intervals and "
        f"tests count whole groups. The design effect is {design_effect:.1f}: for the difference to the teacher the "
        f"rows tell as much as {rows / design_effect:,.0f} independent rows."
    )


def _about_size(versus: Mapping[str, Any], task: Mapping[str, Any]) -> str:
    """Return how large a loss these rows can rule out, and how many rows the margin needs."""
    metric, needed = task["metric_name"], versus["rows_needed"] or 0
    detectable, margin = (PLAIN.margin(versus[name], metric) for name in ("detectable", "margin"))
    text = (
        f"For two models that are equally good, {counted(task['rows'], 'row')} are enough to rule out a loss of "
        f"{detectable} (in 4 of 5 samples)."
    )
    return f"{text} A margin of {margin} needs about {needed:,} rows." if needed > task["rows"] else text


def about_baseline(models: Models, name: str, task: Mapping[str, Any]) -> str | None:
    """Return whether distillation paid off: how a model compares with the baseline; None without such scores."""
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
        return f"Distillation paid off: the {name} is clearly better than the baseline ({difference})."
    if versus["high"] < 0:
        return f"Distillation did harm: the {name} is clearly worse than the baseline ({difference})."
    return (
        f"It is unclear whether distillation paid off: the {name} is not clearly better than the baseline "
        f"({difference})."
    )
