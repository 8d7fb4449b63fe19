"""The result of a comparison, as numbers, Markdown and HTML."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from hf_distill.reporting.floor import about_floor
from hf_distill.reporting.notebook import as_html
from hf_distill.reporting.report_markdown import render_markdown
from hf_distill.reporting.requirements import Requirement, parse_requirement
from hf_distill.reporting.terminal import render_text
from hf_distill.utils.atomic import write_file_atomically

REPORT_NAME = "report"


class Report:
    """The result of [`compare_models`]. As the last line of a notebook cell it is shown as tables.

    Args:
        content: The numbers, in the schema that `docs/report_figures.md` describes.
    """

    def __init__(self, content: Mapping[str, Any]) -> None:
        self._content = _plain(content)

    def to_dict(self) -> dict[str, Any]:
        """Return the content of `report.json`. None means that a number does not apply or was not measured."""
        return json.loads(self.to_json())

    def to_json(self) -> str:
        """Return the text of `report.json`."""
        return json.dumps(self._content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"

    def check(self, requirements: Sequence[str | Requirement], model: str | None = None) -> list[dict[str, Any]]:
        """Check requirements such as `accuracy >= 0.98 * teacher`, and add the results to the report.

        The metrics are those of the run that the verdict is about; numbers of classes, agreement and calibration are
        means over the runs. Values are compared as they were measured; only the verdict considers their uncertainty.

        Args:
            requirements: Lines, or lines that were parsed: [`~hf_distill.reporting.requirements.Requirement`].
            model: Name of the model; None for the model of the verdict.

        Returns:
            For each requirement `text`, `is_met`, `value`, `bound`, and `reason`, why a number is missing, or None.

        Raises:
            ValueError: for a line that cannot be read, or a number or class that does not exist.
        """
        task = self._content["task"]
        metrics, problem_type = task["metrics"], task["problem_type"]
        parsed = [
            parse_requirement(line, metrics, problem_type) if isinstance(line, str) else line for line in requirements
        ]
        name = self._content["verdict"]["model"] if model is None else model
        results = [_plain(requirement.check(self._content, name)) for requirement in parsed]
        self._content["requirements"] = {"model": name, "results": results}
        return results

    def add_floor(self, floor: Mapping[str, Any]) -> None:
        """Add what a linear model on TF-IDF gets on the same rows, and a note that compares it with the student.

        Args:
            floor: What [`~hf_distill.data.tfidf.measure_tfidf`] returns.
        """
        self._content["floor"] = _plain(floor)
        notes, is_enough = about_floor(self._content)
        self._content["notes"] += notes
        self._content["warnings"] += notes if is_enough else []

    def to_text(self) -> str:
        """Return what fits on a terminal: verdict, next step, one table, requirements and warnings."""
        return render_text(self._content)

    def to_markdown(self) -> str:
        """Return the verdict, all tables and notes as Markdown."""
        return render_markdown(self._content)

    def _repr_html_(self) -> str:
        """Return the tables for a notebook; `to_html` writes the page with plots."""
        return as_html(self.to_markdown())

    def to_html(self, path: str | os.PathLike) -> None:
        """Write one self-contained page with plots; needs jinja2 and matplotlib."""
        from hf_distill.reporting.page.html import render_html

        page, path = render_html(self.to_dict()), Path(path)
        write_file_atomically(path.parent, path.name, lambda temporary: temporary.write_text(page, encoding="utf-8"))

    def save(self, folder: str | os.PathLike) -> None:
        """Write `report.json`, `report.md`, `report.html` and `plots/*.png`, each atomically; needs matplotlib.

        Raises:
            OSError: if a file cannot be written.
        """
        folder = Path(folder)
        for name, text in ((f"{REPORT_NAME}.json", self.to_json()), (f"{REPORT_NAME}.md", self.to_markdown() + "\n")):
            write_file_atomically(folder, name, partial(Path.write_text, data=text, encoding="utf-8"))
        self.to_html(folder / f"{REPORT_NAME}.html")
        from hf_distill.reporting.page.plots import save_plots

        save_plots(self.to_dict(), folder / "plots")


def _plain(value: Any) -> Any:
    """Convert to JSON types: NumPy numbers become Python numbers, and numbers that are not finite become None."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not np.isfinite(value) else value
