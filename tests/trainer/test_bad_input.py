"""Bad input gets a clear error before training."""

import copy

import pytest
import torch
from invariance import (
    accuracy,
    make_args,
    make_trainer,
)
from tiny import tiny_model, visible_to_caplog

from hf_distill import DistillationTrainer, DistillationTrainingArguments


def _change_labels(dataset, value):
    rows = dataset.to_list()
    rows[5]["labels"] = value
    return type(dataset).from_list(rows)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda d: {"train_dataset": d.select([])}, "training dataset is empty"),
        (lambda d: {"train_dataset": _change_labels(d, 3)}, "Label 3 in row 5 .* out of range.*negative"),
        (lambda d: {"eval_dataset": _change_labels(d, -1)}, "Label -1 in row 5 .*marks rows without a label by -1"),
        (lambda d: {"train_dataset": d.remove_columns("input_ids")}, "no column `input_ids`"),
        (
            lambda d: {"train_dataset": d.add_column("teacher_logits", [[0.0, 0.0, float("nan")]] * len(d))},
            "no usable value in row 0",
        ),
        (
            lambda d: {"train_dataset": d.add_column("teacher_logits", [[0.0, 0.0]] * len(d))},
            "3 classes",
        ),
        (lambda d: {"train_dataset": _change_labels(d, -100), "objectives": {"dkd": 1.0}}, "`dkd` needs the label"),
        (lambda d: {"train_dataset": d.add_column("label", d["labels"][:])}, "both `label` and `labels`"),
        (lambda d: {"objectives": {"kl": 0.0}}, "weight > 0"),
        (lambda d: {"objectives": {"nll": 1.0}}, "no objective 'nll'"),
        (lambda d: {"objectives": {"kl": {"temprature": 1.0}}}, "no hyperparameter 'temprature'"),
        (lambda d: {"compute_loss_func": accuracy}, "compute_loss_func"),
        (lambda d: {"teacher_model": tiny_model(num_labels=4)}, "4 classes cannot be aligned with 3.*class 3"),
        (lambda d: {"teacher_model": tiny_model(num_labels=1)}, "problem type is regression"),
        (lambda d: {"teacher_model": None}, "There is no teacher"),
    ],
)
def test_bad_input_is_refused_before_training(models, dataset, tokenizer, tmp_path, build, message):
    arguments = {"teacher_model": models[1], "train_dataset": dataset, **build(dataset)}
    with pytest.raises(ValueError, match=message):
        DistillationTrainer(
            copy.deepcopy(models[0]),
            args=DistillationTrainingArguments(str(tmp_path / "out"), report_to="none", use_cpu=True),
            processing_class=tokenizer,
            **arguments,
        )


def test_a_teacher_of_nan_is_refused(models, dataset, tokenizer, tmp_path):
    teacher = tiny_model()
    teacher.classifier.bias.data[0] = float("nan")
    with pytest.raises(ValueError, match="NaN or infinite"):
        make_trainer(models[0], teacher, dataset, tokenizer, tmp_path)


def test_a_loss_that_is_no_number_stops_the_training_and_names_the_term(models, dataset, tokenizer, tmp_path):
    student = copy.deepcopy(models[0])
    student.classifier.bias.data[0] = float("nan")
    with pytest.raises(FloatingPointError, match="`loss_kl` is nan after step 1"):
        make_trainer(student, models[1], dataset, tokenizer, tmp_path).train()


def test_objectives_of_the_trainer_and_constants_of_the_arguments_exclude_each_other(models, tmp_path):
    with pytest.raises(
        ValueError, match="The Trainer's `objectives` defines the whole loss, but `temperature` is also set"
    ):
        DistillationTrainer(*models, make_args(tmp_path), objectives={"kl": 1.0})


def test_label_names_that_differ_are_refused_with_both_maps(models, dataset, tokenizer, tmp_path):
    teacher = tiny_model()
    teacher.config.id2label = {0: "bad", 1: "so-so", 2: "good"}
    with pytest.raises(ValueError, match="neutral.*so-so"):
        make_trainer(models[0], teacher, dataset, tokenizer, tmp_path)


def test_a_temperature_is_refused_for_regression(dataset, tokenizer, tmp_path):
    numbers = dataset.remove_columns("labels").add_column("labels", [0.5] * len(dataset))
    with pytest.raises(ValueError, match="`temperature` is 3.0, but regression"):
        make_trainer(tiny_model(num_labels=1), tiny_model(num_labels=1), numbers, tokenizer, tmp_path)


def test_regression_distils_the_teachers_number(dataset, tokenizer, tmp_path):
    student, teacher = tiny_model(num_labels=1, seed=2), tiny_model(num_labels=1, seed=1)
    targets = [float("nan") if i == 3 else i / 10 for i in range(len(dataset))]
    numbers = dataset.remove_columns("labels").add_column("labels", targets)
    metrics = make_trainer(student, teacher, numbers, tokenizer, tmp_path, temperature=None).evaluate()
    batch = tokenizer.pad([{k: r[k] for k in tokenizer.model_input_names} for r in dataset], return_tensors="pt")
    mine, theirs = student(**batch).logits[:, 0], teacher(**batch).logits[:, 0]
    hard = (mine - torch.tensor(targets)).square().nan_to_num(0.0)
    assert metrics["eval_loss_kl"] == pytest.approx((mine - theirs).square().mean().item(), rel=1e-5)
    assert metrics["eval_loss_ce"] == pytest.approx(hard.mean().item(), rel=1e-5)


def test_a_path_whose_head_is_missing_is_reported(tmp_path, models, caplog):
    from hf_distill.teachers import load_teacher

    models[0].bert.save_pretrained(tmp_path)
    with caplog.at_level("WARNING"), visible_to_caplog("hf_distill.teachers.loading"):
        load_teacher(tmp_path)
    assert "NEVER FINE-TUNED" in caplog.text
