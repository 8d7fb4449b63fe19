"""Whether the teacher knows anything that a constant answer or a draw of lots does not.

A student can replace a teacher that knows nothing, but so can a constant. Such a comparison has no answer.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from hf_distill.data.metrics import Metric
from hf_distill.reporting.bootstrap import bootstrap, interval
from hf_distill.reporting.comparison.quality import Resampling
from hf_distill.reporting.comparison.scores import Answers, make_row_by_row_scorer, make_scorer
from hf_distill.reporting.comparison.units import Units

NUM_SHUFFLES = 199
_ALL = "all labels"
_NONE = "no label"


def describe_trivial(units: Units, teacher: np.ndarray, metric: Metric, how: Resampling) -> dict[str, Any]:
    """Compare the teacher with the best constant answer, and with its own answers in a random order.

    Args:
        units: All of them labelled.
        teacher: Logits of the teacher, `(num_units, num_labels)`.
        metric: The metric that decides.
        how: How the interval is made.

    Returns:
        `answer`, the constant answer with the best score, and its `score`; `difference`, how much better the teacher
        is, with `low` and `high`; `shuffled_p_value`, the share of random orders of the teacher's answers
        that score at least as high as the answers themselves (None for token classification, where a constant tag is
        the harder opponent); and `reason`, why the comparison has no answer, or None.
    """
    answers = Answers(units, teacher)
    name, constant = _best_constant(units, metric)
    score, teacher_score = _score(constant, metric), _score(answers, metric)
    low, high = _difference(answers, constant, metric, how)
    p_value = None if units.is_token_level else _shuffled_p_value(answers, metric, how.seed)
    return {
        "answer": name,
        "score": score,
        "difference": metric.sign * (teacher_score - score),
        "low": low,
        "high": high,
        "shuffled_p_value": p_value,
        "reason": _reason(units, answers, name, low, p_value, 1 - how.level),
    }


def absolute_margin(units: Units, metric: Metric, margin: float) -> float:
    """Return how much worse a score can be and still count as non-inferior.

    An error has the unit of the labels, so its margin is a share of the error of the best constant answer. For the
    root mean squared error this is the standard deviation of the labels; for the mean absolute error it is their mean
    distance from the median. As for an accuracy, 0.01 is one hundredth of the way from a perfect to a constant answer.

    Args:
        units: All of them labelled.
        metric: The metric that decides.
        margin: The margin of a score from 0 to 1, or the share of an error.
    """
    return margin if metric.higher_is_better else margin * _score(_best_constant(units, metric)[1], metric)


def _best_constant(units: Units, metric: Metric) -> tuple[str, Answers]:
    return max(_constants(units), key=lambda option: metric.sign * _score(option[1], metric))


def _score(answers: Answers, metric: Metric) -> float:
    """Return the score; an undefined one is the worst."""
    score = answers.score(metric)
    return metric.worst if np.isnan(score) else score


def _constants(units: Units) -> list[tuple[str, Answers]]:
    """Return every constant answer by name; for multi-label classification no label, all, and the commonest set."""
    num_labels = len(units.names)
    if units.problem_type == "regression":
        values = {"the median": np.median(units.labels), "the mean": units.labels.mean()}
        return [(name, Answers(units, np.full((len(units), 1), value))) for name, value in values.items()]
    if units.problem_type == "multi_label_classification":
        sets, counts = np.unique(units.labels > 0.5, axis=0, return_counts=True)
        commonest = sets[counts.argmax()]
        names = ", ".join(units.names[i] for i in np.flatnonzero(commonest)) or _NONE
        rows = {_NONE: np.zeros(num_labels), _ALL: np.ones(num_labels), names: commonest.astype(float)}
        return [(name, _repeat(units, 2 * row - 1)) for name, row in rows.items()]
    present = np.unique(units.labels)
    return [(units.names[i], _repeat(units, np.eye(num_labels)[i])) for i in present]


def _repeat(units: Units, logits: np.ndarray) -> Answers:
    return Answers(units, np.tile(logits, (len(units), 1)))


def _difference(answers: Answers, constant: Answers, metric: Metric, how: Resampling) -> tuple[float, float]:
    make = make_row_by_row_scorer if metric.from_counts is None else make_scorer
    scorers = {"teacher": make(answers, [metric]), "constant": make(constant, [metric])}
    units = answers.units
    samples = bootstrap(scorers, units.num_rows, how.num_for(metric), how.seed, units.groups)
    scores = {
        name: np.where(np.isnan(values[metric.name]), metric.worst, values[metric.name])
        for name, values in samples.items()
    }
    return interval(metric.sign * (scores["teacher"] - scores["constant"]), how.level)


def _shuffled_p_value(answers: Answers, metric: Metric, seed: int) -> float:
    """Return the p-value of the permutation test that answers and labels are independent: Fisher (1935).

    Rows in groups stay together: the answers of each group are shuffled, and follow the groups in a random order.
    """
    generator, groups = np.random.default_rng(seed), answers.units.row_groups
    value, num_as_good = metric.sign * answers.score(metric), 0
    for _ in range(NUM_SHUFFLES):
        order = generator.permutation(len(groups))
        order = order[np.argsort(generator.permutation(groups.max() + 1)[groups[order]], kind="stable")]
        shuffled = float(metric.score(answers.predictions[order], answers.references, answers.num_labels))
        num_as_good += not metric.sign * shuffled < value - 1e-12
    return (1 + num_as_good) / (1 + NUM_SHUFFLES)


def _reason(units: Units, answers: Answers, name: str, low: float, p_value: float | None, level: float) -> str | None:
    if len(np.unique(units.labels, axis=0)) == 1:
        return "all labelled rows have the same label, so one constant answer is right"
    if units.problem_type == "multi_label_classification" and not answers.predictions.any():
        return "the teacher predicts no label for any row"
    if not low > 0:
        return f"the teacher is not clearly better than always answering {name!r}"
    # No p-value is below 1 / 200, so a smaller level asks that no random order is as good.
    if p_value is not None and p_value >= max(level, 2 / (1 + NUM_SHUFFLES)):
        return "the teacher's answers are no better than the same answers in a random order"
    return None
