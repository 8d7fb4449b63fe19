"""The teacher's metrics beside the student's, and metrics over labelled rows only."""

import functools
from collections.abc import Callable
from typing import Any, cast

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor
from transformers import EvalPrediction

from hf_distill.classifiers.problem_types import ProblemType
from hf_distill.functional import IGNORE_INDEX


class TeacherPredictions:
    """The teacher's logits of one evaluation, gathered batch by batch.

    Args:
        accelerator: The Trainer's.
    """

    def __init__(self, accelerator: Accelerator) -> None:
        self.accelerator = accelerator
        self._batches: list[np.ndarray] = []

    def reset(self) -> None:
        """Forget the logits of the last evaluation."""
        self._batches = []

    def add(self, logits: Tensor, labels: Tensor, preprocess: Callable[[Tensor, Tensor], Tensor] | None) -> None:
        """Add a batch; every process must call it.

        Args:
            logits: The teacher's, `(batch, num_labels)` or `(batch, length, num_labels)`.
            labels: Labels of the batch.
            preprocess: The Trainer's `preprocess_logits_for_metrics`.
        """
        if preprocess is not None:
            logits = preprocess(logits, labels)
        logits = self.accelerator.pad_across_processes(logits, dim=1, pad_index=IGNORE_INDEX)
        self._batches.append(self.accelerator.gather_for_metrics(logits).cpu().numpy())

    def score(self, compute_metrics: Callable, labels: np.ndarray) -> dict[str, float]:
        """Return the teacher's metrics as `teacher_<name>`; empty if no logits were added."""
        if not self._batches:
            return {}
        prediction = EvalPrediction(predictions=_concatenate(self._batches), label_ids=labels)
        return {f"teacher_{name}": value for name, value in compute_metrics(prediction).items()}


def _concatenate(batches: list[np.ndarray]) -> np.ndarray:
    """Join batches of rows; batches of tokens, `(batch, length, num_labels)`, are padded to one length."""
    if batches[0].ndim < 3:
        return np.concatenate(batches)
    longest = max(batch.shape[1] for batch in batches)
    padding = [[(0, 0), (0, longest - batch.shape[1]), (0, 0)] for batch in batches]
    return np.concatenate(
        [np.pad(batch, pad, constant_values=IGNORE_INDEX) for batch, pad in zip(batches, padding, strict=True)]
    )


def on_labelled_rows(compute_metrics: Callable, problem_type: ProblemType, is_batchwise: bool) -> Callable:
    """Wrap `compute_metrics` so that rows without a label do not count as wrong.

    Args:
        compute_metrics: From an `EvalPrediction` to named numbers.
        problem_type: The student's.
        is_batchwise: Whether Trainer calls it once per batch (`batch_eval_metrics`).
    """

    @functools.wraps(compute_metrics)  # Trainer looks at the signature
    def on_labelled_rows(prediction: EvalPrediction, **kwargs: Any) -> dict[str, float]:
        if isinstance(prediction.label_ids, list):  # `eval_do_concat_batches=False`: left to the caller
            return compute_metrics(prediction, **kwargs)
        keep = problem_type.has_labelled_unit(torch.as_tensor(prediction.label_ids)).cpu().numpy()
        if keep.all():
            return compute_metrics(prediction, **kwargs)
        if not keep.any() and not is_batchwise:
            return {}
        parts = (prediction.predictions, prediction.label_ids, prediction.inputs, prediction.losses)
        kept = [None if part is None else cast(np.ndarray, part)[keep] for part in parts]
        return compute_metrics(EvalPrediction(*cast("list[np.ndarray]", kept)), **kwargs)

    return on_labelled_rows
