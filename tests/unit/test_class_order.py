"""The test of the order of a teacher's outputs on labelled rows."""

import numpy as np
import pytest

from hf_distill.reporting.class_order import Pairing, compare_orders

OUTPUTS = ["LABEL_0", "LABEL_1", "LABEL_2"]
NAMES = ["bad", "good", "mixed"]


def answers(outputs, num_classes):
    """Logits that are largest at the given outputs."""
    return np.eye(num_classes)[outputs]


def test_two_exchanged_classes_are_found_and_the_p_value_is_exact():
    labels = np.repeat([0, 1, 2], 20)
    test = compare_orders(labels, answers(np.array([1, 0, 2])[labels], 3))
    assert (test.num_rows, test.num_test_rows) == (60, 30)  # half of each class
    assert test.agreement == test.test_agreement == pytest.approx(1 / 3)
    assert (test.best_agreement, test.best_order) == (1.0, [1, 0, 2])
    assert test.p_value == pytest.approx(2 * 0.5**20)  # 20 rows are right in the best order only
    assert test.is_refuted


def test_the_refusal_shows_both_agreements_and_the_flag_that_works():
    labels = np.repeat([0, 1, 2], 20)
    output_of_class = np.array([1, 2, 0])
    pairing = Pairing(OUTPUTS, NAMES, "by order")
    with pytest.raises(
        ValueError, match=r"LABEL_0 = bad, .*contradict.* 0\.0% of the labels of 60.* with 100\.0%"
    ) as e:
        pairing.check(labels, answers(output_of_class[labels], 3))
    assert "--class_names mixed,bad,good" in str(e.value)  # output 0 is of class 2, output 1 of class 0


def test_a_right_order_and_an_order_that_noise_would_change_stay():
    labels = np.arange(60) % 3
    test = compare_orders(labels, answers(labels, 3))
    assert (test.agreement, test.best_order, test.p_value, test.is_refuted) == (1.0, [0, 1, 2], 1.0, False)
    noise = np.random.default_rng(0).integers(0, 3, 60)
    assert not compare_orders(labels, answers(noise, 3)).is_refuted


def test_a_teacher_that_always_gives_one_class_keeps_the_assumed_order():
    labels = np.arange(40) % 4
    test = compare_orders(labels, answers(np.full(40, 2), 4))
    assert test.best_order == [0, 1, 2, 3]  # every order is right on a quarter of the rows


def test_few_rows_are_described_and_refuse_nothing():
    labels = np.array([0, 1] * 8)
    pairing = Pairing(OUTPUTS[:2], NAMES[:2], "by order")
    pairing.check(labels, answers(1 - labels, 2))  # 8 rows against: p = 2 / 2^8
    assert pairing.test.p_value == pytest.approx(2 / 256)
    assert "agrees with 0.0% of the labels of 16 labelled rows" in str(pairing)
    assert "the order LABEL_0 = good, LABEL_1 = bad with 100.0% (p = 0.0078)" in str(pairing)
    assert pairing.to_dict() == {
        "classes": {"LABEL_0": "bad", "LABEL_1": "good"}, "chosen": "by order", "is_guess": True, "agreement": 0.0,
        "rows": 16,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("num_rows", "num_right", "is_guess"),
    [
        (10, 10, True),  # p = 2 / 2^10
        (11, 11, False),  # p = 2 / 2^11 = 0.00098
        (100, 50, True),  # as often right as in the other order
        (100, 70, False),  # p = 0.00008
        (100, 30, True),
    ],
)
def test_an_order_is_a_guess_unless_the_labels_confirm_it(num_rows, num_right, is_guess):
    labels = np.arange(num_rows) % 2
    outputs = np.where(np.arange(num_rows) < num_right, labels, 1 - labels)
    pairing = Pairing(OUTPUTS[:2], NAMES[:2], "by order")
    pairing.test = compare_orders(labels, answers(outputs, 2))
    assert pairing.is_guess == is_guess
    assert ("do not confirm this order. Check it" in str(pairing)) == is_guess


def test_an_order_of_the_user_is_no_guess_and_names_of_three_classes_are_confirmed_against_the_next_class():
    labels = np.arange(30) % 3
    assert compare_orders(labels, answers(labels, 3)).is_confirmed
    assert not compare_orders(labels, answers(np.zeros(30, dtype=int), 3)).is_confirmed
    assert not Pairing(OUTPUTS, NAMES, "by --class_names").is_guess


@pytest.mark.parametrize("num_units", [0, 1])
def test_without_two_rows_the_pairing_says_that_nothing_was_tested(num_units):
    pairing = Pairing(OUTPUTS, NAMES, "by order")
    pairing.check(np.zeros(num_units, dtype=int), np.zeros((num_units, 3)))
    assert pairing.test is None
    assert "No labelled rows can test this" in str(pairing)


def test_several_labels_a_row_are_compared_decision_by_decision():
    labels = np.array([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0], [1.0, 1.0]] * 15)
    test = compare_orders(labels, 2 * labels[:, ::-1] - 1)
    assert test.agreement == 0.5  # the rows with both labels or none
    assert (test.best_order, test.best_agreement) == ([1, 0], 1.0)
    assert test.p_value == pytest.approx(2 * 0.5**15)  # the half of the rows with odd numbers has 15 with one label
    assert test.is_refuted


def test_the_words_of_a_sentence_count_as_one_row():
    rows = np.repeat(np.arange(10), 50)
    labels = np.arange(500) % 2
    test = compare_orders(labels, answers(1 - labels, 2), rows)
    assert (test.num_rows, test.num_test_rows) == (10, 5)
    assert test.p_value == pytest.approx(2 * 0.5**5)  # 5 sentences, not 250 words
    assert not test.is_refuted
