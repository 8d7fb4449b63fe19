"""SIGTERM and Ctrl-C end a training after the current step, with a checkpoint."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

import torch
from accelerate import Accelerator
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_callback import CallbackHandler
from transformers.trainer_utils import SaveStrategy
from transformers.utils import logging

logger = logging.get_logger(__name__)

SIGTERM_STATUS = 128 + signal.SIGTERM  # the exit status of a process that SIGTERM ended
_STEPS_BETWEEN_AGREEMENTS = 10


@contextmanager
def stopping_on_signals(
    callbacks: CallbackHandler, accelerator: Accelerator, args: TrainingArguments
) -> Iterator[None]:
    """End a training after the current step with a checkpoint when SIGTERM or SIGINT (Ctrl-C) comes.

    SIGTERM then raises `SystemExit` with status 143, SIGINT `KeyboardInterrupt`; a second SIGINT raises it at once.
    """
    # Only the main thread can handle signals; with `enable_jit_checkpoint` Trainer handles them.
    if threading.current_thread() is not threading.main_thread() or args.enable_jit_checkpoint:
        yield
        return
    callback = _StopOnSignal(accelerator)
    handlers_before = {signal.SIGTERM: signal.signal(signal.SIGTERM, callback.request)}
    # A program in the background ignores SIGINT, and one with a handler of its own knows what to do.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        handlers_before[signal.SIGINT] = signal.signal(signal.SIGINT, callback.request)
    callbacks.add_callback(callback)
    strategy = args.save_strategy
    try:
        yield
        callback.stop_after_training(args)
    finally:
        args.save_strategy = strategy
        callbacks.remove_callback(callback)
        for number, handler in handlers_before.items():
            signal.signal(number, handler or signal.SIG_DFL)


class _StopOnSignal(TrainerCallback):
    """Ends training with a checkpoint after the step in which a signal came."""

    def __init__(self, accelerator: Accelerator) -> None:
        self.accelerator = accelerator
        self.process = os.getpid()
        self.requested: signal.Signals | None = None  # of this process
        self.agreed: signal.Signals | None = None  # of all processes

    def request(self, number: int, frame: object) -> None:
        """Note a signal."""
        if os.getpid() != self.process:  # a worker of a data loader, which inherits this handler
            if number == signal.SIGTERM:
                os._exit(SIGTERM_STATUS)
            return  # Ctrl-C reaches the workers too, and the current step can need them
        if number == signal.SIGINT and self.requested is signal.SIGINT:
            raise KeyboardInterrupt
        self.requested = signal.Signals(number)
        if number == signal.SIGINT:  # not by `print`, which the signal can have interrupted
            os.write(2, b"\nThe current step finishes, and a checkpoint is saved. Ctrl-C again stops at once.\n")

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: object
    ) -> None:
        # All processes save at the same step, and agreeing on it takes time.
        if args.world_size == 1 or state.global_step % _STEPS_BETWEEN_AGREEMENTS == 0:
            self._agree(args, control)

    def on_evaluate(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: object
    ) -> None:
        self._agree(args, control)

    def _agree(self, args: TrainingArguments, control: TrainerControl) -> None:
        number = int(self.requested or 0)
        if args.world_size > 1:
            number = int(self.accelerator.gather(torch.tensor(number, device=args.device)).max())
        if number:
            self.agreed, control.should_save = signal.Signals(number), True
            if args.save_strategy == SaveStrategy.BEST:  # which would save nothing that is not better
                args.save_strategy = SaveStrategy.STEPS

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: object) -> None:
        if self.agreed is not None:
            logger.warning(
                f"{self.agreed.name}: stopped after step {state.global_step} of {state.max_steps}, which is saved in "
                f"{args.output_dir}. `resume_from_checkpoint=True` (`--resume_from_checkpoint True`) continues there."
            )
            self.accelerator.wait_for_everyone()  # once the first process exits, the launcher ends the others
            self._stop(self.agreed)

    def stop_after_training(self, args: TrainingArguments) -> None:
        """Stop for a signal that came after the last step."""
        self._agree(args, TrainerControl())
        if self.agreed is not None:
            logger.warning(f"{self.agreed.name}: stopped after the last step of the training.")
            self._stop(self.agreed)

    @staticmethod
    def _stop(number: signal.Signals) -> NoReturn:
        if number is signal.SIGINT:
            raise KeyboardInterrupt
        raise SystemExit(SIGTERM_STATUS)
