"""How much a model says what its teacher says."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from hf_distill.classifiers.problem_types import PROBLEM_TYPES
from hf_distill.reporting.comparison.quality import Resampling
from hf_distill.reporting.comparison.scores import class_counts, ratio
from hf_distill.reporting.comparison.units import Units
from hf_distill.reporting.statistics import Scorer, bootstrap, interval, mean_of, on_the_sample, unseen_share

MOST_DISAGREEMENTS = 20
_MOST_CHARACTERS = 1000


def describe_fidelity(
    units: Units, teacher: np.ndarray, runs: Sequence[np.ndarray], how: Resampling
) -> dict[str, Any]:
    """Compare a model's logits with the teacher's, on units with and without labels; the mean over its runs.

    Returns:
        `agreement` with its interval, the share of equal decisions; `kl`, the mean divergence from the teacher's
        distribution in nats, multi-label of each label's; `by_class` of labelled units. Of a regression `rmse` and
        `pearson` to the teacher's outputs.
    """
    if units.problem_type == "regression":
        errors = [float(np.sqrt(np.mean((of_run[:, 0] - teacher[:, 0]) ** 2))) for of_run in runs]
        same = [_pearson(of_run[:, 0], teacher[:, 0]) for of_run in runs]
        return {"agreement": None, "kl": None, "rmse": np.mean(errors), "pearson": np.mean(same), "by_class": None}
    problem = PROBLEM_TYPES[units.problem_type]
    assert problem.agreement is not None
    theirs = torch.from_numpy(teacher)
    equal = [problem.agreement(torch.from_numpy(of_run), theirs).numpy() for of_run in runs]
    kl = [problem.soft_loss(torch.from_numpy(of_run), theirs, 1.0).mean().item() for of_run in runs]
    return {
        "agreement": _agreement(units, equal, how),
        "kl": np.mean(kl),
        "by_class": _by_class(units, teacher, runs) if units.is_labelled.any() else None,
    }


def _pearson(first: np.ndarray, second: np.ndarray) -> float:
    return float(np.corrcoef(first, second)[0, 1]) if first.std() > 0 and second.std() > 0 else np.nan


def _agreement(units: Units, equal: Sequence[np.ndarray], how: Resampling) -> dict[str, float]:
    scorer = mean_of([_share(units, of_run) for of_run in equal])
    value = on_the_sample(scorer, units.num_rows)["agreement"]
    samples = bootstrap({"model": scorer}, units.num_rows, how.num_resamples, how.seed)["model"]["agreement"]
    low, high = interval(samples, how.level)
    unseen = unseen_share(units.num_rows, how.level)
    return {"value": value, "low": max(0.0, min(low, value - unseen)), "high": min(1.0, max(high, value + unseen))}


def _share(units: Units, is_equal: np.ndarray) -> Scorer:
    of_rows = np.stack(
        [np.bincount(units.rows, values, units.num_rows) for values in (is_equal, np.ones(len(units)))], 1
    )

    def score(weights: np.ndarray) -> dict[str, np.ndarray]:
        equal, total = (weights @ of_rows).T
        return {"agreement": ratio(equal, total)}

    return score


def _by_class(units: Units, teacher: np.ndarray, runs: Sequence[np.ndarray]) -> list[dict[str, Any]]:
    """Of the units of each class: how many teacher and model find, and on how many they decide alike."""
    is_labelled = units.is_labelled
    units, teacher, runs = units.at(is_labelled), teacher[is_labelled], [of_run[is_labelled] for of_run in runs]
    rows, _, found_by_teacher = class_counts(units, teacher)
    found = np.mean([class_counts(units, of_run)[2] for of_run in runs], axis=0)
    equal = np.mean([_equal_in_class(units, teacher, of_run) for of_run in runs], axis=0)
    return [
        {
            "label": units.names[i],
            "rows": int(rows[i]),
            "teacher": float(found_by_teacher[i] / rows[i]),
            "model": float(found[i] / rows[i]),
            "agreement": float(equal[i] / rows[i]),
        }
        for i in np.flatnonzero(rows)
    ]


def _equal_in_class(units: Units, teacher: np.ndarray, model: np.ndarray) -> np.ndarray:
    if units.problem_type == "multi_label_classification":
        return ((units.labels > 0.5) & ((teacher > 0) == (model > 0))).sum(axis=0)
    is_equal = teacher.argmax(axis=1) == model.argmax(axis=1)
    return np.bincount(units.labels[is_equal], minlength=len(units.names))


def list_disagreements(units: Units, teacher: np.ndarray, name: str, model: np.ndarray) -> list[dict[str, Any]]:
    """Return the texts on which both are most sure of different decisions: first those where the less sure is surest.

    Empty for regression, which decides nothing, and for words, whose sentences would all be the same few.
    """
    if units.problem_type not in ("single_label_classification", "multi_label_classification"):
        return []
    of_teacher, of_model = _decisions(units, teacher), _decisions(units, model)
    is_different = (of_teacher[0] != of_model[0]).any(axis=1)
    sure = [
        np.where(of_teacher[0] != of_model[0], probability, np.inf).min(axis=1)
        for _, probability in (of_teacher, of_model)
    ]
    order = np.argsort(-np.where(is_different, np.minimum(*sure), -np.inf), kind="stable")
    is_labelled = units.is_labelled
    return [
        {
            "text": _shown(units.texts[row]),
            "label": _names(units, _labels(units, row)) if is_labelled[row] else None,
            "teacher": _names(units, of_teacher[0][row]),
            "teacher_confidence": float(sure[0][row]),
            "model": name,
            "prediction": _names(units, of_model[0][row]),
            "confidence": float(sure[1][row]),
        }
        for row in order[: min(MOST_DISAGREEMENTS, is_different.sum())]
    ]


def _decisions(units: Units, logits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Which classes are chosen, and the probability of what was decided of each, `(num_rows, num_labels)` both."""
    values = torch.from_numpy(logits).double()
    if units.problem_type == "multi_label_classification":
        chosen, probabilities = logits > 0, values.sigmoid().numpy()
        return chosen, np.where(chosen, probabilities, 1 - probabilities)
    chosen = np.arange(len(units.names)) == logits.argmax(axis=1)[:, None]
    return chosen, np.broadcast_to(values.softmax(dim=1).amax(dim=1, keepdim=True).numpy(), chosen.shape)


def _labels(units: Units, row: int) -> np.ndarray:
    labels = units.labels[row]
    return (
        labels > 0.5 if units.problem_type == "multi_label_classification" else np.arange(len(units.names)) == labels
    )


def _names(units: Units, is_chosen: np.ndarray) -> str:
    return ", ".join(units.names[i] for i in np.flatnonzero(is_chosen)) or "none"


def _shown(text: Any) -> str:
    text = text if isinstance(text, str) else " | ".join(text)
    return text if len(text) <= _MOST_CHARACTERS else text[:_MOST_CHARACTERS] + "…"
