"""Plots of cost: latency alone, and score against latency and size."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from hf_distill.reporting.page.drawing import legend_below, new_axes
from hf_distill.reporting.page.palette import LIGHT
from hf_distill.reporting.page.score_plots import main_scores, name_axis, styles, whiskers
from hf_distill.reporting.text import HTML, is_share, text_length

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def single_text_latencies(model: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the latencies of one text at a time, the evaluation texts on the first device first."""
    return [entry for entry in (model["cost"] or {}).get("latency") or [] if entry["batch_size"] == 1]


def draw_score_and_latency(report: Mapping[str, Any]) -> "Figure | None":
    """Draw the score of each model against its latency on one text."""
    costs = {name: single_text_latencies(model) for name, model in report["models"].items()}
    entry = next((entries[0] for entries in costs.values() if entries), None)
    label = entry and f"ms per text, median ({entry['device']}, {text_length(entry['tokens'])})"
    return _draw_score_and_cost(report, {name: e[0]["p50_ms"] for name, e in costs.items() if e}, label or "")


def draw_score_and_size(report: Mapping[str, Any]) -> "Figure | None":
    """Draw the score of each model against its size on disk."""
    sizes = {name: (model["cost"] or {}).get("bytes_on_disk") for name, model in report["models"].items()}
    return _draw_score_and_cost(report, {name: size / 1e6 for name, size in sizes.items() if size}, "MB on disk")


def _draw_score_and_cost(report: Mapping[str, Any], costs: Mapping[str, float], label: str) -> "Figure | None":
    scores, metric = main_scores(report), report["task"]["metric_name"]
    names = [name for name in scores if name in costs]
    if len(names) < 2:
        return None
    figure, (axes,) = new_axes(3.3)
    style = styles(report["models"])
    for name in names:
        score = scores[name]
        bars = whiskers(score["value"], score["low"], score["high"])
        axes.errorbar(costs[name], score["value"], yerr=bars, linestyle="none", elinewidth=1.2, **style[name])
    axes.set_xlim(0, 1.08 * max(costs[name] for name in names))
    axes.set_xlabel(label)
    name_axis(axes, metric, is_share(metric))
    legend_below(figure, axes)
    return figure


def draw_latency(report: Mapping[str, Any]) -> "Figure | None":
    """Draw a panel for each device and length, with a bar for each model."""
    models = {
        name: single_text_latencies(model) for name, model in report["models"].items() if single_text_latencies(model)
    }
    kinds = list(dict.fromkeys((e["device"], e["tokens"]) for entries in models.values() for e in entries))
    if not kinds:
        return None
    figure, panels = new_axes(0.3 + (0.65 + 0.36 * len(models)) * len(kinds), len(kinds))
    style = styles(report["models"])
    for axes, (device, tokens) in zip(panels, kinds, strict=True):
        for y, (name, entries) in enumerate(models.items()):
            for entry in entries:
                if (entry["device"], entry["tokens"]) == (device, tokens):
                    _draw_bar(axes, y, entry, style[name]["color"])
        axes.set_yticks(range(len(models)), [style[name]["label"] for name in models])
        axes.set_ylim(len(models) - 0.5, -0.5)
        axes.set_xlim(0, 1.22 * axes.dataLim.xmax)  # leaves room for the numbers
        axes.grid(visible=False, axis="y")
        axes.set_title(f"{device}, {text_length(tokens)}", fontsize=10.5)
    panels[-1].set_xlabel("milliseconds")
    return figure


def _draw_bar(axes: Any, y: int, entry: Mapping[str, Any], color: str) -> None:
    axes.barh(y, entry["p50_ms"], height=0.58, color=color)
    axes.plot([entry["p50_ms"], entry["p95_ms"]], [y, y], color=color, linewidth=1.3)
    end = (max(entry["p50_ms"], entry["p95_ms"]), y)
    text = HTML.milliseconds(entry["p50_ms"])
    axes.annotate(text, end, (6, 0), textcoords="offset points", va="center", fontsize=10, color=LIGHT["ink"])
