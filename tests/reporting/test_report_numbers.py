"""The numbers of a report against values computed by hand, the metrics of training, and simulations."""

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import binomtest

from hf_distill.data import as_compute_metrics
from hf_distill.data.metrics import METRICS, Metric, find_metric
from hf_distill.reporting.bootstrap import bootstrap, interval, on_all_rows
from hf_distill.reporting.comparison.calibration_error import describe_error
from hf_distill.reporting.comparison.fidelity import describe_fidelity, list_disagreements
from hf_distill.reporting.comparison.quality import Quality, Resampling, describe_quality
from hf_distill.reporting.comparison.reliability import (
    brier_scores,
    describe_calibration,
    reliability_bins,
)
from hf_distill.reporting.comparison.robustness import length_buckets, score_by_class, score_by_length
from hf_distill.reporting.comparison.scores import Answers, make_row_by_row_scorer, make_scorer
from hf_distill.reporting.comparison.units import Units
from hf_distill.reporting.statistics import mcnemar

NAMES = ["a", "b", "c"]
TAGS = ["O", "B-x", "I-x"]
ACCURACY = find_metric("accuracy")
SINGLE, MULTI, TOKENS = "single_label_classification", "multi_label_classification", "token_classification"


def units_of(labels, names=("a", "b"), problem_type=SINGLE, rows=None):
    labels = np.asarray(labels)
    rows = np.arange(len(labels)) if rows is None else np.asarray(rows)
    num_rows = int(rows.max()) + 1
    texts = [f"text {i}" for i in range(num_rows)]
    return Units(problem_type, list(names), labels, rows, texts, np.arange(1, num_rows + 1))


def logits_for(predicted, confidence=0.9, num_labels=2):
    """Logits that give the predicted class this probability."""
    predicted, confidence = np.asarray(predicted), np.broadcast_to(confidence, len(predicted))
    others = (1 - confidence) / (num_labels - 1)
    logits = np.log(np.repeat(others[:, None], num_labels, axis=1))
    logits[np.arange(len(predicted)), predicted] = np.log(confidence)
    return logits.astype(np.float32)


def quality_of(labels, how=None, **predictions):
    logits = {name: [logits_for(run) for run in np.atleast_2d(runs)] for name, runs in predictions.items()}
    return Quality(units_of(labels), logits, METRICS[SINGLE], how or Resampling())


