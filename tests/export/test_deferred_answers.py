"""`Predictor(folder, defer_below=...)` marks the answers that a larger model should give."""

import json
import math
import pickle

import numpy as np
import pytest
from tiny import tiny_rows

from hf_distill import Predictor, export_model
from hf_distill.export.deferral import Deferral, read_certified

TEXTS = [row["text"] for row in tiny_rows(12, seed=5)]
CERTIFIED = {"threshold": 0.75, "temperature": 2.0, "share": 0.18, "loss": 0.005, "confidence": 0.95}


def test_the_top_probability_at_the_temperature_is_compared_with_the_threshold():
    logits = np.array([[2 * math.log(3.0), 0.0], [0.0, 2 * math.log(2.9)], [0.0, 800.0]], np.float32)
    # At temperature 2: 3/4, 2.9/3.9 = 0.7436 and 1.
    assert Deferral(0.7499, 2.0).is_unsure(logits).tolist() == [False, True, False]
    assert Deferral(0.7501, 2.0).is_unsure(logits).tolist() == [True, True, False]
    # At temperature 1: 9/10, 2.9**2 / (1 + 2.9**2) = 0.8937.
    assert Deferral(0.895, 1.0).is_unsure(logits).tolist() == [False, True, False]
    assert Deferral(0.0, 1.0).is_unsure(logits).tolist() == [False] * 3


def test_answers_below_the_threshold_are_marked_and_else_unchanged(folder, predictor):
    plain = predictor(TEXTS)
    threshold = float(np.median([row["score"] for row in plain]))
    deferring = Predictor(folder, defer_below=threshold)
    expected = [{**row, "defer": row["score"] < threshold} for row in plain]
    assert len({row["defer"] for row in expected}) == 2, "or the test would be vacuous"
    assert deferring(TEXTS) == expected
    assert [row[0] for row in deferring(TEXTS, top_k=2)] == expected
    assert deferring({"text": TEXTS[0]}) == expected[0]
    assert pickle.loads(pickle.dumps(deferring))(TEXTS) == expected
    np.testing.assert_array_equal(deferring.logits(TEXTS), predictor.logits(TEXTS))


@pytest.mark.parametrize("defer_below", [-0.1, 1.5, float("nan"), "0.9", "sure"])
def test_a_threshold_that_is_not_a_probability_is_refused(folder, defer_below):
    with pytest.raises(ValueError, match="must be a probability from 0 to 1"):
        Predictor(folder, defer_below=defer_below)


def test_a_threshold_needs_a_certificate_and_one_label_for_each_text(folder, tagger):
    with pytest.raises(ValueError, match="has no certified threshold for float32"):
        Predictor(folder, defer_below="certified")
    with pytest.raises(ValueError, match="this is an export for token_classification"):
        Predictor(tagger[1].folder, defer_below=0.5)


def write_report(path, num_parameters=1000, **models):
    content = {"verdict": {"model": "student"}, "models": {}}
    for name, (role, format, deferral) in models.items():
        content["models"][name] = {
            "role": role, "format": format, "deferral": deferral, "cost": {"num_parameters": num_parameters},
        }  # fmt: skip
    path.write_text(json.dumps(content))
    return path


TEACHER = ("teacher", "pytorch", None)
INT8 = {**CERTIFIED, "threshold": 0.8}


def test_the_certified_threshold_goes_into_the_export_and_marks_answers(folder, model, predictor, tokenizer, tmp_path):
    scaled = predictor.logits(TEXTS).astype(np.float64) / 2.0
    confidence = (np.exp(scaled) / np.exp(scaled).sum(axis=1, keepdims=True)).max(axis=1)
    deferral = {**CERTIFIED, "threshold": float(np.median(confidence))}
    report = write_report(
        tmp_path / "report.json",
        model.num_parameters(),
        teacher=TEACHER,
        student=("student", "pytorch", {**deferral, "points": []}),
    )
    export_model(model, tmp_path / "export", processing_class=tokenizer, report=report)
    record = json.loads((tmp_path / "export" / "export.json").read_text())
    assert record["variants"]["float32"]["deferral"] == {**deferral, "model": "student"}
    marks = [row["defer"] for row in Predictor(tmp_path / "export", defer_below="certified")(TEXTS)]
    assert marks == (confidence < np.median(confidence)).tolist()
    assert len(set(marks)) == 2, "or the test would be vacuous"


@pytest.mark.parametrize(
    ("variant", "models", "threshold"),
    [
        ("float32", {"student": ("student", "pytorch", CERTIFIED), "int8": ("export", "onnx-int8", INT8)}, 0.75),
        ("float32", {"student": ("student", "pytorch", INT8), "fp32": ("export", "onnx", CERTIFIED)}, 0.75),
        ("float32", {"student": ("student", "pytorch", CERTIFIED), "other": ("student", "pytorch", INT8)}, 0.75),
        ("int8", {"student": ("student", "pytorch", CERTIFIED), "int8": ("export", "onnx-int8", INT8)}, 0.8),
    ],
)
def test_the_threshold_is_that_of_the_variant_in_the_report(tmp_path, variant, models, threshold):
    report = write_report(tmp_path / "report.json", teacher=TEACHER, **models)
    assert read_certified(report, variant, 1000)["threshold"] == threshold


@pytest.mark.parametrize(
    ("variant", "models", "message"),
    [
        ("int8", {"student": ("student", "pytorch", CERTIFIED)}, r"has 0 models of the format onnx-int8 \(none\)"),
        (
            "float32",
            {"a": ("student", "pytorch", CERTIFIED), "b": ("student", "pytorch", INT8)},
            r"2 models .*\(a, b\)",
        ),
        ("float32", {"student": ("student", "pytorch", {**CERTIFIED, "threshold": None})}, "certifies no threshold"),
        ("float32", {"student": ("student", "pytorch", None)}, "certifies no threshold for the model 'student'"),
    ],
)
def test_a_report_without_a_threshold_for_the_variant_is_refused(tmp_path, variant, models, message):
    report = write_report(tmp_path / "report.json", teacher=TEACHER, **models)
    with pytest.raises(ValueError, match=message):
        read_certified(report, variant, 1000)


def test_a_report_about_a_model_of_another_size_and_a_file_that_is_no_report_are_refused(tmp_path):
    report = write_report(tmp_path / "report.json", teacher=TEACHER, student=("student", "pytorch", CERTIFIED))
    with pytest.raises(ValueError, match="'student' has 1,000 parameters, and this model has 1,001"):
        read_certified(report, "float32", 1001)
    write_report(report, None, teacher=TEACHER, student=("student", "pytorch", CERTIFIED))  # a model of unknown size
    assert read_certified(report, "float32", 1001)["threshold"] == 0.75
    for text in ("{}", "[1]", "not JSON"):
        report.write_text(text)
        with pytest.raises(ValueError, match="report.json is not a report. Pass the report.json that"):
            read_certified(report, "float32", 1000)
