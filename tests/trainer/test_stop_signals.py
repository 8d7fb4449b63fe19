"""SIGTERM and Ctrl-C end a training with a checkpoint, from which it goes on bit for bit."""

import os
import signal

import pytest
from command_line import flags
from forked import run_forked
from interrupted import SETTINGS, At, same_weights
from invariance import make_trainer
from tiny import visible_to_caplog
from transformers import TrainerCallback
from transformers.trainer_callback import CallbackHandler

from hf_distill.cli import main
from hf_distill.training.checkpoint_files import damaged_file
from hf_distill.training.stop_signals import SIGTERM_STATUS

LOGGER = "hf_distill.training.stop_signals"


def send(number, times=1):
    def action():
        for _ in range(times):
            os.kill(os.getpid(), number)

    return action


@pytest.fixture(scope="module")
def whole(models, dataset, tokenizer, tmp_path_factory):
    """The folder of a run of four steps that nothing disturbed."""
    folder = tmp_path_factory.mktemp("whole")
    trainer = make_trainer(*models, dataset, tokenizer, folder, **SETTINGS)
    trainer.train()
    trainer.save_model()
    return folder


def stopped_by(number):
    return pytest.raises(KeyboardInterrupt if number == signal.SIGINT else SystemExit)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_the_current_step_and_the_run_goes_on_bit_for_bit(
    number, whole, models, dataset, tokenizer, tmp_path, caplog, capfd
):
    settings = SETTINGS | {"save_strategy": "no"}
    before = signal.getsignal(number)
    trainer = make_trainer(*models, dataset, tokenizer, tmp_path, callbacks=[At(1, send(number))], **settings)
    with visible_to_caplog(LOGGER), stopped_by(number) as stopped:
        trainer.train()
    if number == signal.SIGTERM:
        assert stopped.value.code == SIGTERM_STATUS == 143
    assert f"{number.name}: stopped after step 2 of 4, which is saved in {tmp_path}" in caplog.text
    assert ("Ctrl-C again stops at once" in capfd.readouterr().err) == (number == signal.SIGINT)
    assert signal.getsignal(number) is before
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint-2"]
    assert damaged_file(tmp_path / "checkpoint-2") is None
    trainer = make_trainer(*models, dataset, tokenizer, tmp_path, **settings)
    trainer.train(resume_from_checkpoint=True)
    trainer.save_model()
    assert same_weights(tmp_path, whole)


def test_a_second_ctrl_c_stops_at_once(models, dataset, tokenizer, tmp_path):
    trainer = make_trainer(
        *models, dataset, tokenizer, tmp_path, callbacks=[At(1, send(signal.SIGINT, times=2))], **SETTINGS
    )
    with pytest.raises(KeyboardInterrupt):
        trainer.train()
    assert trainer.state.global_step == 1
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint-1"]


def test_sigterm_after_ctrl_c_still_saves(models, dataset, tokenizer, tmp_path):
    # The launcher of several processes passes Ctrl-C on as SIGTERM, beside the SIGINT of the terminal.
    both = [At(1, send(signal.SIGINT)), At(1, send(signal.SIGTERM))]
    trainer = make_trainer(*models, dataset, tokenizer, tmp_path, callbacks=both, **SETTINGS)
    with pytest.raises(SystemExit):
        trainer.train()
    assert damaged_file(tmp_path / "checkpoint-2") is None


class InEvaluation(TrainerCallback):
    """Sends a signal in the middle of the first evaluation."""

    def __init__(self, number):
        self.number, self.is_done = number, False

    def on_prediction_step(self, args, state, control, **kwargs):
        if not self.is_done:
            self.is_done = True
            os.kill(os.getpid(), self.number)


@pytest.mark.parametrize("strategy", ["no", "best", "steps"])
def test_a_signal_during_an_evaluation_stops_after_it(strategy, models, dataset, tokenizer, tmp_path):
    settings = {"eval_strategy": "steps", "eval_steps": 1, "save_strategy": strategy, "metric_for_best_model": "loss"}
    trainer = make_trainer(
        *models, dataset, tokenizer, tmp_path, callbacks=[InEvaluation(signal.SIGINT)], **SETTINGS | settings
    )
    with pytest.raises(KeyboardInterrupt):
        trainer.train()
    assert trainer.state.global_step == 1
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint-1"]


