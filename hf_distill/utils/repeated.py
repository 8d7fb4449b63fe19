"""Values that occur more than once."""

from collections.abc import Sequence
from typing import Any, TypeVar

Value = TypeVar("Value")


def first_repeated(values: Sequence[Value]) -> Value | None:
    """Return the first value that occurs again later; None if all are different."""
    return next((value for value in values if values.count(value) > 1), None)


def unique_names(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """Make an object of JSON, as its `object_pairs_hook`; Python's default keeps the last of two values in silence.

    Raises:
        ValueError: if a name occurs twice.
    """
    values = dict(pairs)
    if len(values) < len(pairs):
        raise ValueError(
            f"the name {first_repeated([name for name, _ in pairs])!r} is there twice; remove one of them"
        )
    return values
