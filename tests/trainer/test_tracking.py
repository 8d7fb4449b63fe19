"""What a tracker is told through Trainer's `report_to`, read back from TensorBoard's own files."""

import json

import pytest
from invariance import make_trainer

pytest.importorskip("tensorboard", reason="needs tensorboard")

FALLING = {"schedule": "linear", "start": 4.0, "end": 1.0}


def run_with_tensorboard(models, dataset, tokenizer, folder, monkeypatch, **changes):
    """Train for two epochs of four steps, and return the Trainer and TensorBoard's reader of what was written."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    monkeypatch.setenv("TENSORBOARD_LOGGING_DIR", str(folder / "runs"))
    settings = {
        "report_to": ["tensorboard"], "num_train_epochs": 2, "per_device_train_batch_size": 8, "logging_steps": 2,
        "eval_strategy": "epoch", "temperature": None, "soft_label_weight": None, "hard_label_weight": None,
    }  # fmt: skip
    trainer = make_trainer(*models, dataset, tokenizer, folder, **{**settings, **changes})
    trainer.train()
    events = EventAccumulator(str(folder / "runs"))
    events.Reload()
    return trainer, events


def curve(events, name):
    return [(event.step, event.value) for event in events.Scalars(name)]


def logged(trainer, name):
    return [(entry["step"], pytest.approx(entry[name])) for entry in trainer.state.log_history if name in entry]


def test_terms_agreement_and_constants_of_the_loss_reach_tensorboard(
    models, dataset, tokenizer, tmp_path, monkeypatch
):
    trainer, events = run_with_tensorboard(models, dataset, tokenizer, tmp_path, monkeypatch)
    for name in ("loss", "loss_kl", "loss_ce"):
        assert [step for step, _ in curve(events, f"train/{name}")] == [2, 4, 6, 8]
        assert curve(events, f"train/{name}") == logged(trainer, name)
    for name in ("loss", "loss_kl", "loss_ce", "agreement"):
        assert curve(events, f"eval/{name}") == logged(trainer, f"eval_{name}")
        assert [step for step, _ in curve(events, f"eval/{name}")] == [4, 8]
    # What was left unset is null among the arguments; its value stands once, beside the first loss.
    (arguments,) = events.Tensors("args/text_summary")
    arguments = json.loads(arguments.tensor_proto.string_val[0])
    assert arguments["temperature"] is None
    for name, value in {"kl_temperature": 2.0, "kl_weight": 1.0, "ce_weight": 0.1, "ce_label_smoothing": 0.0}.items():
        assert curve(events, f"train/{name}") == [(2, pytest.approx(value))]


def test_a_schedule_is_a_curve_and_a_set_temperature_an_argument(models, dataset, tokenizer, tmp_path, monkeypatch):
    objectives = {"kl": {"weight": 1.0, "temperature": FALLING}, "ce": 0.5}
    trainer, events = run_with_tensorboard(models, dataset, tokenizer, tmp_path, monkeypatch, objectives=objectives)
    temperatures = curve(events, "train/kl_temperature")
    assert temperatures == logged(trainer, "kl_temperature")
    # As it was in the last step: 1, 3, 5 and 7 of 8 steps were done before it.
    assert [value for _, value in temperatures] == pytest.approx([4 - 3 * done / 8 for done in (1, 3, 5, 7)])
    assert len(curve(events, "train/kl_weight")) == 1
    (arguments,) = events.Tensors("args/text_summary")
    arguments = json.loads(arguments.tensor_proto.string_val[0])
    assert arguments["objectives"] == objectives
