"""Running means are exact, and the teacher is reported as at chance when it is, once, and not otherwise."""

import logging
import math

import pytest
import torch
from accelerate import Accelerator

from hf_distill.training.guards import ChanceGuard
from hf_distill.training.running_means import RunningMeans

CPU = torch.device("cpu")
WARNING = "THE TEACHER IS AT CHANCE"


@pytest.fixture(scope="module")
def accelerator():
    return Accelerator(cpu=True)


@pytest.fixture
def warnings():
    """Messages of the guard; transformers' loggers do not propagate, so that caplog would see none."""
    messages = []

    class Collect(logging.Handler):
        def emit(self, record):
            messages.append(record.getMessage())

    logger, handler = logging.getLogger("hf_distill.training.guards"), Collect()
    logger.addHandler(handler)
    yield messages
    logger.removeHandler(handler)


# ---- Means ----


def test_means_are_over_rows_and_not_over_batches(accelerator):
    means = RunningMeans(["kl", "ce"], CPU)
    everything = torch.ones(3, dtype=torch.bool)
    means.add({"kl": torch.tensor([1.0, 2.0, 3.0]), "ce": torch.tensor([0.0, 0.0, 6.0])}, everything)
    means.add({"kl": torch.tensor([10.0]), "ce": torch.tensor([2.0])}, everything[:1])
    assert means.reduce(accelerator) == {"kl": 4.0, "ce": 2.0}


def test_rows_that_are_no_units_count_for_nothing_even_if_nan(accelerator):
    means = RunningMeans(["kl"], CPU)
    values = torch.tensor([1.0, math.nan, 5.0, math.inf])
    means.add({"kl": values}, torch.tensor([True, False, True, False]))
    means.add({"kl": torch.tensor([math.nan])}, torch.tensor([False]))
    assert means.reduce(accelerator) == {"kl": 3.0}


def test_a_nan_of_a_unit_is_not_hidden(accelerator):
    means = RunningMeans(["kl", "ce"], CPU)
    means.add({"kl": torch.tensor([1.0, math.nan]), "ce": torch.tensor([1.0, 3.0])}, torch.ones(2, dtype=torch.bool))
    reduced = means.reduce(accelerator)
    assert math.isnan(reduced["kl"])
    assert reduced["ce"] == 2.0


def test_every_optimiser_step_weighs_the_same_if_divided_by_its_units(accelerator):
    means = RunningMeans(["kl"], CPU)
    # The first step has 4 units in two micro-batches, with mean 4; the second has 1 unit of 10.
    means.add({"kl": torch.tensor([1.0, 3.0, 5.0])}, torch.ones(3, dtype=torch.bool), torch.tensor(4))
    means.add({"kl": torch.tensor([7.0])}, torch.ones(1, dtype=torch.bool), torch.tensor(4))
    means.add({"kl": torch.tensor([10.0])}, torch.ones(1, dtype=torch.bool), torch.tensor(1))
    assert means.reduce(accelerator) == {"kl": 7.0}


def test_reduce_starts_anew_and_is_empty_without_units(accelerator):
    means = RunningMeans(["kl"], CPU)
    assert means.reduce(accelerator) == {}
    means.add({"kl": torch.tensor([1.0])}, torch.tensor([True]))
    assert means.reduce(accelerator) == {"kl": 1.0}
    assert means.reduce(accelerator) == {}
    means.add({"kl": torch.tensor([1.0])}, torch.tensor([True]))
    means.reset()
    means.add({"kl": torch.tensor([5.0])}, torch.tensor([True]))
    assert means.reduce(accelerator) == {"kl": 5.0}


def test_the_mean_of_a_million_units_keeps_its_digits(accelerator):
    means = RunningMeans(["kl"], CPU)
    # In float32 a sum above 2^24 would swallow every further 1.0.
    means.add({"kl": torch.tensor([2.0**24])}, torch.tensor([True]))
    ones = torch.ones(1000)
    for _ in range(1000):
        means.add({"kl": ones}, ones.bool())
    assert means.reduce(accelerator)["kl"] == (2.0**24 + 1_000_000) / 1_000_001


def test_a_million_small_additions_keep_their_digits(accelerator):
    means = RunningMeans(["kl"], CPU)
    value, unit = torch.tensor([0.1]), torch.tensor([True])
    means._sums += torch.tensor([0.1 * 999_000, 999_000], dtype=torch.float64)  # as if added before
    for _ in range(1000):
        means.add({"kl": value}, unit)
    assert means.reduce(accelerator)["kl"] == pytest.approx(0.1, rel=1e-10)


def test_values_of_another_dtype_and_with_a_graph_are_added_detached(accelerator):
    means = RunningMeans(["kl", "labelled"], CPU)
    values = {"kl": torch.tensor([1.0, 2.0], requires_grad=True).bfloat16(), "labelled": torch.tensor([True, False])}
    means.add(values, torch.ones(2, dtype=torch.bool))
    assert not means._sums.requires_grad
    assert means.reduce(accelerator) == {"kl": 1.5, "labelled": 0.5}


# ---- The teacher at chance ----


def rows(num_correct, num_rows, labels):
    """Logits of a teacher that gets the first rows right and answers the next class on the others."""
    labels = torch.tensor(labels)
    answers = torch.where(torch.arange(num_rows) < num_correct, labels, (labels + 1) % 2)
    return torch.nn.functional.one_hot(answers, 2).float(), labels, torch.ones(num_rows, dtype=torch.bool)