def test_a_run_that_saves_only_what_is_better_stops_though_nothing_is_better(models, dataset, tokenizer, tmp_path):
    settings = {
        "eval_strategy": "steps", "eval_steps": 1, "save_strategy": "best", "metric_for_best_model": "loss",
        "learning_rate": 0.0,
    }  # fmt: skip
    stop = At(2, send(signal.SIGTERM))
    trainer = make_trainer(*models, dataset, tokenizer, tmp_path, callbacks=[stop], **SETTINGS | settings)
    with pytest.raises(SystemExit):
        trainer.train()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint-1", "checkpoint-3"]
    assert trainer.args.save_strategy == "best"


class AtTheEnd(TrainerCallback):
    def on_train_end(self, *args, **kwargs):
        os.kill(os.getpid(), signal.SIGTERM)


def test_a_signal_after_the_last_step_is_not_lost(models, dataset, tokenizer, tmp_path):
    trainer = make_trainer(*models, dataset, tokenizer, tmp_path, callbacks=[AtTheEnd()], **SETTINGS)
    with pytest.raises(SystemExit) as stopped:
        trainer.train()
    assert stopped.value.code == SIGTERM_STATUS
    assert trainer.state.global_step == 4


def test_a_handler_of_the_program_is_left_alone(models, dataset, tokenizer, tmp_path):
    seen = []
    before = signal.signal(signal.SIGINT, lambda *args: seen.append(args))
    try:
        trainer = make_trainer(
            *models, dataset, tokenizer, tmp_path, callbacks=[At(1, send(signal.SIGINT))], **SETTINGS
        )
        trainer.train()
    finally:
        signal.signal(signal.SIGINT, before)
    assert len(seen) == 1
    assert trainer.state.global_step == 4


# ---- The command line ----


class Stop(TrainerCallback):
    """Sends a signal to all processes of a command, in the second step of one of its stages."""

    def __init__(self, place, number):
        self.place, self.number = place, number

    def on_step_begin(self, args, state, control, **kwargs):
        if args.output_dir.endswith(self.place) and state.global_step == 1:
            os.killpg(os.getpgid(0), self.number)


def run_stopped(arguments, place, number):
    """Run a command in a process of its own, and stop it in a stage."""

    def run():
        add = CallbackHandler.add_callback

        def add_ours(self, callback):
            add(self, callback)
            if not any(isinstance(other, Stop) for other in self.callbacks):
                self.callbacks.append(Stop(place, number))

        CallbackHandler.add_callback = add_ours
        main(arguments)

    return run_forked(run, new_session=True)


def test_ctrl_c_on_the_command_line_reaches_the_workers_and_ends_with_status_130(folder, tmp_path):
    arguments = ["train", *flags(folder, tmp_path / "out", dataloader_num_workers=2, save_strategy="no")]
    done = run_stopped(arguments, "out", signal.SIGINT)
    assert done.returncode == 130, done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.count("Ctrl-C again stops at once") == 1
    assert damaged_file(tmp_path / "out" / "checkpoint-2") is None
    assert not (tmp_path / "out" / "model.safetensors").exists()


def command(folder, output_dir):
    settings = {
        "fine_tune_teacher": True, "teacher_num_train_epochs": 1, "baseline": True, "save_strategy": "epoch",
        "report_to": "none", "logging_steps": 1,
        "disable_tqdm": True, "resume_from_checkpoint": "True",
    }  # fmt: skip
    return ["train", *flags(folder, output_dir, **settings)]


@pytest.fixture(scope="module")
def whole_command(folder, tmp_path_factory):
    """The output folder of a command that nothing disturbed."""
    output_dir = tmp_path_factory.mktemp("command") / "whole"
    main(command(folder, output_dir))
    return output_dir


@pytest.mark.parametrize("stage", ["teacher", "student", "baseline"])
def test_a_command_that_is_stopped_in_any_stage_goes_on_there(stage, folder, whole_command, tmp_path, capsys):
    place = {"teacher": "stopped/teacher", "student": "stopped", "baseline": "stopped/baseline"}[stage]
    arguments = command(folder, tmp_path / "stopped")
    done = run_stopped(arguments, place, signal.SIGTERM)
    assert done.returncode == 143, done.stderr
    main(arguments)
    assert done.stdout.count("'loss'") + capsys.readouterr().out.count("'loss'") == 9  # no step is taken twice
    for name in ("", "teacher", "baseline"):
        assert same_weights(tmp_path / "stopped" / name, whole_command / name)
