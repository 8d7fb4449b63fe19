"""The task's metrics of an export, from the logits of texts."""

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
    """Return a function from the logits of each text, `(num_labels,)` or `(words, num_labels)`, to metrics.

    Args:
        labels: One label for each text, with the classes in the model's order. For single-label classification a class
            id, negative or None without a label; for multi-label classification 0 or 1 for every class; for regression
            a number, or one for each output; for token classification a list with one id for each word, or None for a
            text without labels.
        problem_type: Problem type of the model.
        label_names: The model's class names by id.
        compute_metrics: From logits and labels to numbers, as `Trainer` takes it. By default all metrics of the
            problem type.

    Raises:
        ValueError: if the labels do not have this form.
    """
    if compute_metrics is None:
        names = default_metrics(problem_type, label_names)
        compute_metrics = as_compute_metrics(names, problem_type, label_names)
    if problem_type == "token_classification":
        return lambda logits: compute_metrics(_pad_words(logits, labels))
    references = _as_array(labels, problem_type, len(label_names))
    return lambda logits: compute_metrics(EvalPrediction(predictions=np.stack(logits), label_ids=references))


def _as_array(labels: Sequence[Any], problem_type: str, num_labels: int) -> np.ndarray:
    if problem_type == "single_label_classification":
        array = np.array([IGNORE_INDEX if label is None else label for label in labels])
        if array.ndim != 1 or array.dtype.kind not in "iu" or array.max() >= num_labels:
            raise ValueError(
                f"`labels` must be one class id below {num_labels} for each text, got {list(labels[:3])} ..."
            )
        return np.where(array < 0, IGNORE_INDEX, array)
    unlabelled: Any = np.nan if num_labels == 1 else [np.nan] * num_labels
    array = np.array([unlabelled if label is None else label for label in labels], dtype=np.float32)
    if array.shape not in ((len(labels), num_labels), (len(labels),) if num_labels == 1 else None):
        raise ValueError(f"`labels` must be {num_labels} numbers for each text, got {list(labels[:3])} ...")
    return array


def _pad_words(logits: Sequence[np.ndarray], labels: Sequence[Any]) -> EvalPrediction:
    """Pad all texts to the same number of words. A word that was cut off, with NaN as logits, has no label."""
    differs = [i for i, row in enumerate(labels) if row is not None and len(row) != len(logits[i])]
    if differs:
        i = differs[0]
        raise ValueError(f"Text {i} has {len(logits[i])} words but {len(labels[i])} `labels`.")
    shape = (len(logits), max(map(len, logits)))
    predictions, references = np.zeros((*shape, logits[0].shape[-1])), np.full(shape, IGNORE_INDEX)
    for i, (word_logits, word_labels) in enumerate(zip(logits, labels, strict=True)):
        was_seen = ~np.isnan(word_logits).any(axis=1)
        predictions[i, : len(word_logits)][was_seen] = word_logits[was_seen]
        if word_labels is not None:
            references[i, : len(word_logits)] = np.where(was_seen, word_labels, IGNORE_INDEX)
    return EvalPrediction(predictions=predictions, label_ids=references)
