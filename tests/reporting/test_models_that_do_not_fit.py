"""Models that are given twice, and students whose outputs have no names."""

import copy

import numpy as np
import pytest
import torch
from datasets import ClassLabel, Dataset, Features, Value
from tiny import LABEL_NAMES, tiny_model, tiny_rows

from hf_distill import compare_models
from hf_distill.reporting.comparison.predict import TorchPredictor

QUICK = {"latency_rounds": 0, "num_resamples": 100}
PLACEHOLDERS = {i: f"LABEL_{i}" for i in range(3)}


@pytest.fixture(scope="module")
def teacher():
    return tiny_model(3, seed=1)


@pytest.fixture(scope="module")
def answered(teacher, tokenizer):
    """Texts with the teacher's answers as labels, so that the order of its outputs is certain."""
    texts = [row["text"] for row in tiny_rows(200, seed=7)]
    logits = TorchPredictor(teacher, tokenizer).logits(texts)
    answers = (logits - logits.mean(axis=0)).argmax(axis=1)  # about equally many of each class
    features = Features({"text": Value("string"), "label": ClassLabel(names=LABEL_NAMES)})
    return Dataset.from_dict({"text": texts, "label": answers}, features=features)


def centered(model, texts, tokenizer):
    """A copy of a model whose mean logits are equal for all classes."""
    model = copy.deepcopy(model)
    mean = torch.from_numpy(TorchPredictor(model, tokenizer).logits(texts["text"][:]).mean(axis=0))
    model.classifier.bias.data -= mean
    return model


def unnamed(model, order=(0, 1, 2)):
    """A copy of a model with other weights, without class names, and with its outputs in another order."""
    model = copy.deepcopy(model)
    for parameter in (model.classifier.weight, model.classifier.bias):
        parameter.data = 1.01 * parameter.data[list(order)]
    model.config.id2label, model.config.label2id = PLACEHOLDERS, {name: i for i, name in PLACEHOLDERS.items()}
    return model


def test_a_student_without_class_names_is_paired_by_order_and_the_report_says_so(teacher, answered, tokenizer):
    models = {"teacher": centered(teacher, answered, tokenizer)}
    models["student"] = unnamed(models["teacher"])
    report = compare_models(models, answered, tokenizer, **QUICK).to_dict()
    pairing = report["models"]["student"]["pairing"]
    assert pairing["classes"] == dict(zip(PLACEHOLDERS.values(), LABEL_NAMES, strict=True))
    assert (pairing["chosen"], pairing["agreement"], pairing["rows"]) == ("by order", 1.0, 200)
    assert any("The student's outputs are the classes (by order): LABEL_0 = negative" in n for n in report["notes"])
    assert report["models"]["teacher"]["pairing"] is None
    assert "pairing" not in report["task"]


def test_a_student_whose_order_the_labels_contradict_is_refused_with_the_right_names(teacher, answered, tokenizer):
    models = {"teacher": centered(teacher, answered, tokenizer)}
    models["student"] = unnamed(models["teacher"], order=(1, 2, 0))
    with pytest.raises(ValueError, match="paired with the student's outputs as LABEL_0 = negative") as error:
        compare_models(models, answered, tokenizer, **QUICK)
    assert "Set `id2label` in the config of the student to {0: 'neutral', 1: 'positive', 2: 'negative'}." in str(
        error.value
    )
    assert "--class_names" not in str(error.value)


def test_without_labels_the_pairing_of_a_student_is_named_as_untested(teacher, answered, tokenizer):
    models = {"teacher": teacher, "student": unnamed(teacher)}
    report = compare_models(models, answered.remove_columns("label"), tokenizer, **QUICK).to_dict()
    assert any(
        "No labelled rows can test this. Check it, or name the outputs in its config." in n for n in report["notes"]
    )


def test_a_student_with_names_is_paired_by_them(teacher, answered, tokenizer):
    models = {"teacher": teacher, "student": tiny_model(1, seed=3)}
    assert compare_models(models, answered, tokenizer, **QUICK).to_dict()["models"]["student"]["pairing"] is None


@pytest.mark.parametrize("as_folder", [False, True])
def test_the_teacher_as_its_own_student_is_refused(teacher, answered, tokenizer, tmp_path, as_folder):
    teacher.save_pretrained(tmp_path)
    student = tmp_path if as_folder else copy.deepcopy(teacher)
    with pytest.raises(ValueError, match="'teacher' and 'student' have the same weights, so comparing them shows"):
        compare_models({"teacher": teacher, "student": student}, answered, tokenizer, **QUICK)


def test_one_folder_under_two_names_is_refused(teacher, answered, tokenizer, tmp_path):
    tiny_model(1, seed=3).save_pretrained(tmp_path / "a")
    tiny_model(1, seed=4).save_pretrained(tmp_path / "b")
    models = {"teacher": teacher, "x": [tmp_path / "b", tmp_path / "a"], "y": f"{tmp_path}/b/../a"}
    with pytest.raises(ValueError, match="'x' and 'y' are the same model"):
        compare_models(models, answered, tokenizer, **QUICK)


def test_a_model_that_differs_in_one_number_is_another_model(teacher, answered, tokenizer):
    student = copy.deepcopy(teacher)
    student.classifier.bias.data[0] += 1e-4
    report = compare_models({"teacher": teacher, "student": student}, answered, tokenizer, **QUICK).to_dict()
    assert np.isfinite(report["models"]["student"]["fidelity"]["kl"])


@pytest.mark.usefixtures("known_graphs")
def test_the_same_export_twice_is_refused(teacher, answered, tokenizer, tmp_path):
    export = pytest.importorskip("hf_distill.export")
    student = tiny_model(1, seed=8)  # the model of tests/export
    for name in ("a", "b"):
        export.export_model(student, tmp_path / name, processing_class=tokenizer)
    models = {"teacher": teacher, "a": tmp_path / "a", "b": tmp_path / "b"}
    with pytest.raises(ValueError, match="'a' and 'b' have the same weights"):
        compare_models(models, answered, tokenizer, **QUICK)
