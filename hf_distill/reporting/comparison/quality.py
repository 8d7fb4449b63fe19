"""How good each model is, with intervals, and how it compares with the teacher and the baseline."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hf_distill.data.metrics import Metric
from hf_distill.reporting.comparison.scores import Answers, make_row_by_row_scorer, make_scorer
from hf_distill.reporting.comparison.units import Units
from hf_distill.reporting.comparison.unseen import unseen_loss
from hf_distill.reporting.statistics import (
    Samples,
    bootstrap,
    bootstrap_p_value,
    detectable_difference,
    interval,
    mcnemar,
    mean_of,
    num_rows_needed,
    paired_score,
    paired_score_interval,
)

Logits = Mapping[str, Sequence[np.ndarray]]  # name of a model -> `(num_units, num_labels)` of each run
BASELINE = "baseline"
TEACHER = "teacher"
FEWEST_SEEDS = 3  # with two, a t interval is wider than any difference
MOST_ROW_BY_ROW = 200  # resamples of a metric without `from_counts`; each takes as long as an evaluation


@dataclass(frozen=True)
class Resampling:
    """How intervals are made."""

    num_resamples: int = 2000
    level: float = 0.95
    seed: int = 0

    def num_for(self, metric: Metric) -> int:
        """Return how many resamples are drawn for a metric."""
        return self.num_resamples if metric.from_counts else min(self.num_resamples, MOST_ROW_BY_ROW)


class Quality:
    """Scores of all models on labelled units and on resamples of their rows. All models see the same resamples.

    Args:
        units: All of them labelled.
        logits: Logits of each run of each model.
        metrics: What to score.
        how: How intervals are made.
    """

    def __init__(self, units: Units, logits: Logits, metrics: Sequence[Metric], how: Resampling) -> None:
        self.metrics, self.how, self.num_rows = {metric.name: metric for metric in metrics}, how, units.num_rows
        self.answers = {name: [Answers(units, run) for run in runs] for name, runs in logits.items()}
        self.runs = {
            name: [{metric.name: run.score(metric) for metric in metrics} for run in runs]
            for name, runs in self.answers.items()
        }
        self.samples = self._resample(units.num_rows)
        self.unseen = {metric.name: unseen_loss(units, metric, how.level) for metric in metrics}

    def _resample(self, num_rows: int) -> Samples:
        samples: Samples = {name: {} for name in self.answers}
        for make, has_counts in ((make_scorer, True), (make_row_by_row_scorer, False)):
            metrics = [metric for metric in self.metrics.values() if (metric.from_counts is not None) == has_counts]
            if metrics:
                scorers = {name: mean_of([make(run, metrics) for run in runs]) for name, runs in self.answers.items()}
                num_resamples = self.how.num_for(metrics[0])
                for name, scores in bootstrap(scorers, num_rows, num_resamples, self.how.seed).items():
                    samples[name].update(scores)
        return samples

    def value(self, name: str, metric: str) -> float:
        """Return a model's score: the mean over its runs."""
        return float(np.mean([scores[metric] for scores in self.runs[name]]))

    def estimates(self, name: str) -> dict[str, Any]:
        """Return every score of a model: the mean over its runs with its interval, the runs, and their deviation."""
        estimates = {}
        for metric in self.metrics.values():
            runs = [scores[metric.name] for scores in self.runs[name]]
            estimate = self._estimate(
                self.value(name, metric.name), self.samples[name][metric.name], self.unseen[metric.name]
            )
            estimate.update(
                low=max(metric.lowest, estimate["low"]), high=min(metric.highest, estimate["high"]), runs=runs
            )
            estimates[metric.name] = {**estimate, "std": float(np.std(runs, ddof=1)) if len(runs) > 1 else None}
        return estimates

    def _estimate(self, value: float, samples: np.ndarray, unseen: float = 0.0) -> dict[str, Any]:
        low, high = interval(samples, self.how.level)
        return {"value": value, "low": min(low, value - unseen), "high": max(high, value + unseen)}

    def retention(self, name: str, metric: str) -> dict[str, float] | None:
        """Return model / teacher; None if the teacher's score is not clearly above 0, or a score is undefined."""
        teacher, samples = self.value(TEACHER, metric), self.samples[TEACHER][metric]
        if not interval(samples, self.how.level)[0] > 0 or math.isnan(self.value(name, metric)):
            return None
        samples = np.divide(self.samples[name][metric], samples, out=np.full(len(samples), np.nan), where=samples > 0)
        return self._estimate(self.value(name, metric) / teacher, samples, self.unseen[metric] / teacher)

    def gap_closed(self, name: str, metric: str) -> tuple[dict[str, float] | None, str | None]:
        """Return (model - baseline) / (teacher - baseline), or why there is no such number."""
        if BASELINE not in self.runs:
            return None, "there is no baseline, the same student trained without the teacher"
        gap = self.versus(TEACHER, BASELINE, metric)
        if gap is None or gap["low"] <= 0:
            return None, "the teacher is not clearly above the baseline"
        samples = self.samples[TEACHER][metric] - self.samples[BASELINE][metric]
        closed = self.samples[name][metric] - self.samples[BASELINE][metric]
        shares = np.divide(closed, samples, out=np.full(len(samples), np.nan), where=samples > 0)
        value = (self.value(name, metric) - self.value(BASELINE, metric)) / gap["difference"]
        return self._estimate(value, shares), None

    def versus(self, name: str, other: str, metric: str) -> dict[str, Any] | None:
        """Return the score of a model minus that of another, with an interval and a test; None if one is undefined.

        Percentiles of resamples are too narrow where few rows differ. So for the share of right rows of single runs
        the interval is the wider one of these and Tango's. For other metrics it is widened by half of what unseen
        errors can cost. `benchmarks/verdict_errors.py` measures the effect.
        """
        samples = self.samples[name][metric] - self.samples[other][metric]
        difference = self.value(name, metric) - self.value(other, metric)
        if math.isnan(difference):
            return None
        estimate = self._estimate(difference, samples, self.unseen[metric])
        is_exact = self._is_exact(name, other, metric)
        if is_exact:
            bounds = paired_score_interval(*self._num_only_right(other, name), self.num_rows, self.how.level)
        else:
            half = self.unseen[metric] / 2
            low, high = interval(samples, self.how.level)
            bounds = (low - half, high + half)
        return {
            "difference": difference,
            "low": min(estimate["low"], bounds[0]),
            "high": max(estimate["high"], bounds[1]),
            "test": "McNemar exact" if is_exact else "paired bootstrap",
            "p_value": mcnemar(*self._num_only_right(name, other)) if is_exact else bootstrap_p_value(samples),
        }

    def p_inferior(self, name: str, metric: str, margin: float) -> float:
        """Return the one-sided p-value of the hypothesis that a model is worse than the teacher by the margin."""
        samples = self.samples[name][metric] - self.samples[TEACHER][metric]
        if not self._is_exact(name, TEACHER, metric):
            return float(1 + (samples - self.unseen[metric] / 2 <= -margin).sum()) / (1 + len(samples))
        from scipy.stats import norm  # slow to import

        score = paired_score(*self._num_only_right(TEACHER, name), self.num_rows, -margin)
        return max(float(norm.sf(score)), float(1 + (samples <= -margin).sum()) / (1 + len(samples)))

    def _is_exact(self, name: str, other: str, metric: str) -> bool:
        is_single_run = len(self.answers[name]) == len(self.answers[other]) == 1
        return self.metrics[metric].is_row_accuracy and is_single_run

    def _num_only_right(self, name: str, other: str) -> tuple[int, int]:
        """Return how many rows only the first model gets right, and how many only the second."""
        first, second = self.answers[name][0].are_right, self.answers[other][0].are_right
        return int((first & ~second).sum()), int((second & ~first).sum())

    def recipe(self, name: str, metric: str) -> dict[str, float] | None:
        r"""Return what another seed would give: the mean difference to the teacher, with a t interval over the runs.

        $\bar d \pm t_{k-1} \sqrt{s^2 / k + v}$ for k runs with the differences d, where s is their standard deviation
        and v the variance of the mean over resamples of the rows.

        Returns:
            None with fewer than three runs, or if a score is undefined.
        """
        runs = np.array([scores[metric] for scores in self.runs[name]]) - self.value(TEACHER, metric)
        if len(runs) < FEWEST_SEEDS or np.isnan(runs).any():
            return None
        from scipy.stats import t  # slow to import

        of_rows = np.nanvar(self.samples[name][metric] - self.samples[TEACHER][metric], ddof=1)
        error = math.sqrt(runs.var(ddof=1) / len(runs) + of_rows)
        half_width = float(t.ppf((1 + self.how.level) / 2, len(runs) - 1)) * error
        mean = float(runs.mean())
        return {"difference": mean, "low": mean - half_width, "high": mean + half_width}


