"""Progress bars with the title of the stage, an estimate of its time, and logs without numbers that never change."""

import time
from collections.abc import Iterable
from typing import Any

from tqdm.auto import tqdm
from transformers import PrinterCallback, ProgressCallback, Trainer, TrainerCallback

from hf_distill.utils.stages import current_title

# The first steps are slower than the others: memory is allocated, and kernels are compiled.
_FIRST_TIMED_STEP, _NUM_TIMED_STEPS = 3, 10
_LEAST_SECONDS = 60.0  # a shorter stage needs no estimate


class ChangedNumbers:
    """Leaves out of a log the hyperparameters of the loss that have not changed since the last log.

    Args:
        names: Names of the hyperparameters, such as `kl_weight`.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self._names = frozenset(names)
        self._last: dict[str, Any] = {}

    def shown(self, logs: dict[str, Any]) -> dict[str, Any]:
        """Return the entries to show. The first value of a hyperparameter is in the arguments, so it is left out."""
        numbers = {name: value for name, value in logs.items() if name in self._names}
        unchanged = {name for name, value in numbers.items() if self._last.get(name, value) == value}
        self._last |= numbers
        return {name: value for name, value in logs.items() if name not in unchanged}


class StageProgress(ProgressCallback):
    """Trainer's progress bar with a title, an estimate after the first steps, and shorter logs.

    Args:
        numbers: Which entries of a log are shown.
    """

    def __init__(self, numbers: ChangedNumbers) -> None:
        super().__init__()
        self._numbers = numbers
        self._start = 0.0

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Open the bar."""
        self.current_step, self._first_step = 0, state.global_step
        if state.is_world_process_zero:
            self.training_bar = tqdm(total=state.max_steps, desc=current_title() or None, dynamic_ncols=True)

    def on_prediction_step(
        self, args: Any, state: Any, control: Any, eval_dataloader: Any = None, **kwargs: Any
    ) -> None:
        """Open or advance the bar of an evaluation."""
        is_first = self.prediction_bar is None
        super().on_prediction_step(args, state, control, eval_dataloader=eval_dataloader, **kwargs)
        if is_first and self.prediction_bar is not None:
            self.prediction_bar.set_description("evaluation")

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Advance the bar, and estimate the time once."""
        super().on_step_end(args, state, control, **kwargs)
        num_steps = state.global_step - self._first_step
        if num_steps == _FIRST_TIMED_STEP:
            self._start = time.monotonic()
        if num_steps == _FIRST_TIMED_STEP + _NUM_TIMED_STEPS and self.training_bar is not None:
            seconds = (time.monotonic() - self._start) / _NUM_TIMED_STEPS * (state.max_steps - state.global_step)
            if seconds >= _LEAST_SECONDS:
                self.training_bar.write(f"{current_title() or 'Training'}: about {describe_duration(seconds)} left.")

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **kwargs: Any) -> None:
        """Print a log above the bar."""
        super().on_log(args, state, control, logs=self._numbers.shown(logs or {}), **kwargs)


class StagePrinter(PrinterCallback):
    """Trainer's printer of logs for runs without progress bars, with shorter logs.

    Args:
        numbers: Which entries of a log are shown.
    """

    def __init__(self, numbers: ChangedNumbers) -> None:
        self._numbers = numbers

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **kwargs: Any) -> None:
        """Print a log."""
        super().on_log(args, state, control, logs=self._numbers.shown(logs or {}), **kwargs)


def replace_progress(trainer: Trainer, names: Iterable[str]) -> None:
    """Replace Trainer's progress bar or printer by ours; callbacks of the user and of notebooks stay.

    Args:
        trainer: The Trainer.
        names: Names of the hyperparameters of the loss in logs.
    """
    numbers = ChangedNumbers(names)
    ours: dict[type[TrainerCallback], TrainerCallback] = {
        ProgressCallback: StageProgress(numbers),
        PrinterCallback: StagePrinter(numbers),
    }
    callbacks = trainer.callback_handler.callbacks
    callbacks[:] = [ours.get(type(callback), callback) for callback in callbacks]


def describe_duration(seconds: float) -> str:
    """Return "90 seconds", "12 minutes" or "3.5 hours"."""
    if seconds < 100:
        return f"{seconds:.0f} seconds"
    return f"{seconds / 60:.0f} minutes" if seconds < 100 * 60 else f"{seconds / 3600:.1f} hours"
