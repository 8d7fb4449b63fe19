"""The names of the arms of `all_labels.py`."""

import re
from typing import Any

from hf_distill.data.augment import DEFAULT_METHODS


def parse(arm: str) -> dict[str, Any]:
    """Return the settings that the name of an arm stands for."""
    word = "|".join(["early", "after", "variants", *DEFAULT_METHODS, r"x[\d.]+", r"hard[\d.]+", r"t[\d.]+"])
    match = re.fullmatch(rf"(labels|soft|variants(\d+)|folds(\d+))((?:_(?:{word}))*)", arm)
    if match is None:
        raise SystemExit(f"Unknown arm {arm!r}. The docstring of all_labels.py lists the arms.")
    words = match[4].split("_")[1:]
    numbers = {"x": 1.0, "hard": 0.1, "t": 2.0}
    for word in words:
        number = re.fullmatch(r"(x|hard|t)([\d.]+)", word)
        if number is not None:
            numbers[number[1]] = float(number[2])
    kind = "labels" if match[1] == "labels" else "soft"
    copies = int(match[2] or (4 if "variants" in words else 0))
    methods = {name: 1.0 for name in DEFAULT_METHODS if name in words} or DEFAULT_METHODS
    flags = {"is_early": "early" in words, "is_after": "after" in words, "methods": methods}
    return {**numbers, **flags, "kind": kind, "copies": copies, "folds": int(match[3] or 0)}
