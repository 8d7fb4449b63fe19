"""The leaderboard of `report.html`."""

from collections.abc import Mapping
from typing import Any

from hf_distill.reporting.page.palette import model_colors
from hf_distill.reporting.page.tables import Cell, Table, score_cell
from hf_distill.reporting.text import HTML, NOT_AVAILABLE, ends


def leaderboard_table(report: Mapping[str, Any]) -> Table | None:
    """Return all models, the best score first, with what they cost; None without labels."""
    metric, colors = report["task"]["metric_name"], model_colors(report["models"])
    rows = [
        [
            Cell(ends(entry["model"], 60), color=colors[entry["model"]]),
            score_cell(entry, metric),
            Cell(entry["answer"] or NOT_AVAILABLE),
            Cell(HTML.milliseconds(entry["p50_ms"])),
            Cell(HTML.quantity(entry["bytes_on_disk"], "B")),
        ]
        for entry in report["leaderboard"]
    ]
    header = ["model", metric, "can replace the teacher", "one text", "on disk"]
    return Table("Leaderboard: the best score first", header, rows) if rows else None
