"""Verdicts on constructed situations: rare classes that a student loses, trivial teachers, too few rows."""

import numpy as np
import pytest
from scipy.stats import binomtest, norm, t
from verdicts import ACCURACY, MULTI, TOKENS, compare, judge, logits_for, make_units

from hf_distill.data.metrics import Metric, find_metric
from hf_distill.reporting.bootstrap import bootstrapped
from hf_distill.reporting.comparison.candidates import correct_for_candidates
from hf_distill.reporting.comparison.lost_classes import describe_lost_classes
from hf_distill.reporting.comparison.more_rows import count_more_rows
from hf_distill.reporting.comparison.quality import Quality, Resampling
from hf_distill.reporting.comparison.trivial import describe_trivial
from hf_distill.reporting.comparison.unseen import unseen_loss
from hf_distill.reporting.statistics import (
    detectable_difference,
    holm,
    num_rows_needed,
    paired_score,
    paired_score_interval,
    sign_test,
)


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
    assert any(note.startswith("1 of 3 classes has too few rows to see that") for note in notes)
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


@pytest.mark.parametrize("candidates", [1, 3])
@pytest.mark.parametrize(
    ("num_rows", "only_teacher", "only_student"), [(120, 12, 13), (60, 3, 3), (800, 40, 36), (50, 0, 0)]
)
def test_the_named_number_of_rows_shows_a_yes_in_4_of_5_samples(num_rows, only_teacher, only_student, candidates):
    # The shares of a sample, on as many rows as it asks for, draw after draw; 2 points worse is the margin.
    p_inferior = norm.sf(paired_score(only_teacher, only_student, num_rows, -0.02))
    task = {"rows": num_rows, "confidence_level": 0.95}
    in_all = num_rows + count_more_rows({"p_inferior": p_inferior}, task, candidates)
    shares = np.array([only_teacher, only_student, num_rows - only_teacher - only_student]) / num_rows
    draws = np.random.default_rng(0).multinomial(in_all, shares, 1000)
    p_values = norm.sf([paired_score(first, second, in_all, -0.02) for first, second, _ in draws])
    share = np.mean(p_values <= 0.025 / candidates)
    assert share == 1.0 if only_teacher == 0 else 0.72 < share < 0.95


def test_more_rows_do_not_help_where_the_difference_itself_misses_the_margin():
    labels = np.tile([0, 1], 60)
    teacher, student = labels.copy(), labels.copy()
    teacher[:10] = 1 - teacher[:10]
    student[:13] = 1 - student[:13]
    verdict, _ = judge(make_units(labels, "ab"), logits_for(teacher, 2), logits_for(student, 2))
    assert (verdict["replace"], verdict["reason"], verdict["more_rows"]) == (None, "score", None)
    assert "The interval of its accuracy is 82.3 to 93.6 %." in verdict["sentence"]
    assert verdict["sentence"].endswith("as large as the margin, so more rows will most likely not change this.")


def test_rows_in_groups_need_more_rows_in_groups_like_these():
    labels = np.tile([0, 1], 120)
    teacher, student = labels.copy(), labels.copy()
    teacher[:12] = 1 - teacher[:12]
    student[4:15] = 1 - student[4:15]
    groups = np.repeat(np.arange(60), 4)
    alone, _ = judge(make_units(labels, "ab"), logits_for(teacher, 2), logits_for(student, 2))
    grouped, _ = judge(make_units(labels, "ab", groups=groups), logits_for(teacher, 2), logits_for(student, 2))
    assert grouped["more_rows"] > alone["more_rows"] > 0
    assert "more rows in groups like these would show" in grouped["sentence"]


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


def wrong_on(labels, num_wrong, start=0):
    """Predictions of two classes that are wrong on consecutive rows."""
    predicted = labels.copy()
    predicted[start : start + num_wrong] = 1 - predicted[start : start + num_wrong]
    return logits_for(predicted, 2)


LABELS = np.arange(2000) % 2
UNITS = make_units(LABELS, ["no", "yes"])


