"""Verdicts on constructed situations: rare classes that a student loses, trivial teachers, too few rows."""

import numpy as np
import pytest
from scipy.stats import binomtest, norm

from hf_distill.data.metrics import METRICS, find_metric
from hf_distill.reporting.comparison.describe import Comparison
from hf_distill.reporting.comparison.lost_classes import describe_lost_classes
from hf_distill.reporting.comparison.notes import make_notes
from hf_distill.reporting.comparison.quality import Resampling
from hf_distill.reporting.comparison.trivial import describe_trivial
from hf_distill.reporting.comparison.units import Units
from hf_distill.reporting.comparison.verdict import make_verdict
from hf_distill.reporting.statistics import detectable_difference, holm, num_rows_needed, sign_test

SINGLE, MULTI, TOKENS = "single_label_classification", "multi_label_classification", "token_classification"
NO_COST = {"speedup": None, "bytes_on_disk": None, "latency": []}


def make_units(labels, names, problem_type=SINGLE, rows=None):
    labels = np.asarray(labels)
    rows = np.arange(len(labels)) if rows is None else np.asarray(rows)
    num_rows = int(rows.max()) + 1
    return Units(problem_type, list(names), labels, rows, ["text"] * num_rows, np.ones(num_rows))


def logits_for(predicted, num_labels):
    return 4.0 * np.eye(num_labels)[np.asarray(predicted)]


def judge(units, teacher, student, metric_name=None, num_resamples=1000):
    """Return the verdict and the notes on one student."""
    metrics = sorted(METRICS[units.problem_type], key=lambda metric: metric.name != metric_name)
    if metric_name is None and units.problem_type == TOKENS:
        metrics = [find_metric("token_accuracy")]
    logits = {"teacher": [teacher], "student": [student]}
    comparison = Comparison(units, logits, metrics, 0.01, Resampling(num_resamples))
    models = {name: {"role": name, "num_runs": 1, "cost": NO_COST, **comparison.describe(name)} for name in logits}
    task = {
        "metric_name": metrics[0].name, "rows": comparison.num_rows, "confidence_level": 0.95, "num_resamples": 1000,
        "num_resamples_by_metric": {}, "problem_type": units.problem_type, "trivial": comparison.describe_trivial(),
    }  # fmt: skip
    return make_verdict(models, task, is_busy=False), make_notes(models, task, False, comparison.num_unlabelled)


def rare_class(num_rare=21, num_rows=4000, rare_found=20):
    """Labels of two classes, and predictions of a teacher that finds most rows of the rare second class."""
    labels = np.zeros(num_rows, dtype=int)
    labels[:num_rare] = 1
    teacher = labels.copy()
    teacher[rare_found:num_rare] = 0
    return labels, teacher


def test_a_student_that_never_finds_the_rare_class_cannot_replace_the_teacher():
    labels, teacher = rare_class()
    units = make_units(labels, ["fine", "fraud"])
    verdict, _ = judge(units, logits_for(teacher, 2), logits_for(np.zeros(4000, dtype=int), 2))
    assert (verdict["replace"], verdict["reason"]) == (False, "lost class")
    assert verdict["sentence"].startswith(
        "No, the student should not replace the teacher: it loses a class. Of 'fraud' it finds 0.0 % of 21 rows, and "
        "the teacher 95.2 % (p < 0.001). On 4,000 rows its accuracy is 99.5 %, and the teacher's is 100.0 %"
    )


def test_the_p_value_of_a_class_is_mcnemars_one_sided_and_corrected_by_holm():
    labels = np.repeat([0, 1, 2], [40, 30, 30])
    teacher, student = labels.copy(), labels.copy()
    student[40:48] = 0  # 8 rows of the second class are lost
    teacher[48:50] = 2  # and 2 are gained
    student[70:71] = 0
    result = describe_lost_classes(make_units(labels, "abc"), logits_for(teacher, 3), logits_for(student, 3))
    p_value = binomtest(8, 10, alternative="greater").pvalue
    assert p_value == pytest.approx(56 / 1024)
    assert result["lost"] == []  # 3 * 0.055 is not significant
    student[50:60] = 0  # 18 lost, 2 gained
    (lost,) = describe_lost_classes(make_units(labels, "abc"), logits_for(teacher, 3), logits_for(student, 3))["lost"]
    assert (lost["label"], lost["rows"], lost["teacher"], lost["model"]) == ("b", 30, 28 / 30, 12 / 30)
    assert lost["p_value"] == pytest.approx(3 * binomtest(18, 20, alternative="greater").pvalue)


