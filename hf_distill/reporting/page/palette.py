"""Colors of the report: one for each model, the same in every plot and table, in a light and a dark scheme."""

from collections.abc import Mapping
from itertools import cycle
from typing import Any

# Name -> (light, dark). The hues are distinct for the common kinds of color blindness (Okabe and Ito, 2008), and plots
# give each role its own marker as well. Each scheme has every color once, because a drawn SVG is mapped from the
# value of a color back to its name.
COLORS = {
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
LIGHT = {name: light for name, (light, _) in COLORS.items()}
MARKERS = {"teacher": "s", "student": "o", "baseline": "D", "export": "^"}


def model_colors(models: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Return name of a model -> name of its color. The colors of a role are used in turn, and then again."""
    colors = {role: cycle([name for name in COLORS if name.split("-")[0] == role]) for role in MARKERS}
    return {name: next(colors[model["role"]]) for name, model in models.items()}


def css_variables() -> str:
    """Return the colors as CSS: light, dark on a screen whose reader prefers dark, and always light on paper."""
    light, dark = (";".join(f"--{name}:{pair[i]}" for name, pair in COLORS.items()) for i in (0, 1))
    dark_only = f"@media screen and (prefers-color-scheme:dark){{:root{{{dark}}}}}"
    return f":root{{color-scheme:light dark;{light}}}\n{dark_only}\n@media print{{:root{{color-scheme:light}}}}"
