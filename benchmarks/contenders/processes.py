"""The contenders, each set up as well as its documented interface allows, and how their processes are run."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import material
import torch
from contenders.job import Job
from safetensors.torch import load_file
from torch import Tensor

HAND = "hand-written loop, live teacher"
OUR_CACHE = "hf_distill, cached"
TIMEOUT = 600  # seconds after which a contender is stopped


@dataclass
class Contender:
    """A script in this folder, and the packages that it needs in addition to ours, the peer first."""

    name: str
    script: str
    packages: tuple[str, ...] = ()
    note: str = ""
    learns_from_teacher: bool = True


CONTENDERS = [
    Contender("Trainer, no teacher", "plain_trainer", learns_from_teacher=False, note="only cross-entropy"),
    Contender(HAND, "handwritten_loop"),
    Contender("notebook recipe", "notebook_recipe", note="`num_items_in_batch` added to its signature"),
    Contender(
        "TextBrewer",
        "textbrewer_general",
        ("textbrewer==0.2.1.post1", "tensorboardX==2.6.5", "protobuf==7.36.2"),
        "weight multiplied by T², not in its loss; logs soft cross-entropy, which is KL plus the teacher's entropy",
    ),
    Contender(
        "torchdistill",
        "torchdistill_box",
        ("torchdistill==1.1.5",),
        "`targets` passed by hand, without accelerate, torchvision stubbed; wraps models for DDP only on CUDA",
    ),
    Contender(
        "ModelOpt mtd",
        "modelopt_mtd",
        (
            "nvidia-modelopt==0.47.0",
            "omegaconf==2.4.0",
            "antlr4-python3-runtime==4.13.2",
            "nvidia-ml-py==13.615.71",
            "ninja==1.13.2",
            "pulp==3.3.2",
        ),
        'reduction="batchmean"; hand-written loop',
    ),
    Contender("silverspoon-kd", "silverspoon_response", ("silverspoon-kd==0.1.0", "peft==0.21.2")),
    Contender(
        "zynthe",
        "zynthe_toolkit",
        ("zynthe==0.2.6", "omegaconf==2.4.0", "antlr4-python3-runtime==4.13.2"),
        "without confidence weights and annealing; cosine schedule, AdamW not fused",
    ),
    Contender("hf_distill, live", "hf_distill_live"),
    Contender(OUR_CACHE, "hf_distill_cached", note="the cache is empty at the start of every run"),
]


MPNET_CONTENDERS = [
    Contender("Trainer, no teacher", "plain_trainer", learns_from_teacher=False),
    Contender(HAND, "handwritten_loop", note="token ids of both tokenizers"),
    Contender(OUR_CACHE, "hf_distill_cached", note="column `teacher_logits`, from the teacher's token ids"),
]


def peer_folder(contender: Contender) -> Path:
    """Return the folder of a contender's packages."""
    return material.WORK / "peers" / contender.script


def install_peers() -> None:
    """Install the packages of every contender. If this fails, the contender's run reports an error."""
    for contender in CONTENDERS:
        if not contender.packages:
            continue
        try:
            material.install(peer_folder(contender), *contender.packages)
        except subprocess.CalledProcessError as error:
            print(f"{contender.name} could not be installed: {error}")


def run(contender: Contender, jobs: Sequence[Job], num_processes: int = 1, **environment: str) -> None:
    """Run jobs of a contender in one process, or in several processes together; results go to the jobs' folders."""
    for job in jobs:
        shutil.rmtree(job.folder, ignore_errors=True)
        job.save()
    command = [sys.executable]
    if num_processes > 1:
        command += ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(num_processes)]
    command += [str(Path(__file__).with_name(f"{contender.script}.py")), *(job.folder for job in jobs)]
    # Threads that spin while they wait slow each other down a lot when anything else runs.
    settings = {"PYTHONPATH": str(peer_folder(contender)), "OMP_WAIT_POLICY": "passive", **environment}
    with Path(jobs[0].folder, "log.txt").open("w") as log:
        process = subprocess.Popen(
            command, env=os.environ | settings, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )
        try:
            process.wait(TIMEOUT)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            log.write(f"\nno result after {TIMEOUT} s")


def read_result(job: Job, rank: int = 0) -> dict[str, Any]:
    """Read a contender's result; if it crashed, return the last line of its log as the error."""
    path = Path(job.folder, f"result{rank}.json")
    if path.exists():
        return json.loads(path.read_text())
    log = Path(job.folder, "log.txt")
    lines = log.read_text().strip().splitlines() if log.exists() else []
    return {"error": lines[-1] if lines else "no result"}


def read_weights(job: Job, rank: int = 0) -> Tensor:
    """Return the student's final weights as one float64 vector."""
    return flatten(load_file(Path(job.folder, f"student{rank}.safetensors")))


def flatten(tensors: dict[str, Tensor]) -> Tensor:
    """Return tensors, sorted by name, as one float64 vector."""
    return torch.cat([tensors[name].detach().flatten().double() for name in sorted(tensors)])
