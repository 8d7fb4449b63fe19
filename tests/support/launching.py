"""Starting a script of the tests in several gloo processes on this machine."""

import os
import socket
import subprocess
import sys
from pathlib import Path


def start(num_processes: int, script: str, folder: Path, *arguments: str) -> subprocess.Popen:
    """Start `accelerate launch` on the CPU; without `--multi_gpu` it would silently run a single process."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_machines", "1"]
    command += ["--num_processes", str(num_processes), "--mixed_precision", "no", "--dynamo_backend", "no"]
    command += ["--main_process_port", str(port), str(Path(__file__).parent / script), str(folder), *arguments]
    environment = {**os.environ, "ACCELERATE_USE_CPU": "1", "OMP_NUM_THREADS": "1"}
    with (folder / "log").open("w") as log:
        return subprocess.Popen(command, env=environment, stdout=log, stderr=subprocess.STDOUT)