def describe_quality(quality: Quality, shipped: Quality, name: str, metric: str, margin: float) -> dict[str, Any]:
    """Return how a model compares with teacher and baseline; None where there is nothing to compare it with.

    Args:
        quality: The scores of all runs.
        shipped: The scores of the one run of each model that is used in production.
        name: Name of the model.
        metric: Name of the metric that decides.
        margin: How much lower a score can be and still count as non-inferior.
    """
    is_teacher, is_baseline = name == TEACHER, name == BASELINE
    gap, note = (None, None) if is_teacher or is_baseline else quality.gap_closed(name, metric)
    versus_teacher = None if is_teacher else shipped.versus(name, TEACHER, metric)
    has_baseline = not (is_teacher or is_baseline) and BASELINE in quality.runs
    if versus_teacher is not None:
        detectable = detectable_difference(versus_teacher["low"], versus_teacher["high"], quality.how.level)
        versus_teacher |= {
            "margin": margin,
            "non_inferior": versus_teacher["low"] > -margin,
            "p_inferior": shipped.p_inferior(name, metric, margin),
            "detectable": detectable,
            "rows_needed": num_rows_needed(quality.num_rows, detectable, margin),
        }
    return {
        "retention": None if is_teacher else quality.retention(name, metric),
        "gap_closed": gap,
        "gap_closed_note": note,
        "versus_teacher": versus_teacher,
        "versus_baseline": quality.versus(name, BASELINE, metric) if has_baseline else None,
        "recipe": None if is_teacher else quality.recipe(name, metric),
    }
