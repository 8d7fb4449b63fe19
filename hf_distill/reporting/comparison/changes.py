"""Texts that a model answers right and the teacher wrong, and the reverse."""

from __future__ import annotations

from typing import Any

import numpy as np

from hf_distill.reporting.comparison.describe import Comparison
from hf_distill.reporting.comparison.fidelity import name_labels, name_predictions, shorten
from hf_distill.reporting.comparison.quality import TEACHER
from hf_distill.reporting.comparison.scores import Answers

MOST_EXAMPLES = 5


def describe_changes(comparison: Comparison, name: str) -> dict[str, Any] | None:
    """Return the texts that a model fixes and breaks.

    A text is right if all of its labels are.

    Args:
        comparison: The models on all rows.
        name: Name of the model.

    Returns:
        `fixed` and `broken`: the number of texts in `rows`, and up to 5 `examples`, spread evenly over the rows, each
        with its `row` (counted from 1), `text`, `label`, the answers of `teacher` and `model`. None without labels,
        and for token classification and regression.
    """
    units = comparison.labelled
    if comparison.quality is None or units.problem_type in ("token_classification", "regression"):
        return None
    teacher, model = (comparison.shipped_logits[which] for which in (TEACHER, name))
    is_teacher_right, is_model_right = (Answers(units, logits).are_right for logits in (teacher, model))
    labels, answers = name_labels(units), [name_predictions(units, logits) for logits in (teacher, model)]
    row_of = np.flatnonzero(comparison.units.is_labelled)
    return {
        kind: {
            "rows": int(is_changed.sum()),
            "examples": [
                {
                    "row": int(row_of[i]) + 1,
                    "text": shorten(units.texts[i]),
                    "label": labels[i],
                    "teacher": answers[0][i],
                    "model": answers[1][i],
                }
                for i in _spread(np.flatnonzero(is_changed))
            ],
        }
        for kind, is_changed in (
            ("fixed", is_model_right & ~is_teacher_right),
            ("broken", is_teacher_right & ~is_model_right),
        )
    }


def _spread(rows: np.ndarray) -> np.ndarray:
    places = np.linspace(0, len(rows) - 1, min(MOST_EXAMPLES, len(rows))).astype(int)
    return rows[places]
