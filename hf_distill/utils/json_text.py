"""JSON that a user wrote, in which no value may be lost."""

import json
from collections.abc import Sequence
from typing import Any

from hf_distill.utils.repeated import first_repeated


def parse_json(text: str) -> Any:
    """Parse JSON.

    Raises:
        ValueError: if the text is not JSON, has a name twice, or is nested too deeply.
    """
    try:
        return json.loads(text, object_pairs_hook=unique_names)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


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
