"""A run is resumed only with the student that it began with, and its record names that student."""

import copy
import json
import shutil

import pytest
import torch
from command_line import flags
from invariance import make_trainer
from tiny import tiny_model

from hf_distill.cache.fingerprint import identify
from hf_distill.cli import main

STOPPED = {"max_steps": 2, "save_strategy": "steps", "save_steps": 1}


@pytest.fixture
def stopped(folder, tmp_path, tokenizer):
    """A function that resumes a run that stopped after its first step, with changed flags."""
    tiny_model(4, seed=7).bert.save_pretrained(tmp_path / "encoder")
    tokenizer.save_pretrained(tmp_path / "encoder")
    out = tmp_path / "out"
    first = {**STOPPED, "student_model_name_or_path": tmp_path / "encoder", "student_layers": "first"}
    main(["train", *flags(folder, out, **first)])
    shutil.rmtree(out / "checkpoint-2")

    def resume(**changes):
        main(["train", *flags(folder, out, **{**first, "resume_from_checkpoint": True, **changes})])
        return json.loads((out / "distillation.json").read_text())

    return resume


@pytest.mark.parametrize(
    "changes",
    [
        {"student_layers": "last"}, {"student_layers": "0,3", "student_num_hidden_layers": None},
        {"student_model_name_or_path": None}, {"seed": 7},
    ],
    ids=str,
)  # fmt: skip
def test_a_run_is_not_resumed_with_another_student_of_the_same_shape(stopped, changes, capsys):
    with pytest.raises(SystemExit, match="2"):
        stopped(**changes)
    assert "belongs to another run; what differs is the initial weights of the student" in capsys.readouterr().err


def test_a_run_is_resumed_with_its_own_student(stopped, tmp_path):
    record = stopped(baseline=True)
    assert "resumed_with" not in record
    assert record["student"]["origin"] == "encoder"
    baseline = json.loads((tmp_path / "out" / "baseline" / "distillation.json").read_text())
    assert baseline["student"]["initial_fingerprint"] == record["student"]["initial_fingerprint"]


def test_chosen_neurons_can_differ_in_a_resumed_run(folder, tmp_path, caplog):
    # They are computed, so that other hardware can choose others: the checkpoint has the ones that count.
    out, narrow = tmp_path / "out", {**STOPPED, "student_intermediate_size": 8}
    main(["train", *flags(folder, out, **narrow)])
    shutil.rmtree(out / "checkpoint-2")
    first = json.loads((out / "distillation.json").read_text())["student"]["initial_fingerprint"]
    main(["train", *flags(folder, out, **narrow, student_layers="last", resume_from_checkpoint=True)])
    record = json.loads((out / "distillation.json").read_text())
    assert record["student"]["initial_fingerprint"] == record["resumed_with"][0]["initial_student"][0] == first
    assert "with other settings: initial_student" in caplog.text


def test_in_python_another_start_is_recorded_and_the_baseline_warns(models, dataset, tokenizer, tmp_path, caplog):
    student, teacher = models
    first = make_trainer(student, teacher, dataset, tokenizer, tmp_path, **STOPPED)
    untrained = copy.deepcopy(student)
    first.train()
    other = copy.deepcopy(student)
    with torch.no_grad():
        other.classifier.weight.add_(1.0)
    shutil.rmtree(tmp_path / "checkpoint-2")
    resumed = make_trainer(other, teacher, dataset, tokenizer, tmp_path, **STOPPED)
    resumed.train(resume_from_checkpoint=True)
    for name, weight in first.model.state_dict().items():
        assert torch.equal(weight, resumed.model.state_dict()[name])
    changes = resumed.record["resumed_with"]
    assert [entry["initial_student"] for entry in changes] == [[identify(untrained), identify(other)]]
    assert resumed.recorder.initial_student == identify(untrained)
    resumed.train_baseline(untrained)
    assert "does not start from the student's initial weights" not in caplog.text
    first.train_baseline(other)
    assert "does not start from the student's initial weights" in caplog.text
