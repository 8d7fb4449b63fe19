"""Intervals and tests that agree with SciPy, with each other, and with numbers worked out by hand."""

import numpy as np
import pytest
from scipy import stats
from verdicts import make_units

from hf_distill.data.metrics import METRICS, find_metric
from hf_distill.reporting.bootstrap import Bootstrapped, bootstrap, bootstrapped, jackknife, leave_out_blocks
from hf_distill.reporting.comparison.paired_rows import PairedRows
from hf_distill.reporting.comparison.quality import Quality, Resampling
from hf_distill.reporting.comparison.scores import Answers, make_scorer
from hf_distill.reporting.statistics import mcnemar, wilson_interval

PEARSON = find_metric("pearson")


def of_numbers(labels, predictions, num_resamples=4000):
    """A sample of a regression with its resamples, scored by Pearson's coefficient."""
    units = make_units(labels, ["score"], "regression")
    answers = Answers(units, predictions[:, None])
    scorers = {"m": make_scorer(answers, [PEARSON])}
    samples = bootstrap(scorers, len(labels), num_resamples)["m"]["pearson"]
    return bootstrapped(answers.score(PEARSON), samples, jackknife(scorers, len(labels))["m"]["pearson"])


def test_the_bca_interval_of_a_correlation_is_scipys():
    def correlation(x, y, axis=-1):
        x, y = (values - values.mean(axis=axis, keepdims=True) for values in (x, y))
        return (x * y).sum(axis=axis) / np.sqrt((x**2).sum(axis=axis) * (y**2).sum(axis=axis))

    draw = np.random.default_rng(0)
    x = draw.normal(size=60)
    y = x + draw.normal(size=60)
    expected = stats.bootstrap((x, y), correlation, paired=True, n_resamples=4000, rng=1).confidence_interval
    sample = of_numbers(x, y)
    assert sample.interval() == pytest.approx(tuple(expected), abs=0.015)
    assert sample.interval() != pytest.approx(tuple(np.percentile(sample.samples, [2.5, 97.5])), abs=0.003)


def test_without_bias_and_skewness_the_bca_interval_has_the_percentiles_as_its_ends():
    samples = np.linspace(-1, 1, 2001)
    sample = Bootstrapped(np.array(0.0), samples, np.array([0.1, -0.1]))
    assert sample.interval() == pytest.approx((-0.95, 0.95))
    assert sample.p_at_most(-0.95) == pytest.approx(0.025, abs=0.001)
    assert sample.p_at_least(0.95) == pytest.approx(0.025, abs=0.001)
    same = Bootstrapped(np.array(1.0), np.ones(100), np.ones(5))
    assert same.interval() == pytest.approx((1.0, 1.0))


def test_the_p_value_at_an_end_of_the_interval_is_half_of_one_minus_the_level():
    draw = np.random.default_rng(3)
    x = draw.normal(size=80)
    sample = of_numbers(x, x + draw.normal(size=80))
    for level in (0.8, 0.95):
        low, high = sample.interval(level)
        assert sample.p_at_most(low) == pytest.approx((1 - level) / 2, abs=0.002)
        assert sample.p_at_least(high) == pytest.approx((1 - level) / 2, abs=0.002)
    assert sample.p_at_most(-2.0) < 0.001


def test_many_samples_at_once_have_the_intervals_of_each_alone():
    draw = np.random.default_rng(0)
    value, samples, left_out = draw.random(3), draw.random((500, 3)) ** 2, draw.random((50, 3))
    together = Bootstrapped(value, samples, left_out).difference(0.95, 0.01)
    for i in range(3):
        alone = Bootstrapped(value[i], samples[:, i], left_out[:, i]).difference(0.95, 0.01)
        assert [part[i] for part in together] == pytest.approx(list(alone))


def test_the_jackknife_leaves_each_row_out_once_or_each_block_of_a_large_sample():
    kept = np.concatenate(list(leave_out_blocks(5)))
    assert kept.tolist() == (1 - np.eye(5)).tolist()
    blocks = 1 - np.concatenate(list(leave_out_blocks(450, most_blocks=200)))
    assert blocks.shape == (200, 450)
    assert set(blocks.sum(axis=1)) == {2, 3}
    assert (blocks.sum(axis=0) == 1).all()
    by_group = 1 - np.concatenate(list(leave_out_blocks(5, groups=np.array([0, 0, 1, 2, 1]))))
    assert by_group.tolist() == [[1, 1, 0, 0, 0], [0, 0, 1, 0, 1], [0, 0, 0, 1, 0]]


