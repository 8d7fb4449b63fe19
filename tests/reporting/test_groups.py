"""Rows that belong together are drawn, tested and counted together."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from datasets import Dataset
from scipy.stats import t
from verdicts import ACCURACY, MULTI, compare, logits_for, make_units

from hf_distill.data.metrics import METRICS, find_metric
from hf_distill.reporting.bootstrap import draw_resamples
from hf_distill.reporting.comparison.describe import Comparison
from hf_distill.reporting.comparison.evaluation_set import EvaluationSet
from hf_distill.reporting.comparison.groups import read_groups, with_groups
from hf_distill.reporting.comparison.lost_classes import describe_lost_classes
from hf_distill.reporting.comparison.paired_rows import PairedRows
from hf_distill.reporting.comparison.quality import Quality, Resampling
from hf_distill.reporting.comparison.slices import about_slices, describe_slices
from hf_distill.reporting.statistics import design_effect, mcnemar, paired_score_interval, sign_flip_test


def test_resamples_draw_whole_groups():
    groups = np.array([0, 0, 1, 2, 1, 2, 2])
    draws = np.concatenate(list(draw_resamples(7, 300, groups=groups)))
    by_group = draws[:, [0, 2, 3]]
    assert (draws == by_group[:, groups]).all()
    assert (by_group.sum(axis=1) == 3).all()
    assert len(np.unique(by_group, axis=0)) == 10  # all multisets of three groups


@pytest.mark.parametrize("num_rows", [40, 3000])  # kept, and too many to keep
def test_a_scorer_that_writes_into_its_resamples_does_not_change_the_next_ones(num_rows):
    first = list(draw_resamples(num_rows, 1000))
    expected = [draws.copy() for draws in first]
    for draws in first:
        assert (draws.sum(axis=1) == num_rows).all()
        draws[:] = 0
    assert all(map(np.array_equal, draw_resamples(num_rows, 1000), expected))


def test_the_sign_flip_test_counts_all_signs_and_is_mcnemars_for_groups_of_one_row():
    differences = np.array([3, -1, 2, 0, 2])
    sums = [np.dot(signs, np.abs(differences)) for signs in itertools.product((-1, 1), repeat=5)]
    assert sign_flip_test(differences) == pytest.approx(np.mean(np.abs(sums) >= 6))
    for only_first, only_second in ((0, 0), (3, 9), (5, 5), (0, 7)):
        single = np.repeat([-1, 1, 0], [only_first, only_second, 4])
        assert sign_flip_test(single) == pytest.approx(mcnemar(only_first, only_second))


def test_the_design_effect_of_equal_groups_is_their_size_and_of_single_rows_1():
    values = np.repeat([0.0, 1.0, 1.0, 0.0, 1.0], 4)
    assert design_effect(values, np.repeat(np.arange(5), 4)) == pytest.approx(4 * 5 / 4)
    assert design_effect(values, np.arange(20)) == pytest.approx(20 / 19)
    assert design_effect(np.array([0.0, 1.0] * 10), np.repeat(np.arange(10), 2)) == 1.0  # never below
    # Values that are all equal do not show how alike a group is: the sum of squares of the sizes over the rows.
    assert design_effect(np.ones(6), np.array([0, 0, 0, 1, 1, 2])) == pytest.approx((9 + 4 + 1) / 6)


def test_an_interval_of_groups_is_tangos_with_fewer_rows_and_the_t_distribution():
    draw = np.random.default_rng(0)
    groups = np.repeat(np.arange(40), 5)
    first = np.repeat(draw.random(40) < 0.8, 5)
    second = np.where(np.repeat(draw.random(40) < 0.15, 5), ~first, first)
    rows = PairedRows(make_units(np.zeros(200, dtype=int), "ab", groups=groups), first, second)
    counts = (rows.num_only_first, rows.num_only_second, 200)
    assert rows.design_effect > 4.9  # the rows of a group are all alike
    low, high = rows.interval(0.95)
    assert (low, high) == pytest.approx(paired_score_interval(*np.array(counts) / rows.design_effect, 0.95, 39))
    assert rows.p_at_most(low) == pytest.approx(0.025)
    alone = PairedRows(make_units(np.zeros(200, dtype=int), "ab"), first, second).interval(0.95)
    assert high - low > 1.8 * (alone[1] - alone[0])
    assert t.ppf(0.975, 39) > 2.02


@pytest.mark.parametrize(("num_groups", "size"), [(30, 8), (100, 10), (200, 3)])
def test_a_yes_on_a_student_at_the_margin_is_rarely_wrong_for_groups_and_often_without_them(num_groups, size):
    """In a tenth of the groups the student answers otherwise than the teacher; its true loss is the margin, 0.05."""
    draw, margin, wrong, naive = np.random.default_rng(0), 0.05, [], []
    groups = np.repeat(np.arange(num_groups), size)
    grouped, alone = (make_units(np.zeros(len(groups), dtype=int), "ab", groups=g) for g in (groups, None))
    for _ in range(800):
        shift = draw.choice([-1, 0, 1], num_groups, p=[0.09, 0.87, 0.04])
        sign = np.where(draw.random(len(groups)) < 0.95, shift[groups], 0)
        sign += (sign == 0) * draw.choice([-1, 0, 1], len(groups), p=[0.0025, 0.9975, 0.0])
        first, second = sign <= 0, sign >= 0
        for units, answers in ((grouped, wrong), (alone, naive)):
            answers.append(PairedRows(units, first, second).p_at_most(-margin) < 0.025)
    assert np.mean(wrong) <= 0.03 + 2 * np.sqrt(0.03 * 0.97 / 800)
    assert np.mean(naive) > 0.06


def test_a_report_on_groups_has_wider_intervals_and_needs_more_rows():
    draw = np.random.default_rng(1)
    labels = np.repeat(np.arange(300) % 2, 4)
    answers = [np.where(np.repeat(draw.random(300) < 0.1, 4), 1 - labels, labels) for _ in range(2)]
    logits = {name: logits_for(answer, 2) for name, answer in zip(("teacher", "student"), answers, strict=True)}
    groups = np.repeat(np.arange(300), 4)
    for metric in ("accuracy", "f1"):
        _, notes, models = compare(make_units(labels, "ab", groups=groups), metric, **logits)
        _, _, alone = compare(make_units(labels, "ab"), metric, **logits)
        versus, independent = models["student"]["versus_teacher"], alone["student"]["versus_teacher"]
        assert versus["design_effect"] == pytest.approx(4, rel=0.15)
        assert independent["design_effect"] == 1.0
        assert versus["rows_needed"] == pytest.approx(4 * independent["rows_needed"], rel=0.25)
        widths = [
            model["student"]["metrics"][metric]["high"] - model["student"]["metrics"][metric]["low"]
            for model in (models, alone)
        ]
        assert widths[0] == pytest.approx(2 * widths[1], rel=0.15)
        assert any("The 1,200 rows come in 300 groups (column 'document')" in note for note in notes)
    assert compare(make_units(labels, "ab", groups=groups), **logits)[2]["student"]["versus_teacher"]["test"] == (
        "sign flips of groups"
    )


def test_few_groups_show_nothing_although_they_have_many_rows():
    labels = np.arange(4000) % 2
    student = labels.copy()
    student[:4] = 1 - student[:4]
    logits = {"teacher": logits_for(labels, 2), "student": logits_for(student, 2)}
    assert compare(make_units(labels, "ab"), **logits)[0]["replace"] is True
    verdict, *_ = compare(make_units(labels, "ab", groups=np.arange(4000) // 4), **logits)
    assert verdict["replace"] is True
    verdict, *_ = compare(make_units(labels, "ab", groups=np.arange(4000) // 4 % 19), **logits)
    assert verdict["replace"] is None


def test_a_class_that_is_lost_in_one_group_is_one_piece_of_evidence():
    labels = np.repeat([0, 1], [2000, 30])
    one_group = np.append(np.arange(2000), np.full(30, 2000))
    for groups, is_lost in ((one_group, False), (np.arange(2030), True)):
        units = make_units(labels, "ab", groups=groups)
        result = describe_lost_classes(units, logits_for(labels, 2), logits_for(labels * 0, 2))
        assert bool(result["lost"]) is is_lost
        assert (result["num_too_small"], bool(result["vanished"])) == (1, not is_lost)


def test_groups_are_read_from_texts_and_numbers():
    dataset = Dataset.from_dict({"text": ["a", "b", "c"], "document": ["x", "y", "x"], "label": [0, 1, 0]})
    assert read_groups(dataset, "document").tolist() == [0, 1, 0]
    assert read_groups(dataset, "label").tolist() == [0, 1, 0]
    assert read_groups(dataset, "text").tolist() == [0, 1, 2]
    assert read_groups(dataset, None) is None


@pytest.mark.parametrize(
    ("values", "error", "message"),
    [
        (["x", None, "y"], ValueError, "Row 1 has no group in column 'document'"),
        (["x", "y", ""], ValueError, "Row 2 has no group"),
        ([None, None, None], ValueError, "The group column 'document' has no value in any row. Check its name."),
        ([1.0, float("nan"), 2.0], ValueError, "Row 1 has no group"),
        ([[1], [2], [1]], TypeError, "holds list, not texts or numbers"),
    ],
)
def test_rows_without_a_group_are_refused(values, error, message):
    dataset = Dataset.from_dict({"text": ["a", "b", "c"], "document": values})
    with pytest.raises(error, match=message):
        read_groups(dataset, "document")


@pytest.mark.parametrize("metric_name", ["accuracy", "f1"])
def test_a_slice_or_a_length_that_is_one_group_has_scores_and_no_test(metric_name):
    labels = np.arange(200) % 2
    student = labels.copy()
    student[:10] = 1 - student[:10]
    groups = np.repeat([0, 1, 2, 3], 50)
    units = replace(make_units(labels, "ab", groups=groups), lengths=1.0 + groups)
    runs = {"teacher": [logits_for(labels, 2)], "student": [logits_for(student, 2)]}
    comparison = Comparison(units, runs, [find_metric(metric_name)], 0.01, Resampling(100))
    slices = describe_slices(comparison, {"doc": groups.astype(str)}, ["student"])
    first, second = (part["models"]["student"] for part in slices[:2])
    assert [part["rows"] for part in slices] == [part["rows"] for part in comparison.by_length["student"]] == [50] * 4
    assert (first["value"], second["value"]) == (pytest.approx(0.8, abs=0.01), 1.0)
    assert (first["low"], first["high"]) == (0.0, 1.0)
    assert first["p_value"] in (None, 1.0)
    task = {"metric_name": metric_name, "confidence_level": 0.95}
    assert list(about_slices(slices, "student", task)) == []


def test_an_unknown_column_and_a_single_group_are_refused():
    dataset = Dataset.from_dict({"text": ["a", "b", "c"]})
    with pytest.raises(ValueError, match="There is no group column 'doc'. The columns are text"):
        read_groups(dataset, "doc")
    rows = EvaluationSet(make_units([0, 1, -100], "ab"), dataset, ["text"], None)
    with pytest.raises(ValueError, match="All labelled rows have the same group in column 'document'"):
        with_groups(rows, np.array([0, 0, 1]), "document")
    assert with_groups(rows, np.array([0, 1, 1]), "document").units.num_groups == 2


def test_the_other_parts_of_a_report_count_groups_too():
    draw = np.random.default_rng(2)
    labels = (np.repeat(draw.random((60, 3)), 5, axis=0) < 0.4).astype(float)
    units = make_units(labels, "abc", MULTI, groups=np.repeat(np.arange(60), 5))
    noise = np.repeat(draw.normal(size=(60, 3)), 5, axis=0)
    runs = {"teacher": [2 * labels - 1 + 0.5 * noise], "student": [2 * labels - 1 + noise]}
    quality = Quality(units, runs, METRICS[MULTI], Resampling(300))
    alone = Quality(make_units(labels, "abc", MULTI), runs, METRICS[MULTI], Resampling(300))
    for metric in quality.metrics:
        widths = [(e := q.estimates("student")[metric])["high"] - e["low"] for q in (quality, alone)]
        assert widths[0] > 1.6 * widths[1]
    assert ACCURACY.is_row_accuracy


def test_a_teacher_whose_answers_only_follow_the_groups_is_no_better_than_a_random_order():
    draw = np.random.default_rng(0)
    labels = np.repeat(draw.integers(0, 2, 40), 25)
    answers = np.repeat(draw.integers(0, 2, 40), 25)
    answers[:75] = labels[:75]  # three documents more are right, which is much for 1,000 rows and little for 40 groups
    units = make_units(labels, "ab", groups=np.repeat(np.arange(40), 25))
    logits = logits_for(answers, 2)
    alone, grouped = (
        compare(u, "matthews_correlation", teacher=logits, student=logits)[0]
        for u in (make_units(labels, "ab"), units)
    )
    assert (alone["replace"], grouped["replace"], grouped["reason"]) == (True, None, "trivial teacher")