def test_the_verdict_is_about_the_run_that_is_used_and_not_about_the_mean():
    runs = [wrong_on(LABELS, 200), wrong_on(LABELS, 104), wrong_on(LABELS, 190)]
    logits = {"teacher": wrong_on(LABELS, 100), "student": runs}
    good, notes, models = compare(UNITS, shipped={"student": 1}, **logits)
    assert good["replace"] is True
    assert "its accuracy is 94.8 %, and the teacher's is 95.0 %" in good["sentence"]
    assert models["student"]["versus_teacher"]["test"] == "McNemar exact"
    assert models["student"]["metrics"]["accuracy"]["value"] == pytest.approx(1 - (200 + 104 + 190) / 6000)
    bad, *_ = compare(UNITS, shipped={"student": 0}, **logits)
    assert bad["replace"] is False
    assert any(note.startswith("The verdict is about run 2 of 3 of the student: a reason.") for note in notes)


def test_the_recipe_has_a_t_interval_over_seeds_and_rows_that_changes_no_verdict():
    errors = [100, 104, 160]
    logits = {"teacher": wrong_on(LABELS, 100), "student": [wrong_on(LABELS, n) for n in errors]}
    verdict, notes, models = compare(UNITS, **logits)
    recipe = models["student"]["recipe"]
    differences = -(np.array(errors) - 100) / 2000
    quality = Quality(
        UNITS, {"teacher": [logits["teacher"]], "student": logits["student"]}, [ACCURACY], Resampling(1000)
    )
    of_rows = np.var(quality.samples["student"]["accuracy"] - quality.samples["teacher"]["accuracy"], ddof=1)
    half_width = t.ppf(0.975, 2) * np.sqrt(differences.var(ddof=1) / 3 + of_rows)
    assert recipe["difference"] == pytest.approx(differences.mean())
    assert (recipe["low"], recipe["high"]) == pytest.approx(
        (differences.mean() - half_width, differences.mean() + half_width)
    )
    assert verdict["replace"] is True
    assert any(
        "The recipe: on average, another seed differs from the teacher by -1.1 points" in note for note in notes
    )
    _, notes, models = compare(UNITS, teacher=logits["teacher"], student=logits["student"][:2])
    assert models["student"]["recipe"] is None
    assert any("Fewer than 3 runs say nothing about the recipe" in note for note in notes)
    _, notes, _ = compare(UNITS, teacher=logits["teacher"], student=logits["student"][0])
    assert any(note.startswith("One run says nothing about the recipe") for note in notes)


