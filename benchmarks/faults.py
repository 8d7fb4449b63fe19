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
from functools import partial
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
from hf_distill.training.checkpoint_files import damaged_file

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


def train(
    folder: Path, step: int = -1, action: Callable[[], None] | None = None, resumes: bool = True, **changes: Any
) -> None:
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
    trainer.train(resume_from_checkpoint=resumes)
    trainer.save_model()
    state = trainer.state
    (folder / "best").write_text(f"{state.best_global_step} {state.best_metric!r} {state.global_step}")


def in_process(
    function: Callable[[], None], log: Path, kill_after: float | None = None, new_group: bool = False
) -> int:
    """Run a function in a new process, kill it after some seconds if asked to, and return its exit code."""
    if (child := os.fork()) == 0:
        status = 1
        if new_group:
            os.setpgid(0, 0)
        try:
            with log.open("a") as file:
                os.dup2(file.fileno(), 1)
                os.dup2(file.fileno(), 2)
            function()
            status = 0
        except SystemExit as stopped:
            status = int(stopped.code or 0)
        except KeyboardInterrupt:
            status = 130
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


def last_checkpoint(folder: Path) -> Path:
    """Return the checkpoint with the highest number."""
    return max((folder / "out").glob("checkpoint-*"), key=lambda path: int(path.name.split("-")[1]))


def damage_last_checkpoints(tries: Tries) -> None:
    """Truncate each file of the last checkpoint, and flip a bit in it; the run resumes from the checkpoint before."""
    killed = tries.new()
    in_process(lambda: train(killed, 30, lambda: os.kill(os.getpid(), signal.SIGKILL)), killed / "log")
    for name in sorted(path.name for path in last_checkpoint(killed).iterdir() if path.is_file()):
        for fault in ("truncated file in the last checkpoint", "flipped bit in the last checkpoint"):
            folder = Path(tempfile.mkdtemp(dir=tries.home))
            shutil.copytree(killed, folder, dirs_exist_ok=True)
            path = last_checkpoint(folder) / name
            content = bytearray(path.read_bytes())
            content[len(content) // 2] ^= 1
            path.write_bytes(content if fault.startswith("flipped") else content[: len(content) // 2])
            assert damaged_file(path.parent) == path
            tries.count(fault, folder)


def train_twice_at_once(tries: Tries, step: int) -> None:
    """Start a second training into the folder of a running one; the second must be refused, and change nothing."""
    folder = tries.new()

    def start_second() -> None:
        assert in_process(lambda: train(folder), folder / "second") == 1
        assert "Another training writes into" in (folder / "second").read_text()

    assert in_process(lambda: train(folder, step, start_second), folder / "log") == 0, (folder / "log").read_text()
    tries.count("second training into the same folder", folder)


def mix_runs(tries: Tries) -> None:
    """Let another run write a checkpoint with a higher number; the killed run resumes from one of its own."""
    folder = tries.new()
    in_process(lambda: train(folder, 30, lambda: os.kill(os.getpid(), signal.SIGKILL)), folder / "log")
    steps = (folder / "steps").read_text()
    other: dict[str, Any] = {"objectives": {"ce": 1.0}, "cache_teacher_outputs": False, "save_total_limit": None}
    last = {"max_steps": STEPS + 4, "save_steps": STEPS + 4, "eval_steps": STEPS + 4}
    assert in_process(lambda: train(folder, resumes=False, **other, **last), folder / "log") == 0
    (folder / "steps").write_text(steps)
    tries.count("later checkpoint of another run in the folder", folder)


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
        for fault, number, expected in (("SIGTERM", signal.SIGTERM, 143), ("Ctrl-C", signal.SIGINT, 130)):
            for _ in range(5):
                folder, step = tries.new(), draw.randrange(STEPS)
                action = partial(os.kill, 0, number)  # the whole process group, as a terminal does
                status = in_process(lambda f=folder, s=step, a=action: train(f, s, a), folder / "log", new_group=True)
                assert status == expected, (folder / "log").read_text()[-2000:]
                tries.count(f"{fault} at a random step", folder)
        damage_last_checkpoints(tries)
        for _ in range(3):
            train_twice_at_once(tries, draw.randrange(STEPS))
        mix_runs(tries)
        for _ in range(3):
            folder, step = tries.new(), draw.randrange(STEPS)
            action = lambda f=folder: (shutil.rmtree(f / "store"), os.kill(os.getpid(), 15))  # noqa: E731
            in_process(lambda f=folder, s=step, a=action: train(f, s, a), folder / "log")
            tries.count("store of teacher outputs deleted during the run", folder)
        sys.stdout.write(f"{tries.table()}\n")


if __name__ == "__main__":
    main()
