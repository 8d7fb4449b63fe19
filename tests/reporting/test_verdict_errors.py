"""The simulation of `benchmarks/verdict_errors.py` judges a sample as a report does."""

import sys
from pathlib import Path

import numpy as np
import pytest
from verdicts import make_units

from hf_distill.data.metrics import find_metric
from hf_distill.reporting.comparison.quality import NUM_OUTLIERS, Quality, Resampling

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

import verdict_errors
from verdict_populations import POPULATIONS, loss_at


def of_simulation(name, metric, rows):
    """The interval and the p-value that the simulation gives the rows of one sample."""
    population, num_rows = POPULATIONS[name], len(rows)
    weights = verdict_errors.draws(num_rows, 200)
    sums = (weights @ rows[:, 0]).astype(float)
    teacher, student = population.scores(sums, metric).reshape(2, len(weights), 1)
    gain = verdict_errors._parts(metric.sign * (student - teacher))
    has_outliers = metric.name in ("mae", "rmse", "r2", "pearson")
    unseen = NUM_OUTLIERS * gain.largest_influence() if has_outliers else population.unseen(metric, num_rows)
    return [float(part[0]) for part in gain.difference(0.95, unseen)]


def of_report(units, teacher, student, metric):
    quality = Quality(units, {"teacher": [teacher], "student": [student]}, [metric], Resampling(1000))
    versus = quality.versus("student", "teacher", metric.name)
    return [versus[key] for key in ("low", "high", "p_value")]


@pytest.mark.parametrize("metric_name", ["f1", "matthews_correlation"])
def test_rows_of_three_counts_are_judged_as_in_a_report(metric_name):
    metric, name, num_rows = find_metric(metric_name), "5 classes", 120
    population = POPULATIONS[name]
    rows = population.draw(loss_at(population, metric, 0.3), num_rows, 1, np.random.default_rng(0))
    labels, teacher, student = (rows[:, 0, start : start + 5] for start in (1, 6, 17))
    units = make_units(labels.argmax(axis=1), "abcde")
    low, high, p_value = of_simulation(name, metric, rows)
    expected = of_report(units, teacher, student, metric)
    assert p_value == pytest.approx(expected[2], abs=1e-4)
    # The population has classes of equal size, and the sample almost; the widening follows the sizes.
    assert (low, high) == pytest.approx((expected[0], expected[1]), abs=0.004)


@pytest.mark.parametrize("metric_name", ["mae", "pearson"])
def test_numbers_are_judged_as_in_a_report(metric_name):
    metric, name = find_metric(metric_name), "numbers, 5 % outliers"
    population = POPULATIONS[name]
    rows = population.draw(loss_at(population, metric, 0.05), 150, 1, np.random.default_rng(0))
    labels, teacher, student = (rows[:, 0, column].astype(float) for column in (1, 3, 8))
    units = make_units(labels, ["score"], "regression")
    expected = of_report(units, teacher[:, None], student[:, None], metric)
    low, high, p_value = of_simulation(name, metric, rows)
    assert (low, high) == pytest.approx(expected[:2], abs=1e-3)
    assert p_value == pytest.approx(expected[2], abs=0.01)


def test_the_student_of_a_population_is_one_margin_worse():
    for name, metric_name, margin in (("3 labels", "f1_macro", 0.05), ("numbers", "rmse", 0.05)):
        population, metric = POPULATIONS[name], find_metric(metric_name)
        loss = loss_at(population, metric, margin)
        sums = population.draw(loss, 200_000, 1, np.random.default_rng(0))[:, 0].sum(axis=0, dtype=float)[None]
        teacher, student = population.scores(sums, metric)[:, 0]
        assert metric.sign * (student - teacher) == pytest.approx(-margin, abs=0.004)
