"""The metric that chooses the best checkpoint is checked as early as its name can be known."""

import copy
import json
import re

import pytest
import torch
from command_line import flags
from invariance import accuracy, make_args

from hf_distill import DistillationTrainer, DistillationTrainingArguments
from hf_distill.cli import main
from hf_distill.data import load_text_dataset, unlabelled_task
from hf_distill.data.compute_metrics import as_compute_metrics, metric_names
from hf_distill.pipeline.best_metric import check_best_metric

CHOICE = {"eval_strategy": "epoch", "save_strategy": "epoch", "load_best_model_at_end": True}


def test_a_wrong_name_is_refused_after_the_data_are_read_and_before_a_model_is(folder, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("hf_distill.cli.train.load_inputs", lambda *args, **kwargs: pytest.fail("a model is loaded"))
    with pytest.raises(SystemExit, match="2"):
        main(["train", *flags(folder, tmp_path / "out", **CHOICE, metric_for_best_model="acuracy")])
    said = capsys.readouterr()
    assert "validation  validation.csv" in said.out
    assert "`metric_for_best_model` is 'acuracy', and an evaluation on train has accuracy, f1, " in said.err


def test_the_names_in_the_message_are_those_of_an_evaluation(folder, tmp_path):
    main(["train", *flags(folder, tmp_path / "out", **CHOICE, metric_for_best_model="eval_teacher_f1")])
    metrics = json.loads((tmp_path / "out" / "distillation.json").read_text())["metrics"]
    task = load_text_dataset(train_file=folder / "train.csv", validation_file=folder / "validation.csv")
    args = DistillationTrainingArguments(str(tmp_path), metric_for_best_model="none of them", use_cpu=True)
    with pytest.raises(ValueError, match="has ") as refused:
        check_best_metric(task, args)
    names = re.search(r" has (.*)\.", str(refused.value))[1].split(", ")
    assert set(names) == {*metrics["student"], *(f"teacher_{name}" for name in metrics["teacher"])}


@pytest.mark.parametrize(
    ("metric", "is_known"),
    [("agreement", True), ("loss_kl", True), ("loss_ce", False), ("accuracy", False), ("loss", True)],
)
def test_texts_without_labels_have_no_scores_and_an_objective_has_its_loss(folder, tmp_path, metric, is_known):
    rows = load_text_dataset(validation_file=folder / "validation.csv").datasets["validation"].remove_columns("label")
    task = unlabelled_task(rows, "single_label_classification", ["a", "b"], "validation", "texts")
    args = DistillationTrainingArguments(
        str(tmp_path), metric_for_best_model=metric, objectives={"kl": 1.0}, use_cpu=True
    )
    if is_known:
        check_best_metric(task, args)
        return
    with pytest.raises(ValueError, match="has agreement, loss, loss_kl."):
        check_best_metric(task, args)


def test_the_metrics_of_a_function_are_not_known_before_it_runs():
    assert metric_names(as_compute_metrics(["f1", "accuracy"], "single_label_classification")) == ["f1", "accuracy"]
    assert metric_names(as_compute_metrics(lambda predictions, references: 1.0, "regression")) is None
    assert metric_names(accuracy) is None


@pytest.mark.parametrize("flag", ["baseline", "fine_tune_teacher"])
def test_a_model_without_a_teacher_cannot_be_chosen_by_its_teacher(folder, tmp_path, capsys, flag):
    # Without a number of epochs, the metric of the task decides when the teacher's fine-tuning ends.
    changes = {
        "eval_strategy": "epoch",
        "metric_for_best_model": "agreement",
        "teacher_num_train_epochs": 1,
        flag: True,
    }
    with pytest.raises(SystemExit, match="2"):
        main(["train", *flags(folder, tmp_path / "out", **changes)])
    assert "'agreement', which a baseline without a teacher does not have, nor" in capsys.readouterr().err


def test_a_function_without_that_metric_costs_no_step(models, dataset, tokenizer, tmp_path):
    student, teacher = models
    settings = {"max_steps": 4, "eval_strategy": "steps", "eval_steps": 2, "save_strategy": "steps", "save_steps": 4}

    def make(folder, metric):
        return DistillationTrainer(
            copy.deepcopy(student),
            copy.deepcopy(teacher),
            make_args(folder, metric_for_best_model=metric, **settings),
            train_dataset=dataset,
            eval_dataset=dataset,
            processing_class=tokenizer,
            compute_metrics=accuracy,
        )

    with pytest.raises(ValueError, match="is 'acuracy', and the evaluation has loss, accuracy") as stopped:
        make(tmp_path / "out", "acuracy").train()
    assert "runtime" not in str(stopped.value)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["checkpoint-2"]
    resumed, whole = make(tmp_path / "out", "accuracy"), make(tmp_path / "whole", "accuracy")
    resumed.train(resume_from_checkpoint=True)
    whole.train()
    assert resumed.state.global_step == 4
    for name, weight in whole.model.state_dict().items():
        assert torch.equal(weight, resumed.model.state_dict()[name])
