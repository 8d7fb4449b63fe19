"""Reports with one plot: drawing all nine takes two seconds for the page, and two for the files."""

import pytest

from hf_distill.reporting.page import html, plots


def draw_one_plot(patch: pytest.MonkeyPatch) -> None:
    """Let reports have only the plot of the scores."""
    assert html.PLOTS.keys() >= plots.PLOTS.keys()  # the page is imported before, or it would never know the others
    patch.setattr(plots, "PLOTS", {"scores": plots.PLOTS["scores"]})
