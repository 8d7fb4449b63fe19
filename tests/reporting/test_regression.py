"""Regressions are judged by an error, unless the user asks for rank."""

import json

import numpy as np
import pytest
from verdicts import compare, judge, make_units

from hf_distill.data.metrics import find_metric
from hf_distill.record import _KEYS
from hf_distill.reporting import results_table
from hf_distill.reporting.comparison.contenders import Contender
from hf_distill.reporting.comparison.quality import Resampling
from hf_distill.reporting.comparison.trivial import absolute_margin, describe_trivial

DRAW = np.random.default_rng(0)
LABELS = DRAW.normal(size=400)
UNITS = make_units(LABELS, ["score"], "regression")
TEACHER = (LABELS + 0.3 * DRAW.normal(size=400))[:, None]
CLOSE = TEACHER + 0.01 * DRAW.normal(size=TEACHER.shape)


def test_errors_and_the_coefficient_of_determination_match_the_values_worked_out_by_hand():
    predictions, references = np.array([1.0, 2.0, 5.0]), np.array([1.0, 4.0, 4.0])
    scores = {name: find_metric(name).score(predictions, references, 1) for name in ("mae", "rmse", "r2")}
    assert scores == pytest.approx({"mae": 1.0, "rmse": np.sqrt(5 / 3), "r2": 1 - 5 / 6})
    two = np.stack([predictions, references], axis=1), np.stack([references, references], axis=1)
    assert find_metric("mae").score(*two, 2) == pytest.approx(0.5)
    assert find_metric("rmse").score(*two, 2) == pytest.approx(np.sqrt(5 / 3) / 2)
    assert find_metric("r2").score(*two, 2) == pytest.approx((1 - 5 / 6 + 1) / 2)
    assert find_metric("r2").score(predictions, np.ones(3), 1) == 0.0


def test_a_student_on_another_scale_cannot_replace_the_teacher_although_it_ranks_as_well():
    verdict, notes = judge(UNITS, TEACHER, 10 * TEACHER + 1000)
    assert (verdict["replace"], verdict["reason"]) == (False, "score")
    assert "and the teacher's is 0.2" in verdict["sentence"]
    assert any(note.startswith("The mae is an error, so lower is better.") for note in notes)
    for metric, replaces in (("pearson", True), ("spearmanr", True), ("rmse", False), ("r2", False)):
        assert judge(UNITS, TEACHER, 10 * TEACHER + 1000, metric)[0]["replace"] is replaces


@pytest.mark.parametrize("metric", ["mae", "rmse"])
def test_a_student_with_almost_the_same_errors_can_replace_the_teacher(metric):
    verdict, _, models = compare(UNITS, metric, teacher=TEACHER, student=CLOSE)
    versus = models["student"]["versus_teacher"]
    errors = [models[name]["metrics"][metric]["value"] for name in ("teacher", "student")]
    assert versus["difference"] == pytest.approx(errors[0] - errors[1])  # positive is better
    assert (verdict["replace"], models["student"]["retention"]) == (True, None)
    better, _, models = compare(UNITS, metric, teacher=TEACHER, student=(TEACHER + LABELS[:, None]) / 2)
    assert better["replace"] is True
    assert models["student"]["versus_teacher"]["low"] > 0


def test_a_biased_student_is_worse_by_more_than_the_margin():
    assert judge(UNITS, TEACHER, TEACHER + 0.3)[0]["replace"] is False
    assert judge(UNITS, TEACHER, TEACHER + 0.3, "pearson")[0]["replace"] is True


def test_the_margin_of_an_error_is_a_share_of_the_error_of_the_best_constant_answer():
    units = make_units([0.0, 0.0, 1.0, 7.0], ["score"], "regression")
    assert absolute_margin(units, find_metric("mae"), 0.01) == pytest.approx(0.01 * (0.5 + 0.5 + 0.5 + 6.5) / 4)
    assert absolute_margin(units, find_metric("rmse"), 0.01) == pytest.approx(0.01 * np.std(units.labels))
    assert absolute_margin(units, find_metric("pearson"), 0.01) == 0.01
    trivial = describe_trivial(units, np.zeros((4, 1)), find_metric("mae"), Resampling(100))
    assert (trivial["answer"], trivial["score"], trivial["difference"]) == ("the median", 2.0, 0.0)


def test_a_teacher_that_always_answers_the_mean_leaves_the_question_open():
    verdict, _ = judge(UNITS, np.full_like(TEACHER, LABELS.mean()), TEACHER)
    assert (verdict["replace"], verdict["reason"]) == (None, "trivial teacher")
    equal = make_units(np.ones(300), ["score"], "regression")
    verdict, _ = judge(equal, np.ones((300, 1)), np.ones((300, 1)))
    assert "all labelled rows have the same label" in verdict["sentence"]


def test_the_gap_of_an_error_is_closed_from_above():
    baseline = TEACHER + 0.6 * np.random.default_rng(1).normal(size=TEACHER.shape)
    _, notes, models = compare(UNITS, teacher=TEACHER, student=(TEACHER + baseline) / 2, baseline=baseline)
    errors = {name: model["metrics"]["mae"]["value"] for name, model in models.items()}
    closed = (errors["baseline"] - errors["student"]) / (errors["baseline"] - errors["teacher"])
    assert models["student"]["gap_closed"]["value"] == pytest.approx(closed)
    assert any(note.startswith("Distillation paid off: the student is clearly better") for note in notes)


def test_the_table_of_a_run_reads_errors_the_right_way():
    rows = [{"model": m, "mae": score} for m, score in (("teacher", 0.2), ("student", 0.3), ("baseline", 0.6))]
    table = results_table(rows, "mae")
    assert "gap closed: 75 %" in table
    assert table.splitlines()[0].split() == ["|", "model", "|", "mae", "|"]  # no retention, parameters and latency


def test_the_run_with_the_lowest_recorded_error_is_the_one_that_is_used(tmp_path):
    for name, error in (("a", 0.5), ("b", 0.4)):
        (tmp_path / name).mkdir()
        record = dict.fromkeys(_KEYS, {}) | {"metrics": {"student": {"mae": error, "pearson": error}}}
        (tmp_path / name / "distillation.json").write_text(json.dumps(record))
    contender = Contender("student", [str(tmp_path / "a"), str(tmp_path / "b")], None, 128, "cpu")
    assert contender.shipped_run("mae") == (1, "the one with the best validation mae in its record, 0.4000")
    assert contender.shipped_run("pearson")[0] == 0
