"""How closely a model follows its teacher."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from hf_distill.classifiers.problem_types import PROBLEM_TYPES
from hf_distill.data.resamples import ratio
from hf_distill.reporting.bootstrap import Scorer, bootstrap, bootstrapped, jackknife, mean_of, on_all_rows
from hf_distill.reporting.comparison.quality import Resampling
from hf_distill.reporting.comparison.scores import class_counts
from hf_distill.reporting.comparison.units import Units
from hf_distill.reporting.statistics import design_effect, unseen_share, wilson_interval

MOST_DISAGREEMENTS = 20
_MOST_CHARACTERS = 1000


def describe_fidelity(
    units: Units, teacher: np.ndarray, runs: Sequence[np.ndarray], how: Resampling
) -> dict[str, Any]:
    """Compare a model's logits with the teacher's on all units, with or without a label; means over the runs.

    Args:
        units: Units of the evaluation set.
        teacher: Logits of the teacher, `(num_units, num_labels)`.
        runs: Logits of each run of the model, of the same shape.
        how: How intervals are made.

    Returns:
        `agreement`, the share of equal decisions, with its interval; `kl`, the mean divergence from the teacher's
        distribution in nats (for multi-label classification the mean over the labels); `by_class`, for labelled units.
        For regression instead `rmse` and `pearson`, between the two models' outputs.
    """
    if units.problem_type == "regression":
        errors = [float(np.sqrt(np.mean((run[:, 0] - teacher[:, 0]) ** 2))) for run in runs]
        correlations = [_pearson(run[:, 0], teacher[:, 0]) for run in runs]
        rmse, pearson = np.mean(errors), np.mean(correlations)
        return {"agreement": None, "kl": None, "rmse": rmse, "pearson": pearson, "by_class": None}
    problem = PROBLEM_TYPES[units.problem_type]
    assert problem.agreement is not None
    teacher_logits = torch.from_numpy(teacher)
    agreements = [problem.agreement(torch.from_numpy(run), teacher_logits).numpy() for run in runs]
    divergences = [problem.soft_loss(torch.from_numpy(run), teacher_logits, 1.0).mean().item() for run in runs]
    return {
        "agreement": _agreement(units, agreements, how),
        "kl": np.mean(divergences),
        "by_class": _by_class(units, teacher, runs) if units.is_labelled.any() else None,
    }


def _pearson(first: np.ndarray, second: np.ndarray) -> float:
    return float(np.corrcoef(first, second)[0, 1]) if first.std() > 0 and second.std() > 0 else np.nan


def _agreement(units: Units, agreements: Sequence[np.ndarray], how: Resampling) -> dict[str, float]:
    """Return the share of equal decisions, with Wilson's interval if one run agrees or not on each row, else BCa."""
    scorer = mean_of([_share_scorer(units, agreement) for agreement in agreements])
    value = on_all_rows(scorer, units.num_rows)["agreement"]
    if len(agreements) == 1 and units.problem_type == "single_label_classification":
        effect = 1.0 if units.groups is None else design_effect(agreements[0].astype(float), units.groups)
        low, high = wilson_interval(value, units.num_rows / effect, how.level, units.degrees_of_freedom)
        return {"value": value, "low": low, "high": high}
    scorers = {"model": scorer}
    samples = bootstrap(scorers, units.num_rows, how.num_resamples, how.seed, units.groups)["model"]["agreement"]
    left_out = jackknife(scorers, units.num_rows, how.seed, units.groups)["model"]["agreement"]
    sample = bootstrapped(value, samples, left_out)
    assert sample is not None  # a share is always defined
    low, high = map(float, sample.interval(how.level))
    unseen = unseen_share(units.fewest_independent_rows, how.level)
    return {"value": value, "low": max(0.0, min(low, value - unseen)), "high": min(1.0, max(high, value + unseen))}


def _share_scorer(units: Units, agreement: np.ndarray) -> Scorer:
    by_row = [np.bincount(units.rows, values, units.num_rows) for values in (agreement, np.ones(len(units)))]
    sums_of_rows = np.stack(by_row, axis=1)

    def score(draws: np.ndarray) -> dict[str, np.ndarray]:
        equal, total = (draws @ sums_of_rows).T
        return {"agreement": ratio(equal, total)}

    return score


