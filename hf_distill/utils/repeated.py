"""Values that occur more than once."""

from collections.abc import Sequence
from typing import TypeVar

Value = TypeVar("Value")


def first_repeated(values: Sequence[Value]) -> Value | None:
    """Return the first value that occurs again later; None if all are different."""
    return next((value for value in values if values.count(value) > 1), None)
