"""Plots of scores: for each model, by length of the text, with deferral to the teacher, and against confidence."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from hf_distill.reporting.page.drawing import legend_below, new_axes
from hf_distill.reporting.page.palette import LIGHT, MARKERS, model_colors
from hf_distill.reporting.text import bucket, is_share, short

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Models = Mapping[str, Mapping[str, Any]]
NAME_LENGTH = 22


def styles(models: Models) -> dict[str, dict[str, Any]]:
    """Return name of a model -> color, marker and label, which are the same in every plot."""
    return {
        name: {"color": LIGHT[color], "marker": MARKERS[models[name]["role"]], "label": short(name, NAME_LENGTH)}
        for name, color in model_colors(models).items()
    }


def main_scores(report: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return name of a model -> estimate of the main metric, for the models that have one."""
    metric = report["task"]["metric_name"]
    scores = {name: (model["metrics"] or {}).get(metric) for name, model in report["models"].items()}
    return {name: score for name, score in scores.items() if score is not None and score["value"] is not None}


def whiskers(value: float, low: float | None, high: float | None) -> list[list[float]] | None:
    """Return the error bars of one point; None without an interval."""
    if low is None or high is None:
        return None
    return [[max(value - low, 0.0)], [max(high - value, 0.0)]]


def name_axis(axes: "Axes", name: str, in_per_cent: bool, which: str = "y") -> None:
    """Label an axis with the name of a score, with few ticks, in per cent or as plain numbers."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    axis = axes.yaxis if which == "y" else axes.xaxis
    axis.set_label_text(f"{short(name, NAME_LENGTH)} (%)" if in_per_cent else short(name, NAME_LENGTH))
    axis.set_major_locator(MaxNLocator(5))
    if in_per_cent:
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{round(100 * value, 6):g}"))


def mark_teacher(axes: "Axes", report: Mapping[str, Any], which: str = "y") -> None:
    """Draw a dotted line at the teacher's score, if it has one."""
    score = main_scores(report).get(next(iter(report["models"])))
    if score is not None:
        line = axes.axhline if which == "y" else axes.axvline
        line(score["value"], color=LIGHT["teacher"], linestyle=":", linewidth=1.3, zorder=1)


def draw_scores(report: Mapping[str, Any]) -> "Figure | None":
    """Draw a row for each model: its score, its interval, and the scores of single seeds."""
    scores, metric = main_scores(report), report["task"]["metric_name"]
    if not scores:
        return None
    figure, (axes,) = new_axes(0.9 + 0.5 * len(scores))
    style = styles(report["models"])
    mark_teacher(axes, report, "x")
    for y, (name, score) in enumerate(scores.items()):
        bars = whiskers(score["value"], score["low"], score["high"])
        axes.errorbar(score["value"], y, xerr=bars, linestyle="none", capsize=3, zorder=3, **style[name])
        if len(score["runs"]) > 1:
            color = style[name]["color"]
            axes.scatter(score["runs"], [y + 0.27] * len(score["runs"]), s=13, facecolors="none", edgecolors=color)
    axes.set_yticks(range(len(scores)), [style[name]["label"] for name in scores])
    axes.set_ylim(len(scores) - 0.4, -0.6)
    axes.grid(visible=False, axis="y")
    name_axis(axes, metric, is_share(metric), "x")
    return figure


def draw_by_length(report: Mapping[str, Any]) -> "Figure | None":
    """Draw a line for each model over the buckets of lengths."""
    models = {name: model for name, model in report["models"].items() if model["by_length"]}
    if not models:
        return None
    metric = report["task"]["metric_name"]
    figure, (axes,) = new_axes(3.3)
    style = styles(report["models"])
    for i, (name, model) in enumerate(models.items()):
        shift = 0.1 * (i - (len(models) - 1) / 2)
        points = [(x, b) for x, b in enumerate(model["by_length"]) if b["value"] is not None]
        for x, b in points:
            bars = whiskers(b["value"], b["ci_low"], b["ci_high"])
            axes.errorbar(x + shift, b["value"], yerr=bars, color=style[name]["color"], linewidth=1.2)
        axes.plot([x + shift for x, _ in points], [b["value"] for _, b in points], **style[name])
    first = next(iter(models.values()))["by_length"]
    axes.set_xticks(range(len(first)), [bucket(b["low"], b["high"]) for b in first])
    axes.set_xlabel(f"length in {short(first[0]['unit'], NAME_LENGTH)}")
    axes.grid(visible=False, axis="x")
    name_axis(axes, metric, is_share(metric))
    legend_below(figure, axes)
    return figure


def draw_reliability(report: Mapping[str, Any]) -> "Figure | None":
    """Draw a panel for each model: accuracy against confidence, before and after temperature scaling."""
    models = {name: model["calibration"] for name, model in report["models"].items() if model["calibration"]}
    if not models:
        return None
    rows = (len(models) + 1) // 2
    figure, panels = new_axes(0.4 + 2.3 * rows, rows, 2)
    style = styles(report["models"])
    for axes, (name, calibration) in zip(panels, models.items(), strict=False):
        axes.plot([0, 1], [0, 1], color=LIGHT["muted"], linewidth=1, linestyle=":")
        color = style[name]["color"]
        _draw_bins(axes, calibration["bins"], color=color, linestyle="--", fill=LIGHT["card"])
        _draw_bins(axes, calibration["bins_scaled"] or [], color=color, linestyle="-", fill=color)
        axes.set_title(style[name]["label"], color=color, fontsize=10.5)
        axes.set_aspect("equal")
        axes.set_xticks([0, 0.5, 1], ["0", "50", "100"])
        axes.set_yticks([0, 0.5, 1], ["0", "50", "100"])
    for axes in panels[len(models) :]:
        axes.remove()
    figure.supxlabel("confidence (%)", fontsize=11, color=LIGHT["muted"])
    figure.supylabel("accuracy (%)", fontsize=11, color=LIGHT["muted"])
    return figure


def _draw_bins(axes: "Axes", bins: list[dict[str, Any]], color: str, linestyle: str, fill: str) -> None:
    bins = [b for b in bins if b["rows"]]
    if not bins:
        return
    most = max(b["rows"] for b in bins)
    confidence, accuracy = [b["confidence"] for b in bins], [b["accuracy"] for b in bins]
    axes.plot(confidence, accuracy, color=color, linestyle=linestyle, linewidth=1.3)
    sizes = [12 + 60 * b["rows"] / most for b in bins]
    axes.scatter(confidence, accuracy, s=sizes, facecolors=fill, edgecolors=color, linewidths=1.3, zorder=3)


def draw_deferral(report: Mapping[str, Any]) -> "Figure | None":
    """Draw a line for each model: the score of its cascade with the teacher against the share handed over."""
    models = {name: model["deferral"]["points"] for name, model in report["models"].items() if model["deferral"]}
    if not models:
        return None
    metric = report["task"]["metric_name"]
    figure, (axes,) = new_axes(3.3)
    style = styles(report["models"])
    mark_teacher(axes, report)
    for name, points in models.items():
        axes.plot(
            [p["share"] for p in points],
            [p["value"] for p in points],
            markevery=max(1, len(points) // 5),
            **{**style[name], "linewidth": 1.6},
        )
    axes.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "25", "50", "75", "100"])
    axes.set_xlabel("share of texts handed to the teacher (%)")
    name_axis(axes, metric, is_share(metric))
    legend_below(figure, axes)
    return figure
