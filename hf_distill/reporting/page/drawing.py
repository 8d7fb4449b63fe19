"""How plots look, and how they are written as SVG inside a page or as PNG. matplotlib is imported only to draw."""

import io
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

from hf_distill.reporting.page.palette import LIGHT

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH = 4.8  # inches; about the size on a phone, so that the words are readable there
_SVG = "http://www.w3.org/2000/svg"
_XLINK = "http://www.w3.org/1999/xlink"
# matplotlib writes this metadata into an SVG by default. Some of it contains URLs.
_NO_METADATA: dict[str, Any] = dict.fromkeys(("Creator", "Date", "Format", "Type"))
_COLOR_NAMES = {value: name for name, value in LIGHT.items()}
_STYLE: dict[Any, Any] = {
    "axes.edgecolor": LIGHT["line"],
    "axes.facecolor": LIGHT["card"],
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.labelcolor": LIGHT["muted"],
    "axes.labelsize": 11,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlecolor": LIGHT["ink"],
    "axes.titlelocation": "left",
    "axes.titlesize": 11,
    "figure.constrained_layout.use": True,
    "figure.facecolor": LIGHT["card"],
    "font.family": "DejaVu Sans",  # comes with matplotlib
    "font.size": 11,
    "grid.color": LIGHT["line"],
    "grid.linewidth": 0.8,
    "legend.edgecolor": "none",
    "legend.facecolor": "none",
    "legend.fontsize": 10.5,
    "legend.frameon": False,
    "legend.labelcolor": LIGHT["ink"],
    "lines.linewidth": 1.9,
    "lines.markersize": 7,
    "svg.fonttype": "none",  # words stay text, which readers can search, have read aloud, and see in their own font
    "svg.hashsalt": "hf_distill",  # the default is random, so that no two reports would be equal
    "text.color": LIGHT["ink"],
    "text.parse_math": False,  # a name can contain dollar signs
    "xtick.color": LIGHT["line"],
    "xtick.labelcolor": LIGHT["muted"],
    "xtick.major.size": 0,
    "ytick.color": LIGHT["line"],
    "ytick.labelcolor": LIGHT["ink"],
    "ytick.major.size": 0,
}


@contextmanager
def report_style() -> Iterator[None]:
    """Draw and save in the style of the report, whatever the user's own settings are."""
    import matplotlib

    with matplotlib.rc_context(), warnings.catch_warnings():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_STYLE)
        # A PNG shows boxes for scripts that the font lacks. The page uses the reader's fonts.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        yield


def new_axes(height: float, rows: int = 1, columns: int = 1) -> tuple["Figure", list["Axes"]]:
    """Return a figure of the page's width and its axes.

    pyplot is not used, because it keeps every figure and asks for a display.

    Args:
        height: Height in inches.
        rows: Rows of axes.
        columns: Columns of axes.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH, height))
    return figure, list(figure.subplots(rows, columns, squeeze=False).flat)


def legend_below(figure: "Figure", axes: "Axes") -> None:
    """Draw the legend below the axes, in two columns."""
    handles, names = axes.get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower left", ncols=2, handlelength=1.6, columnspacing=1.4)


def to_svg(figure: "Figure", name: str) -> str:
    """Return a figure as an `<svg>` element for a page that has several.

    Colors become CSS variables of the palette, ids start with `name`, and matplotlib's metadata are removed.

    Args:
        figure: A figure that was drawn inside `report_style`.
        name: Unique in the page. The element with the id `<name>-caption` describes the figure.
    """
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    ElementTree.register_namespace("", _SVG)
    ElementTree.register_namespace("xlink", _XLINK)
    buffer = io.BytesIO()
    FigureCanvasSVG(figure).print_svg(buffer, metadata=_NO_METADATA)  # `savefig` would draw the figure twice
    root = ElementTree.fromstring(buffer.getvalue())
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag in (f"{{{_SVG}}}style", f"{{{_SVG}}}metadata"):  # a style would apply to the whole page
                parent.remove(child)
        parent.attrib.update({key: _attribute(key, value, name) for key, value in parent.attrib.items()})
    for size in ("width", "height"):
        del root.attrib[size]  # the page sets the size; the viewBox keeps the proportions
    root.attrib.update({"role": "img", "aria-labelledby": f"{name}-caption"})
    return ElementTree.tostring(root, encoding="unicode")


def _attribute(key: str, value: str, name: str) -> str:
    if key == "id":
        return f"{name}-{value}"
    if key == f"{{{_XLINK}}}href":
        return value.replace("#", f"#{name}-")
    value = value.replace("url(#", f"url(#{name}-")
    return re.sub("#[0-9a-f]{6}", lambda m: f"var(--{_COLOR_NAMES[m[0]]})" if m[0] in _COLOR_NAMES else m[0], value)


def write_png(figure: "Figure", title: str, path: Path) -> None:
    """Write a figure in light colors with its title, at 200 dots per inch."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    figure.suptitle(title, x=0.02, ha="left", fontsize=12, fontweight="bold")
    figure.set_dpi(200)
    FigureCanvasAgg(figure).print_png(path, metadata={"Software": None})
