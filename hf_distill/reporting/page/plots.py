"""The plots of a report, from the dict of `Report.to_dict` alone."""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from hf_distill.reporting.page.class_plots import draw_agreement_by_class, draw_f1_by_class
from hf_distill.reporting.page.cost_plots import draw_latency, draw_score_and_latency, draw_score_and_size
from hf_distill.reporting.page.drawing import report_style, to_svg, write_png
from hf_distill.reporting.page.score_plots import draw_by_length, draw_deferral, draw_reliability, draw_scores
from hf_distill.utils.atomic import write_file_atomically

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Plot(NamedTuple):
    """What a plot is called, how it is read, and what draws it: None when the report has nothing for it."""

    title: str
    caption: str
    draw: Callable[[Mapping[str, Any]], "Figure | None"]


PLOTS = {
    "scores": Plot(
        "Score of each model",
        "Bars are bootstrap intervals over the rows; small circles are single seeds; the dotted line is the teacher.",
        draw_scores,
    ),
    "score_and_latency": Plot(
        "Score against latency", "One short text at a time. The best place is the upper left.", draw_score_and_latency
    ),
    "score_and_size": Plot("Score against size on disk", "The best place is the upper left.", draw_score_and_size),
    "agreement_by_class": Plot(
        "Agreement with the teacher by class",
        "At most 15 classes, the worst ones of the first model.",
        draw_agreement_by_class,
    ),
    "reliability": Plot(
        "Is 80 % sure right in 80 % of the cases?",
        "On the diagonal it is; below it the model is too sure. Hollow: as it is. Filled: after temperature scaling. "
        "The larger the mark, the more predictions.",
        draw_reliability,
    ),
    "by_length": Plot("Score by length of the text", "Bars are bootstrap intervals over the rows.", draw_by_length),
    "f1_by_class": Plot("F1 by class", "At most 15 classes, the worst ones of the first student.", draw_f1_by_class),
    "latency": Plot("Time for one text", "Median, with a line to the 95th percentile.", draw_latency),
    "deferral": Plot(
        "Score when unsure texts are handed to the teacher",
        "The texts on which a model is least sure are answered by the teacher; the dotted line is the teacher alone.",
        draw_deferral,
    ),
}


def inline_svgs(report: Mapping[str, Any]) -> dict[str, str]:
    """Name of a plot -> `<svg>`, of those that the report has numbers for."""
    with report_style():
        figures = {name: plot.draw(report) for name, plot in PLOTS.items()}
        return {name: to_svg(figure, name) for name, figure in figures.items() if figure is not None}


def save_plots(report: Mapping[str, Any], folder: Path) -> list[Path]:
    """Write `<name>.png` for each plot that the report has numbers for; each is there whole or not at all.

    Raises:
        OSError: if one cannot be written.
    """
    paths = []
    with report_style():
        for name, plot in PLOTS.items():
            figure = plot.draw(report)
            if figure is not None:
                write = partial(write_png, figure, plot.title)
                paths.append(write_file_atomically(folder, f"{name}.png", write))
    return paths
