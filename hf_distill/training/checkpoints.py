"""The checkpoints of a run: which one it is resumed from, and what is written beside each of them."""

import re
import shutil
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

from accelerate import PartialState
from transformers import TrainerState
from transformers.trainer import TRAINER_STATE_NAME
from transformers.utils import logging

from hf_distill.training.checkpoint_files import RUN_NAME, CheckpointInfo, damaged_file, is_finished, read_info
from hf_distill.training.run_fingerprint import RunFingerprint
from hf_distill.utils.atomic import describe_write_failure
from hf_distill.utils.main_process import on_main_process

logger = logging.get_logger(__name__)


class RunCheckpoints:
    """Finds the checkpoint that a training is resumed from, and marks every checkpoint that it writes as its own.

    Args:
        make_fingerprint: Makes the fingerprint of the run. Only the main process calls it, once, when the run is
            resumed or first saved.

    Attributes:
        run: Random name of the run; a resumed training keeps the name.
        resumed_with: For each time that the run was resumed with other settings, the step and the changes.
        has_changed: Whether this time is one of them.
    """

    def __init__(self, make_fingerprint: Callable[[], RunFingerprint]) -> None:
        self._make_fingerprint = make_fingerprint
        self._fingerprint: RunFingerprint | None = None
        self.run, self.resumed_with = uuid.uuid4().hex, list[dict[str, Any]]()
        self.has_changed = False

    def _share_fingerprint(self) -> RunFingerprint:
        """Return the fingerprint; all processes must call it together."""
        if self._fingerprint is None:
            self._fingerprint, self.run = on_main_process(lambda: (self._make_fingerprint(), self.run))
        return cast(RunFingerprint, self._fingerprint)

    # ---- Resuming ----

    def find(self, given: str | bool | None, output_dir: str) -> str | None:
        """Return the checkpoint to resume from, the same on all processes; None to start anew.

        Args:
            given: The folder of a checkpoint; True for the newest checkpoint of this run in `output_dir`, if there is
                one; False or None to start anew. The words "True" and "False" of a command line mean the same.
            output_dir: The output folder of the run.

        Raises:
            ValueError: for a checkpoint that does not exist, is damaged, belongs to another run or was saved with
                `save_only_model`, and if there are only such checkpoints. The message says what is wrong and what to
                do.
        """
        flag = {"true": True, "false": False}.get(str(given).lower(), given)
        if not flag:
            return None
        self._share_fingerprint()

        def find() -> Any:
            path = self._newest(Path(output_dir)) if flag is True else self._checked(Path(str(flag)))
            _check_has_training_state(path)
            return None if path is None else (str(path), *self._take_up(path))

        if (found := on_main_process(find)) is None:
            return None
        checkpoint, self.run, self.resumed_with, self.has_changed = found
        return checkpoint

    def newest(self, output_dir: str) -> str | None:
        """Return the newest checkpoint of this run in a folder; None if there is none, whatever else is there."""
        try:
            return self.find(True, output_dir)
        except ValueError as error:
            logger.warning(f"{error} This training starts anew.")
            return None

    def _newest(self, folder: Path) -> Path | None:
        this_run: list[tuple[float, Path]] = []
        others, damaged = list[str](), list[str]()
        for path in _checkpoints(folder):
            if not is_finished(path):
                logger.warning(f"Skipped {path}: it was not saved completely.")
                continue
            try:
                info = read_info(path)
            except ValueError:
                damaged.append(f"{path.name} ({RUN_NAME})")
                continue
            if reason := self._foreign(info):
                others.append(f"{path} {reason}")
            elif info is not None:
                this_run.append((info.saved_at, path))
        for _, path in sorted(this_run, reverse=True):
            if (file := damaged_file(path)) is None:
                if damaged:
                    logger.warning(f"Skipped damaged checkpoints: {', '.join(damaged)}. Resumes from {path.name}.")
                return path
            damaged.append(f"{path.name} ({file.relative_to(path)})")
        if damaged:
            raise ValueError(
                f"All checkpoints of this run in {folder} are damaged: {', '.join(damaged)} are missing or changed. "
                "Start anew without `resume_from_checkpoint`."
            )
        if others:
            raise ValueError(f"{others[0]} {_REMEDY}")
        logger.warning(f"There is no checkpoint in {folder}, so this training starts anew.")
        return None

    def _foreign(self, info: CheckpointInfo | None) -> str | None:
        """Say why a checkpoint does not belong to this run; None if it does."""
        if info is None:
            return (
                f"has no {RUN_NAME}: another program or an older version of hf_distill wrote it, so it is not known "
                "whether it belongs to this run. If it does, name its folder as `resume_from_checkpoint`."
            )
        if differences := self._share_fingerprint().differences(info.identity):
            return f"belongs to another run; what differs is {', and '.join(differences)}."
        return None

    def _checked(self, checkpoint: Path) -> Path:
        if not checkpoint.is_dir():
            raise ValueError(f"There is no checkpoint {checkpoint}.")
        if (file := damaged_file(checkpoint)) is not None or not is_finished(checkpoint):
            file = file or checkpoint / TRAINER_STATE_NAME
            last = self._last_complete(checkpoint.parent, checkpoint)
            remedy = (
                f"Resume from {last}, which is complete" if last else "No earlier checkpoint is complete: start anew"
            )
            raise ValueError(
                f"The checkpoint {checkpoint} is damaged: {file.relative_to(checkpoint)} is missing, truncated or "
                f"changed. {remedy}."
            )
        info = read_info(checkpoint)
        if info is None:
            logger.warning(f"{checkpoint} has no {RUN_NAME}: whether it belongs to this run cannot be checked.")
        elif reason := self._foreign(info):
            raise ValueError(f"{checkpoint} {reason} {_REMEDY}")
        return checkpoint

    def _take_up(self, checkpoint: Path) -> tuple[str, list[dict[str, Any]], bool]:
        """Return the run's name, the changes of settings in all resumptions, and whether there are changes now."""
        info, fingerprint = read_info(checkpoint), self._share_fingerprint()
        if info is None:
            return self.run, [], False
        if fingerprint.identity["training rows"] is None:
            logger.warning(
                "The training rows are streamed or not a `datasets.Dataset`, so whether they are the rows that "
                f"{checkpoint} was trained on is not known."
            )
        changes = fingerprint.changes(info.settings)
        if not changes:
            return info.run, info.resumed_with, False
        texts = (f"{name} {before} -> {now}" for name, (before, now) in changes.items())
        logger.warning(f"Resumes from {checkpoint} with other settings: {', '.join(texts)}.")
        return info.run, [*info.resumed_with, {"step": info.step, **changes}], True

    def _last_complete(self, folder: Path, before: Path | None = None) -> Path | None:
        """Return the last complete checkpoint of this run, of those before another one if it is given."""
        paths = _checkpoints(folder)
        paths = paths[paths.index(before) + 1 :] if before in paths else paths
        complete = (path for path in paths if is_finished(path) and damaged_file(path) is None)
        return next((path for path in complete if self._foreign(read_info(path)) is None), None)

    # ---- Saving ----

    def forget_choice(self) -> None:
        """Let checkpoints that are saved from now on be resumed with another rule for the best checkpoint."""
        self._share_fingerprint()
        if self._fingerprint is not None:
            self._fingerprint = self._fingerprint.without_choice()

    @contextmanager
    def saving(self, folder: Path, state: TrainerState, should_save: bool, is_sharded: bool) -> Iterator[None]:
        """Mark a checkpoint while it is being written, and leave nothing behind if it cannot be written completely.

        Args:
            folder: The folder of the checkpoints.
            state: The Trainer's.
            should_save: Whether this process writes.
            is_sharded: Whether the weights are shared out over the processes. Their files get no checksums, because
                one process would have to read what all have written.

        Raises:
            OSError: if the checkpoint cannot be written; the message names the last complete one.
        """
        checkpoint = folder / f"checkpoint-{state.global_step}"
        self._share_fingerprint()
        try:
            info = self._begin(checkpoint, state.global_step) if should_save else None
            PartialState().wait_for_everyone()  # all write into the new folder
            best_before = state.best_model_checkpoint
            yield
            self._check_best(state, best_before, checkpoint if should_save else None)
            PartialState().wait_for_everyone()
            if info is not None and not is_sharded:
                info.with_checksums(checkpoint).write(checkpoint)
        except Exception as error:
            if (why := describe_write_failure(error, folder)) is None:
                raise
            shutil.rmtree(checkpoint, ignore_errors=True)
            last = self._last_complete(folder)
            raise OSError(
                f"The checkpoint of step {state.global_step} cannot be written into {folder} ({why}). Free some "
                "space, or make the folder writable; then "
                + (f"resume from {last}, the last complete one." if last else "start anew: there is no earlier one.")
            ) from error

    def _begin(self, checkpoint: Path, step: int) -> CheckpointInfo:
        shutil.rmtree(checkpoint, ignore_errors=True)  # another run's files must not mix with those written now
        checkpoint.mkdir(parents=True)
        run = self._share_fingerprint()
        info = CheckpointInfo(self.run, step, time.time(), run.identity, run.settings, self.resumed_with)
        info.write(checkpoint)
        return info

    def _check_best(self, state: TrainerState, best_before: str | None, checkpoint: Path | None) -> None:
        """Keep Trainer from taking another run's checkpoint for the best of this run.

        Trainer takes the folder whose number is the best step, also if this run saved no checkpoint at that step.
        """
        best = state.best_model_checkpoint
        if best is None or best == best_before or self.wrote(best):
            return
        state.best_model_checkpoint = best_before
        if checkpoint is not None:
            state.save_to_json(str(checkpoint / TRAINER_STATE_NAME))

    def wrote(self, checkpoint: str) -> bool:
        """Whether this run has written a checkpoint."""
        try:
            info = read_info(Path(checkpoint))
        except ValueError:
            return False
        return info is not None and info.run == self.run


_REMEDY = (
    "Choose another `output_dir` for this run, or leave `resume_from_checkpoint` out to start anew there. To go on "
    "from the weights of that checkpoint alone, pass its folder as the student."
)


def _check_has_training_state(checkpoint: Path | None) -> None:
    """Refuse a checkpoint with nothing but weights: Trainer would start the schedule anew in the middle of the run."""
    if checkpoint is not None and not [*checkpoint.glob("optimizer*"), *checkpoint.glob("rng_state*")]:
        raise ValueError(
            f"{checkpoint} has no state of optimizer and schedule (it was saved with `save_only_model`), so the "
            "run cannot go on from it. Start anew without `resume_from_checkpoint`; to start from the weights of that "
            "checkpoint, pass its folder as the student."
        )


def _checkpoints(folder: Path) -> list[Path]:
    """Return the folders of checkpoints, the last step first."""
    steps = {
        int(match[1]): path for path in folder.glob("*") if (match := re.fullmatch(r"checkpoint-(\d+)", path.name))
    }
    return [path for _, path in sorted(steps.items(), reverse=True) if path.is_dir()]
