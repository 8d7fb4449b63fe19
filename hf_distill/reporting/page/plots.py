"""The plots of a report, drawn from what `Report.to_dict` returns."""

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
    """The title of a plot, how to read it, and the function that draws it, or returns None without numbers for it."""

    title: str
    caption: str
    draw: Callable[[Mapping[str, Any]], "Figure | None"]


PLOTS = {
    "scores": Plot(
        "Score of each model",
        "Bars are bootstrap intervals over the rows. Small circles are single seeds. The dotted line is the teacher.",
        draw_scores,
    ),
    "score_and_latency": Plot(
        "Score against latency", "One text at a time. Upper left is best.", draw_score_and_latency
    ),
    "score_and_size": Plot("Score against size on disk", "Upper left is best.", draw_score_and_size),
    "agreement_by_class": Plot(
        "Agreement with the teacher by class",
        "At most 15 classes: those on which the first student agrees least.",
        draw_agreement_by_class,
    ),
    "reliability": Plot(
        "Accuracy against confidence",
        "On the diagonal, predictions with 80 % confidence are right in 80 % of the cases. Below it, the model is "
        "overconfident. Hollow marks: before temperature scaling. Filled marks: after it. Larger marks stand for more "
        "predictions.",
        draw_reliability,
    ),
    "by_length": Plot("Score by length of the text", "Bars are bootstrap intervals over the rows.", draw_by_length),
    "f1_by_class": Plot(
        "F1 by class", "At most 15 classes: those with the lowest F1 of the first student.", draw_f1_by_class
    ),
    "latency": Plot("Time for one text", "The bar is the median. The line ends at the 95th percentile.", draw_latency),
    "deferral": Plot(
        "Score when the teacher answers uncertain texts",
        "The teacher answers the texts on which a model is least confident. The dotted line is the teacher alone.",
        draw_deferral,
    ),
}


def inline_svgs(report: Mapping[str, Any]) -> dict[str, str]:
    """Return name of a plot -> `<svg>`, for the plots that the report has numbers for."""
    with report_style():
        figures = {name: plot.draw(report) for name, plot in PLOTS.items()}
        return {name: to_svg(figure, name) for name, figure in figures.items() if figure is not None}


def save_plots(report: Mapping[str, Any], folder: Path) -> list[Path]:
    """Write `<name>.png` for each plot that the report has numbers for. Each file is written atomically.

    Raises:
        OSError: if a file cannot be written.
    """
    paths = []
    with report_style():
        for name, plot in PLOTS.items():
            figure = plot.draw(report)
            if figure is not None:
                write = partial(write_png, figure, plot.title)
                paths.append(write_file_atomically(folder, f"{name}.png", write))
    return paths