@pytest.mark.parametrize("num_rows", [40, 1000])
def test_an_interval_of_a_difference_contains_0_exactly_if_mcnemars_test_is_not_significant(num_rows):
    labels = np.zeros(num_rows, dtype=int)
    units = make_units(labels, "ab")
    for only_first in (0, 1, 3, 10):
        for only_second in range(only_first, only_first + 16):
            answers = np.zeros((2, num_rows), dtype=int)
            answers[0, :only_second] = 1
            answers[1, only_second : only_second + only_first] = 1
            logits = {name: [np.eye(2)[run]] for name, run in zip(("teacher", "student"), answers, strict=True)}
            quality = Quality(units, logits, [find_metric("accuracy")], Resampling(100))
            versus = quality.versus("student", "teacher", "accuracy")
            assert versus["p_value"] == pytest.approx(mcnemar(only_first, only_second))
            assert (versus["low"] > 0) is (versus["p_value"] < 0.05)


def test_an_interval_by_resamples_contains_0_exactly_if_its_test_is_not_significant():
    draw, sides = np.random.default_rng(0), set()
    for step in range(30):
        labels = draw.integers(0, 3, 150)
        accuracies = (0.8, 0.8 + 0.006 * step)
        logits = {
            name: [np.eye(3)[np.where(draw.random(150) < accuracy, labels, (labels + 1) % 3)]]
            for name, accuracy in zip(("teacher", "student"), accuracies, strict=True)
        }
        quality = Quality(make_units(labels, "abc"), logits, METRICS["single_label_classification"], Resampling(500))
        for metric in ("f1", "matthews_correlation"):
            versus = quality.versus("student", "teacher", metric)
            contains = versus["low"] <= 0 <= versus["high"]
            assert contains is (versus["p_value"] >= 0.05)
            sides.add(contains)
    assert sides == {True, False}


def test_the_accuracy_of_a_single_run_has_wilsons_interval():
    labels = np.arange(80) % 2
    answers = np.where(np.arange(80) < 8, 1 - labels, labels)
    quality = Quality(
        make_units(labels, "ab"), {"teacher": [np.eye(2)[answers]]}, [find_metric("accuracy")], Resampling(100)
    )
    estimate = quality.estimates("teacher")["accuracy"]
    expected = stats.binomtest(72, 80).proportion_ci(method="wilson")
    assert (estimate["low"], estimate["high"]) == pytest.approx((expected.low, expected.high), rel=1e-5)
    assert wilson_interval(0.9, 80, 0.9) == pytest.approx(
        tuple(stats.binomtest(72, 80).proportion_ci(0.9, "wilson")), rel=1e-5
    )


def test_a_row_that_decides_alone_widens_the_interval_of_a_regression():
    draw = np.random.default_rng(0)
    labels = draw.normal(size=120)
    errors = 0.3 * draw.normal(size=120)
    outlier = errors.copy()
    outlier[0] = 4.0
    units, mae = make_units(labels, ["score"], "regression"), find_metric("mae")
    logits = {"teacher": [(labels + errors)[:, None]], "student": [(labels + outlier)[:, None]]}
    quality = Quality(units, logits, [mae], Resampling(500))
    versus = quality.versus("student", "teacher", "mae")
    gain = -(4.0 - abs(errors[0])) / 120
    assert versus["difference"] == pytest.approx(gain)
    # Without the row both models are equal, so its influence is the whole difference. Four such rows can be unseen,
    # and half of them widen the interval, whose upper end is 0: no resample is better.
    assert versus["high"] == pytest.approx(-3 * gain)
    assert versus["low"] < 5 * gain
    assert versus["p_value"] > 0.4


def test_pairs_of_rows_have_the_counts_of_both_sides():
    first, second = np.array([1, 1, 0, 1, 0], dtype=bool), np.array([1, 0, 1, 0, 0], dtype=bool)
    rows = PairedRows(make_units(np.zeros(5, dtype=int), "ab"), first, second)
    assert (rows.num_only_first, rows.num_only_second, rows.test) == (2, 1, "McNemar exact")
