"""Format rows as an aligned table, as Markdown and as CSV, and plot ratios with their spread."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

Row = dict[str, Any]


def to_text(rows: Sequence[Row]) -> str:
    """Return an aligned table for a terminal, with numbers aligned to the right."""
    lines = [list(rows[0]), *([_cell(value) for value in row.values()] for row in rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    lines.insert(1, ["-" * width for width in widths])
    right = _are_numbers(rows)
    aligned = (
        [cell.rjust(w) if r else cell.ljust(w) for cell, w, r in zip(line, widths, right, strict=True)]
        for line in lines
    )
    return "\n".join("  ".join(line).rstrip() for line in aligned)


def to_markdown(rows: Sequence[Row]) -> str:
    """Return a Markdown table, with numbers aligned to the right."""
    lines = [list(rows[0]), ["---:" if right else "---" for right in _are_numbers(rows)]]
    lines += [[_cell(value).replace("|", "\\|") for value in row.values()] for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def write_csv(path: Path, rows: Sequence[Row]) -> None:
    """Write rows with full precision. A row that lacks a column gets an empty cell."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(dict.fromkeys(name for row in rows for name in row)))
        writer.writeheader()
        writer.writerows(rows)


def plot_ratios(path: Path, panels: dict[str, dict[str, Sequence[float]]], label: str) -> None:
    """Draw a panel of horizontal bars for each title: a bar for the median of a name's values, a tick for each value.

    Args:
        path: PNG file.
        panels: Title -> name -> values.
        label: Label of the horizontal axis. A line marks 1.0.
    """
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt
    import numpy as np

    heights = [len(bars) for bars in panels.values()]
    figure, axes = plt.subplots(
        len(panels), figsize=(8, 1.2 + 0.36 * sum(heights)), height_ratios=heights, squeeze=False, layout="constrained"
    )
    for axis, (title, bars) in zip(axes[:, 0], panels.items(), strict=True):
        for place, (name, values) in enumerate(bars.items()):
            median = float(np.median(values))
            axis.barh(place, median, color="tab:orange" if name.startswith("hf_distill") else "tab:blue", alpha=0.6)
            axis.plot(values, [place] * len(values), "k|", markersize=9)
            axis.annotate(f"{median:.2f}", (max(values), place), (5, 0), textcoords="offset points", va="center")
        axis.set_yticks(range(len(bars)), list(bars))
        axis.invert_yaxis()
        axis.axvline(1.0, color="black", linewidth=0.8)
        axis.set_xlim(0, 1.12 * max(max(values) for values in bars.values()))
        axis.set_title(title, loc="left", fontsize=10)
    axes[-1, 0].set_xlabel(label)
    figure.savefig(path, dpi=120, metadata={"Software": None})
    plt.close(figure)


def _cell(value: object) -> str:
    if isinstance(value, float):
        return (
            f"{value:.1e}" if value and abs(value) < 0.001 else f"{value:,.3f}" if abs(value) < 10 else f"{value:,.1f}"
        )
    return "" if value is None else str(value)


def _are_numbers(rows: Sequence[Row]) -> list[bool]:
    return [any(isinstance(row[name], int | float) for row in rows) for name in rows[0]]
