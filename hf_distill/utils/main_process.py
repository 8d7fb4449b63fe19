"""Work that one process does for all."""

from collections.abc import Callable
from typing import Any, TypeVar

from accelerate import PartialState
from accelerate.utils import broadcast_object_list

_Result = TypeVar("_Result")


def on_main_process(function: Callable[[], _Result]) -> _Result:
    """Call a function on the main process, and return its result or raise its error on every process.

    All processes must call this together, or the others wait forever for a process that does not come.

    Args:
        function: One without arguments, whose result and errors can be pickled.

    Raises:
        Exception: what the function raises.
    """
    outcome: Any = None
    if PartialState().is_main_process:
        try:
            outcome = function()
        except Exception as error:  # the other processes wait for it
            outcome = _Raised(error)
    outcome = broadcast_object_list([outcome])[0]
    if isinstance(outcome, _Raised):
        raise outcome.error
    return outcome


class _Raised:
    def __init__(self, error: Exception) -> None:
        self.error = error
