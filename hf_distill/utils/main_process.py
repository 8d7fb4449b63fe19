"""Run a function on the main process, and share its result."""

from collections.abc import Callable
from typing import Any, TypeVar

from accelerate import PartialState
from accelerate.utils import broadcast_object_list

_Result = TypeVar("_Result")


def on_main_process(function: Callable[[], _Result]) -> _Result:
    """Call a function on the main process, and return its result or raise its error on every process.

    All processes must call this together. They wait for the main process at most for the timeout of the process group,
    `ddp_timeout`.

    Args:
        function: A function without arguments. Its result must be picklable.

    Raises:
        Exception: what the function raises; a RuntimeError with its message if its class is not one of Python.
    """
    state = PartialState()
    outcome: Any = None
    if state.num_processes == 1:
        return function()
    if state.is_main_process:
        try:
            outcome = function()
        except Exception as error:  # the other processes wait
            outcome = _Raised(_portable(error))
    shared = broadcast_object_list([outcome])[0]
    if isinstance(shared, _Raised):
        raise shared.error
    return shared


class _Raised:
    def __init__(self, error: Exception) -> None:
        self.error = error


def _portable(error: Exception) -> Exception:
    """Return the error if every process can make it anew: errors of other packages can need more than a message."""
    return error if type(error).__module__ == "builtins" else RuntimeError(f"{type(error).__name__}: {error}")
