"""How long a teacher is fine-tuned if nobody says so."""

import json

import pytest
import torch
from tiny import tiny_model
from transformers import TrainerControl, TrainerState

from hf_distill import DistillationTrainingArguments
from hf_distill.data import load_text_dataset
from hf_distill.pipeline import fine_tune
from hf_distill.pipeline.early_stopping import StopWithoutGain, early_stopping_arguments


@pytest.fixture(scope="module")
def task(folder):
    return load_text_dataset(train_file=folder / "train.csv", validation_file=folder / "validation.csv")


def make_args(folder, **changes):
    values = {"per_device_train_batch_size": 8, "num_train_epochs": 1, "use_cpu": True, "report_to": "none"}
    return DistillationTrainingArguments(str(folder / "out"), **{**values, **changes})


@pytest.mark.parametrize(
    ("num_rows", "rows_per_step", "num_epochs", "num_steps", "steps_between"),
    [
        (1500, 32, 3, 2000, 100),  # 47 steps an epoch: 42.6 epochs
        (67_349, 32, 3, 6315, 316),  # 2,105 steps an epoch: 3 epochs are more than 2,000 steps
        (24, 8, 3, 150, 8),  # 3 steps an epoch: 2,000 steps would be 667 epochs
        (24, 8, 60, 180, 9),  # the user wants more than 50 epochs
        (8, 8, 0.5, 50, 3),
    ],
)
def test_few_rows_are_trained_for_more_epochs(tmp_path, num_rows, rows_per_step, num_epochs, num_steps, steps_between):
    args = make_args(tmp_path, per_device_train_batch_size=rows_per_step, num_train_epochs=num_epochs)
    changes, _ = early_stopping_arguments(args, num_rows, "accuracy")
    assert (changes["max_steps"], changes["eval_steps"], changes["save_steps"]) == (
        num_steps, steps_between, steps_between,
    )  # fmt: skip


def stops_after(metrics, losses, name="accuracy"):
    """Return the number of evaluations after which the training ends; None if it does not."""
    state, control = TrainerState(), TrainerControl()
    for number, (metric, loss) in enumerate(zip(metrics, losses, strict=True), start=1):
        state.log_history += [{"loss": 1.0}, {f"eval_{name}": metric, "eval_loss": loss}]
        StopWithoutGain(name).on_evaluate(None, state, control)
        if control.should_training_stop:
            return number
    return None


def test_a_training_ends_when_neither_metric_nor_loss_gains_five_times():
    nan = float("nan")
    assert stops_after([0.1] * 9, [1.0] * 9) == 6
    assert stops_after([0.1] * 9, [1 - i / 10 for i in range(9)]) is None  # only the loss falls
    assert stops_after([i / 10 for i in range(9)], [1 + i / 10 for i in range(9)]) is None  # only the metric rises
    assert stops_after([0.1, 0.5, *[0.4] * 8], [1.0, 0.9, 0.8, *[2.0] * 7]) == 8  # the loss was best at the third
    assert stops_after([5.0, 4.0, 3.0, 2.0, 1.0, 0.5, 0.4], [1.0] * 7, "mae") is None  # lower is better
    assert stops_after([nan, nan, 0.1, 0.2, 0.3, 0.4, 0.5], [1.0] * 7, "pearson") is None


def test_a_teacher_that_gains_nothing_is_stopped_early_and_again_when_it_is_resumed(task, tmp_path, tokenizer):
    def run(**changes):
        return fine_tune(
            tiny_model(2, seed=4), task, make_args(tmp_path, learning_rate=0.0, **changes), tmp_path / "teacher",
            tokenizer=tokenizer, stops_early=True,
        )  # fmt: skip

    first = run()
    assert first.state.global_step == 6 * 8  # of 150 steps, evaluated every 8: the first one and five without gain
    record = json.loads((tmp_path / "teacher" / "distillation.json").read_text())
    value = first.evaluate()["eval_accuracy"]
    assert record["early_stopping"] == {
        "max_steps": 150, "steps": 48, "best_step": 8, "metric": "accuracy", "value": value,
    }  # fmt: skip
    assert len(list((tmp_path / "teacher").glob("checkpoint-*"))) <= 2
    resumed = run(resume_from_checkpoint="True")
    assert resumed.state.global_step <= 49


def test_the_best_checkpoint_of_a_teacher_is_kept_not_the_last(task, tmp_path, tokenizer):
    rows = task.tokenize(tokenizer)["train"]
    contradicted = rows.map(lambda row: {"labels": (row["labels"] + 1) % 3})  # the more is learned, the worse
    trainer = fine_tune(
        tiny_model(2, seed=4), task, make_args(tmp_path, learning_rate=3e-3), tmp_path / "teacher",
        tokenizer=tokenizer, train_dataset=rows, eval_dataset=contradicted, stops_early=True,
    )  # fmt: skip
    scores = [log["eval_accuracy"] for log in trainer.state.log_history if "eval_accuracy" in log]
    assert scores[-1] < max(scores)
    assert trainer.evaluate()["eval_accuracy"] == max(scores) == trainer.record["early_stopping"]["value"]
    saved = type(trainer.model).from_pretrained(tmp_path / "teacher")
    assert torch.equal(saved.classifier.weight, trainer.model.classifier.weight)


def test_without_labels_to_evaluate_on_nothing_says_when_to_stop(task, tmp_path, tokenizer):
    rows = task.tokenize(tokenizer)
    arguments = {"tokenizer": tokenizer, "train_dataset": rows["train"], "stops_early": True}
    for eval_dataset in (rows["validation"].remove_columns("labels"), rows["validation"].select([])):
        with pytest.raises(ValueError, match="no labelled row to evaluate on.*--teacher_num_train_epochs"):
            fine_tune(tiny_model(2), task, make_args(tmp_path), tmp_path / "t", eval_dataset=eval_dataset, **arguments)