def case(problem_type, num_rows=60, seed=0):
    """Units, and random logits that depend on the labels."""
    draw = np.random.default_rng(seed)
    if problem_type == "regression":
        labels = draw.normal(size=num_rows).round(1)  # with ties
        return units_of(labels, ["score"], problem_type), (labels + draw.normal(size=num_rows)).round(1)[:, None]
    if problem_type == MULTI:
        labels = (draw.random((num_rows, 3)) < 0.4).astype(np.float32)
        return units_of(labels, NAMES, problem_type), 2 * labels - 1 + draw.normal(size=labels.shape)
    rows = np.sort(draw.integers(0, num_rows // 4, num_rows)) if problem_type == TOKENS else None
    if rows is not None:
        rows = np.unique(rows, return_inverse=True)[1]
    labels = draw.integers(0, 3, num_rows)
    logits = 1.5 * np.eye(3)[labels] + draw.normal(size=(num_rows, 3))
    return units_of(labels, TAGS if problem_type == TOKENS else NAMES, problem_type, rows), logits


class Prediction:
    """The input of `compute_metrics`."""

    def __init__(self, units, logits):
        self.predictions, self.label_ids = logits, units.labels
        if units.problem_type == TOKENS:  # rows of tokens, padded
            sizes = np.bincount(units.rows)
            self.label_ids = np.full((len(sizes), sizes.max()), -100)
            self.predictions = np.zeros((*self.label_ids.shape, logits.shape[1]))
            for row, size in enumerate(sizes):
                self.label_ids[row, :size] = units.labels[units.rows == row]
                self.predictions[row, :size] = logits[units.rows == row]


def resample(units, logits, seed=1):
    """Draw rows with replacement: how often each row was drawn, and the drawn rows themselves."""
    drawn = np.random.default_rng(seed).integers(0, units.num_rows, units.num_rows)
    draws = np.bincount(drawn, minlength=units.num_rows)[None].astype(float)
    places = [np.flatnonzero(units.rows == row) for row in drawn]
    chosen, rows = np.concatenate(places), np.repeat(np.arange(len(drawn)), [len(place) for place in places])
    return draws, units_of(units.labels[chosen], units.names, units.problem_type, rows), logits[chosen]


@pytest.mark.parametrize("problem_type", METRICS)
def test_every_metric_has_the_score_that_training_reports_on_the_rows_and_on_resamples(problem_type):
    units, logits = case(problem_type)
    compute_metrics = as_compute_metrics([metric.name for metric in METRICS[problem_type]], problem_type, units.names)
    answers = Answers(units, logits)
    expected = compute_metrics(Prediction(units, logits))
    assert {metric.name: answers.score(metric) for metric in METRICS[problem_type]} == expected
    with_counts = [metric for metric in METRICS[problem_type] if metric.from_counts]
    for make, metrics in ((make_scorer, with_counts), (make_row_by_row_scorer, METRICS[problem_type])):
        scorer, names = make(answers, metrics), [metric.name for metric in metrics]
        assert on_all_rows(scorer, units.num_rows) == pytest.approx({name: expected[name] for name in names})
        for seed in range(5):
            draws, *written_out = resample(units, logits, seed)
            scores = {name: values[0] for name, values in scorer(draws).items()}
            on_written_out = compute_metrics(Prediction(*written_out))
            assert scores == pytest.approx({name: on_written_out[name] for name in names})


@pytest.mark.parametrize("problem_type", METRICS)
@pytest.mark.parametrize("are_perfect", [False, True])
def test_scores_from_counts_equal_the_plain_scores_in_degenerate_cases(problem_type, are_perfect):
    # One class or number for all rows, in the labels and in the predictions.
    units, logits = case(problem_type)
    units = replace(units, labels=np.zeros_like(units.labels))
    if not are_perfect:
        logits = np.full_like(logits, 0.3)
    else:
        logits = -np.ones_like(logits) if problem_type == MULTI else np.zeros_like(logits)
    answers = Answers(units, logits)
    metrics = [metric for metric in METRICS[problem_type] if metric.from_counts]
    scores = on_all_rows(make_scorer(answers, metrics), units.num_rows)
    assert scores == pytest.approx({metric.name: answers.score(metric) for metric in metrics})
    assert all(np.isfinite(score) for score in scores.values())


def accuracy_of(labels, predicted):
    """The scorer of resamples by accuracy and F1."""
    return make_scorer(Answers(units_of(labels), logits_for(predicted)), METRICS[SINGLE])


def test_two_classes_have_the_f1_of_the_second():
    assert on_all_rows(accuracy_of([1, 1, 1, 0], [1, 1, 0, 1]), 4)["f1"] == pytest.approx(2 * 2 / (3 + 3))


def test_a_constant_prediction_has_correlation_zero():
    units, logits = case("regression")
    metrics = [find_metric("pearson"), find_metric("spearmanr")]
    scorer = make_scorer(Answers(units, np.full_like(logits, 0.3)), metrics)
    assert on_all_rows(scorer, 60) == {"pearson": 0.0, "spearmanr": 0.0}


def test_a_metric_without_counts_gets_an_interval_from_fewer_resamples():
    accuracy = find_metric("accuracy")
    slow = Metric("slow_accuracy", accuracy.score)
    units, logits = case(SINGLE)
    quality = Quality(units, {"teacher": [logits], "student": [logits[::-1]]}, [slow, accuracy], Resampling(500))
    assert quality.samples["student"]["slow_accuracy"].shape == (200,)
    assert quality.samples["student"]["accuracy"].shape == (500,)
    # The first resamples are the same ones, so the scores are too.
    expected = quality.samples["student"]["accuracy"][:200]
    assert quality.samples["student"]["slow_accuracy"] == pytest.approx(expected)
    estimate = quality.estimates("student")["slow_accuracy"]
    assert estimate["low"] < estimate["value"] < estimate["high"]
    assert describe_quality(quality, quality, "student", "slow_accuracy", 0.01)["versus_teacher"]["low"] < 0


def test_intervals_end_at_the_lowest_and_highest_score_of_a_metric():
    units, logits = case(SINGLE, num_rows=6)
    errors = Metric("negative_errors", lambda p, r, _: -float((p != r).sum()), lowest=-4.0, highest=-2.0)
    estimate = Quality(units, {"teacher": [np.zeros_like(logits)]}, [errors], Resampling(200)).estimates("teacher")
    assert (estimate["negative_errors"]["low"], estimate["negative_errors"]["high"]) == (-4.0, -2.0)


def test_mcnemars_test_is_used_for_every_share_of_rows_that_are_right():
    units, logits = case(MULTI)
    quality = Quality(
        units, {"teacher": [10 * (2 * units.labels - 1)], "student": [logits]}, METRICS[MULTI], Resampling(200)
    )
    num_wrong = (1 - quality.value("student", "subset_accuracy")) * units.num_rows
    versus = quality.versus("student", "teacher", "subset_accuracy")
    assert versus["test"] == "McNemar exact"
    assert versus["p_value"] == pytest.approx(2 * 0.5**num_wrong)
    assert quality.versus("student", "teacher", "f1_micro")["test"] == "paired bootstrap"


def test_mcnemar_is_the_exact_binomial_test_of_the_rows_that_differ():
    assert mcnemar(1, 5) == pytest.approx(2 * (1 + 6) / 2**6)
    assert mcnemar(3, 12) == pytest.approx(binomtest(3, 15).pvalue)
    assert mcnemar(0, 0) == mcnemar(4, 4) == 1.0


def test_intervals_contain_the_truth_about_as_often_as_their_level_says():
    draw, covered = np.random.default_rng(0), 0
    for trial in range(200):
        correct = (draw.random(150) < 0.8).astype(int)
        scorer = accuracy_of(np.ones(150, dtype=int), correct)
        low, high = interval(bootstrap({"m": scorer}, 150, 400, seed=trial)["m"]["accuracy"])
        covered += low <= 0.8 <= high
    assert 0.90 <= covered / 200 <= 0.98


def test_all_scorers_and_calls_see_the_same_resamples():
    scorer = make_scorer(Answers(*case(SINGLE)), METRICS[SINGLE])
    both = bootstrap({"a": scorer, "b": scorer}, 60, 300)
    assert np.array_equal(both["a"]["accuracy"], both["b"]["accuracy"])
    assert np.array_equal(both["a"]["accuracy"], bootstrap({"c": scorer}, 60, 300)["c"]["accuracy"])
    assert len(np.unique(both["a"]["accuracy"])) > 5


def test_an_interval_of_rows_that_are_all_right_includes_errors_that_were_not_seen():
    quality = quality_of(np.ones(50, dtype=int), teacher=[1] * 50)
    accuracy = quality.estimates("teacher")["accuracy"]
    assert (accuracy["value"], accuracy["high"]) == (1.0, 1.0)
    z_squared = 1.959964**2  # Wilson's interval of a share of 1
    assert accuracy["low"] == pytest.approx(50 / (50 + z_squared))


def wrong_at(num_rows, *places):
    """Predictions of rows whose label is 1."""
    predicted = np.ones(num_rows, dtype=int)
    predicted[list(places)] = 0
    return predicted


def test_non_inferiority_needs_enough_rows_and_a_student_that_is_not_worse():
    def versus(num_rows, num_wrong):
        predictions = {"teacher": wrong_at(num_rows), "student": wrong_at(num_rows, *range(num_wrong))}
        quality = quality_of(np.ones(num_rows, dtype=int), **predictions)
        return describe_quality(quality, quality, "student", "accuracy", margin=0.01)["versus_teacher"]

    assert not versus(100, 0)["non_inferior"]  # an error rate of 3 / 100 is still possible
    assert versus(1000, 0)["non_inferior"]
    assert versus(1000, 2)["non_inferior"]
    worse = versus(1000, 30)
    assert not worse["non_inferior"]
    assert worse["high"] < -0.01
    assert worse["difference"] == pytest.approx(-0.03)
    assert worse["p_value"] == pytest.approx(2 * 0.5**30)
    assert worse["test"] == "McNemar exact"


def test_retention_and_the_gap_closed_are_ratios_of_the_scores():
    predictions = {
        "teacher": wrong_at(500, *range(50)),
        "student": wrong_at(500, *range(70)),
        "baseline": wrong_at(500, *range(130)),
    }
    quality = quality_of(np.ones(500, dtype=int), **predictions)
    description = describe_quality(quality, quality, "student", "accuracy", 0.01)
    assert description["retention"]["value"] == pytest.approx(430 / 450)
    assert description["gap_closed"]["value"] == pytest.approx(60 / 80)
    for name in ("retention", "gap_closed"):
        assert description[name]["low"] < description[name]["value"] < description[name]["high"]
    assert description["versus_baseline"]["difference"] == pytest.approx(60 / 500)
    assert description["versus_baseline"]["low"] > 0


def test_there_is_no_gap_where_the_teacher_is_not_clearly_above_the_baseline():
    predictions = {
        "teacher": wrong_at(100, 0, 1, 2),
        "student": wrong_at(100, 3),
        "baseline": wrong_at(100, 4, 5, 6, 7),
    }
    quality = quality_of(np.ones(100, dtype=int), **predictions)
    description = describe_quality(quality, quality, "student", "accuracy", 0.01)
    assert description["gap_closed"] is None
    assert description["gap_closed_note"] == "the teacher is not clearly better than the baseline"


def test_runs_are_averaged_and_their_deviation_is_given():
    runs = [wrong_at(100), wrong_at(100, *range(10)), wrong_at(100, *range(20))]
    quality = quality_of(np.ones(100, dtype=int), teacher=wrong_at(100), student=runs)
    accuracy = quality.estimates("student")["accuracy"]
    assert accuracy["runs"] == [1.0, 0.9, 0.8]
    assert (accuracy["value"], accuracy["std"]) == (pytest.approx(0.9), pytest.approx(0.1))
    versus = quality.versus("student", "teacher", "accuracy")
    assert (versus["difference"], versus["test"]) == (pytest.approx(-0.1), "paired bootstrap")


def test_calibration_error_and_brier_score_match_the_values_computed_by_hand():
    bins = reliability_bins(np.array([0.65, 0.61, 0.95, 1.0]), np.array([True, False, True, True]))
    assert [b["rows"] for b in bins] == [0] * 6 + [2, 0, 0, 2]
    assert bins[0] == {"low": 0.0, "high": 0.1, "rows": 0, "confidence": None, "accuracy": None}
    assert (bins[6]["confidence"], bins[6]["accuracy"]) == (pytest.approx(0.63), 0.5)
    confidence, is_right = np.array([[0.65], [0.61], [0.95], [1.0]]), np.array([[1], [0], [1], [1]])
    error = describe_error(units_of([0, 0, 0, 0]), confidence, is_right, Resampling(100))
    assert error["ece"] == pytest.approx(0.5 * 0.13 + 0.5 * 0.025)
    probabilities = np.array([[0.7, 0.2, 0.1], [0.0, 1.0, 0.0]])
    assert brier_scores(probabilities, np.array([0, 2])) == pytest.approx([0.09 + 0.04 + 0.01, 0 + 1 + 1])


def test_temperature_scaling_corrects_logits_that_were_multiplied():
    draw = np.random.default_rng(0)
    logits = 2 * draw.normal(size=(3000, 3))
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    labels = np.array([draw.choice(3, p=p) for p in shares])
    calibration = describe_calibration(units_of(labels, NAMES), 3 * logits, Resampling(200))
    assert calibration["temperature"] == pytest.approx(3, rel=0.1)
    assert calibration["ece_scaled"] < 0.03 < 0.1 < calibration["ece"]
    assert calibration["brier_scaled"] < calibration["brier"]
    assert calibration["nll_scaled"] < calibration["nll"]


def test_no_row_is_scaled_by_a_temperature_that_was_fitted_to_it():
    # A temperature that was fitted to the same random logits could only improve the likelihood.
    draw = np.random.default_rng(0)
    for seed in range(20):
        labels, logits = draw.integers(0, 2, 6), draw.normal(size=(6, 2))
        calibration = describe_calibration(units_of(labels), logits, Resampling(100, seed=seed))
        if calibration["nll_scaled"] > calibration["nll"]:
            return
    pytest.fail("the scaled likelihood was never worse: it is not cross-fitted")


def test_the_interval_of_a_calibration_error_contains_the_true_error_and_a_calibrated_model_has_an_error_too():
    draw, how, covered, if_calibrated, errors = np.random.default_rng(0), Resampling(200), [], [], []
    for excess, true_error in ((0.0, 0.0), (0.1, 0.1)):
        for _ in range(100):
            confidence = draw.uniform(0.6, 0.9, (300, 1))
            is_right = (draw.random((300, 1)) < confidence - excess).astype(float)
            error = describe_error(units_of(np.zeros(300, dtype=int)), confidence, is_right, how)
            covered.append(error["ece_low"] <= true_error <= error["ece_high"])
            if excess == 0:
                if_calibrated.append(error["ece_if_calibrated"])
                errors.append(error["ece"])
    assert np.mean(covered) > 0.93
    assert np.mean(if_calibrated) == pytest.approx(np.mean(errors), rel=0.08)
    assert np.mean(errors) > 0.03  # although the true error is 0


def test_labels_of_a_multi_label_problem_are_calibrated_one_by_one():
    units, logits = case(MULTI, 400)
    calibration = describe_calibration(units, logits, Resampling(200))
    probabilities = 1 / (1 + np.exp(-logits))
    assert calibration["brier"] == pytest.approx(((probabilities - units.labels) ** 2).mean())
    assert sum(b["rows"] for b in calibration["bins"]) == 1200


def test_fidelity_matches_the_values_computed_by_hand():
    units = units_of([0, 0, 1, -100])
    teacher, student = logits_for([0, 0, 1, 1], 0.75), logits_for([0, 1, 1, 1], 0.5 + 1e-6)
    fidelity = describe_fidelity(units, teacher, [student], Resampling(200))
    assert fidelity["agreement"]["value"] == 0.75
    kl = 0.75 * math.log(0.75 / 0.5) + 0.25 * math.log(0.25 / 0.5)
    assert fidelity["kl"] == pytest.approx(kl, abs=1e-5)
    assert fidelity["by_class"] == [
        {"label": "a", "rows": 2, "teacher": 1.0, "model": 0.5, "agreement": 0.5},
        {"label": "b", "rows": 1, "teacher": 1.0, "model": 1.0, "agreement": 1.0},
    ]


def test_fidelity_of_a_regression_is_the_difference_of_the_outputs():
    units = units_of([0.1, 0.2, 0.3], ["score"], "regression")
    fidelity = describe_fidelity(
        units, np.array([[1.0], [2.0], [3.0]]), [np.array([[1.0], [2.0], [5.0]])], Resampling(100)
    )
    assert fidelity["rmse"] == pytest.approx(math.sqrt(4 / 3))
    assert fidelity["agreement"] is None


def test_disagreements_are_sorted_by_the_lower_confidence():
    units = units_of([1, 0, 0, -100])
    teacher, student = (
        logits_for([1, 1, 0, 0], [0.6, 0.99, 0.9, 0.8]),
        logits_for([0, 0, 0, 1], [0.99, 0.7, 0.9, 0.95]),
    )
    disagreements = list_disagreements(units, teacher, "student", student)
    assert [row["text"] for row in disagreements] == ["text 3", "text 1", "text 0"]
    assert disagreements[0] == {
        "text": "text 3", "label": None, "teacher": "a", "teacher_confidence": pytest.approx(0.8, abs=1e-6),
        "model": "student", "prediction": "b", "confidence": pytest.approx(0.95, abs=1e-6),
    }  # fmt: skip


def test_disagreements_of_a_multi_label_problem_name_all_chosen_classes():
    units = units_of(np.array([[1.0, 0.0, 0.0]]), NAMES, MULTI)
    disagreements = list_disagreements(units, np.array([[2.0, 1.0, -1.0]]), "student", np.array([[-3.0, 1.0, -1.0]]))
    assert [disagreements[0][key] for key in ("label", "teacher", "prediction")] == ["a", "a, b", "b"]
    assert disagreements[0]["confidence"] == pytest.approx(1 / (1 + math.exp(-3)))


def test_length_buckets_contain_all_rows_and_split_no_length():
    lengths = np.array([3] * 50 + list(range(4, 54)))
    masks = length_buckets(lengths)
    assert sum(mask.sum() for mask in masks) == 100
    ranges = [(lengths[mask].min(), lengths[mask].max()) for mask in masks]
    assert all(before[1] < after[0] for before, after in zip(ranges, ranges[1:], strict=False))
    assert len(length_buckets(np.arange(10))) == 1


def test_scores_by_length_and_class_match_the_rows_in_them():
    labels = np.array([0, 1] * 20)
    predicted = np.where(np.arange(40) < 20, labels, 0)  # the longer half is all class 0
    units, logits = units_of(labels), logits_for(predicted)
    short, long = score_by_length(units, {"student": [logits]}, ACCURACY, Resampling(100))["student"]
    assert (short["low"], short["high"], short["rows"], short["value"]) == (1, 20, 20, 1.0)
    assert (long["low"], long["high"], long["rows"], long["value"]) == (21, 40, 20, 0.5)
    assert score_by_class(units, [logits]) == [
        {"label": "a", "rows": 20, "precision": pytest.approx(20 / 30), "recall": 1.0, "f1": pytest.approx(40 / 50)},
        {"label": "b", "rows": 20, "precision": 1.0, "recall": 0.5, "f1": pytest.approx(20 / 30)},
    ]
