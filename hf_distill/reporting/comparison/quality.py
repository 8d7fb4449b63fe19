"""How good each model is, with intervals, and how it stands to the teacher and to the baseline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hf_distill.reporting.comparison.scores import make_scorer
from hf_distill.reporting.comparison.units import Units
from hf_distill.reporting.statistics import (
    bootstrap,
    bootstrap_p_value,
    interval,
    mcnemar,
    mean_of,
    on_the_sample,
    unseen_share,
)

Logits = Mapping[str, Sequence[np.ndarray]]  # model -> one `(num_units, num_labels)` a run
_LOWEST = {"matthews_correlation": -1.0, "pearson": -1.0, "spearmanr": -1.0}
BASELINE = "baseline"
TEACHER = "teacher"


@dataclass(frozen=True)
class Resampling:
    """How intervals are made."""

    num_resamples: int = 2000
    level: float = 0.95
    seed: int = 0


class Quality:
    """Scores of all models on labelled units, and on resamples of their rows, the same ones for all.

    Args:
        units: All of them labelled.
        logits: Of each run of each model.
        how: How intervals are made.
    """

    def __init__(self, units: Units, logits: Logits, how: Resampling) -> None:
        self.units, self.logits, self.level = units, logits, how.level
        scorers = {name: [make_scorer(units, of_run) for of_run in runs] for name, runs in logits.items()}
        self.runs = {name: [on_the_sample(s, units.num_rows) for s in of_model] for name, of_model in scorers.items()}
        means = {name: mean_of(of_model) for name, of_model in scorers.items()}
        self.samples = bootstrap(means, units.num_rows, how.num_resamples, how.seed)
        # What the bootstrap cannot see in rows that are all decided alike; outputs that are numbers never are.
        self.unseen = 0.0 if units.problem_type == "regression" else unseen_share(units.num_rows, how.level)

    def value(self, name: str, metric: str) -> float:
        """The mean of a metric over a model's runs."""
        return float(np.mean([scores[metric] for scores in self.runs[name]]))

    def metrics(self, name: str, names: Sequence[str]) -> dict[str, Any]:
        """Every metric of a model, the mean over its runs."""
        found = {}
        for metric in names:
            runs, lowest = [scores[metric] for scores in self.runs[name]], _LOWEST.get(metric, 0.0)
            estimate = self._estimate(self.value(name, metric), self.samples[name][metric], self.unseen)
            estimate.update(low=max(lowest, estimate["low"]), high=min(1.0, estimate["high"]))
            found[metric] = {**estimate, "runs": runs, "std": float(np.std(runs, ddof=1)) if len(runs) > 1 else None}
        return found

    def _estimate(self, value: float, samples: np.ndarray, unseen: float = 0.0) -> dict[str, float]:
        low, high = interval(samples, self.level)
        return {"value": value, "low": min(low, value - unseen), "high": max(high, value + unseen)}

    def retention(self, name: str, metric: str) -> dict[str, float] | None:
        """Model / teacher; None where the teacher's score is not clearly above 0."""
        teacher, samples = self.value(TEACHER, metric), self.samples[TEACHER][metric]
        if interval(samples, self.level)[0] <= 0:
            return None
        samples = np.divide(self.samples[name][metric], samples, out=np.full(len(samples), np.nan), where=samples > 0)
        return self._estimate(self.value(name, metric) / teacher, samples, self.unseen / teacher)

    def gap_closed(self, name: str, metric: str) -> tuple[dict[str, float] | None, str | None]:
        """(model - baseline) / (teacher - baseline), or why there is none."""
        if BASELINE not in self.runs:
            return None, "there is no baseline: the same student trained without the teacher"
        gap = self.versus(TEACHER, BASELINE, metric)
        if gap["low"] <= 0:
            return None, "the teacher is not clearly above the baseline"
        samples = self.samples[TEACHER][metric] - self.samples[BASELINE][metric]
        closed = self.samples[name][metric] - self.samples[BASELINE][metric]
        shares = np.divide(closed, samples, out=np.full(len(samples), np.nan), where=samples > 0)
        value = (self.value(name, metric) - self.value(BASELINE, metric)) / gap["difference"]
        return self._estimate(value, shares), None

    def versus(self, name: str, other: str, metric: str) -> dict[str, Any]:
        """Score of a model less that of another, on the same rows."""
        samples = self.samples[name][metric] - self.samples[other][metric]
        difference = self.value(name, metric) - self.value(other, metric)
        estimate = self._estimate(difference, samples, self.unseen)
        is_exact = metric == "accuracy" and len(self.logits[name]) == len(self.logits[other]) == 1
        return {
            "difference": estimate.pop("value"),
            **estimate,
            "test": "McNemar exact" if is_exact else "paired bootstrap",
            "p_value": self._mcnemar(name, other) if is_exact else bootstrap_p_value(samples),
        }

    def _mcnemar(self, name: str, other: str) -> float:
        first, second = (self.logits[model][0].argmax(axis=1) == self.units.labels for model in (name, other))
        return mcnemar(int((first & ~second).sum()), int((second & ~first).sum()))


def describe_quality(quality: Quality, name: str, metric: str, margin: float) -> dict[str, Any]:
    """Return what the report says of a model beside its metrics; None for what it cannot be compared with."""
    is_teacher, is_baseline = name == TEACHER, name == BASELINE
    gap, note = (None, None) if is_teacher or is_baseline else quality.gap_closed(name, metric)
    teacher = None if is_teacher else quality.versus(name, TEACHER, metric)
    has_baseline = not (is_teacher or is_baseline) and BASELINE in quality.runs
    return {
        "retention": None if is_teacher else quality.retention(name, metric),
        "gap_closed": gap,
        "gap_closed_note": note,
        "versus_teacher": teacher and {**teacher, "margin": margin, "non_inferior": teacher["low"] > -margin},
        "versus_baseline": quality.versus(name, BASELINE, metric) if has_baseline else None,
    }
