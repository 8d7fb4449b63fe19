"""Thresholds of a multi-label model are chosen on validation rows."""

import copy
import math

import numpy as np
import pytest
import torch
from problems import UNLABELLED, make_problem

from hf_distill import compare_models
from hf_distill.reporting.comparison.thresholds import check_threshold_rows, choose_thresholds
from hf_distill.reporting.comparison.units import Units

MULTI = "multi_label_classification"
QUICK = {"latency_rounds": 0, "num_resamples": 100}


def make_units(labels, texts=None, problem_type=MULTI):
    labels = np.asarray(labels, dtype=float)
    texts = [f"text {i}" for i in range(len(labels))] if texts is None else texts
    return Units(problem_type, ["a"], labels, np.arange(len(labels)), texts, np.ones(len(labels)))


def threshold(scores, has_class):
    units = make_units([[value] for value in has_class])
    return choose_thresholds(units, {"student": [np.array([[score] for score in scores], dtype=np.float32)]})[
        "student"
    ][0][0]


def test_the_threshold_with_the_best_f1_is_found():
    scores = [-6, -5, -4, -3, -2, -1, 2, 3]
    # Above -3.5 lie 5 rows, all with the class: F1 = 1. Above 0 lie only 2 of them.
    assert threshold(scores, [0, 0, 0, 1, 1, 1, 1, 1]) == pytest.approx(-3.5)
    # A row without the class at -2: taking -3 in costs nothing, 2 * 5 / (6 + 5) against 2 * 3 / (3 + 5).
    assert threshold([*scores, -2.5], [0, 0, 0, 1, 1, 1, 1, 1, 0]) == pytest.approx(-3.5)


def test_of_equally_good_thresholds_the_closest_to_one_half_is_kept():
    assert threshold([-3, -2, -1, 1, 2, 3, 4, 5], [0, 0, 0, 1, 1, 1, 1, 1]) == 0.0


def test_a_class_with_few_rows_keeps_one_half():
    assert threshold([-5, -4, -3, -2, 9, 9], [1, 1, 1, 1, 0, 0]) == 0.0


def test_all_rows_can_have_a_class():
    assert threshold([-6, -5, -4, -3, -2], [1] * 5) == pytest.approx(-7)


def test_rows_that_cannot_choose_thresholds_are_refused():
    labels = [[0], [1], [1]]
    with pytest.raises(ValueError, match="2 of 3 evaluation rows are among the rows that thresholds are chosen on"):
        check_threshold_rows(make_units(labels, ["a", "b", "x"]), make_units(labels, ["a ", "b", "c"]))
    with pytest.raises(ValueError, match="has rows without a label"):
        check_threshold_rows(make_units([[0], [np.nan]], ["x", "y"]), make_units(labels))
    with pytest.raises(ValueError, match="the models are for regression"):
        check_threshold_rows(make_units([1.0], ["x"], "regression"), make_units([1.0], problem_type="regression"))


def test_scores_use_the_thresholds_and_calibration_does_not(tokenizer):
    problem = make_problem(MULTI, 80)
    labelled = [i for i in range(40) if i not in UNLABELLED]
    validation, test = problem.rows.select(range(40, 80)), problem.rows.select(labelled)
    models = {"teacher": problem.teacher, "student": problem.student}
    report = compare_models(models, test, tokenizer, threshold_dataset=validation, **QUICK).to_dict()
    tuned = report["models"]
    assert any(note.startswith("Each class of each model has its own threshold") for note in report["notes"])
    plain = compare_models(models, test, tokenizer, **QUICK).to_dict()["models"]
    shifted = {name: copy.deepcopy(model) for name, model in models.items()}
    for name, model in shifted.items():
        chosen = [entry["threshold"] for entry in tuned[name]["thresholds"]]
        model.classifier.bias.data -= torch.tensor([math.log(p / (1 - p)) for p in chosen])
    by_bias = compare_models(shifted, test, tokenizer, **QUICK).to_dict()["models"]
    assert any(entry["threshold"] != 0.5 for entry in tuned["student"]["thresholds"])
    for name in models:
        assert tuned[name]["metrics"] == by_bias[name]["metrics"] != plain[name]["metrics"]
        assert tuned[name]["calibration"] == plain[name]["calibration"]
        assert plain[name]["thresholds"] is None
    assert tuned["student"]["fidelity"]["agreement"] == by_bias["student"]["fidelity"]["agreement"]
    assert tuned["student"]["fidelity"]["kl"] == plain["student"]["fidelity"]["kl"]
