"""Weights and temperatures that change over a run."""

import math

import pytest
import torch
import yaml
from invariance import make_trainer

from hf_distill import DistillationTrainingArguments
from hf_distill.classifiers.problem_types import PROBLEM_TYPES
from hf_distill.cli.parsing import parse
from hf_distill.objectives import DistillationLoss, build_objectives

UNSET = {"temperature": None, "soft_label_weight": None, "hard_label_weight": None}
ONE_LINE = "{kl: {weight: 0.9, temperature: {schedule: linear, start: 4.0, end: 1.0}}, ce: {weight: {schedule: cosine, start: 0.0, end: 1.0}}}"  # noqa: E501


def loss_of(spec):
    return DistillationLoss(build_objectives(spec)).bind(PROBLEM_TYPES["single_label_classification"])


@pytest.mark.parametrize(
    ("schedule", "values"),
    [
        ({"schedule": "linear", "start": 4.0, "end": 1.0}, [4.0, 3.25, 2.5, 1.0]),
        ({"schedule": "cosine", "start": 0.0, "end": 2.0}, [0.0, 1 - math.sqrt(0.5), 1.0, 2.0]),
        ({"schedule": "constant", "start": 3.0}, [3.0, 3.0, 3.0, 3.0]),
    ],
    ids=lambda value: value["schedule"] if isinstance(value, dict) else "",
)
def test_a_schedule_has_these_values_at_0_25_50_and_100_percent(schedule, values):
    loss = loss_of({"kl": {"weight": schedule, "temperature": 2.0}, "ce": 1.0})
    for progress, value in zip([0.0, 0.25, 0.5, 1.0], values, strict=True):
        loss.set_progress(progress)
        assert loss.weights == {"kl": pytest.approx(value), "ce": 1.0}
        assert loss.scheduled_values == {"kl_weight": pytest.approx(value)}


def test_one_line_of_yaml_is_a_schedule_and_its_spec_builds_it_again():
    spec = yaml.safe_load(ONE_LINE)
    loss = loss_of(spec)
    assert loss.weights == {"kl": 0.9, "ce": 0.0}  # a weight that starts at 0 keeps its objective
    loss.set_progress(0.5)
    assert loss.spec()["kl"] == {"temperature": {"schedule": "linear", "start": 4.0, "end": 1.0}, "weight": 0.9}
    again = loss_of(loss.spec())
    again.set_progress(0.5)
    assert again.scheduled_values == loss.scheduled_values == pytest.approx({"kl_temperature": 2.5, "ce_weight": 0.5})


def test_a_recipe_can_contain_schedules_and_layer_mappings(tmp_path):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(f"objectives: {ONE_LINE[:-1]}, hidden_mse: {{layer_mapping: {{1: 2, 2: 4}}}}}}\n")
    (args,) = parse(
        [DistillationTrainingArguments], ["--config", str(recipe), "--output_dir", str(tmp_path), "--use_cpu", "True"]
    )
    terms = {objective.name: objective for objective in build_objectives(args.objective_spec())}
    assert terms["kl"].spec() == {"temperature": {"schedule": "linear", "start": 4.0, "end": 1.0}, "weight": 0.9}
    assert terms["hidden_mse"].layer_mapping == {1: 2, 2: 4}


def test_a_weight_that_stays_zero_drops_its_objective():
    zero = {"schedule": "linear", "start": 0.0, "end": 0}
    assert loss_of({"ce": 1.0, "kl": {"weight": zero}}).weights == {"ce": 1.0}


@pytest.mark.parametrize(
    "value",
    [
        {"schedule": "step", "start": 1.0, "end": 2.0},
        {"schedule": "linear", "start": 1.0},
        {"schedule": "linear", "start": 1.0, "end": "2"},
        {"schedule": "linear", "start": 1.0, "end": None},
        {"schedule": "linear", "start": True, "end": 1.0},
        {"schedule": "linear", "start": 1.0, "end": 2.0, "steps": 3},
        {"start": 1.0, "end": 2.0},
    ],
    ids=str,
)
def test_an_invalid_schedule_is_rejected_with_a_valid_example(value):
    with pytest.raises(
        ValueError, match="`temperature` of objective `kl` is .*the schedules are constant, linear, co"
    ):
        build_objectives({"kl": {"temperature": value}})


def test_the_ends_of_a_schedule_must_be_within_the_bounds_of_the_number():
    with pytest.raises(ValueError, match="`temperature` of `kl` must be a finite number >= 0.001, got 0"):
        build_objectives({"kl": {"temperature": {"schedule": "linear", "start": 2.0, "end": 0}}})
    with pytest.raises(ValueError, match="`weight` of `ce` must be a finite number >= 0, got -1"):
        build_objectives({"ce": {"weight": {"schedule": "cosine", "start": 1.0, "end": -1}}})
    with pytest.raises(ValueError, match="`beta` of objective `jsd` must be a number, got"):
        build_objectives({"jsd": {"beta": {"schedule": "constant", "start": 0.5}}})


SPEC = {
    "kl": {"weight": {"schedule": "linear", "start": 1.0, "end": 0.2}, "temperature": {"schedule": "cosine", "start": 4.0, "end": 1.0}},  # noqa: E501
    "ce": {"weight": {"schedule": "linear", "start": 0.0, "end": 1.0}},
}  # fmt: skip


def test_the_logged_loss_is_the_mean_over_steps_of_the_weighted_terms(models, dataset, tokenizer, tmp_path):
    logs = {}
    for logging_steps in (1, 4):
        trainer = make_trainer(
            *models, dataset, tokenizer, tmp_path, objectives=SPEC, **UNSET, per_device_train_batch_size=4,
            gradient_accumulation_steps=2, logging_steps=logging_steps,
        )  # fmt: skip
        trainer.train()
        logs[logging_steps] = [entry for entry in trainer.state.log_history if "loss" in entry]
    for step, entry in enumerate(logs[1]):
        assert entry["kl_weight"] == pytest.approx(1.0 - 0.8 * step / 4)
        assert entry["kl_temperature"] == pytest.approx(4.0 - 3.0 * (1 - math.cos(math.pi * step / 4)) / 2)
        weighted = entry["kl_weight"] * entry["loss_kl"] + entry["ce_weight"] * entry["loss_ce"]
        assert entry["loss"] == pytest.approx(weighted, rel=1e-5)
    (whole,) = logs[4]
    for name in ("loss", "loss_kl", "loss_ce"):
        assert whole[name] == pytest.approx(sum(entry[name] for entry in logs[1]) / 4, rel=1e-5)
    metrics = trainer.evaluate()  # after the last step: where the schedules end
    assert metrics["eval_loss"] == pytest.approx(0.2 * metrics["eval_loss_kl"] + metrics["eval_loss_ce"], rel=1e-5)


def test_a_resumed_run_continues_its_schedules(models, dataset, tokenizer, tmp_path):
    settings = {
        **UNSET,
        "objectives": SPEC,
        "per_device_train_batch_size": 8,
        "save_strategy": "steps",
        "save_steps": 2,
    }
    whole = make_trainer(*models, dataset, tokenizer, tmp_path, **settings)
    whole.train()
    resumed = make_trainer(*models, dataset, tokenizer, tmp_path, **settings)
    resumed.train(resume_from_checkpoint=str(tmp_path / "checkpoint-2"))
    for a, b in zip(whole.model.parameters(), resumed.model.parameters(), strict=True):
        assert torch.equal(a, b)
    assert whole.state.log_history[-2]["kl_weight"] == resumed.state.log_history[-2]["kl_weight"] == pytest.approx(0.4)
