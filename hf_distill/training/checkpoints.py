"""Checkpoints: only whole ones are resumed from, a failed one leaves nothing behind, and SIGTERM writes one."""

import json
import re
import shutil
import signal
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, cast

import torch
from safetensors import SafetensorError, safe_open
from torch import nn
from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer import TRAINER_STATE_NAME
from transformers.trainer_utils import TrainOutput
from transformers.utils import logging

from hf_distill.utils.atomic import why_not_written

logger = logging.get_logger(__name__)

SIGTERM_STATUS = 128 + signal.SIGTERM  # what a shell says of a process that SIGTERM ended
_STEPS_BETWEEN_AGREEMENTS = 10


def damaged_file(checkpoint: Path) -> Path | None:
    """Return a file of a checkpoint that is cut off or that nothing can read; None if all are whole."""
    return next((path for path in sorted(checkpoint.rglob("*")) if path.is_file() and not _is_whole(path)), None)


def _is_whole(path: Path) -> bool:
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
    """Whether the file that Trainer writes last is there and whole; if not, the process ended while it saved."""
    path = checkpoint / TRAINER_STATE_NAME
    return path.is_file() and _is_whole(path)


def _checkpoints(folder: Path) -> list[Path]:
    """Return the folders of checkpoints, the latest first."""
    steps = {
        int(found[1]): path for path in folder.glob("*") if (found := re.fullmatch(r"checkpoint-(\d+)", path.name))
    }
    return [path for _, path in sorted(steps.items(), reverse=True) if path.is_dir()]


def _last_whole(folder: Path, before: Path | None = None) -> Path | None:
    paths = _checkpoints(folder)
    paths = paths[paths.index(before) + 1 :] if before in paths else paths
    return next((path for path in paths if _is_finished(path) and damaged_file(path) is None), None)


def find_checkpoint(given: str | Literal[True], output_dir: str) -> str:
    """Return the checkpoint to resume from.

    Args:
        given: Its folder, or True for the last one in `output_dir`; those that a kill cut off are passed by.
        output_dir: Of the run.

    Raises:
        ValueError: if there is none, or it is damaged; the message names the file and what to resume from instead.
    """
    folder = Path(output_dir)
    if given is True:
        unfinished = [path for path in _checkpoints(folder) if not _is_finished(path)]
        finished = [path for path in _checkpoints(folder) if path not in unfinished]
        if not finished:
            raise ValueError(f"There is no whole checkpoint in {folder}. Leave `resume_from_checkpoint` out.")
        if unfinished:
            logger.warning(f"{', '.join(p.name for p in unfinished)}: cut off while being saved, and passed by.")
        checkpoint = finished[0]
    else:
        checkpoint = Path(given)
        if not checkpoint.is_dir():
            raise ValueError(f"There is no checkpoint {checkpoint}.")
    if (damaged := damaged_file(checkpoint)) is None:
        return str(checkpoint)
    whole = _last_whole(checkpoint.parent, checkpoint)
    instead = f"{whole} is whole: resume from it" if whole else "No earlier one is whole: start anew"
    raise ValueError(f"The checkpoint {checkpoint} is damaged: {damaged.name} is cut off or unreadable. {instead}.")


def as_flag(flag: str | None, output_dir: str) -> str | None:
    """Read `--resume_from_checkpoint`: a folder, or True for the last whole checkpoint, from the start if none is."""
    if (flag or "").lower() != "true":
        return flag
    return find_checkpoint(True, output_dir) if any(map(_is_finished, _checkpoints(Path(output_dir)))) else None


class Checkpoints(Trainer):
    """The part of [`DistillationTrainer`] that a run goes on from after whatever ended it."""

    def train(self, resume_from_checkpoint: str | bool | None = None, *args: Any, **kwargs: Any) -> TrainOutput:
        """Train, from a whole checkpoint if one is wanted."""
        if resume_from_checkpoint:
            resume_from_checkpoint = find_checkpoint(
                cast("str | Literal[True]", resume_from_checkpoint), str(self.args.output_dir)
            )
        with self._saving_on_sigterm():
            return super().train(resume_from_checkpoint, *args, **kwargs)

    @contextmanager
    def _saving_on_sigterm(self) -> Iterator[None]:
        # Only the main thread may take signals; with `enable_jit_checkpoint` Trainer does.
        if threading.current_thread() is not threading.main_thread() or self.args.enable_jit_checkpoint:
            yield
            return
        callback = _SaveOnSigterm(self)
        self.add_callback(callback)
        before = signal.signal(signal.SIGTERM, callback.ask)
        try:
            yield
        finally:
            signal.signal(signal.SIGTERM, before)
            self.remove_callback(callback)

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        """Save; of a checkpoint that cannot be written whole nothing is left.

        Raises:
            OSError: if it cannot be written; the message names the last whole one.
        """
        folder = Path(self._get_output_dir(trial=trial))
        checkpoint = folder / f"checkpoint-{self.state.global_step}"
        try:
            if self.args.should_save:  # an older one of the same step is not whole while it is written over
                (checkpoint / TRAINER_STATE_NAME).unlink(missing_ok=True)
            super()._save_checkpoint(model, trial)
        except Exception as error:
            if (why := why_not_written(error, folder)) is None:
                raise
            shutil.rmtree(checkpoint, ignore_errors=True)
            whole = _last_whole(folder)
            raise OSError(
                f"The checkpoint of step {self.state.global_step} cannot be written into {folder} ({why}). Make "
                "room, or let the folder be written to; then "
                + (f"resume from {whole}, the last whole one." if whole else "start anew: there is no earlier one.")
            ) from error


class _SaveOnSigterm(TrainerCallback):
    """Ends training after the step in which SIGTERM came, with a checkpoint."""

    def __init__(self, trainer: Trainer) -> None:
        self.accelerator = trainer.accelerator
        self.is_asked = False

    def ask(self, *signal_and_frame: object) -> None:
        self.is_asked = True

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: object
    ) -> None:
        if args.world_size > 1:  # all processes save at the same step, and asking each other takes time
            if state.global_step % _STEPS_BETWEEN_AGREEMENTS:
                return
            asked = torch.tensor(float(self.is_asked), device=args.device)
            self.is_asked = bool(self.accelerator.reduce(asked, reduction="sum") > 0)
        control.should_save |= self.is_asked

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: object) -> None:
        if self.is_asked and (args.world_size == 1 or state.global_step % _STEPS_BETWEEN_AGREEMENTS == 0):
            logger.warning(
                f"SIGTERM: stopped after step {state.global_step}, which is saved in {args.output_dir}. Go on with "
                "`resume_from_checkpoint=True` (`--resume_from_checkpoint True`)."
            )
            self.accelerator.wait_for_everyone()  # the launcher ends the others soon after the first one has gone
            raise SystemExit(SIGTERM_STATUS)
