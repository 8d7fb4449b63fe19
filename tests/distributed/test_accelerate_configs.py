"""Every file of `examples/accelerate_configs` trains what one process on a CPU does.

DeepSpeed runs on CPUs too, if it is installed, and FSDP2 where a check of accelerate is replaced: `pytest -m slow`.
FSDP2 as users start it and NCCL need GPUs: `pytest -m gpu`.
"""

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from config_worker import run
from invariance import relative_difference
from tiny import tiny_model
from transformers import BertForSequenceClassification

CONFIGS = Path(__file__).parents[2] / "examples" / "accelerate_configs"
SUPPORT = Path(__file__).parents[1] / "support"
DEEPSPEED = ["deepspeed_zero1", "deepspeed_zero2", "deepspeed_zero3"]
needs_deepspeed = pytest.mark.skipif(find_spec("deepspeed") is None, reason="DeepSpeed is not installed")


def gpus() -> dict[str, str]:
    """The environment of these tests, with the GPUs that conftest.py hides."""
    kept = {name: value for name, value in os.environ.items() if name != "CUDA_VISIBLE_DEVICES"}
    visible = os.environ["VISIBLE_TO_GPU_TESTS"]
    return kept if visible == "all" else {**kept, "CUDA_VISIBLE_DEVICES": visible}


@pytest.fixture(scope="module")
def num_gpus():
    command = [sys.executable, "-c", "import torch; print(torch.cuda.device_count())"]
    return int(subprocess.run(command, env=gpus(), capture_output=True, text=True, check=True).stdout)


def learnt(student: torch.nn.Module) -> torch.Tensor:
    start = tiny_model(2, seed=2).state_dict()
    return torch.cat([(weight - start[name]).flatten() for name, weight in student.state_dict().items()])


def write_models(folder: Path) -> Path:
    tiny_model(4, seed=1).save_pretrained(folder / "teacher")
    tiny_model(2, seed=2).save_pretrained(folder / "start")
    return folder


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    """What one process on the CPU learns, and its evaluation."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ACCELERATE_USE_CPU", "1")
        trainer = run(write_models(tmp_path_factory.mktemp("one")))
    return learnt(trainer.model), trainer.evaluate()


def check(name: str, num_processes: int, folder: Path, expected, environment: dict[str, str]) -> dict:
    command = [sys.executable, "-m", "accelerate.commands.launch", "--config_file", str(CONFIGS / f"{name}.yaml")]
    command += ["--num_processes", str(num_processes), "--num_machines", "1", "--main_process_port", "0"]
    return check_run([*command, str(SUPPORT / "config_worker.py")], num_processes, folder, expected, environment)


def check_run(command: list[str], num_processes: int, folder: Path, expected, environment: dict[str, str]) -> dict:
    command = [*command, str(write_models(folder))]
    with (folder / "log").open("w") as log:
        subprocess.run(command, env=environment, stdout=log, stderr=log, timeout=280, check=False)
    assert (folder / "found.json").exists(), (folder / "log").read_text()[-4000:]
    found = json.loads((folder / "found.json").read_text())
    assert found["num_processes"] == num_processes
    student = BertForSequenceClassification.from_pretrained(folder / "student")
    assert relative_difference(learnt(student), expected[0]) < (1e-4 if found["device"] == "cpu" else 1e-2)
    for term in ("eval_loss", "eval_loss_kl", "eval_loss_ce", "eval_agreement"):
        assert found[term] == pytest.approx(expected[1][term], rel=1e-3)
    return found


@pytest.mark.slow
@pytest.mark.distributed
def test_two_processes_on_a_cpu(tmp_path, expected):
    check("cpu_2", 2, tmp_path, expected, {**os.environ, "ACCELERATE_USE_CPU": "1"})


@pytest.mark.slow
@pytest.mark.distributed
@needs_deepspeed
@pytest.mark.parametrize("name", DEEPSPEED)
def test_deepspeed_on_a_cpu(tmp_path, expected, name):
    found = check(name, 2, tmp_path, expected, {**os.environ, "DS_ACCELERATOR": "cpu"})
    assert (found["device"], found["distributed"]) == ("cpu", "DEEPSPEED")
    assert found["teacher is shared out"] == (name == "deepspeed_zero3")


@pytest.mark.slow
@pytest.mark.distributed
@pytest.mark.parametrize("num_processes", [1, 2])
def test_fsdp2_on_a_cpu(tmp_path, expected, num_processes):
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", str(num_processes)]
    command += ["--standalone", str(SUPPORT / "fsdp_on_cpu.py")]
    assert check_run(command, num_processes, tmp_path, expected, dict(os.environ))["is sharded"]


@pytest.mark.gpu
@pytest.mark.parametrize("name", ["multi_gpu", "fsdp2", *[pytest.param(n, marks=needs_deepspeed) for n in DEEPSPEED]])
def test_on_the_gpus_that_there_are(tmp_path, expected, num_gpus, name):
    if num_gpus < (2 if name == "multi_gpu" else 1):
        pytest.skip(f"there are {num_gpus} GPUs")
    assert check(name, min(num_gpus, 4), tmp_path, expected, gpus())["device"] == "cuda"