def test_a_class_that_loses_ten_points_exactly_is_not_lost():
    labels = np.repeat([0, 1], [200, 200])
    student = labels.copy()
    student[:20] = 1
    args = make_units(labels, "ab"), logits_for(labels, 2)
    assert describe_lost_classes(*args, logits_for(student, 2))["lost"] == []
    student[20] = 1
    assert [entry["label"] for entry in describe_lost_classes(*args, logits_for(student, 2))["lost"]] == ["a"]


def test_a_class_of_three_rows_that_is_never_found_is_named_but_proves_nothing():
    labels = np.repeat([0, 1, 2], [3, 2000, 2000])
    student = np.where(labels == 0, 1, labels)
    verdict, notes = judge(make_units(labels, ["fraud", "a", "b"]), logits_for(labels, 3), logits_for(student, 3))
    assert (verdict["replace"], verdict["reason"]) == (None, "vanished class")
    assert "it never finds the class 'fraud', of which the teacher finds 100.0 % of 3 rows" in verdict["sentence"]
    assert any(note.startswith("1 of 3 classes have too few rows to see that") for note in notes)
    labels, teacher = rare_class(num_rare=2, rare_found=2)
    units = make_units(labels, ["fine", "fraud"])
    assert describe_lost_classes(units, logits_for(teacher, 2), logits_for(labels * 0, 2))["vanished"] == []


@pytest.mark.parametrize(("size", "num_classes", "is_too_small"), [(49, 2, True), (50, 2, False), (99, 77, True)])
def test_a_class_is_too_small_if_the_smallest_loss_is_not_significant(size, num_classes, is_too_small):
    # 49 rows: 5 lost rows have p = 2 * 1/32; 50 rows: 6 lost rows have p = 2 * 1/64 < 0.05
    labels = np.repeat(np.arange(num_classes), [size, *[1000] * (num_classes - 1)])
    logits = logits_for(labels, num_classes)
    result = describe_lost_classes(make_units(labels, map(str, range(num_classes))), logits, logits)
    assert (result["num_classes"], result["num_too_small"]) == (num_classes, int(is_too_small))


def test_a_label_of_several_and_a_tag_can_be_lost():
    draw = np.random.default_rng(0)
    labels = (draw.random((400, 3)) < 0.3).astype(float)
    student = labels.copy()
    student[:, 2] = 0
    (lost,) = describe_lost_classes(make_units(labels, "abc", MULTI), 2 * labels - 1, 2 * student - 1)["lost"]
    assert (lost["label"], lost["model"], lost["rows"]) == ("c", 0.0, int(labels[:, 2].sum()))
    tags = np.tile([0, 1, 1, 0, 2], 30)
    student = np.where(tags == 2, 0, tags)
    units = make_units(tags, ["O", "x", "y"], TOKENS, rows=np.repeat(np.arange(30), 5))
    (lost,) = describe_lost_classes(units, logits_for(tags, 3), logits_for(student, 3))["lost"]
    assert (lost["label"], lost["rows"]) == ("y", 30)


