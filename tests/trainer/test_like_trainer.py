"""Without a soft loss the Trainer is transformers' own with a loss that is normalised right: same rows, events, files.

`accepts_loss_kwargs=False` is what makes the loss of transformers' Trainer right under accumulation (#47688).
"""

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from invariance import accuracy
from tiny import tiny_model
from transformers import DataCollatorWithPadding, Trainer, TrainerCallback, TrainingArguments

from hf_distill import DistillationTrainer, DistillationTrainingArguments

EVENTS = [name for name in vars(TrainerCallback) if name.startswith("on_")]
ALONE = {"objectives": {"ce": 1.0}}
BESIDE_A_TEACHER = {"soft_label_weight": 0.0, "hard_label_weight": 1.0}
SETTINGS = {
    "num_train_epochs": 2, "per_device_train_batch_size": 4, "gradient_accumulation_steps": 2, "learning_rate": 1e-3,
    "warmup_steps": 2, "weight_decay": 0.1, "logging_steps": 3, "eval_strategy": "steps", "eval_steps": 2,
    "per_device_eval_batch_size": 5, "save_steps": 4, "save_total_limit": 1, "load_best_model_at_end": True,
    "metric_for_best_model": "loss", "report_to": "none", "disable_tqdm": True, "use_cpu": True,
}  # fmt: skip


class Events(TrainerCallback):
    """Every event, and what Trainer was about to do after it."""

    def __init__(self):
        self.seen = []
        for name in EVENTS:
            setattr(self, name, self._recorder(name))

    def _recorder(self, name):
        def record(args, state, control, **kwargs):
            wants = (control.should_log, control.should_evaluate, control.should_save, control.should_epoch_stop)
            self.seen.append((name, state.global_step, state.epoch, *wants, *sorted(kwargs)))

        return record


class Rows(DataCollatorWithPadding):
    """Keeps what it makes batches of, in order."""

    def __call__(self, features):
        self.seen = [*getattr(self, "seen", []), [tuple(row["input_ids"]) for row in features]]
        return super().__call__(features)


def run(cls, args, dataset, tokenizer, *teacher):
    """Evaluate, train and predict; return everything that can be seen of it from outside."""
    student = tiny_model(2, seed=2)
    student.accepts_loss_kwargs = False
    for module in student.modules():  # dropout, so that the random state matters
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.1
    events, rows = Events(), Rows(tokenizer)
    trainer = cls(
        student, *teacher, args=args, train_dataset=dataset, eval_dataset=dataset.select(range(13)),
        processing_class=tokenizer, data_collator=rows, callbacks=[events], compute_metrics=accuracy,
    )  # fmt: skip
    before = trainer.evaluate()
    trainer.train()
    files = sorted(str(path.relative_to(args.output_dir)) for path in Path(args.output_dir).rglob("*.*"))
    return trainer, before, files, trainer.predict(dataset.select(range(7))), events.seen, rows.seen


@pytest.fixture(scope="module", params=[ALONE, BESIDE_A_TEACHER], ids=["alone", "beside a teacher"])
def both(request, dataset, tokenizer, tmp_path_factory):
    folders = [str(tmp_path_factory.mktemp(name)) for name in ("theirs", "ours")]
    theirs = run(Trainer, TrainingArguments(folders[0], **SETTINGS), dataset, tokenizer)
    args = DistillationTrainingArguments(folders[1], **SETTINGS, **request.param)
    teacher = None if request.param is ALONE else copy.deepcopy(tiny_model(4, seed=1))
    return theirs, run(DistillationTrainer, args, dataset, tokenizer, teacher)


def test_the_same_rows_come_in_the_same_batches(both):
    theirs, ours = (result[5] for result in both)
    assert len(theirs) > 2 * 32 / 4
    assert ours == theirs


def test_callbacks_see_the_same_events_with_the_same_arguments(both):
    theirs, ours = (result[4] for result in both)
    assert {event[0] for event in theirs} == set(EVENTS) - {"on_push_begin"}
    assert ours == theirs


def test_the_final_weights_are_the_same(both):
    (theirs, *_), (ours, *_) = both
    start = tiny_model(2, seed=2)
    for a, b, before in zip(*(model.parameters() for model in (ours.model, theirs.model, start)), strict=True):
        assert torch.allclose(a, b, rtol=0, atol=1e-5)
        assert not torch.equal(b, before)


def test_logs_hold_what_theirs_hold_and_more(both):
    (theirs, *_), (ours, *_) = both
    assert len(theirs.state.log_history) == len(ours.state.log_history)
    for a, b in zip(ours.state.log_history, theirs.state.log_history, strict=True):
        assert a.keys() >= b.keys()
        for name in b.keys() & {"loss", "eval_loss", "eval_accuracy", "learning_rate", "epoch", "step", "train_loss"}:
            assert a[name] == pytest.approx(b[name], rel=1e-4), name
    assert ours.state.best_global_step == theirs.state.best_global_step


def test_evaluation_before_training_gives_the_same_numbers(both):
    theirs, ours = (result[1] for result in both)
    assert ours.keys() >= theirs.keys()
    assert ours["eval_loss"] == pytest.approx(theirs["eval_loss"], rel=1e-5)
    assert ours["eval_accuracy"] == theirs["eval_accuracy"]


def test_the_same_files_are_written_but_for_a_record_in_place_of_a_pickle(both):
    theirs, ours = (result[2] for result in both)
    assert "checkpoint-8/model.safetensors" in theirs
    checkpoints = {name.split("/")[0] for name in theirs if name.startswith("checkpoint-")}
    expected = [name.replace("training_args.bin", "distillation.json") for name in theirs]
    assert sorted([*expected, *(f"{name}/run.json" for name in checkpoints)]) == sorted(ours)


def test_predictions_are_the_same(both):
    theirs, ours = (result[3] for result in both)
    assert np.allclose(ours.predictions, theirs.predictions, atol=1e-4)
    assert np.array_equal(ours.label_ids, theirs.label_ids)
    assert ours.metrics.keys() >= theirs.metrics.keys()
