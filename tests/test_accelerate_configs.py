"""Every file of `examples/accelerate_configs` trains what one process on a CPU does; most of them need GPUs.

Neither DeepSpeed nor FSDP, nor NCCL, has ever been run by us: `pytest -m gpu` where there is a GPU.
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
from safetensors.torch import load_file
from tiny import tiny_model

CONFIGS = Path(__file__).parent.parent / "examples" / "accelerate_configs"


def environment(**changes: str) -> dict[str, str]:
    """That of these tests, with the GPUs that conftest.py hides."""
    kept = {name: value for name, value in os.environ.items() if name != "CUDA_VISIBLE_DEVICES"}
    gpus = os.environ["VISIBLE_TO_GPU_TESTS"]
    return kept | ({} if gpus == "all" else {"CUDA_VISIBLE_DEVICES": gpus}) | changes


@pytest.fixture(scope="module")
def num_gpus():
    command = [sys.executable, "-c", "import torch; print(torch.cuda.device_count())"]
    return int(subprocess.run(command, env=environment(), capture_output=True, text=True, check=True).stdout)


def learnt(weights: dict[str, torch.Tensor]) -> torch.Tensor:
    start = tiny_model(2, seed=2).state_dict()
    return torch.cat([(weights[name].float() - start[name]).flatten() for name in start])


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    """What one process on the CPU learns, and its evaluation."""
    os.environ["ACCELERATE_USE_CPU"] = "1"
    try:
        trainer = run(tmp_path_factory.mktemp("one"))
    finally:
        del os.environ["ACCELERATE_USE_CPU"]
    return learnt(trainer.model.state_dict()), trainer.evaluate()


def check(name: str, num_processes: int, folder: Path, expected, **variables: str) -> dict:
    command = [sys.executable, "-m", "accelerate.commands.launch", "--config_file", str(CONFIGS / f"{name}.yaml")]
    command += ["--num_processes", str(num_processes), "--num_machines", "1", "--main_process_port", "0"]
    command += [str(Path(__file__).parent / "config_worker.py"), str(folder)]
    with (folder / "log").open("w") as log:
        subprocess.run(command, env=environment(**variables), stdout=log, stderr=log, timeout=280, check=False)
    assert (folder / "found.json").exists(), (folder / "log").read_text()[-4000:]
    found = json.loads((folder / "found.json").read_text())
    assert found["num_processes"] == num_processes
    assert relative_difference(learnt(load_file(folder / "student" / "model.safetensors")), expected[0]) < 1e-2
    assert found["eval_loss"] == pytest.approx(expected[1]["eval_loss"], rel=1e-3)
    return found


@pytest.mark.slow
@pytest.mark.distributed
def test_two_processes_on_a_cpu(tmp_path, expected):
    assert check("cpu_2", 2, tmp_path, expected, ACCELERATE_USE_CPU="1")["device"] == "cpu"


@pytest.mark.gpu
@pytest.mark.parametrize("name", ["multi_gpu", "fsdp2", "deepspeed_zero1", "deepspeed_zero2"])
def test_on_the_gpus_that_there_are(tmp_path, expected, num_gpus, name):
    if num_gpus < (2 if name == "multi_gpu" else 1):
        pytest.skip(f"there are {num_gpus} GPUs")
    if name.startswith("deepspeed") and find_spec("deepspeed") is None:
        pytest.skip("DeepSpeed is not installed")
    assert check(name, min(num_gpus, 4), tmp_path, expected)["device"] == "cuda"
