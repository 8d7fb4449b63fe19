"""Thresholds below which the teacher answers, and the loss that they guarantee."""

import numpy as np
import pytest
from scipy.stats import binom
from verdicts import ACCURACY, compare, logits_for, make_units

from hf_distill.reporting.comparison.deferral import certify, describe_deferral, smallest_loss


def logits_of(predicted, confidence):
    """Logits of two classes that give the predicted class this probability."""
    predicted, confidence = np.asarray(predicted), np.asarray(confidence)
    return np.stack([np.log(np.where(predicted == i, confidence, 1 - confidence)) for i in (0, 1)], axis=1)


def test_a_cascade_hands_over_the_texts_with_the_lowest_confidence_of_the_student():
    # The student is wrong on its two least confident texts. The teacher is right on one of them.
    units = make_units([1, 1, 1, 1], "ab")
    student = logits_of([0, 0, 1, 1], [0.6, 0.7, 0.8, 0.9])
    teacher = logits_of([1, 0, 1, 0], [0.99] * 4)
    points = describe_deferral(units, student, teacher, ACCURACY, 0.01)["points"]
    assert [(point["share"], point["value"]) for point in points] == [
        (0.0, 0.5), (0.25, 0.75), (0.5, 0.75), (0.75, 0.75), (1.0, 0.5)
    ]  # fmt: skip
    equal = describe_deferral(units, logits_of([0, 0, 1, 1], [0.8] * 4), teacher, ACCURACY, 0.01)["points"]
    assert [point["share"] for point in equal] == [0.0, 1.0]  # texts of equal confidence go together


def test_the_threshold_is_the_lowest_one_that_the_exact_test_certifies():
    confidence = np.arange(1000) / 1000
    loses = np.zeros(1000, dtype=bool)
    loses[[100, 300, 500, 700, 900]] = True
    # Of 1,000 rows, 4 lost ones certify a loss of 1 % at 95 %, and 5 do not.
    assert binom.cdf(4, 1000, 0.01) < 0.05 < binom.cdf(5, 1000, 0.01)
    assert certify(confidence, loses, 0.01) == (0.101, 0.101)
    assert certify(confidence, loses, 0.02) == (0.0, 0.0)
    assert binom.cdf(0, 1000, 0.004) < 0.05 < binom.cdf(1, 1000, 0.004)
    assert certify(confidence, loses, 0.004) == (0.901, 0.901)
    order = np.random.default_rng(0).permutation(1000)
    assert certify(confidence[order], loses[order], 0.01) == (0.101, 0.101)


def test_too_few_rows_guarantee_nothing_and_a_bad_student_is_never_asked():
    assert smallest_loss(299) == pytest.approx(1 - 0.05 ** (1 / 299))
    assert smallest_loss(299) < 0.01 < smallest_loss(298)
    assert certify(np.full(298, 0.9), np.zeros(298, dtype=bool), 0.01) == (None, None)
    assert certify(np.full(299, 0.9), np.zeros(299, dtype=bool), 0.01) == (0.0, 0.0)
    assert certify(np.full(299, 0.9), np.arange(299) < 1, 0.01) == (None, 1.0)


def test_the_guarantee_is_broken_in_at_most_one_of_twenty_samples():
    """The share of lost texts above a threshold c is 0.3 (1 - c)²; the confidences are uniform from 0.5 to 1."""
    draw, loss, broken, naive = np.random.default_rng(0), 0.01, [], []
    for _ in range(2000):
        confidence = draw.uniform(0.5, 1.0, 640)
        loses = draw.random(640) < 0.3 * (1 - confidence)
        threshold, _ = certify(confidence, loses, loss)
        broken.append(0.3 * (1 - threshold) ** 2 > loss)
        order = np.argsort(-confidence)
        measured = np.cumsum(loses[order]) / 640
        naive.append(0.3 * (1 - confidence[order][measured <= loss][-1]) ** 2 > loss)
    assert 0.02 < np.mean(broken) < 0.05 + 2 * np.sqrt(0.05 * 0.95 / 2000)
    assert np.mean(naive) > 0.4  # a threshold whose measured loss is the wanted one


def test_a_report_guarantees_the_margin_half_of_it_and_twice_it():
    labels = np.arange(2000) % 2
    confidence = np.linspace(0.55, 0.99, 2000)
    student = labels.copy()
    student[:60:2] = 1 - student[:60:2]  # 30 errors, all of low confidence
    units = make_units(labels, "ab")
    logits = {"teacher": logits_for(labels, 2), "student": logits_of(student, confidence)}
    verdict, notes, models = compare(units, **logits)
    deferral = models["student"]["deferral"]
    assert (deferral["loss"], deferral["confidence"], deferral["temperature"]) == (0.01, 0.95, 1.0)
    assert [entry["loss"] for entry in deferral["guarantees"]] == [0.005, 0.01, 0.02]
    num_lost = ((student != labels) & (confidence >= deferral["threshold"])).sum()
    assert binom.cdf(num_lost, 2000, 0.01) <= 0.05 < binom.cdf(num_lost + 1, 2000, 0.01)
    assert deferral["share"] == pytest.approx((confidence < deferral["threshold"]).mean())
    (note,) = [note for note in notes if note.startswith("Deferral: at a threshold of ")]
    assert "together lose at most 1 point against the teacher. These rows can guarantee a loss of 0.1 points" in note
    assert models["teacher"]["deferral"] is None
    grouped = make_units(labels, "ab", groups=np.arange(2000) // 4)
    _, notes, models = compare(grouped, **logits)
    assert models["student"]["deferral"]["threshold"] is None
    assert models["student"]["deferral"]["guarantees"] == []
    assert any("because the rows of a group are not independent" in note for note in notes)
