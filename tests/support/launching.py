"""Start several gloo processes on this machine."""

import os
import socket
import subprocess
import sys
from collections.abc import Callable
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

from accelerate.state import AcceleratorState
from forked import start_forked


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def fork(num_processes: int, action: Callable[[], Any], folder: Path) -> None:
    """Call a function in copies of this process that form a group, as a launcher would start them.

    Raises:
        AssertionError: if a process fails; the other processes are then killed.
    """
    port = free_port()
    processes = []
    for rank in range(num_processes):
        (folder / f"log-{rank}").mkdir()
        processes.append(
            start_forked(lambda rank=rank: _run(action, rank, num_processes, port), folder / f"log-{rank}")
        )
    running = {process.sentinel: process for process in processes}
    try:
        while running:
            for sentinel in wait(list(running), timeout=240) or [None]:
                process = running.pop(sentinel)
                process.join()
                log = folder / f"log-{processes.index(process)}" / "stderr"
                assert process.exitcode == 0, log.read_text()[-4000:]
    finally:
        for process in running.values():
            process.kill()


def _run(action: Callable[[], Any], rank: int, num_processes: int, port: int) -> None:
    os.environ |= {
        "RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(num_processes),
        "LOCAL_WORLD_SIZE": str(num_processes), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port),
        "ACCELERATE_USE_CPU": "1",
    }  # fmt: skip
    AcceleratorState._reset_state(reset_partial_state=True)  # the tests before were one process
    action()
    sys.stdout.flush()
    # Ending the process group while trainers still hold DistributedDataParallel models can hang in their destructors.
    os._exit(0)


def start(num_processes: int, script: str, folder: Path, *arguments: str) -> subprocess.Popen:
    """Start `accelerate launch` on the CPU; without `--multi_gpu` it would silently run a single process."""
    command = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_machines", "1"]
    command += ["--num_processes", str(num_processes), "--mixed_precision", "no", "--dynamo_backend", "no"]
    command += ["--main_process_port", str(free_port()), str(Path(__file__).parent / script), str(folder), *arguments]
    environment = {**os.environ, "ACCELERATE_USE_CPU": "1", "OMP_NUM_THREADS": "1"}
    with (folder / "log").open("w") as log:
        return subprocess.Popen(command, env=environment, stdout=log, stderr=subprocess.STDOUT)
