"""Answers that are not sure enough: a threshold of confidence, chosen by hand or certified by a report."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from hf_distill.export.layout import EXPORT_NAME, Export

# What a report says about a threshold.
_FIELDS = ("threshold", "temperature", "share", "loss", "confidence")
# Variant -> the format that it has in a report. A report's PyTorch student is the float32 export up to rounding.
_FORMATS = {"float32": ("onnx", "pytorch")}


class Deferral(NamedTuple):
    """The rule that marks an answer: its confidence is below a threshold.

    Attributes:
        threshold: Lowest confidence that is sure enough, from 0 to 1.
        temperature: The logits are divided by it before the softmax.
    """

    threshold: float
    temperature: float

    def is_unsure(self, logits: np.ndarray) -> np.ndarray:
        """Return for each row of logits, `(rows, num_labels)`, whether its top probability is below the threshold."""
        scaled = logits.astype(np.float64) / self.temperature
        powers = np.exp(scaled - scaled.max(axis=-1, keepdims=True))
        return powers.max(axis=-1) / powers.sum(axis=-1) < self.threshold


def choose_deferral(defer_below: float | Literal["certified"] | None, export: Export) -> Deferral | None:
    """Return the rule that a user chose; None for no rule.

    Args:
        defer_below: A threshold, "certified" for the threshold in `export.json`, or None.
        export: The export, whose certified temperature is used if it has one.

    Raises:
        ValueError: for a threshold that is not from 0 to 1, for "certified" without a certified threshold, or for a
            model that does not answer with one class for each text.
    """
    if defer_below is None:
        return None
    if export.record["problem_type"] != "single_label_classification":
        raise ValueError(
            "`defer_below` is for classifiers with one label for each text, and this is an export for "
            f"{export.record['problem_type']}."
        )
    certified = export.about_variant.get("deferral")
    temperature = 1.0 if certified is None else certified["temperature"]
    if defer_below == "certified":
        if certified is None:
            raise ValueError(
                f"The {EXPORT_NAME} of {export.folder} has no certified threshold for {export.variant}. Export with "
                "--report report/report.json, the report of `hf-distill compare`, or pass a number as `defer_below`."
            )
        return Deferral(certified["threshold"], temperature)
    if not isinstance(defer_below, int | float) or not 0 <= defer_below <= 1:
        raise ValueError(f'`defer_below` must be a probability from 0 to 1 or "certified", got {defer_below!r}.')
    return Deferral(float(defer_below), temperature)


def read_certified(report: str | os.PathLike[str], variant: str, num_parameters: int) -> dict[str, Any]:
    """Return the threshold that a report certified for a variant, with its temperature, share, loss and confidence.

    Args:
        report: Path of the `report.json` of `hf-distill compare`.
        variant: Name of the variant. The guarantee holds for the model that was compared, so an int8 variant needs a
            report with the int8 export as a column.
        num_parameters: Number of parameters of the model.

    Raises:
        ValueError: if the file is no report, or the report has no such model, several of them, one of another size, or
            no certified threshold.
    """
    path = Path(report)
    content = _read_report(path)
    models = {name: model for name, model in content["models"].items() if model["role"] in ("student", "export")}
    formats = _FORMATS.get(variant, (f"onnx-{variant}",))
    by_format = [[name for name, model in models.items() if model["format"] == format] for format in formats]
    names = next((names for names in by_format if names), [])
    if len(names) > 1 and content["verdict"]["model"] in names:
        names = [content["verdict"]["model"]]
    if len(names) != 1:
        raise ValueError(
            f"{path} has {len(names)} models of the format {' or '.join(formats)} ({', '.join(names) or 'none'}), but "
            f"the threshold of the variant {variant} needs exactly one. Run `hf-distill compare --export_folder "
            f"{variant}=FOLDER` with this export, and export again with its report."
        )
    compared = models[names[0]]["cost"]["num_parameters"]
    if compared is not None and compared != num_parameters:
        raise ValueError(
            f"{path} is about another model: {names[0]!r} has {compared:,} parameters, and this model has "
            f"{num_parameters:,}. Compare this model, and pass its report."
        )
    deferral = models[names[0]].get("deferral") or {}
    if deferral.get("threshold") is None:
        raise ValueError(
            f"{path} certifies no threshold for the model {names[0]!r}. Its rows are too few, come in groups or have "
            "no labels, or the teacher must answer all of them. Leave out the report."
        )
    return {field: deferral[field] for field in _FIELDS} | {"model": names[0]}


def _read_report(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:  # not JSON, or not text
        content = None
    if not isinstance(content, dict) or not {"models", "verdict"} <= content.keys():
        raise ValueError(f"{path} is not a report. Pass the report.json that `hf-distill compare` writes.")
    return content
