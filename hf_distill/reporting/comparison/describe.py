"""What the outputs of all models on the same units show about each of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from hf_distill.data.metrics import Metric
from hf_distill.reporting.comparison.confusions import describe_confusions
from hf_distill.reporting.comparison.deferral import describe_deferral
from hf_distill.reporting.comparison.fidelity import describe_fidelity
from hf_distill.reporting.comparison.groups import describe_groups
from hf_distill.reporting.comparison.lost_classes import describe_lost_classes
from hf_distill.reporting.comparison.quality import TEACHER, Quality, Resampling, describe_quality
from hf_distill.reporting.comparison.reliability import describe_calibration
from hf_distill.reporting.comparison.robustness import score_by_class, score_by_length
from hf_distill.reporting.comparison.trivial import absolute_margin, describe_trivial
from hf_distill.reporting.comparison.units import Units

RunLogits = dict[str, list[np.ndarray]]

_NEED_LABELS = (
    "retention", "gap_closed", "gap_closed_note", "versus_teacher", "versus_baseline", "calibration", "by_class",
    "deferral", "lost_classes", "recipe", "confusions",
)  # fmt: skip


class Comparison:
    """All models on one set of units. Units without a label count only for fidelity.

    Args:
        units: Units of the evaluation set.
        logits: Name of a model -> `(num_units, num_labels)` of each run, with the classes in the units' order.
        metrics: What to score. The first metric decides.
        margin: How much lower a score can be and still count as non-inferior, see
            [`~hf_distill.reporting.comparison.trivial.absolute_margin`].
        how: How intervals are made.
        shipped: Name of a model -> the run that is used in production; the first one unless it is named.
        raw_logits: The logits before thresholds were subtracted, for calibration and divergence; None for `logits`.
    """

    def __init__(
        self,
        units: Units,
        logits: RunLogits,
        metrics: Sequence[Metric],
        margin: float,
        how: Resampling,
        shipped: Mapping[str, int] | None = None,
        raw_logits: RunLogits | None = None,
    ) -> None:
        self.units, self.logits, self.metric, self.how = units, logits, metrics[0], how
        self.raw_logits = raw_logits
        is_labelled = units.is_labelled
        self.labelled = units.at(is_labelled)
        self.labelled_logits = {name: [run[is_labelled] for run in runs] for name, runs in logits.items()}
        has_labels = bool(is_labelled.any())
        self.margin = absolute_margin(self.labelled, metrics[0], margin) if has_labels else margin
        self.quality = Quality(self.labelled, self.labelled_logits, metrics, how) if has_labels else None
        runs = dict.fromkeys(logits, 0) | dict(shipped or {})
        self.shipped_logits = {name: self.labelled_logits[name][run] for name, run in runs.items()}
        self.shipped = self.quality
        if self.quality and any(len(of_model) > 1 for of_model in logits.values()):
            shipped_runs = {name: [run] for name, run in self.shipped_logits.items()}
            self.shipped = Quality(self.labelled, shipped_runs, metrics[:1], how)
        self.by_length = score_by_length(self.labelled, self.labelled_logits, metrics[0], how) if has_labels else {}

    @property
    def num_rows(self) -> int:
        """Number of rows with a label; of all rows if none has a label."""
        return self.labelled.num_rows if self.quality else self.units.num_rows

    @property
    def num_unlabelled(self) -> int:
        """Number of rows without a label."""
        return self.units.num_rows - self.labelled.num_rows

    @property
    def num_repeated(self) -> int:
        """Number of rows whose text is the text of an earlier row; of rows in groups, of another group."""
        texts = [text if isinstance(text, str) else tuple(text) for text in self.units.texts]
        return len(set(zip(texts, self.units.row_groups.tolist(), strict=True))) - len(set(texts))

    def describe_groups(self, column: str | None) -> dict[str, Any] | None:
        """Return how many groups the counted rows come in; None if they are independent."""
        return describe_groups(self.labelled if self.quality else self.units, column)

    def describe(self, name: str) -> dict[str, Any]:
        """Return the report's entry of a model, without its cost and its scores on a shifted set."""
        teacher, runs = self.logits[TEACHER][0], self.logits[name]
        fidelity = None if name == TEACHER else describe_fidelity(self.units, teacher, runs, self.how)
        if fidelity is not None and self.raw_logits is not None:
            teacher, raw_runs = self.raw_logits[TEACHER][0], self.raw_logits[name]
            fidelity["kl"] = describe_fidelity(self.units, teacher, raw_runs, self.how)["kl"]
        if self.quality is None or self.shipped is None:
            return {"metrics": {}, **dict.fromkeys(_NEED_LABELS), "fidelity": fidelity, "by_length": []}
        labelled_runs = self.labelled_logits[name]
        return {
            "metrics": self.quality.estimates(name),
            **describe_quality(self.quality, self.shipped, name, self.metric.name, self.margin),
            "fidelity": fidelity,
            "calibration": self._calibration(name),
            "by_length": self.by_length[name],
            "by_class": score_by_class(self.labelled, labelled_runs),
            "deferral": self._deferral(name),
            "lost_classes": self._lost_classes(name),
            "confusions": describe_confusions(self.labelled, self.shipped_logits[TEACHER], self.shipped_logits[name]),
        }

    def _calibration(self, name: str) -> dict[str, Any] | None:
        """Return the mean of each number over the runs, and the diagrams of the first run."""
        runs = self.labelled_logits[name]
        if self.raw_logits is not None:
            runs = [run[self.units.is_labelled] for run in self.raw_logits[name]]
        described = [describe_calibration(self.labelled, run, self.how) for run in runs]
        first = described[0]
        if first is None:
            return None
        numbers = [key for key, value in first.items() if isinstance(value, float)]
        return {**first, **{key: float(np.mean([run[key] for run in described if run])) for key in numbers}}

    def _deferral(self, name: str) -> dict[str, Any] | None:
        """Return the cascade of a model's shipped run with the teacher; only a single-label model has a confidence."""
        if name == TEACHER or self.units.problem_type != "single_label_classification":
            return None
        student, teacher = (self.shipped_logits[model] for model in (name, TEACHER))
        return describe_deferral(self.labelled, student, teacher, self.metric, self.margin, self.how.level)

    def _lost_classes(self, name: str) -> dict[str, Any] | None:
        if name == TEACHER:
            return None
        teacher, model = (self.shipped_logits[model] for model in (TEACHER, name))
        return describe_lost_classes(self.labelled, teacher, model, self.how.level)

    def describe_trivial(self) -> dict[str, Any] | None:
        """Compare the teacher with the best constant answer; None without labels."""
        if self.quality is None:
            return None
        return describe_trivial(self.labelled, self.labelled_logits[TEACHER][0], self.metric, self.how)


def describe_shifted(
    units: Units, logits: RunLogits, metrics: Sequence[Metric], how: Resampling
) -> dict[str, dict[str, Any]]:
    """Score all models on a second set of rows."""
    quality = Quality(units, logits, metrics, how)
    return {
        name: {
            "rows": units.num_rows,
            "metrics": quality.estimates(name),
            "retention": None if name == TEACHER else quality.retention(name, metrics[0].name),
        }
        for name in logits
    }
