"""Calibration: the temperature is the optimum, divides the teacher's logits, and is reported."""

import copy
import math

import numpy as np
import pytest
import torch
from invariance import make_args, make_trainer
from tiny import tiny_model
from torch.nn import functional as F

from hf_distill import DistillationTrainer, TeacherEnsemble
from hf_distill.teachers.calibration import calibrate_temperature, negative_log_likelihood


def overconfident(num_rows=4000, factor=3.0):
    """Labels drawn from a softmax of logits, and the logits times a factor, which is then the correct temperature."""
    generator = torch.Generator().manual_seed(0)
    logits = 2 * torch.randn(num_rows, 4, generator=generator)
    labels = torch.multinomial(logits.softmax(-1), 1, generator=generator)[:, 0]
    return factor * logits, labels


def test_the_temperature_of_multiplied_logits_is_the_factor():
    assert calibrate_temperature(*overconfident()) == pytest.approx(3.0, rel=0.1)


def test_no_other_temperature_is_better():
    logits, labels = overconfident(300)
    best = calibrate_temperature(logits, labels)
    others = np.exp(np.linspace(math.log(0.05), math.log(20), 2000))
    least = min(F.cross_entropy(logits.double() / t, labels).item() for t in others)
    assert negative_log_likelihood(logits, labels, best) <= least + 1e-9


def test_multi_label_problems_have_one_temperature():
    generator = torch.Generator().manual_seed(0)
    logits = 2 * torch.randn(4000, 4, generator=generator)
    labels = torch.bernoulli(logits.sigmoid(), generator=generator)
    assert calibrate_temperature(2 * logits, labels) == pytest.approx(2.0, rel=0.1)


def test_a_classifier_that_is_always_correct_gets_the_lowest_temperature():
    logits = torch.eye(3).repeat(5, 1)
    assert calibrate_temperature(logits, logits.argmax(-1)) == pytest.approx(0.05, rel=1e-3)


@pytest.mark.parametrize(("shape", "labels"), [((0, 3), (0,)), ((4, 3), (5,)), ((4,), (4,))])
def test_shapes_that_do_not_match_are_rejected(shape, labels):
    with pytest.raises(ValueError, match="cannot be calibrated"):
        calibrate_temperature(torch.zeros(shape), torch.zeros(labels, dtype=torch.long))


def test_the_trainer_divides_the_teachers_logits_by_the_temperature_and_records_it(
    student, teacher, rows, tokenizer, tmp_path
):
    trainer = make_trainer(student, teacher, rows, tokenizer, tmp_path, calibrate_teacher=True)
    batch = tokenizer.pad([{k: r[k] for k in tokenizer.model_input_names} for r in rows], return_tensors="pt")
    labels = torch.tensor(rows["labels"])
    with torch.no_grad():
        logits = teacher(**batch).logits
    is_labelled = labels != -100
    temperature = calibrate_temperature(logits[is_labelled], labels[is_labelled])
    assert abs(math.log(temperature)) > 0.1
    (calibration,) = trainer.distillation_record()["teacher_calibration"]
    assert calibration["temperature"] == pytest.approx(temperature, rel=1e-4)
    assert calibration["nll_before"] == pytest.approx(
        F.cross_entropy(logits[is_labelled], labels[is_labelled]).item(), rel=1e-5
    )
    assert calibration["nll_after"] < calibration["nll_before"]
    assert calibration["num_units"] == 14
    assert trainer.state.log_history[-1]["teacher_temperature"] == calibration["temperature"]
    divided = copy.deepcopy(teacher)
    divided.classifier.weight.data /= temperature
    divided.classifier.bias.data /= temperature
    expected = make_trainer(student, divided, rows, tokenizer, tmp_path).evaluate()["eval_loss_kl"]
    assert trainer.evaluate()["eval_loss_kl"] == pytest.approx(expected, rel=1e-4)
    assert not trainer.args.without_teacher(str(tmp_path)).calibrate_teacher


def test_each_teacher_of_an_ensemble_has_its_own_temperature(student, teacher, rows, tokenizer, tmp_path):
    cache = {"cache_teacher_outputs": True, "teacher_cache_dir": str(tmp_path / "cache")}
    pair = [teacher, tiny_model(3, seed=7)]
    both = make_trainer(student, pair, rows, tokenizer, tmp_path, calibrate_teacher=True, **cache)
    single_trainers = [make_trainer(student, one, rows, tokenizer, tmp_path, calibrate_teacher=True) for one in pair]
    temperatures = [trainer.record["teacher_calibration"][0]["temperature"] for trainer in single_trainers]
    assert [calibration["temperature"] for calibration in both.record["teacher_calibration"]] == pytest.approx(
        temperatures, rel=1e-4
    )
    assert [member.temperature for member in both.teacher.members] == pytest.approx(temperatures, rel=1e-4)


def test_errors_of_calibration(student, teacher, rows, tokenizer, tmp_path):
    def build(teacher_model=teacher, model=student, eval_dataset=rows, **changes):
        DistillationTrainer(
            model, teacher_model, make_args(tmp_path, calibrate_teacher=True, **changes), train_dataset=rows,
            eval_dataset=eval_dataset, processing_class=tokenizer,
        )  # fmt: skip

    with pytest.raises(ValueError, match="needs labelled rows"):
        build(eval_dataset=rows.remove_columns("labels"))
    with pytest.raises(ValueError, match="needs labelled rows"):
        build(eval_dataset=None)
    with pytest.raises(ValueError, match="`temperatures` of the ensemble are given"):
        build(TeacherEnsemble([teacher], temperatures=[2.0]))
    with pytest.raises(ValueError, match="no column `teacher_logits`"):
        build(None, objectives={"ce": 1.0, "kl": 1.0}, temperature=None, soft_label_weight=None,
              hard_label_weight=None, eval_dataset=rows)  # fmt: skip