def test_without_labels_nothing_is_said_about_the_recipe_or_the_scores():
    answers = [np.arange(60) % 2, np.arange(60) // 30]
    units = make_units(np.full(60, -100), "ab")
    runs = [logits_for(answer, 2) for answer in (*answers, 1 - answers[0])]
    verdict, notes, _ = compare(units, teacher=logits_for(answers[0], 2), student=runs)
    assert verdict["reason"] == "no labels"
    (about_runs,) = (note for note in notes if note.startswith("The verdict is about run 1 of 3"))
    assert "recipe" not in about_runs


def test_one_row_and_one_small_class_are_in_the_singular():
    verdict, notes, _ = compare(make_units([1], "ab"), teacher=logits_for([1], 2), student=logits_for([1], 2))
    assert (verdict["replace"], verdict["reason"]) == (None, "trivial teacher")
    assert (
        "all labelled rows have the same label, so one constant answer is right. On 1 row its" in verdict["sentence"]
    )
    assert any("1 of 1 classes has too few rows" in note for note in notes)


def test_the_verdict_names_the_cheapest_model_that_can_replace_the_teacher():
    logits = {
        "teacher": wrong_on(LABELS, 100),
        "student": wrong_on(LABELS, 100),
        "int8": wrong_on(LABELS, 101),
        "tiny": wrong_on(LABELS, 300),
    }
    costs = {"teacher": 20.0, "student": 10.0, "int8": 3.0, "tiny": 1.0}
    verdict, *_ = compare(UNITS, costs=costs, **logits)
    assert (verdict["model"], verdict["replace"]) == ("int8", True)
    assert verdict["sentence"].endswith("Deploy the int8: student can also replace the teacher, but is slower.")
    for equal_costs, compared in ((dict.fromkeys(costs, 2.0), "not faster"), (None, "not smaller")):
        verdict, *_ = compare(UNITS, costs=equal_costs, **logits)
        assert f"Deploy the student: int8 can also replace the teacher, but is {compared}." in verdict["sentence"]
    verdict, *_ = compare(UNITS, costs=costs, **{name: logits[name] for name in ("teacher", "student", "tiny")})
    assert (verdict["model"], verdict["replace"]) == ("student", True)
    assert "Deploy" not in verdict["sentence"]
    verdict, *_ = compare(UNITS, teacher=logits["teacher"], a=logits["tiny"], b=logits["tiny"])
    assert (verdict["model"], verdict["replace"]) == ("a", False)


def test_if_no_model_can_replace_the_teacher_the_verdict_says_so_of_each():
    labels = np.arange(4000) % 2
    worse, unclear = labels.copy(), labels.copy()
    worse[:400] = 1 - worse[:400]
    unclear[:40] = 1 - unclear[:40]
    models = {"a": logits_for(worse, 2), "b": logits_for(unclear, 2), "c": logits_for(worse, 2)}
    verdict, _, _ = compare(make_units(labels, "xy"), teacher=logits_for(labels, 2), **models)
    assert verdict["sentence"].startswith("No, the a should not replace the teacher")
    assert verdict["sentence"].endswith(" The answers for the other candidates: b (not shown), c (no).")


def test_many_candidates_need_more_evidence_than_one():
    """A loss that is just within the margin for one candidate is not shown among ten of them."""
    draw = np.random.default_rng(0)
    teacher = logits_for(np.where(draw.random(2000) < 0.1, 1 - LABELS, LABELS), 2)
    student = teacher.copy()
    flipped = draw.permutation(2000)[:110]
    student[flipped] = student[flipped][:, ::-1]
    _, _, models = compare(UNITS, teacher=teacher, student=student)
    margin = -models["student"]["versus_teacher"]["low"]
    alone = dict(models["student"]["versus_teacher"])
    assert 0.0 < margin
    for p_value, answers in ((0.02, [True, False]), (0.001, [True, True])):
        for num_candidates, answer in zip((1, 10), answers, strict=True):
            tests = {
                f"s{i}": {"versus_teacher": {**alone, "non_inferior": True, "p_inferior": p_value}}
                for i in range(num_candidates)
            }
            correct_for_candidates({"teacher": {}, **tests}, 0.95)
            assert {test["versus_teacher"]["non_inferior"] for test in tests.values()} == {answer}


def test_distillation_paid_off_only_if_test_and_interval_agree():
    teacher, baseline = wrong_on(LABELS, 100), wrong_on(LABELS, 140)
    _, notes, models = compare(UNITS, teacher=teacher, student=wrong_on(LABELS, 100), baseline=baseline)
    assert any(note.startswith("Distillation paid off") for note in notes)
    versus = models["student"]["versus_baseline"]
    assert versus["p_value"] == pytest.approx(binomtest(40, 40).pvalue)
    _, notes, models = compare(UNITS, teacher=teacher, student=wrong_on(LABELS, 135), baseline=baseline)
    assert models["student"]["versus_baseline"]["p_value"] == pytest.approx(2 / 32)
    assert any(note.startswith("It is unclear whether distillation paid off") for note in notes)


def test_an_interval_covers_errors_in_a_small_class_that_no_row_shows():
    labels = np.repeat([0, 1], [998, 2])
    units = make_units(labels, ["a", "b"])
    share = -np.log(0.05) / 1000
    assert unseen_loss(units, ACCURACY) == pytest.approx(share)
    recall = Metric("recall_macro", lambda p, r, n: float(np.mean([(p[r == c] == c).mean() for c in np.unique(r)])))
    # Both rows of the second class are lost: its recall of 1 counts half.
    assert unseen_loss(units, recall) == pytest.approx(-np.log(0.05) / 3 * 0.5)
    balanced = make_units(np.arange(900) % 3, "abc")
    assert unseen_loss(balanced, recall) == pytest.approx(-np.log(0.05) / 900, rel=1e-9)
    absent = make_units(np.arange(900) % 2, "abc")
    assert unseen_loss(absent, find_metric("f1")) < 0.02
    several = make_units(np.repeat([[1.0, 0.0], [0.0, 1.0]], [300, 3], axis=0), "ab", MULTI)
    assert unseen_loss(several, find_metric("f1_macro")) == pytest.approx(-np.log(0.05) / 3 * 0.5)
    assert unseen_loss(make_units(np.arange(9.0), ["x"], "regression"), find_metric("pearson")) == 0.0


def test_the_score_interval_of_a_paired_difference_holds_the_differences_that_are_not_rejected():
    # Without a difference in the hypothesis it is McNemar's statistic, (c - b) / sqrt(b + c).
    assert paired_score(20, 5, 100, 0.0) == pytest.approx(-15 / 5)
    low, high = paired_score_interval(20, 5, 100)
    assert low < -0.15 < high < 0.0
    assert paired_score(20, 5, 100, low) == pytest.approx(norm.ppf(0.975))
    assert paired_score(20, 5, 100, high) == pytest.approx(-norm.ppf(0.975))
    mirrored = paired_score_interval(5, 20, 100)
    assert mirrored == pytest.approx((-high, -low))
    z = norm.ppf(0.975)
    # All rows equal: the bounds solve n d^2 = z^2 d (1 - d), which is d = z^2 / (n + z^2).
    assert paired_score_interval(0, 0, 100) == pytest.approx((-(z**2) / (100 + z**2), z**2 / (100 + z**2)))
    assert paired_score_interval(100, 0, 100)[0] == -1.0
    assert paired_score_interval(0, 100, 100)[1] == 1.0


@pytest.mark.parametrize(("only_teacher", "only_student"), [(0.0101, 0.0001), (0.015, 0.005), (0.05, 0.04)])
@pytest.mark.parametrize("num_rows", [200, 1000, 5000])
def test_a_yes_on_a_student_at_the_margin_is_wrong_in_at_most_three_per_cent(only_teacher, only_student, num_rows):
    draw, z = np.random.default_rng(0), norm.ppf(0.975)
    shares = [only_teacher, only_student, 1 - only_teacher - only_student]
    pairs, counts = np.unique(draw.multinomial(num_rows, shares, 20_000)[:, :2], axis=0, return_counts=True)
    is_yes = [paired_score(int(b), int(c), num_rows, -0.01) > z for b, c in pairs]
    assert (counts * is_yes).sum() / counts.sum() < 0.03


def test_differences_of_other_metrics_are_widened_by_half_of_the_unseen_errors():
    labels = np.arange(400) % 2
    draw = np.random.default_rng(0)
    runs = {name: [logits_for(np.where(draw.random(400) < 0.1, 1 - labels, labels), 2)] for name in ("teacher", "s")}
    units, f1 = make_units(labels, "ab"), find_metric("f1")
    quality = Quality(units, runs, [f1], Resampling(1000))
    versus = quality.versus("s", "teacher", "f1")
    sample = bootstrapped(
        versus["difference"], *(of["s"]["f1"] - of["teacher"]["f1"] for of in (quality.samples, quality.left_out))
    )
    low, high = sample.interval(0.95)
    half = unseen_loss(units, f1) / 2
    assert (versus["low"], versus["high"]) == pytest.approx((low - half, high + half))
    assert quality.p_inferior("s", "f1", -versus["low"]) == pytest.approx(0.025, abs=0.002)


def test_a_level_above_99_5_percent_does_not_call_every_teacher_random():
    labels = np.arange(400) % 2
    teacher = labels.copy()
    teacher[:20] = 1 - teacher[:20]
    trivial = describe_trivial(make_units(labels, "ab"), logits_for(teacher, 2), ACCURACY, Resampling(200, 0.999))
    assert (trivial["shuffled_p_value"], trivial["reason"]) == (1 / 200, None)
