"""What the outputs of all models on the same units say of each of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from hf_distill.reporting.comparison.deferral import describe_deferral
from hf_distill.reporting.comparison.fidelity import describe_fidelity
from hf_distill.reporting.comparison.quality import TEACHER, Quality, Resampling, describe_quality
from hf_distill.reporting.comparison.reliability import describe_calibration
from hf_distill.reporting.comparison.robustness import score_by_class, score_by_length
from hf_distill.reporting.comparison.units import Units

RunLogits = dict[str, list[np.ndarray]]

_NEED_LABELS = (
    "retention", "gap_closed", "gap_closed_note", "versus_teacher", "versus_baseline", "calibration", "by_class",
    "deferral",
)  # fmt: skip


class Comparison:
    """All models on one set of units; those without a label count for fidelity alone.

    Args:
        units: Of the evaluation set.
        logits: Model -> `(num_units, num_labels)` of each run, in the units' order of the classes.
        metrics: Names, the one to decide by first.
        margin: By how much a score may be lower.
        how: How intervals are made.
    """

    def __init__(
        self, units: Units, logits: RunLogits, metrics: Sequence[str], margin: float, how: Resampling
    ) -> None:
        self.units, self.logits, self.metrics, self.margin, self.how = units, logits, metrics, margin, how
        is_labelled = units.is_labelled
        self.labelled = units.at(is_labelled)
        self.of_labelled = {name: [of_run[is_labelled] for of_run in runs] for name, runs in logits.items()}
        self.quality = Quality(self.labelled, self.of_labelled, how) if is_labelled.any() else None
        self.by_length = score_by_length(self.labelled, self.of_labelled, metrics[0], how) if self.quality else {}

    @property
    def num_rows(self) -> int:
        """Rows that scores are of; without any label, all rows."""
        return self.labelled.num_rows if self.quality else self.units.num_rows

    @property
    def num_unlabelled(self) -> int:
        """Rows without a label."""
        return self.units.num_rows - self.labelled.num_rows

    def describe(self, name: str) -> dict[str, Any]:
        """Return what the report says of a model, its cost and another set aside."""
        teacher, runs = self.logits[TEACHER][0], self.logits[name]
        fidelity = None if name == TEACHER else describe_fidelity(self.units, teacher, runs, self.how)
        if self.quality is None:
            return {"metrics": {}, **dict.fromkeys(_NEED_LABELS), "fidelity": fidelity, "by_length": []}
        labelled = self.of_labelled[name]
        can_defer = name != TEACHER and self.units.problem_type == "single_label_classification"
        return {
            "metrics": self.quality.metrics(name, self.metrics),
            **describe_quality(self.quality, name, self.metrics[0], self.margin),
            "fidelity": fidelity,
            "calibration": self._calibration(labelled),
            "by_length": self.by_length[name],
            "by_class": score_by_class(self.labelled, labelled),
            "deferral": describe_deferral(self.labelled, labelled[0], self.of_labelled[TEACHER][0], self.metrics[0])
            if can_defer
            else None,
        }

    def _calibration(self, runs: Sequence[np.ndarray]) -> dict[str, Any] | None:
        """Figures are means over runs; the diagrams are those of the first."""
        found = [describe_calibration(self.labelled, of_run, self.how.seed) for of_run in runs]
        first = found[0]
        if first is None:
            return None
        numbers = [key for key, value in first.items() if isinstance(value, float)]
        return {**first, **{key: float(np.mean([of_run[key] for of_run in found if of_run])) for key in numbers}}


def describe_shifted(
    units: Units, logits: RunLogits, metrics: Sequence[str], how: Resampling
) -> dict[str, dict[str, Any]]:
    """Score all models on a second set."""
    quality = Quality(units, logits, how)
    return {
        name: {
            "rows": units.num_rows,
            "metrics": quality.metrics(name, metrics),
            "retention": None if name == TEACHER else quality.retention(name, metrics[0]),
        }
        for name in logits
    }