def guard_after(accelerator, num_correct, labels):
    guard = ChanceGuard(["no", "yes"], CPU)
    guard.add(*rows(num_correct, len(labels), labels))
    guard.check(accelerator)
    return guard


def test_the_warning_says_what_the_teacher_and_what_the_commonest_label_get(accelerator, warnings):
    guard_after(accelerator, 40, [0] * 40 + [1] * 60)
    assert len(warnings) == 1
    assert WARNING in warnings[0]
    assert (
        "it gets 40.0% of 100 labelled rows right (repeats count), and always predicting 'yes' gets 60.0%"
        in warnings[0]
    )


@pytest.mark.parametrize(
    ("num_correct", "num_rows", "warned"),
    [
        (0, 99, False),  # too few rows to say
        (50, 100, True),  # no better than chance
        (51, 100, False),
        (499, 998, True),
        (500, 998, False),
        # 1,000 rows: 500 are right by one of the two alone, so two standard errors are 2 * sqrt(500) = 44.7 rows.
        (544, 1000, True),
        (546, 1000, False),
        # 10,000 rows: 2 * sqrt(5000) = 141.4 rows.
        (5140, 10_000, True),
        (5142, 10_000, False),
    ],
)
def test_the_thresholds_are_those_of_the_docstring(accelerator, warnings, num_correct, num_rows, warned):
    labels = [i % 2 for i in range(num_rows)]
    guard_after(accelerator, num_correct, labels)
    assert bool(warnings) == warned


def test_the_order_that_makes_a_teacher_right_is_named(accelerator, warnings):
    guard = ChanceGuard(["no", "perhaps", "yes"], CPU)
    labels = torch.arange(300) % 3
    answers = torch.tensor([2, 0, 1])[labels]
    answers[:30] = labels[:30]
    guard.add(torch.nn.functional.one_hot(answers, 3).float(), labels, torch.ones(300, dtype=torch.bool))
    guard.check(accelerator)
    (warning,) = warnings
    assert WARNING not in warning
    assert "CLASSES HAVE ANOTHER ORDER: it gets 10.0% of 300 labelled rows right (repeats count), and 90.0%" in warning
    assert "if its answer 'yes' means 'no', 'no' means 'perhaps', 'perhaps' means 'yes'" in warning


def test_the_warning_comes_once_however_often_one_looks(accelerator, warnings):
    guard = guard_after(accelerator, 40, [0, 1] * 50)
    for _ in range(3):
        guard.add(*rows(40, 100, [0, 1] * 50))
        guard.check(accelerator)
    assert len(warnings) == 1


def test_a_teacher_that_looked_fine_on_few_rows_is_looked_at_again(accelerator, warnings):
    guard = guard_after(accelerator, 52, [0, 1] * 50)
    assert not warnings
    guard.add(*rows(450, 900, [0, 1] * 450))
    guard.check(accelerator)
    assert len(warnings) == 1


def test_a_teacher_that_passed_on_a_thousand_rows_is_left_alone(accelerator, warnings):
    guard = guard_after(accelerator, 900, [0, 1] * 500)
    guard.add(*rows(0, 5000, [0, 1] * 2500))
    guard.check(accelerator)
    assert not warnings


def test_counts_add_up_over_uneven_batches_and_skip_rows_that_do_not_count(accelerator, warnings):
    guard = ChanceGuard(["no", "yes"], CPU)
    logits, labels, is_unit = rows(60, 110, [0, 1] * 55)
    labels[100:105] = -100  # unlabelled
    is_unit[105:] = False  # repeated rows that fill a batch
    for start, stop in ((0, 7), (7, 50), (50, 110)):
        guard.add(logits[start:stop], labels[start:stop], is_unit[start:stop])
    assert guard._counts.view(2, 2).sum(dim=1).tolist() == [50, 50]  # rows of each label
    assert guard._counts.view(2, 2).diagonal().tolist() == [30, 30]  # the teacher is right on them
    guard.check(accelerator)
    assert not warnings


def test_a_good_teacher_of_a_rare_class_is_not_reported(accelerator, warnings):
    guard_after(accelerator, 0, [0] * 990 + [1] * 10)  # 10 rows of the other label say too little
    assert not warnings
    labels = [1] * 40 + [0] * 3960
    guard_after(accelerator, 3998, labels)  # wrong on 2 of 3,960, right on all 40
    assert not warnings


def test_ninety_nine_labelled_rows_among_many_are_too_few(accelerator, warnings):
    guard = ChanceGuard(["no", "yes"], CPU)
    logits, labels, is_unit = rows(0, 500, [0, 1] * 250)
    labels[99:] = -100
    guard.add(logits, labels, is_unit)
    guard.check(accelerator)
    assert not warnings


@pytest.mark.parametrize(
    ("num_correct", "labels"),
    [(100, [0] * 100), (2000, [1] * 2000), (500, [0] * 500), (1000, [0] * 999 + [1])],
    ids=["100 of one label", "2,000 of one label", "500 of one label", "all but one of one label"],
)
def test_a_teacher_that_is_always_right_is_never_reported(accelerator, warnings, num_correct, labels):
    # Sorted data, or a rare class: all rows seen so far may have one label.
    guard_after(accelerator, num_correct, labels)
    assert not warnings
