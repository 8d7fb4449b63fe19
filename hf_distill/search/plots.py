"""Plots of a search: the metric of every trial against time and size."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hf_distill.reporting.page.drawing import legend_below, new_axes, report_style, to_svg, write_png
from hf_distill.reporting.page.palette import LIGHT
from hf_distill.reporting.text import is_share
from hf_distill.search.need import sign_of
from hf_distill.utils.atomic import write_file_atomically

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Name of a plot -> number of an architecture, title, label of the axis.
COST_PLOTS = {
    "metric_and_latency": ("latency_p50_ms", "Metric against latency", "ms per text, median, one text at a time"),
    "metric_and_size": ("size_mb", "Metric against size", "MB on disk"),
}


def front(points: Sequence[tuple[float, float]], sign: float = 1.0) -> list[tuple[float, float]]:
    """Return the points (cost, metric) to which no cheaper or equally cheap point is better, the cheapest first.

    Args:
        points: The points.
        sign: 1.0 if higher values of the metric are better, -1.0 for an error.
    """
    best: list[tuple[float, float]] = []
    for cost, metric in sorted(points, key=lambda point: (point[0], -sign * point[1])):
        if not best or sign * metric > sign * best[-1][1]:
            best.append((cost, metric))
    return best


def save_plots(content: Mapping[str, Any], folder: Path) -> dict[str, str]:
    """Write `plots/*.png`, and return each plot as SVG for the page.

    Args:
        content: The content of `search.json`.
        folder: Output folder of the search.
    """
    svgs = {}
    with report_style():
        for name, (cost, title, label) in COST_PLOTS.items():
            figure = _draw(content, cost, label)
            svgs[name] = to_svg(figure, name)
            write_file_atomically(
                folder / "plots",
                f"{name}.png",
                lambda path, figure=figure, title=title: write_png(figure, title, path),  # type: ignore[misc]
            )
    return svgs


def _draw(content: Mapping[str, Any], cost: str, label: str) -> "Figure":
    figure, (axes,) = new_axes(3.6)
    metric, trials = content["metric_name"], content["trials"]
    scale = 100 if is_share(metric) else 1
    points = {state: _points(trials, state, cost, metric, scale) for state in ("completed", "stopped")}
    _scatter(axes, points["stopped"], "stopped early, last evaluation", marker="x", color=LIGHT["muted"])
    _scatter(axes, points["completed"], "trial", marker="o", color=LIGHT["student-1"])
    if points["completed"]:
        costs, values = zip(*front(points["completed"], sign_of(metric)), strict=True)
        axes.step(costs, values, where="post", color=LIGHT["student-1"], linewidth=1.2)
    chosen = _chosen(content, cost, scale)
    _scatter(axes, chosen, "winner, mean of its seeds", marker="*", color=LIGHT["good"], size=190)
    teacher = content["teacher"]
    _scatter(axes, [(teacher[cost], scale * teacher[metric])], "teacher", marker="s", color=LIGHT["teacher"])
    floor = content["floor"].get("labels")
    if floor is not None:
        value = scale * floor["metrics"][metric]
        axes.axhline(value, color=LIGHT["baseline"], linestyle=":", label="floor (TF-IDF)")
    _use_logarithm(axes)
    axes.set_xlabel(label)
    axes.set_ylabel(f"{metric}{', %' if scale == 100 else ''}")
    legend_below(figure, axes)
    return figure


def _use_logarithm(axes: "Axes") -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))  # powers would need mathematics
    axes.xaxis.set_minor_formatter(NullFormatter())


def _points(
    trials: Sequence[Mapping[str, Any]], state: str, cost: str, metric: str, scale: int
) -> list[tuple[float, float]]:
    known = [trial for trial in trials if trial["state"] == state and trial.get(metric) is not None]
    return [(trial[cost], scale * trial[metric]) for trial in known]


def _scatter(axes: "Axes", points: Sequence[tuple[float, float]], label: str, size: int = 42, **style: Any) -> None:
    if points:
        costs, values = zip(*points, strict=True)
        axes.scatter(costs, values, s=size, label=label, zorder=3, **style)


def _chosen(content: Mapping[str, Any], cost: str, scale: int) -> list[tuple[float, float]]:
    if "winner" not in content:
        return []
    winner = content["finalists"][0]
    values = [run[content["metric_name"]] for run in winner["values"]]
    return [(content["architectures"][winner["architecture"]][cost], scale * sum(values) / len(values))]
