"""How good each model is, with intervals, and how it compares with the teacher and the baseline."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hf_distill.data.metrics import Metric
from hf_distill.reporting.bootstrap import (
    MOST_BLOCKS,
    Bootstrapped,
    Samples,
    bootstrap,
    bootstrapped,
    interval,
    jackknife,
    mean_of,
)
from hf_distill.reporting.comparison.paired_rows import PairedRows
from hf_distill.reporting.comparison.scores import Answers, make_row_by_row_scorer, make_scorer
from hf_distill.reporting.comparison.units import Units
from hf_distill.reporting.comparison.unseen import unseen_loss
from hf_distill.reporting.statistics import (
    critical_value,
    design_effect,
    detectable_difference,
    num_rows_needed,
    wilson_interval,
)

Logits = Mapping[str, Sequence[np.ndarray]]  # name of a model -> `(num_units, num_labels)` of each run
BASELINE = "baseline"
TEACHER = "teacher"
BOOTSTRAP = "paired bootstrap"
FEWEST_RESAMPLED = 100  # rows or groups; with fewer, more than 3 % of the yes by resamples are wrong
NUM_OUTLIERS = 4  # rows that a sample need not show; half of them widen an interval of a difference
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
        self.metrics, self.how, self.units = {metric.name: metric for metric in metrics}, how, units
        self.answers = {name: [Answers(units, run) for run in runs] for name, runs in logits.items()}
        self.runs = {
            name: [{metric.name: run.score(metric) for metric in metrics} for run in runs]
            for name, runs in self.answers.items()
        }
        self.samples: Samples = {name: {} for name in self.answers}
        self.left_out: Samples = {name: {} for name in self.answers}
        self._resample()
        self.unseen = {metric.name: unseen_loss(units, metric, how.level) for metric in metrics}

    def _resample(self) -> None:
        num_rows, groups, seed = self.units.num_rows, self.units.groups, self.how.seed
        for make, has_counts in ((make_scorer, True), (make_row_by_row_scorer, False)):
            metrics = [metric for metric in self.metrics.values() if (metric.from_counts is not None) == has_counts]
            if metrics:
                scorers = {name: mean_of([make(run, metrics) for run in runs]) for name, runs in self.answers.items()}
                samples = bootstrap(scorers, num_rows, self.how.num_for(metrics[0]), seed, groups)
                left_out = jackknife(scorers, num_rows, seed, groups, MOST_BLOCKS if has_counts else MOST_ROW_BY_ROW)
                for name in scorers:
                    self.samples[name].update(samples[name])
                    self.left_out[name].update(left_out[name])

    def value(self, name: str, metric: str) -> float:
        """Return a model's score: the mean over its runs."""
        return float(np.mean([scores[metric] for scores in self.runs[name]]))

    def estimates(self, name: str) -> dict[str, Any]:
        """Return every score of a model: the mean over its runs with its interval, the runs, and their deviation."""
        estimates = {}
        for metric in self.metrics.values():
            runs = [scores[metric.name] for scores in self.runs[name]]
            low, high = self._bounds(name, metric)
            estimates[metric.name] = {
                "value": self.value(name, metric.name),
                "low": max(metric.lowest, low),
                "high": min(metric.highest, high),
                "runs": runs,
                "std": float(np.std(runs, ddof=1)) if len(runs) > 1 else None,
            }
        return estimates

    def _bounds(self, name: str, metric: Metric) -> tuple[float, float]:
        """Return Wilson's interval for the share of right rows of a single run, else the BCa interval."""
        value = self.value(name, metric.name)
        if not metric.is_row_accuracy or len(self.answers[name]) > 1:
            sample = bootstrapped(value, self.samples[name][metric.name], self.left_out[name][metric.name])
            low, high = self._widen(value, sample, self.unseen[metric.name])
            influence = float(sample.largest_influence()) if sample and self._has_outliers else 0.0
            return low - influence, high + influence
        num_rows: float = self.units.num_rows
        if self.units.groups is not None:
            num_rows /= design_effect(self.answers[name][0].are_right.astype(float), self.units.groups)
        return wilson_interval(value, num_rows, self.how.level, self.units.degrees_of_freedom)

    def _widen(self, value: float, sample: Bootstrapped | None, unseen: float = 0.0) -> tuple[float, float]:
        """Return the BCa interval, which reaches at least as far as errors that no row shows."""
        if sample is None:
            return math.nan, math.nan
        low, high = sample.interval(self.how.level)
        return min(float(low), value - unseen), max(float(high), value + unseen)

    def retention(self, name: str, metric: str) -> dict[str, float] | None:
        """Return model / teacher; None for an error, an undefined score, or a teacher not clearly above 0."""
        teacher, value = self.value(TEACHER, metric), self.value(name, metric)
        lowest, _ = interval(self.samples[TEACHER][metric], self.how.level)
        if not lowest > 0 or math.isnan(value) or not self.metrics[metric].higher_is_better:
            return None
        shares = [_ratio(of[name][metric], of[TEACHER][metric]) for of in (self.samples, self.left_out)]
        low, high = self._widen(value / teacher, bootstrapped(value / teacher, *shares), self.unseen[metric] / teacher)
        return {"value": value / teacher, "low": low, "high": high}

    def gap_closed(self, name: str, metric: str) -> tuple[dict[str, float] | None, str | None]:
        """Return (model - baseline) / (teacher - baseline), or why there is no such number."""
        if BASELINE not in self.runs:
            return None, "there is no baseline, the same student trained without the teacher"
        gap = self.versus(TEACHER, BASELINE, metric)
        if gap is None or gap["low"] <= 0:
            return None, "the teacher is not clearly better than the baseline"
        closed, whole = (self._gains(model, BASELINE, metric) for model in (name, TEACHER))
        value = closed[0] / whole[0]
        shares = [_ratio(*pair) for pair in zip(closed[1:], whole[1:], strict=True)]
        low, high = self._widen(value, bootstrapped(value, *shares))
        return {"value": value, "low": low, "high": high}, None

    def _gains(self, name: str, other: str, metric: str) -> tuple[float, np.ndarray, np.ndarray]:
        """Return how much better a model is than another: on all rows, on resamples, and without each block."""
        sign = self.metrics[metric].sign
        value = sign * (self.value(name, metric) - self.value(other, metric))
        samples, left_out = (sign * (of[name][metric] - of[other][metric]) for of in (self.samples, self.left_out))
        return value, samples, left_out

    def versus(self, name: str, other: str, metric: str) -> dict[str, Any] | None:
        """Return how much better a model is than another, with an interval and a test; None if that is undefined.

        The difference of two scores; for an error the other's minus the model's, so that positive is better. For the
        share of right rows of single runs the interval is Tango's. For other metrics it is the BCa interval, which is
        too narrow where few rows differ or decide, so it is widened by half of what unseen rows can cost.
        `benchmarks/verdict_errors.py` measures the effect. The interval contains 0 unless the test is significant.
        """
        difference, samples, left_out = self._gains(name, other, metric)
        rows, level = self._paired_rows(name, other, metric), self.how.level
        sample = bootstrapped(difference, samples, left_out)
        if math.isnan(difference) or sample is None:
            return None
        if rows is not None:
            low, high, p_value = *rows.interval(level), rows.p_value()
        else:
            low, high, p_value = map(float, sample.difference(level, self._unseen(metric, sample)))
        is_clear = p_value < 1 - level
        return {
            "difference": difference,
            "low": low if is_clear else min(low, 0.0),
            "high": high if is_clear else max(high, 0.0),
            "test": BOOTSTRAP if rows is None else rows.test,
            "p_value": p_value,
        }

    def p_inferior(self, name: str, metric: str, margin: float) -> float:
        """Return the one-sided p-value of the hypothesis that a model is worse than the teacher by the margin."""
        rows = self._paired_rows(name, TEACHER, metric)
        if rows is not None:
            return rows.p_at_most(-margin)
        sample = bootstrapped(*self._gains(name, TEACHER, metric))
        return 1.0 if sample is None else float(sample.p_at_most(self._unseen(metric, sample) / 2 - margin))

    @property
    def _has_outliers(self) -> bool:
        return self.units.problem_type == "regression"

    def _unseen(self, metric: str, sample: Bootstrapped) -> float:
        """Return how much a difference can change by rows that the sample does not show.

        For a classification these are errors, see [`unseen_loss`]. For a regression they are outliers: four rows that
        count as much as the most influential row of the sample.
        """
        return NUM_OUTLIERS * float(sample.largest_influence()) if self._has_outliers else self.unseen[metric]

    def _paired_rows(self, name: str, other: str, metric: str) -> PairedRows | None:
        """Return the rows that only one of two single runs gets right; None if the metric does not count them."""
        if not self.metrics[metric].is_row_accuracy or len(self.answers[name]) * len(self.answers[other]) > 1:
            return None
        return PairedRows(self.units, self.answers[other][0].are_right, self.answers[name][0].are_right)

    def design_effect(self, name: str, metric: str) -> float:
        """Return how many times as large the variance of a model's difference to the teacher is because of groups."""
        if (rows := self._paired_rows(name, TEACHER, metric)) is not None:
            return rows.design_effect
        if self.units.groups is None:
            return 1.0
        makes = make_row_by_row_scorer if self.metrics[metric].from_counts is None else make_scorer
        scorers = {
            model: mean_of([makes(run, [self.metrics[metric]]) for run in self.answers[model]])
            for model in (name, TEACHER)
        }
        alone = bootstrap(scorers, self.units.num_rows, self.how.num_for(self.metrics[metric]), self.how.seed)
        ungrouped = np.nanvar(alone[name][metric] - alone[TEACHER][metric])
        grouped = np.nanvar(self._gains(name, TEACHER, metric)[1])
        return max(1.0, float(grouped / ungrouped)) if ungrouped > 0 else 1.0

    def recipe(self, name: str, metric: str) -> dict[str, float] | None:
        r"""Return what another seed would give: the mean difference to the teacher, with a t interval over the runs.

        $\bar d \pm t_{k-1} \sqrt{s^2 / k + v}$ for k runs with the differences d, where s is their standard deviation
        and v the variance of the mean over resamples of the rows.

        Returns:
            None with fewer than three runs, or if a score is undefined.
        """
        runs = np.array([scores[metric] for scores in self.runs[name]]) - self.value(TEACHER, metric)
        runs *= self.metrics[metric].sign
        if len(runs) < FEWEST_SEEDS or np.isnan(runs).any():
            return None
        of_rows = np.nanvar(self._gains(name, TEACHER, metric)[1], ddof=1)
        error = math.sqrt(runs.var(ddof=1) / len(runs) + of_rows)
        half_width = critical_value(self.how.level, len(runs) - 1) * error
        mean = float(runs.mean())
        return {"difference": mean, "low": mean - half_width, "high": mean + half_width}


def _ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """Return the quotients, NaN where the denominator is not above 0."""
    return np.divide(numerator, denominator, out=np.full(len(numerator), np.nan), where=denominator > 0)


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
            "rows_needed": num_rows_needed(quality.units.num_rows, detectable, margin) if margin > 0 else None,
            "design_effect": shipped.design_effect(name, metric),
        }
    return {
        "retention": None if is_teacher else quality.retention(name, metric),
        "gap_closed": gap,
        "gap_closed_note": note,
        "versus_teacher": versus_teacher,
        "versus_baseline": quality.versus(name, BASELINE, metric) if has_baseline else None,
        "recipe": None if is_teacher else quality.recipe(name, metric),
    }