def _by_class(units: Units, teacher: np.ndarray, runs: Sequence[np.ndarray]) -> list[dict[str, Any]]:
    """Return for the units of each class what share the teacher finds, the model finds, and both decide equally."""
    is_labelled = units.is_labelled
    units, teacher, runs = units.at(is_labelled), teacher[is_labelled], [run[is_labelled] for run in runs]
    num_units, _, teacher_hits = class_counts(units, teacher)
    model_hits = np.mean([class_counts(units, run)[2] for run in runs], axis=0)
    num_equal = np.mean([_equal_in_class(units, teacher, run) for run in runs], axis=0)
    return [
        {
            "label": units.names[i],
            "rows": int(num_units[i]),
            "teacher": float(teacher_hits[i] / num_units[i]),
            "model": float(model_hits[i] / num_units[i]),
            "agreement": float(num_equal[i] / num_units[i]),
        }
        for i in np.flatnonzero(num_units)
    ]


def _equal_in_class(units: Units, teacher: np.ndarray, model: np.ndarray) -> np.ndarray:
    if units.problem_type == "multi_label_classification":
        return ((units.labels > 0.5) & ((teacher > 0) == (model > 0))).sum(axis=0)
    is_equal = teacher.argmax(axis=1) == model.argmax(axis=1)
    return np.bincount(units.labels[is_equal], minlength=len(units.names))


def list_disagreements(units: Units, teacher: np.ndarray, name: str, model: np.ndarray) -> list[dict[str, Any]]:
    """Return the texts on which teacher and model decide differently although both are confident.

    The texts are sorted by the lower of the two confidences, the highest first. The list is empty for regression,
    which makes no decisions, and for token classification, where the same sentences would fill it.

    Args:
        units: Rows of the evaluation set.
        teacher: Logits of the teacher, `(num_rows, num_labels)`.
        name: Name of the model.
        model: Logits of the model, of the same shape.
    """
    if units.problem_type not in ("single_label_classification", "multi_label_classification"):
        return []
    teacher_chosen, teacher_probability = _decisions(units, teacher)
    model_chosen, model_probability = _decisions(units, model)
    differs = teacher_chosen != model_chosen
    teacher_confidence, model_confidence = (
        np.where(differs, probability, np.inf).min(axis=1) for probability in (teacher_probability, model_probability)
    )
    row_differs = differs.any(axis=1)
    lower_confidence = np.where(row_differs, np.minimum(teacher_confidence, model_confidence), -np.inf)
    order = np.argsort(-lower_confidence, kind="stable")
    is_labelled = units.is_labelled
    return [
        {
            "text": shorten(units.texts[row]),
            "label": _names(units, _labels(units, row)) if is_labelled[row] else None,
            "teacher": _names(units, teacher_chosen[row]),
            "teacher_confidence": float(teacher_confidence[row]),
            "model": name,
            "prediction": _names(units, model_chosen[row]),
            "confidence": float(model_confidence[row]),
        }
        for row in order[: min(MOST_DISAGREEMENTS, row_differs.sum())]
    ]


def _decisions(units: Units, logits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return which classes are chosen, and the probability of each decision; both `(num_rows, num_labels)`."""
    values = torch.from_numpy(logits).double()
    if units.problem_type == "multi_label_classification":
        chosen, probabilities = logits > 0, values.sigmoid().numpy()
        return chosen, np.where(chosen, probabilities, 1 - probabilities)
    chosen = np.arange(len(units.names)) == logits.argmax(axis=1)[:, None]
    return chosen, np.broadcast_to(values.softmax(dim=1).amax(dim=1, keepdim=True).numpy(), chosen.shape)


def _labels(units: Units, row: int) -> np.ndarray:
    labels = units.labels[row]
    is_multi_label = units.problem_type == "multi_label_classification"
    return labels > 0.5 if is_multi_label else np.arange(len(units.names)) == labels


def _names(units: Units, is_chosen: np.ndarray) -> str:
    return ", ".join(units.names[i] for i in np.flatnonzero(is_chosen)) or "none"


def name_labels(units: Units) -> list[str]:
    """Return the names of the classes of each row."""
    return [_names(units, _labels(units, row)) for row in range(len(units))]


def name_predictions(units: Units, logits: np.ndarray) -> list[str]:
    """Return the names of the classes that are chosen for each row."""
    return [_names(units, chosen) for chosen in _decisions(units, logits)[0]]


def shorten(text: Any) -> str:
    """Return the beginning of a text; the texts of a pair are joined."""
    text = text if isinstance(text, str) else " | ".join(text)
    return text if len(text) <= _MOST_CHARACTERS else text[:_MOST_CHARACTERS] + "…"
