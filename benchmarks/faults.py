"""Disturbs a tiny training again and again, lets it go on, and prints what was survived and what was lost.

    python benchmarks/faults.py [--kills 20] [--seed 0]

The run has what must be brought back: dropout, random order, a schedule of the learning rate and one of the
temperature, projections with an optimiser group of their own, a store of the teacher's outputs, and a best checkpoint.
A try is survived if the run ends with the weights, the best step and the best metric of one that nothing disturbed,
bit for bit. Lost are the optimiser steps that had to be taken again. Each try is a process of its own.
"""

import argparse
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ |= {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "support"))

import torch
from safetensors.torch import load_file
from tiny import tiny_dataset, tiny_model, tiny_tokenizer
from transformers import TrainerCallback, TrainerState, set_seed
from transformers.utils import logging

from hf_distill import DistillationTrainer, DistillationTrainingArguments
from hf_distill.training.checkpoints import damaged_file, resolve_resume_flag

STEPS = 60


class Progress(TrainerCallback):
    """Writes down every step that is begun, and does something at one of them."""

    def __init__(self, file: Path, step: int, action: Callable[[], None] | None) -> None:
        self.file, self.step, self.action = file, step, action

    def on_step_begin(self, args: Any, state: TrainerState, control: Any, **kwargs: Any) -> None:
        with self.file.open("a") as file:
            file.write(f"{state.global_step}\n")
        if self.action and state.global_step == self.step:
            self.action()


def train(folder: Path, step: int = -1, action: Callable[[], None] | None = None, **changes: Any) -> None:
    """Train in this process, from the last whole checkpoint if there is one, and save the student."""
    set_seed(0)
    out, tokenizer = str(folder / "out"), tiny_tokenizer()
    settings: dict[str, Any] = {
        "objectives": {
            "kl": {"temperature": {"schedule": "linear", "start": 4.0, "end": 1.0}}, "ce": 0.1, "pkd": 0.5,
        },
        "max_steps": STEPS, "per_device_train_batch_size": 4, "gradient_accumulation_steps": 2, "learning_rate": 5e-3,
        "eval_strategy": "steps", "eval_steps": 4, "save_strategy": "steps", "save_steps": 4, "save_total_limit": 3,
        "load_best_model_at_end": True, "cache_teacher_outputs": True, "teacher_cache_dir": str(folder / "store"),
        "logging_steps": 4, "use_cpu": True, "report_to": "none", "disable_tqdm": True, "max_grad_norm": 1.0,
    }  # fmt: skip
    rows = tiny_dataset(tokenizer, 64)
    trainer = DistillationTrainer(
        tiny_model(2, seed=2, hidden_size=8, hidden_dropout_prob=0.1), tiny_model(4, seed=1),
        DistillationTrainingArguments(out, **{**settings, **changes}), train_dataset=rows,
        eval_dataset=tiny_dataset(tokenizer, 16, seed=1), processing_class=tokenizer,
        callbacks=[Progress(folder / "steps", step, action)],
    )  # fmt: skip
    trainer.train(resume_from_checkpoint=resolve_resume_flag("True", out))
    trainer.save_model()
    state = trainer.state
    (folder / "best").write_text(f"{state.best_global_step} {state.best_metric!r} {state.global_step}")