def test_words_of_one_sentence_are_one_piece_of_evidence():
    tags = np.ones(40, dtype=int)
    for num_sentences, is_lost in ((2, False), (20, True)):
        units = make_units(tags, ["O", "x"], TOKENS, rows=np.repeat(np.arange(num_sentences), 40 // num_sentences))
        result = describe_lost_classes(units, logits_for(tags, 2), logits_for(0 * tags, 2))
        assert bool(result["lost"]) is is_lost


def test_a_regression_has_no_classes_to_lose():
    units = make_units(np.arange(10.0), ["score"], "regression")
    assert describe_lost_classes(units, units.labels[:, None], units.labels[:, None]) is None


def test_a_teacher_at_the_majority_rate_or_at_a_coins_leaves_the_question_open():
    labels = np.repeat([0, 1], [900, 100])
    teacher = np.zeros(1000, dtype=int)
    teacher[[0, 1, 2, 900, 901]] = 1  # two of 100 are found, at the cost of three others
    verdict, _ = judge(make_units(labels, ["no", "yes"]), logits_for(teacher, 2), logits_for(labels * 0, 2))
    assert (verdict["replace"], verdict["reason"]) == (None, "trivial teacher")
    assert "the teacher is not clearly better than always answering 'no'. On 1,000 rows" in verdict["sentence"]
    coin = np.random.default_rng(1).integers(0, 4, 400)
    labels = np.repeat(np.arange(4), 100)
    verdict, _ = judge(make_units(labels, "abcd"), logits_for(coin, 4), logits_for(labels, 4), "f1")
    assert (verdict["replace"], verdict["reason"]) == (None, "trivial teacher")
    assert "are no better than the same answers in a random order" in verdict["sentence"]


def test_trivial_scores_of_other_problem_types_leave_the_question_open():
    nothing = make_units((np.random.default_rng(0).random((200, 3)) < 0.3).astype(float), "abc", MULTI)
    verdict, _ = judge(nothing, np.full((200, 3), -1.0), np.full((200, 3), -1.0))
    assert "predicts no label for any row" in verdict["sentence"]
    tags = make_units(np.tile([0, 0, 0, 1], 50), ["O", "B-x"], TOKENS, rows=np.repeat(np.arange(50), 4))
    only_o = logits_for(np.zeros(200, dtype=int), 2)
    verdict, _ = judge(tags, only_o, only_o, "entity_f1")
    assert (verdict["replace"], verdict["reason"]) == (None, "trivial teacher")
    scores = make_units(np.random.default_rng(0).normal(size=300), ["score"], "regression")
    noise = np.random.default_rng(1).normal(size=(300, 1))
    verdict, _ = judge(scores, noise, scores.labels[:, None])
    assert (verdict["replace"], verdict["reason"]) == (None, "trivial teacher")
    one = make_units(np.zeros(300, dtype=int), ["a", "b"])
    verdict, _ = judge(one, logits_for(one.labels, 2), logits_for(one.labels, 2))
    assert "all labelled rows have the same label" in verdict["sentence"]


def test_the_score_of_the_best_constant_answer_stands_beside_the_others():
    labels = np.repeat([0, 1], [700, 300])
    units = make_units(labels, ["no", "yes"])
    trivial = describe_trivial(units, logits_for(labels, 2), find_metric("accuracy"), Resampling(500))
    assert (trivial["answer"], trivial["score"], trivial["reason"]) == ("no", 0.7, None)
    assert trivial["difference"] == pytest.approx(0.3)
    assert trivial["shuffled_p_value"] == 1 / 200
    verdict, _ = judge(units, logits_for(labels, 2), logits_for(labels, 2))
    assert verdict["replace"] is True
    assert "the teacher's is 100.0 % (always answering 'no' gives 70.0 %)" in verdict["sentence"]


def test_the_margin_that_rows_can_show_and_the_rows_that_a_margin_needs():
    standard_error = 0.008
    low, high = (-norm.ppf(0.975) * standard_error, norm.ppf(0.975) * standard_error)
    detectable = detectable_difference(low, high)
    assert detectable == pytest.approx((1.959964 + 0.841621) * standard_error, rel=1e-5)
    assert num_rows_needed(900, detectable, 0.01) == int(np.ceil(900 * (detectable / 0.01) ** 2))
    labels = np.arange(300) % 2
    draw = np.random.default_rng(0)
    teacher, student = (np.where(draw.random(300) < 0.1, 1 - labels, labels) for _ in range(2))
    _, notes = judge(make_units(labels, "ab"), logits_for(teacher, 2), logits_for(student, 2))
    (note,) = [note for note in notes if note.startswith("For two models that are equally good, 300 rows")]
    assert "A margin of 1 point needs about" in note


def test_samples_of_the_needed_size_show_the_margin_in_four_of_five_cases():
    """Two models of equal quality that are wrong on independent tenths of the rows."""
    draw, margin = np.random.default_rng(0), 0.03
    variance = 2 * 0.1 * 0.9
    standard_error = np.sqrt(variance / 1000)
    half_width = norm.ppf(0.975) * standard_error
    needed = num_rows_needed(1000, detectable_difference(-half_width, half_width), margin)
    differences = draw.binomial(needed, 0.9, 4000) / needed - draw.binomial(needed, 0.9, 4000) / needed
    shown = (differences - norm.ppf(0.975) * np.sqrt(variance / needed) > -margin).mean()
    assert shown == pytest.approx(0.8, abs=0.025)


def test_holm_and_the_sign_test_match_the_values_worked_out_by_hand():
    assert holm([0.01, 0.04, 0.03, 0.5]) == pytest.approx([0.04, 0.09, 0.09, 0.5])
    assert holm([0.4, 0.6]) == pytest.approx([0.8, 0.8])
    assert holm([]) == []
    assert (sign_test(5, 0), sign_test(5, 1), sign_test(0, 0)) == pytest.approx((1 / 32, 7 / 64, 1.0))
