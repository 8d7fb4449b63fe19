"""Objectives that are written as JSON, on the command line for instance."""

from typing import Any

from hf_distill.utils.json_text import parse_json


def parse_objectives(text: str) -> dict[str, Any]:
    """Return the mapping from names to weights or hyperparameters that a text holds.

    Raises:
        ValueError: for a text that is not a JSON object, or has a name twice.
    """
    try:
        spec = parse_json(text)
    except ValueError as error:
        raise ValueError(
            f"`objectives` cannot be read as JSON ({error}): {text!r:.200}. An example is '{{\"kl\": 1.0}}'."
        ) from None
    if not isinstance(spec, dict):
        raise ValueError(f"`objectives` must be a JSON object from names to weights, got {text!r}.")
    return spec