def in_process(function: Callable[[], None], log: Path, kill_after: float | None = None) -> int:
    """Run in a process of its own, killed after some seconds if it has not ended; return its exit code."""
    if (child := os.fork()) == 0:
        status = 1
        try:
            with log.open("a") as file:
                os.dup2(file.fileno(), 1)
                os.dup2(file.fileno(), 2)
            function()
            status = 0
        except SystemExit as stopped:
            status = int(stopped.code or 0)
        except BaseException as error:
            os.write(2, f"{type(error).__name__}: {error}\n".encode())
        finally:
            os._exit(status)
    if kill_after is not None:
        time.sleep(kill_after)
        os.kill(child, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


class Tries:
    """Counts tries of faults, each in a folder of its own, against a run that nothing disturbed."""

    def __init__(self, home: Path) -> None:
        self.home, self.rows, self.whole = home, dict[str, list[int]](), home / "whole"
        self.whole.mkdir()
        start = time.perf_counter()
        assert in_process(lambda: train(self.whole), home / "log") == 0, (home / "log").read_text()
        self.seconds = time.perf_counter() - start

    def new(self) -> Path:
        folder = Path(tempfile.mkdtemp(dir=self.home))
        shutil.copytree(self.whole / "store", folder / "store")
        return folder

    def count(self, fault: str, folder: Path, num_tries: int = 1) -> None:
        """Let a run go on to its end, and compare."""
        status = in_process(lambda: train(folder), folder / "log")
        files = ("model.safetensors",)
        ours, theirs = (load_file(f / "out" / files[0]) if status == 0 else {} for f in (folder, self.whole))
        is_same = bool(ours) and all(torch.equal(ours[name], theirs[name]) for name in theirs)
        is_same = is_same and (folder / "best").read_text() == (self.whole / "best").read_text()
        taken = len((folder / "steps").read_text().split())
        row = self.rows.setdefault(fault, [0, 0, 0])
        row[:] = [row[0] + num_tries, row[1] + num_tries * is_same, row[2] + max(0, taken - STEPS)]
        if not is_same:
            sys.stderr.write(f"{fault}: {(folder / 'log').read_text()[-2000:]}\n")

    def table(self) -> str:
        lines = ["| fault | tried | survived | steps taken again |", "|---|--:|--:|--:|"]
        return "\n".join(lines + [f"| {fault} | {' | '.join(map(str, row))} |" for fault, row in self.rows.items()])


def kill(tries: Tries, num_kills: int, draw: random.Random) -> None:
    """Kill one run again and again, at any moment: while it starts, steps, evaluates or saves."""
    folder, done = tries.new(), 0
    while done < num_kills:
        # Late enough to get on, early enough for the run to last.
        status = in_process(lambda f=folder: train(f), folder / "log", draw.uniform(0.1, 0.5) * tries.seconds)
        assert status in (-signal.SIGKILL, 0), (folder / "log").read_text()[-2000:]
        if status == 0:  # it was faster: it must stay as it is, and another one is killed
            tries.count("SIGKILL at a random moment", folder, num_tries=0)
            folder = tries.new()
        done += status != 0
        if status != 0 and done == num_kills:
            tries.count("SIGKILL at a random moment", folder, num_tries=num_kills)


def damage(folder: Path, name: str) -> None:
    """Cut a file of the last checkpoint in two, see that it is refused by name, and do as the message says."""
    last = max((folder / "out").glob("checkpoint-*"), key=lambda path: int(path.name.split("-")[1]))
    (last / name).write_bytes((last / name).read_bytes()[:-50])
    assert damaged_file(last) == last / name
    if name != "trainer_state.json":  # without that one it counts as never finished, and is passed by
        assert in_process(lambda: train(folder), folder / "refused") == 1
        assert f"{name} is cut off" in (folder / "refused").read_text()
        shutil.rmtree(last)


def main() -> None:
    """Try every fault and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    draw = random.Random(args.seed)
    torch.set_num_threads(1)
    logging.set_verbosity_error()
    with tempfile.TemporaryDirectory() as home:
        tries = Tries(Path(home))
        kill(tries, args.kills, draw)
        for _ in range(5):
            folder = tries.new()
            step = draw.randrange(STEPS)
            status = in_process(lambda f=folder, s=step: train(f, s, lambda: os.kill(os.getpid(), 15)), folder / "log")
            assert status == 143, (folder / "log").read_text()[-2000:]
            tries.count("SIGTERM in a random step", folder)
        for name in (
            "model.safetensors",
            "optimizer.pt",
            "objectives.safetensors",
            "rng_state.pth",
            "trainer_state.json",
        ):
            folder = tries.new()
            in_process(lambda f=folder: train(f, 30, lambda: os.kill(os.getpid(), 9)), folder / "log")
            damage(folder, name)
            tries.count("a file of the last checkpoint cut off", folder)
        for _ in range(3):
            folder, step = tries.new(), draw.randrange(STEPS)
            action = lambda f=folder: (shutil.rmtree(f / "store"), os.kill(os.getpid(), 15))  # noqa: E731
            in_process(lambda f=folder, s=step, a=action: train(f, s, a), folder / "log")
            tries.count("store of the teacher deleted while running", folder)
        sys.stdout.write(f"{tries.table()}\n")


if __name__ == "__main__":
    main()
