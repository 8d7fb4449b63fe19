"""What an export costs in the numbers that a user knows: the task's metrics, from the logits of texts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from transformers import EvalPrediction

from hf_distill.data.compute_metrics import as_compute_metrics
from hf_distill.data.metrics import default_metrics
from hf_distill.functional import IGNORE_INDEX

if TYPE_CHECKING:
    from hf_distill.data.compute_metrics import ComputeMetrics

Score: TypeAlias = Callable[[Sequence[np.ndarray]], dict[str, float]]


def scorer(
    labels: Sequence[Any], problem_type: str, label_names: Sequence[str], compute_metrics: ComputeMetrics | None = None
) -> Score:
    """Return a function that takes the logits of each text, `(num_labels,)` or `(words, num_labels)`, to metrics.

    Args:
        labels: What is right for each text, in the model's order of classes. An id of a class, negative or None where
            there is none; multi-label, 0 or 1 for every class; in a regression a number, or one for each output; of
            words a list of ids, one for each, or None for a text without any.
        problem_type: The model's.
        label_names: The model's, by id.
        compute_metrics: From logits and labels to numbers, as `Trainer` takes it. Unset: all that we know for the
            problem type.

    Raises:
        ValueError: for labels that are not of this kind.
    """
    if compute_metrics is None:
        names = default_metrics(problem_type, label_names)
        compute_metrics = as_compute_metrics(names, problem_type, label_names)
    if problem_type == "token_classification":
        return lambda logits: compute_metrics(_of_words(logits, labels))
    references = _as_array(labels, problem_type, len(label_names))
    return lambda logits: compute_metrics(EvalPrediction(predictions=np.stack(logits), label_ids=references))


def _as_array(labels: Sequence[Any], problem_type: str, num_labels: int) -> np.ndarray:
    if problem_type == "single_label_classification":
        array = np.array([IGNORE_INDEX if label is None else label for label in labels])
        if array.ndim != 1 or array.dtype.kind not in "iu" or array.max() >= num_labels:
            raise ValueError(f"`labels` must be ids below {num_labels}, one a text, got {list(labels[:3])} ...")
        return np.where(array < 0, IGNORE_INDEX, array)
    unknown: Any = np.nan if num_labels == 1 else [np.nan] * num_labels
    array = np.array([unknown if label is None else label for label in labels], dtype=np.float32)
    if array.shape not in ((len(labels), num_labels), (len(labels),) if num_labels == 1 else None):
        raise ValueError(f"`labels` must be {num_labels} numbers a text, got {list(labels[:3])} ...")
    return array


def _of_words(logits: Sequence[np.ndarray], labels: Sequence[Any]) -> EvalPrediction:
    """Pad texts to as many words; a word that was cut off, of which there are no logits, counts as without a label."""
    if differing := [i for i, row in enumerate(labels) if row is not None and len(row) != len(logits[i])]:
        i = differing[0]
        raise ValueError(f"Text {i} has {len(logits[i])} words and {len(labels[i])} `labels`.")
    shape = (len(logits), max(map(len, logits)))
    predictions, references = np.zeros((*shape, logits[0].shape[-1])), np.full(shape, IGNORE_INDEX)
    for i, (of_text, known) in enumerate(zip(logits, labels, strict=True)):
        was_seen = ~np.isnan(of_text).any(axis=1)
        predictions[i, : len(of_text)][was_seen] = of_text[was_seen]
        if known is not None:
            references[i, : len(of_text)] = np.where(was_seen, known, IGNORE_INDEX)
    return EvalPrediction(predictions=predictions, label_ids=references)
