"""What an evaluation can compute: a loss or none, metrics over labelled rows only, and the teacher's metrics."""

import functools
from collections.abc import Callable, Iterable
from typing import Any, cast

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor
from transformers import EvalPrediction, TrainerState, TrainingArguments
from transformers.trainer_pt_utils import EvalLoopContainer

from hf_distill.classifiers.outputs import TEACHER_LOGITS, Batch
from hf_distill.classifiers.problem_types import ProblemType
from hf_distill.functional import IGNORE_INDEX
from hf_distill.objectives import DistillationLoss
from hf_distill.teachers import BaseTeacher

TIMING = ("runtime", "per_second", "preparation_time")  # how the names of times of an evaluation end


class TeacherPredictions:
    """The teacher's logits of one evaluation, gathered batch by batch as Trainer gathers the student's.

    Args:
        accelerator: The Trainer's.
        args: The Trainer's.
    """

    def __init__(self, accelerator: Accelerator, args: TrainingArguments) -> None:
        self.accelerator, self.args = accelerator, args
        self.reset()

    def reset(self) -> None:
        """Forget the logits of the last evaluation."""
        self._batches = EvalLoopContainer(self.args.eval_do_concat_batches, padding_index=IGNORE_INDEX)
        self._num_batches = 0

    def add(self, logits: Tensor, labels: Tensor, preprocess: Callable[[Tensor, Tensor], Any] | None) -> None:
        """Add a batch; every process must call it.

        Args:
            logits: The teacher's, `(batch, num_labels)` or `(batch, length, num_labels)`.
            labels: Labels of the batch.
            preprocess: The Trainer's `preprocess_logits_for_metrics`.
        """
        logits, labels = (
            self.accelerator.pad_across_processes(values, dim=1, pad_index=IGNORE_INDEX) for values in (logits, labels)
        )
        predictions = logits if preprocess is None else preprocess(logits, labels)
        self._batches.add(self.accelerator.gather_for_metrics(predictions))
        self._num_batches += 1
        if self.args.eval_accumulation_steps and self._num_batches % self.args.eval_accumulation_steps == 0:
            self._batches.to_cpu_and_numpy()

    def score(self, compute_metrics: Callable, labels: Any) -> dict[str, float]:
        """Return the teacher's metrics as `teacher_<name>`; empty if no logits were added."""
        predictions = self._batches.get_arrays()
        if self._num_batches == 0:
            return {}
        metrics = compute_metrics(EvalPrediction(predictions=cast(Any, predictions), label_ids=labels))
        return {f"teacher_{name}": value for name, value in metrics.items()}


def missing_for_loss(
    inputs: Batch, teacher: BaseTeacher | None, loss: DistillationLoss, problem_type: ProblemType
) -> str | None:
    """Say what a batch of evaluation lacks for the loss; None if the loss can be computed."""
    if teacher is not None and not teacher.can_answer(inputs):
        return f"No column `{TEACHER_LOGITS}` and no live teacher"
    if loss.reads_labels and not problem_type.all_units_have_labels(inputs):
        return f"`{loss.reads_labels[0]}` needs the label of every unit, and some have none"
    return None


def describe_missing_metric(name: str, metrics: Iterable[str], args: TrainingArguments, state: TrainerState) -> str:
    """Return the message for a `metric_for_best_model` that an evaluation does not have.

    Args:
        name: The metric, with the prefix `eval_`.
        metrics: The names of all metrics, with that prefix.
        args: The Trainer's.
        state: The Trainer's.
    """
    names = [metric.removeprefix("eval_") for metric in metrics if not metric.endswith(TIMING) and metric != "epoch"]
    return (
        f"`metric_for_best_model` is {name.removeprefix('eval_')!r}, and the evaluation has {', '.join(names)}. Step "
        f"{state.global_step} is saved in {args.output_dir}: resume from it with one of these metrics."
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
        kept = [_select(part, keep) for part in parts]
        return compute_metrics(EvalPrediction(*cast(Any, kept)), **kwargs)

    return on_labelled_rows


def _select(values: Any, keep: np.ndarray) -> Any:
    """Return some rows of an array, of every array of a tuple, or of no array."""
    if isinstance(values, tuple):
        return tuple(_select(part, keep) for part in values)
    return None if values is None else values[keep]
