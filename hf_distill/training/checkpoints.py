"""Checkpoints: only complete ones are resumed from, a failed one leaves nothing behind, and SIGTERM writes one."""

import json
import re
import shutil
import signal
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import torch
from accelerate import Accelerator
from safetensors import SafetensorError, safe_open
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer import TRAINER_STATE_NAME
from transformers.trainer_callback import CallbackHandler
from transformers.utils import logging

from hf_distill.utils.atomic import describe_write_failure

logger = logging.get_logger(__name__)

SIGTERM_STATUS = 128 + signal.SIGTERM  # the exit status of a process that SIGTERM ended
_STEPS_BETWEEN_AGREEMENTS = 10


def damaged_file(checkpoint: Path) -> Path | None:
    """Return a file of a checkpoint that is truncated or unreadable; None if all are readable."""
    return next((path for path in sorted(checkpoint.rglob("*")) if path.is_file() and not _is_readable(path)), None)


def _is_readable(path: Path) -> bool:
    try:
        if path.suffix == ".safetensors":
            with safe_open(path, "pt"):
                return True
        if path.suffix == ".json":
            json.loads(path.read_text(encoding="utf-8"))
    except (SafetensorError, ValueError):
        return False
    return path.suffix not in (".pt", ".pth", ".bin") or zipfile.is_zipfile(path)


def _is_finished(checkpoint: Path) -> bool:
    """Whether the file that Trainer writes last is readable; if not, the process ended while it saved."""
    path = checkpoint / TRAINER_STATE_NAME
    return path.is_file() and _is_readable(path)


def _checkpoints(folder: Path) -> list[Path]:
    """Return the folders of checkpoints, the last step first."""
    steps = {
        int(found[1]): path for path in folder.glob("*") if (found := re.fullmatch(r"checkpoint-(\d+)", path.name))
    }
    return [path for _, path in sorted(steps.items(), reverse=True) if path.is_dir()]


def _last_complete(folder: Path, before: Path | None = None) -> Path | None:
    paths = _checkpoints(folder)
    paths = paths[paths.index(before) + 1 :] if before in paths else paths
    return next((path for path in paths if _is_finished(path) and damaged_file(path) is None), None)


def find_checkpoint(given: str | Literal[True], output_dir: str) -> str:
    """Return the checkpoint to resume from.

    Args:
        given: Its folder, or True for the last complete one in `output_dir`.
        output_dir: The output folder of the run.

    Raises:
        ValueError: if there is no such checkpoint, or it is damaged; the message names the damaged file and what to
            resume from instead.
    """
    folder = Path(output_dir)
    if given is True:
        unfinished = [path for path in _checkpoints(folder) if not _is_finished(path)]
        finished = [path for path in _checkpoints(folder) if path not in unfinished]
        if not finished:
            raise ValueError(f"There is no complete checkpoint in {folder}. Remove `resume_from_checkpoint`.")
        if unfinished:
            logger.warning(f"Skipped {', '.join(path.name for path in unfinished)}: not completely saved.")
        checkpoint = finished[0]
    else:
        checkpoint = Path(given)
        if not checkpoint.is_dir():
            raise ValueError(f"There is no checkpoint {checkpoint}.")
    if (damaged := damaged_file(checkpoint)) is None:
        return str(checkpoint)
    last = _last_complete(checkpoint.parent, checkpoint)
    remedy = f"Resume from {last}, which is complete" if last else "No earlier checkpoint is complete: start anew"
    raise ValueError(f"The checkpoint {checkpoint} is damaged: {damaged.name} is truncated or unreadable. {remedy}.")


def resolve_resume_flag(flag: str | None, output_dir: str) -> str | None:
    """Return the checkpoint that `--resume_from_checkpoint` names; for True the last complete one, if there is one."""
    if (flag or "").lower() != "true":
        return flag
    return find_checkpoint(True, output_dir) if any(map(_is_finished, _checkpoints(Path(output_dir)))) else None


@contextmanager
def complete_checkpoint(folder: Path, step: int, should_save: bool) -> Iterator[None]:
    """Leave nothing behind of a checkpoint that cannot be written completely.

    Args:
        folder: The folder of the checkpoints.
        step: Number of the optimizer step.
        should_save: Whether this process writes.

    Raises:
        OSError: if the checkpoint cannot be written; the message names the last complete one.
    """
    checkpoint = folder / f"checkpoint-{step}"
    try:
        if should_save:  # an older checkpoint of the same step is incomplete while it is overwritten
            (checkpoint / TRAINER_STATE_NAME).unlink(missing_ok=True)
        yield
    except Exception as error:
        if (why := describe_write_failure(error, folder)) is None:
            raise
        shutil.rmtree(checkpoint, ignore_errors=True)
        last = _last_complete(folder)
        raise OSError(
            f"The checkpoint of step {step} cannot be written into {folder} ({why}). Free some space, or make the "
            "folder writable; then "
            + (f"resume from {last}, the last complete one." if last else "start anew: there is no earlier one.")
        ) from error


@contextmanager
def saving_on_sigterm(callbacks: CallbackHandler, accelerator: Accelerator, args: TrainingArguments) -> Iterator[None]:
    """End a training on SIGTERM after the current step, with a checkpoint and `SystemExit` of status 143."""
    # Only the main thread can handle signals; with `enable_jit_checkpoint` Trainer handles them.
    if threading.current_thread() is not threading.main_thread() or args.enable_jit_checkpoint:
        yield
        return
    callback = _SaveOnSigterm(accelerator)
    callbacks.add_callback(callback)
    handler_before = signal.signal(signal.SIGTERM, callback.request)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, handler_before)
        callbacks.remove_callback(callback)


class _SaveOnSigterm(TrainerCallback):
    """Ends training with a checkpoint after the step in which SIGTERM came."""

    def __init__(self, accelerator: Accelerator) -> None:
        self.accelerator = accelerator
        self.is_requested = False

    def request(self, *signal_and_frame: object) -> None:
        self.is_requested = True

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: object
    ) -> None:
        if args.world_size > 1:  # all processes save at the same step, and agreeing on it takes time
            if state.global_step % _STEPS_BETWEEN_AGREEMENTS:
                return
            requested = torch.tensor(float(self.is_requested), device=args.device)
            self.is_requested = bool(self.accelerator.reduce(requested, reduction="sum") > 0)
        control.should_save |= self.is_requested

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: object) -> None:
        if self.is_requested and (args.world_size == 1 or state.global_step % _STEPS_BETWEEN_AGREEMENTS == 0):
            logger.warning(
                f"SIGTERM: stopped after step {state.global_step}, which is saved in {args.output_dir}. Continue with "
                "`resume_from_checkpoint=True` (`--resume_from_checkpoint True`)."
            )
            self.accelerator.wait_for_everyone()  # once the first process exits, the launcher ends the others
            raise SystemExit(SIGTERM_STATUS)
