"""Colours of the report: one a model, the same in every plot and table, on light and on dark paper."""

from collections.abc import Mapping
from itertools import cycle
from typing import Any

# Told apart with the common colour blindnesses (hues after Okabe and Ito, 2008); plots use a marker a role as well.
# Name -> (light, dark). No colour stands twice in a column: a drawn SVG is told what a colour means by its value.
COLOURS = {
    "paper": ("#f6f6f3", "#121418"),
    "card": ("#ffffff", "#1b1e24"),
    "ink": ("#1a1d23", "#e9eaee"),
    "muted": ("#59606c", "#a5acb9"),
    "line": ("#e0e1dc", "#323842"),
    "good": ("#0d6b4f", "#5fd3a8"),
    "bad": ("#a8420b", "#f5a468"),
    "teacher": ("#4a5568", "#b3bfd1"),
    "student-1": ("#0069b4", "#5ab4f2"),
    "student-2": ("#8347b8", "#c59df0"),
    "student-3": ("#a82468", "#f18ab6"),
    "student-4": ("#6d4a1f", "#d6b07c"),
    "baseline": ("#c26a00", "#f0a83f"),
    "export-1": ("#008370", "#42ccb0"),
    "export-2": ("#667500", "#bccb55"),
    "export-3": ("#00748c", "#56c5dd"),
}
LIGHT = {name: light for name, (light, _) in COLOURS.items()}
MARKERS = {"teacher": "s", "student": "o", "baseline": "D", "export": "^"}


def model_colours(models: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Name of a model -> name of its colour: those of its role in turn, from the first again when they are used up."""
    of_role = {role: cycle([name for name in COLOURS if name.split("-")[0] == role]) for role in MARKERS}
    return {name: next(of_role[model["role"]]) for name, model in models.items()}


def css_variables() -> str:
    """The colours as CSS: light, and dark on a screen whose reader prefers that; paper stays light."""
    light, dark = (";".join(f"--{name}:{pair[i]}" for name, pair in COLOURS.items()) for i in (0, 1))
    dark_only = f"@media screen and (prefers-color-scheme:dark){{:root{{{dark}}}}}"
    return f":root{{color-scheme:light dark;{light}}}\n{dark_only}\n@media print{{:root{{color-scheme:light}}}}"
