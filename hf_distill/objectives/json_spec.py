"""Objectives that are written as JSON, on the command line for instance."""

import json
from typing import Any

from hf_distill.utils.repeated import first_repeated


def parse_objectives(text: str) -> dict[str, Any]:
    """Return the mapping from names to weights or hyperparameters that a text holds.

    Raises:
        ValueError: for a text that is not a JSON object, or has a name twice.
    """
    try:
        spec = json.loads(text, object_pairs_hook=_without_duplicates)
    except json.JSONDecodeError as error:
        raise ValueError(
            f"`objectives` is not valid JSON ({error}): {text!r}. An example is '{{\"kl\": 1.0}}'."
        ) from None
    except RecursionError:
        raise ValueError("`objectives` is nested too deeply.") from None
    if not isinstance(spec, dict):
        raise ValueError(f"`objectives` must be a JSON object from names to weights, got {text!r}.")
    return spec


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if (name := first_repeated([name for name, _ in pairs])) is not None:
        raise ValueError(f"`objectives` has {name!r} twice. Remove one of them.")
    return dict(pairs)
