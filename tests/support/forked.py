"""Run code in a copy of this process. The copy has all imports, which take a new process ten seconds."""

import logging
import multiprocessing
import os
import sys
import tempfile
import warnings
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

_FORK = multiprocessing.get_context("fork")


def start_forked(action: Callable[[], Any], output: Path, *, new_session: bool = False) -> BaseProcess:
    """Start a copy of this process that calls a function.

    Args:
        action: The function. The exit status of the copy is the one of `SystemExit`, and 1 after another exception.
        output: Folder for the files `stdout` and `stderr`.
        new_session: Whether the copy leads a session, so that a signal to its group does not reach the tests.
    """
    process = _FORK.Process(target=_run, args=(action, output, new_session))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python warns because this process has idle threads
        process.start()
    return process


def run_forked(action: Callable[[], Any], *, new_session: bool = False) -> CompletedProcess:
    """Call a function in a copy of this process, and return its exit status and what it printed."""
    with tempfile.TemporaryDirectory() as folder:
        process = start_forked(action, Path(folder), new_session=new_session)
        process.join(240)
        if process.is_alive():
            process.kill()
            process.join()
        printed = [Path(folder, name).read_text() for name in ("stdout", "stderr")]
        return CompletedProcess([], process.exitcode, *printed)


def _run(action: Callable[[], Any], output: Path, new_session: bool) -> None:
    if new_session:
        os.setsid()
    for descriptor, name in ((1, "stdout"), (2, "stderr")):
        with (output / name).open("w") as file:
            os.dup2(file.fileno(), descriptor)
        setattr(sys, name, os.fdopen(descriptor, "w", closefd=False))
    _log_to(sys.stderr)
    action()


def _log_to(stream: Any) -> None:
    """Let loggers write to a stream, not to where pytest collects what this process writes."""
    logging.root.handlers.clear()
    for logger in map(logging.getLogger, logging.root.manager.loggerDict):
        for handler in logger.handlers:
            if type(handler) is logging.StreamHandler:
                handler.stream = stream  # `setStream` would flush the old one, which an earlier test can have closed
