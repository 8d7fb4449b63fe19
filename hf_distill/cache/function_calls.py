"""Call the function of a teacher, again after an exception, and count what it was asked."""

import time
from typing import Any

import numpy as np
from transformers.utils import logging

from hf_distill.teachers import FunctionTeacher

logger = logging.get_logger(__name__)

FIRST_WAIT, LONGEST_WAIT = 1.0, 60.0  # seconds before the first further call, and at most
# Before the function has answered once, these come from its code and not from a service that it asks.
MISTAKES = (TypeError, NameError, AttributeError, ImportError, AssertionError, NotImplementedError)
_MOST_RANGES = 10


class FunctionCalls:
    """Calls the function of a teacher, and again after an exception.

    Args:
        teacher: The function, and how often it is called again.

    Attributes:
        num_calls: Number of calls, with those that failed.
    """

    def __init__(self, teacher: FunctionTeacher) -> None:
        self.teacher, self.num_calls, self._has_answered = teacher, 0, False

    def ask(self, texts: list, numbers: np.ndarray) -> Any:
        """Return what the function returns for some texts.

        Args:
            texts: Texts, or pairs of texts.
            numbers: The number of the row of each text, for the messages.

        Raises:
            RuntimeError: if the function raises an exception and is not called again.
        """
        num_failures = 0
        while True:
            self.num_calls += 1
            try:
                answer = self.teacher.function(texts)
            except Exception as error:  # an exception of the user's function, of any type
                if isinstance(error, MISTAKES) and not self._has_answered:
                    raise
                num_failures += 1
                self._give_up_or_warn(error, num_failures, numbers)
            else:
                self._has_answered = True
                return answer
            time.sleep(_wait_after(num_failures))

    def _give_up_or_warn(self, error: Exception, num_failures: int, numbers: np.ndarray) -> None:
        what = f"The teacher failed on {describe_numbers(numbers)}: {type(error).__name__}: {error}"
        num_left = self.teacher.retries + 1 - num_failures
        if num_left:
            calls = "1 call is" if num_left == 1 else f"{num_left:,} calls are"
            logger.warning(f"{what}. {calls} left; the next one follows in {_wait_after(num_failures):g} s.")
            return
        kept = (
            "The answers of earlier calls are stored, so that the next run asks only for the rest."
            if self.teacher.name is not None
            else "No answer is kept for the next run: that needs `FunctionTeacher(function, name=...)`, or "
            "`cache_teacher_outputs` with a zero-shot teacher."
        )
        calls = "1 call" if num_failures == 1 else f"{num_failures:,} calls"
        raise RuntimeError(f"{what} ({calls} for these texts). {kept}") from error


def _wait_after(num_failures: int) -> float:
    """Return the seconds before the next call, which double with each failure."""
    return min(FIRST_WAIT * 2.0 ** (num_failures - 1), LONGEST_WAIT)


def describe_numbers(numbers: np.ndarray) -> str:
    """Return the rows of some texts, such as "the texts of the rows 0 to 63 and 70"; of many ranges the first ten.

    Args:
        numbers: Ascending and distinct, counted from 0.
    """
    ranges = np.split(numbers, np.flatnonzero(np.diff(numbers) > 1) + 1)
    names = [f"{part[0]:,}" if len(part) == 1 else f"{part[0]:,} to {part[-1]:,}" for part in ranges[:_MOST_RANGES]]
    if num_others := sum(map(len, ranges[_MOST_RANGES:])):
        names.append(f"{num_others:,} more")
    if len(numbers) == 1:
        return f"the text of row {names[0]}"
    return f"the texts of the rows {' and '.join(filter(None, [', '.join(names[:-1]), names[-1]]))}"
