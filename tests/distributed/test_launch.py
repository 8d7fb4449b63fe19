"""Launches that accelerate would silently turn into something else are rejected, whatever set their environment."""

import os
from pathlib import Path

import pytest
import torch
from accelerate.commands.launch import _validate_launch_command, launch_command_parser
from accelerate.utils.launch import prepare_simple_launcher_cmd_env
from invariance import make_args, make_trainer
from tiny import tiny_dataset

from hf_distill import DistillationTrainer, TeacherCache, create_student
from hf_distill.classifiers.sharding import check_equal_on_all_processes, shard
from hf_distill.training.launch import check_launch


@pytest.fixture
def launched(monkeypatch):
    """Set the environment that `accelerate launch` gives to the one process that it starts on this machine."""

    def launch(*arguments):
        command = [*arguments, "--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no", "script.py"]
        parsed, *_ = _validate_launch_command(launch_command_parser().parse_args(command))
        for name, value in prepare_simple_launcher_cmd_env(parsed)[1].items():
            if os.environ.get(name) != value:
                monkeypatch.setenv(name, value)

    return launch


def test_processes_that_do_not_know_of_each_other_are_refused(student, teacher, dataset, tmp_path, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")  # set by torchrun; ignored without a GPU and without `use_cpu`
    monkeypatch.setenv("RANK", "1")
    args = make_args(tmp_path, use_cpu=False)
    with pytest.raises(ValueError, match="WORLD_SIZE is 2, but this process would train alone"):
        DistillationTrainer(student, teacher, args, train_dataset=dataset)


@pytest.mark.parametrize("cpu", [["--cpu"], []], ids=["--cpu", "no flag"])
def test_one_process_where_accelerate_was_asked_for_two_is_refused(launched, tmp_path, cpu):
    launched(*cpu, "--num_processes", "2")
    with pytest.raises(ValueError, match="asked for several processes and started one"):
        check_launch(make_args(tmp_path), has_teacher=True)


@pytest.mark.parametrize("cpu", [["--cpu"], []], ids=["--cpu", "no flag"])
def test_one_process_where_accelerate_was_asked_for_one_is_fine(launched, tmp_path, cpu):
    launched(*cpu, "--num_processes", "1")
    check_launch(make_args(tmp_path), has_teacher=True)


@pytest.mark.parametrize("variable", ["ACCELERATE_USE_FSDP", "ACCELERATE_USE_DEEPSPEED"])
def test_sharding_a_student_on_a_cpu_is_refused(tmp_path, monkeypatch, variable):
    args = make_args(tmp_path)
    monkeypatch.setenv(variable, "true")
    with pytest.raises(ValueError, match="needs GPUs: on a CPU accelerate would train with plain"):
        check_launch(args, has_teacher=True)


def test_fsdp_as_an_argument_is_refused_on_a_cpu(student, teacher, dataset, tmp_path):
    with pytest.raises(ValueError, match="FSDP needs GPUs"):
        DistillationTrainer(student, teacher, make_args(tmp_path, fsdp=True), train_dataset=dataset)


def test_fsdp_must_not_load_weights_on_the_first_process_alone(tmp_path, monkeypatch):
    args = make_args(tmp_path)
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    monkeypatch.setenv("FSDP_CPU_RAM_EFFICIENT_LOADING", "true")
    with pytest.raises(ValueError, match="only the first process loads weights"):
        check_launch(args, has_teacher=True)


def partitioned(model):
    """Return a model as DeepSpeed ZeRO-3 loads it: every weight holds only this process's part."""
    for weight in model.parameters():
        weight.ds_tensor, weight.data = weight.data, weight.data.new_empty(0)
    return model


def test_a_teacher_that_zero_3_partitioned_is_rejected_where_complete_weights_are_needed(teacher, tokenizer, tmp_path):
    partitioned(teacher)
    with pytest.raises(
        ValueError, match="partitioned the teacher's weights .* but `cache_teacher_outputs` needs the complete weights"
    ):
        TeacherCache(tmp_path, teacher, tokenizer)
    with pytest.raises(ValueError, match="`create_student` needs the complete weights"):
        create_student(teacher, 2)
    with pytest.raises(ValueError, match="`shard_teacher` needs the complete weights"):
        shard(teacher, torch.device("cpu"))


def test_a_sharded_teacher_cannot_be_cached(tmp_path):
    with pytest.raises(ValueError, match="all processes must run the teacher together"):
        make_args(tmp_path, shard_teacher=True, cache_teacher_outputs=True)


def test_one_process_has_the_whole_teacher(student, teacher, tokenizer, tmp_path):
    trainer = make_trainer(student, teacher, tiny_dataset(tokenizer, 4), tokenizer, tmp_path, shard_teacher=True)
    assert trainer.teacher.model.classifier.weight.shape == teacher.classifier.weight.shape
    check_equal_on_all_processes(teacher)


# ---- examples/accelerate_configs ----

CONFIGS = Path(__file__).parents[2] / "examples" / "accelerate_configs"
STARTED_BY = {
    "cpu_2": "multi_gpu", "multi_gpu": "multi_gpu", "multi_node": "multi_gpu", "fsdp2": "use_fsdp",
    "deepspeed_zero1": "use_deepspeed", "deepspeed_zero2": "use_deepspeed", "deepspeed_zero3": "use_deepspeed",
}  # fmt: skip


def test_every_config_of_accelerate_is_known_here():
    assert {path.stem for path in CONFIGS.iterdir()} == STARTED_BY.keys()


@pytest.mark.parametrize("name", STARTED_BY)
def test_a_config_starts_what_it_says(name):
    command = ["--config_file", str(CONFIGS / f"{name}.yaml"), "script.py"]
    parsed, *_ = _validate_launch_command(launch_command_parser().parse_args(command))
    chosen = [launcher for launcher in ("multi_gpu", "use_fsdp", "use_deepspeed") if getattr(parsed, launcher)]
    assert chosen == [STARTED_BY[name]]
    assert not parsed.cpu  # otherwise accelerate would start one process
    assert (parsed.num_processes, parsed.num_machines) == ((16, 2) if name == "multi_node" else (2, 1))
    if name == "fsdp2":
        assert parsed.fsdp_version == 2
        assert parsed.fsdp_cpu_ram_efficient_loading is False
    if name.startswith("deepspeed"):
        assert parsed.zero_stage == int(name[-1])
