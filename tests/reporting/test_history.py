"""The metric against steps, and what is said about probabilities."""

import json

import pytest
from command_line import flags
from records import RECORD, REPORT, changed
from sample_report import sample_report

from hf_distill.cli import main
from hf_distill.hub.card.model_card import model_card
from hf_distill.reporting import summary
from hf_distill.reporting.history import history_table
from hf_distill.reporting.probabilities import describe_cross_entropy, describe_probabilities


def entries(*scores, metric="accuracy", steps=10):
    return [{"step": steps * i, "epoch": i / 2, metric: score} for i, score in enumerate(scores, start=1)]


def cells(table):
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table.split("\n\n")[0].splitlines()]


def test_the_table_shows_student_and_baseline_at_the_same_steps_and_names_the_best():
    history = {"student": entries(0.5, 0.9, 0.7), "baseline": entries(0.4, 0.6)}
    table = history_table({**RECORD, "history": history})
    assert cells(table)[0] == ["step", "epoch", "student, accuracy", "baseline"]
    assert cells(table)[2:] == [
        ["10", "0.50", "0.5000", "0.4000"], ["20", "1.00", "0.9000", "0.6000"], ["30", "1.50", "0.7000", "n/a"],
    ]  # fmt: skip
    assert table.endswith("The student's best evaluation is after step 20 of 30.")


def test_a_student_that_is_best_at_the_end_can_still_improve_and_errors_are_best_when_low():
    assert "That is its last one, so a longer training can be better" in history_table(
        {**RECORD, "history": {"student": entries(0.5, 0.9)}}
    )
    record = {**RECORD, "history": {"student": entries(2.0, 1.0, 3.0, metric="mae")}, "metric_name": "mae"}
    assert "after step 20 of 30." in history_table(record)


def test_one_evaluation_makes_no_table_and_many_are_thinned_out():
    assert history_table(RECORD) == history_table({**RECORD, "history": {"student": entries(0.5)}}) == ""
    scores = [0.1] * 99
    scores[37] = 0.9
    rows = cells(history_table({**RECORD, "history": {"student": entries(*scores)}}))[2:]
    steps = [row[0] for row in rows]
    assert len(steps) == 12
    assert steps[0] == "10"
    assert {"380", "990"} <= set(steps)


def test_probabilities_of_the_student_stand_beside_those_of_teacher_and_baseline():
    report = sample_report()
    sentence = describe_probabilities(report)
    for name in ("student", "teacher", "baseline"):
        calibration = report["models"][name]["calibration"]
        assert f"{calibration['nll']:.3f} ({name})" in sentence
        assert f"{calibration['ece']:.3f} ({name})" in sentence
    assert describe_probabilities({**REPORT, "verdict": {**REPORT["verdict"], "model": "int8"}}) is None
    assert "0.400 (student)" in str(model_card(RECORD, REPORT)).replace("&#95;", "_")


def test_the_cross_entropy_is_that_with_plain_labels_of_both_models():
    metrics = {"student": {"accuracy": 0.9, "loss_ce": 0.56}, "baseline": {"accuracy": 0.85, "loss_ce": 0.97}}
    record = changed(metrics=metrics)
    sentence = "Cross-entropy with the labels: student 0.560, baseline 0.970."
    assert describe_cross_entropy(record).startswith(sentence)
    assert sentence in summary(record)
    assert sentence in str(model_card(record))
    assert describe_cross_entropy(RECORD) is None
    assert describe_cross_entropy({**record, "problem_type": "regression"}) is None
    for changes in ({"label_smoothing": 0.1}, {"class_weights": "balanced"}):
        assert describe_cross_entropy({**record, "objectives": {"ce": {"weight": 0.1, **changes}}}) is None


@pytest.mark.parametrize("keeps_best", [False, True])
def test_a_run_records_every_evaluation_of_its_training(folder, tmp_path, capsys, keeps_best):
    changes = {"num_train_epochs": 3, "eval_strategy": "epoch", "save_strategy": "epoch", "baseline": True}
    if keeps_best:
        changes |= {"load_best_model_at_end": True, "metric_for_best_model": "accuracy"}
    main(["train", *flags(folder, tmp_path / "out", **changes)])
    history = json.loads((tmp_path / "out" / "distillation.json").read_text())["history"]
    assert [entry["step"] for entry in history["student"]] == [3, 6, 9]
    assert [entry["step"] for entry in history["baseline"]] == [3, 6, 9]
    assert [entry["epoch"] for entry in history["student"]] == [1.0, 2.0, 3.0]
    output = capsys.readouterr().out
    assert "The student's best evaluation is after step" in output
    assert "Cross-entropy with the labels: student" in output
