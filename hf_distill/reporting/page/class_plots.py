"""Plots of scores by class: one row for each class, the worst at the top, no more rows than are readable."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from hf_distill.reporting.page.drawing import legend_below, new_axes
from hf_distill.reporting.page.palette import LIGHT
from hf_distill.reporting.page.score_plots import name_axis, styles
from hf_distill.reporting.text import ends

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_CLASSES = 15


def worst_first(classes: list[dict[str, Any]], key: str) -> list[dict[str, Any]]:
    """Sort classes by the value under `key`, the lowest first. Classes without a value come last."""
    return sorted(classes, key=lambda c: (c[key] is None, c[key] or 0.0))


def draw_f1_by_class(report: Mapping[str, Any]) -> "Figure | None":
    """Draw the F1 of every model on each class."""
    return _draw_classes(report, {name: model["by_class"] for name, model in report["models"].items()}, "f1")


def draw_agreement_by_class(report: Mapping[str, Any]) -> "Figure | None":
    """Draw the agreement of every model with the teacher on each class."""
    fidelity = {name: model["fidelity"] for name, model in report["models"].items() if model["fidelity"]}
    return _draw_classes(report, {name: f["by_class"] for name, f in fidelity.items()}, "agreement")


def _draw_classes(
    report: Mapping[str, Any], models: Mapping[str, list[dict[str, Any]] | None], key: str
) -> "Figure | None":
    columns = {name: {c["label"]: c[key] for c in classes} for name, classes in models.items() if classes}
    if not columns:
        return None
    first = next((name for name in columns if report["models"][name]["role"] != "teacher"), next(iter(columns)))
    labels = [c["label"] for c in worst_first(models[first] or [], key)][:MOST_CLASSES]
    figure, (axes,) = new_axes(1.3 + 0.34 * max(len(labels), 2))
    style = styles(report["models"])
    for i, (name, column) in enumerate(columns.items()):
        shift = 0.13 * (i - (len(columns) - 1) / 2)
        points = [(column[label], y + shift) for y, label in enumerate(labels) if column.get(label) is not None]
        axes.plot([x for x, _ in points], [y for _, y in points], linestyle="none", markersize=5.5, **style[name])
    for y in range(1, len(labels)):
        axes.axhline(y - 0.5, color=LIGHT["line"], linewidth=0.8)
    axes.set_yticks(range(len(labels)), [ends(label, 24) for label in labels])
    axes.set_ylim(len(labels) - 0.5, -0.5)
    axes.grid(visible=False, axis="y")
    name_axis(axes, key, in_per_cent=True, which="x")
    legend_below(figure, axes)
    return figure
