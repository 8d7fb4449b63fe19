"""Interrupt a tiny training run many times, resume it, and print which faults it survives and what is lost.

    python benchmarks/faults.py [--kills 20] [--seed 0]

The run has much state to restore: dropout, random order of rows, schedules of learning rate and temperature,
projections with a separate optimizer group, a store of the teacher's outputs, and a best checkpoint. It survives a
fault if it ends with exactly the same weights, best step and best metric as a run without faults. The optimizer steps
that it repeats are counted as lost. Each try runs in a new process.
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
    """Writes the number of every step to a file, and performs an action at one of the steps."""

    def __init__(self, file: Path, step: int, action: Callable[[], None] | None) -> None:
        self.file, self.step, self.action = file, step, action

    def on_step_begin(self, args: Any, state: TrainerState, control: Any, **kwargs: Any) -> None:
        with self.file.open("a") as file:
            file.write(f"{state.global_step}\n")
        if self.action and state.global_step == self.step:
            self.action()


def train(folder: Path, step: int = -1, action: Callable[[], None] | None = None, **changes: Any) -> None:
    """Train in this process, from the last complete checkpoint if there is one, and save the student."""
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
    """Run a function in a new process, kill it after some seconds if asked to, and return its exit code."""
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
    """Counts the tries of each fault, each in a new folder, and compares them with a run without faults."""

    def __init__(self, home: Path) -> None:
        self.home, self.rows, self.reference = home, dict[str, list[int]](), home / "reference"
        self.reference.mkdir()
        start = time.perf_counter()
        assert in_process(lambda: train(self.reference), home / "log") == 0, (home / "log").read_text()
        self.seconds = time.perf_counter() - start

    def new(self) -> Path:
        folder = Path(tempfile.mkdtemp(dir=self.home))
        shutil.copytree(self.reference / "store", folder / "store")
        return folder

    def count(self, fault: str, folder: Path, num_tries: int = 1) -> None:
        """Resume a run, and compare its result with the reference."""
        status = in_process(lambda: train(folder), folder / "log")
        weights, expected = (
            load_file(f / "out" / "model.safetensors") if status == 0 else {} for f in (folder, self.reference)
        )
        is_same = bool(weights) and all(torch.equal(weights[name], expected[name]) for name in expected)
        is_same = is_same and (folder / "best").read_text() == (self.reference / "best").read_text()
        num_steps = len((folder / "steps").read_text().split())
        row = self.rows.setdefault(fault, [0, 0, 0])
        row[:] = [row[0] + num_tries, row[1] + num_tries * is_same, row[2] + max(0, num_steps - STEPS)]
        if not is_same:
            sys.stderr.write(f"{fault}: {(folder / 'log').read_text()[-2000:]}\n")

    def table(self) -> str:
        lines = ["| fault | tries | survived | repeated steps |", "|---|--:|--:|--:|"]
        return "\n".join(lines + [f"| {fault} | {' | '.join(map(str, row))} |" for fault, row in self.rows.items()])


def kill(tries: Tries, num_kills: int, draw: random.Random) -> None:
    """Kill one run many times at random moments: while it starts, trains, evaluates or saves."""
    folder, num_killed = tries.new(), 0
    while num_killed < num_kills:
        # Late enough for some progress, early enough for the run not to end too soon.
        status = in_process(lambda f=folder: train(f), folder / "log", draw.uniform(0.1, 0.5) * tries.seconds)
        assert status in (-signal.SIGKILL, 0), (folder / "log").read_text()[-2000:]
        if status == 0:  # the run ended before the kill: check its result, and start another run
            tries.count("SIGKILL at a random moment", folder, num_tries=0)
            folder = tries.new()
        num_killed += status != 0
        if status != 0 and num_killed == num_kills:
            tries.count("SIGKILL at a random moment", folder, num_tries=num_kills)


def damage(folder: Path, name: str) -> None:
    """Truncate a file of the last checkpoint, check that an error names it, and do what the error says."""
    last = max((folder / "out").glob("checkpoint-*"), key=lambda path: int(path.name.split("-")[1]))
    (last / name).write_bytes((last / name).read_bytes()[:-50])
    assert damaged_file(last) == last / name
    if name != "trainer_state.json":  # without this file a checkpoint counts as unfinished and is skipped
        assert in_process(lambda: train(folder), folder / "refused") == 1
        assert f"{name} is truncated" in (folder / "refused").read_text()
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
            tries.count("SIGTERM at a random step", folder)
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
            tries.count("truncated file in the last checkpoint", folder)
        for _ in range(3):
            folder, step = tries.new(), draw.randrange(STEPS)
            action = lambda f=folder: (shutil.rmtree(f / "store"), os.kill(os.getpid(), 15))  # noqa: E731
            in_process(lambda f=folder, s=step, a=action: train(f, s, a), folder / "log")
            tries.count("store of teacher outputs deleted during the run", folder)
        sys.stdout.write(f"{tries.table()}\n")


if __name__ == "__main__":
    main()
