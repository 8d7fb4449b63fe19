"""Logs and evaluation that are exact means over rows, however these are split, with or without labels."""

import functools
from collections.abc import Callable
from typing import Any, cast

import datasets
import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader
from transformers import EvalPrediction, PreTrainedModel, Trainer
from transformers.trainer_utils import EvalLoopOutput
from transformers.utils import logging

from hf_distill.classifiers.label_maps import id2label_of
from hf_distill.classifiers.outputs import IS_UNIT, TEACHER_LOGITS, Batch, ClassifierOutputs, row_numbers
from hf_distill.classifiers.problem_types import ProblemType
from hf_distill.functional import IGNORE_INDEX
from hf_distill.objectives import DistillationLoss
from hf_distill.teachers import BaseTeacher
from hf_distill.training.checks import label_column_of
from hf_distill.training.running import ChanceGuard, EarlyLook, RunningMeans, StudentGuard

logger = logging.get_logger(__name__)

_ROWS_LOOKED_AT = 2000  # of stored answers; the guard wants 1,000, some of which may have no label


class ExactEvaluation(Trainer):
    """The half of [`DistillationTrainer`] that reports: terms of the loss, agreement and the teacher's metrics."""

    model: PreTrainedModel
    teacher: BaseTeacher | None
    problem_type: ProblemType
    distillation_loss: DistillationLoss

    def _run_student(self, model: nn.Module, inputs: Batch) -> ClassifierOutputs:
        raise NotImplementedError

    def _counted_rows(self, inputs: Batch, remainder: int) -> Tensor:
        raise NotImplementedError

    def _stop_if_not_finite(self, means: RunningMeans, role: str, dataset: Any) -> None:
        raise NotImplementedError

    def _start_reports(self) -> None:
        id2label = id2label_of(self.model.config)
        self.class_names = [id2label[i] for i in range(len(id2label))]
        has_commonest = self.problem_type.is_exclusive and self.problem_type.has_label_names
        self._chance_guard = ChanceGuard(self.class_names, self.args.device) if has_commonest else None
        self._student_guard = StudentGuard(self.args.device) if self.problem_type.is_exclusive else None
        self.pop_callback(EarlyLook)
        self.add_callback(EarlyLook(self._check_teacher_at_chance))
        terms = list(self.distillation_loss.weights)
        self._train_means = RunningMeans([*terms, "labelled"], self.args.device)
        is_known = self.teacher is not None and self.teacher.shows_logits
        compared = ["agreement"] if is_known and self.problem_type.agreement is not None else []
        self._eval_means = RunningMeans([*terms, "labelled", *compared], self.args.device)

    def _track(
        self,
        is_training: bool,
        student: ClassifierOutputs,
        teacher: ClassifierOutputs | None,
        batch: Batch,
        terms: dict[str, Tensor],
        num_units: Tensor | int | None,
    ) -> None:
        """Add the units of a micro-batch to the means; `num_units` are those of the whole accumulated batch."""
        labels, is_unit = batch.get("labels"), batch[IS_UNIT]
        labelled = torch.zeros_like(is_unit) if labels is None else self.problem_type.is_labelled(labels)
        theirs, rows = None if teacher is None else teacher.logits, row_numbers(batch)
        if theirs is not None and labels is not None and self._chance_guard is not None:
            self._chance_guard.add(theirs, labels, is_unit)
        if is_training:
            values, divisor = {**terms, "labelled": labelled}, 1.0 if num_units is None else num_units
            self._train_means.add(values, is_unit, divisor, rows, self.state.global_step + 1)
            return
        if theirs is not None and self.problem_type.agreement is not None:
            terms = {**terms, "agreement": self.problem_type.agreement(student.logits, theirs)}
        if theirs is not None and labels is not None and self._student_guard is not None:
            self._student_guard.add(student.logits, theirs, labels, is_unit)
        self._eval_means.add({**terms, "labelled": labelled}, is_unit, rows=rows, step=self.state.global_step)

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Log, with every term of the training loss beside `loss`; the first time also with its numbers."""
        if "loss" in logs:
            self._stop_if_not_finite(self._train_means, "training", self.train_dataset)
            terms = self._named(self._train_means.reduce(self.accelerator))
            # The arguments, which trackers store, have None for what was not set.
            is_first = not any("loss" in entry for entry in self.state.log_history)
            numbers = self.distillation_loss.numbers if is_first else self.distillation_loss.scheduled
            logs.update({**terms, **numbers})
            self._check_teacher_at_chance()
        super().log(logs, start_time)

    def _check_teacher_at_chance(self) -> None:
        if self._chance_guard is not None:
            self._chance_guard.check(self.accelerator)

    def _check_stored_answers(self) -> None:
        """Look for a teacher at chance before the first step, where its logits are known beforehand."""
        rows, guard, teacher = self.train_dataset, self._chance_guard, self.teacher
        if guard is None or guard.is_done or teacher is None or not (teacher.is_stored and teacher.shows_logits):
            return
        if not isinstance(rows, datasets.Dataset) or (labels := label_column_of(rows)) is None:
            return
        if self.accelerator.is_main_process:
            # From all over the data set, which may be sorted.
            sample = rows.with_format(None).select(range(0, len(rows), max(1, len(rows) // _ROWS_LOOKED_AT)))
            join = np.concatenate if self.problem_type.is_token_level else np.array
            known = {
                name: torch.tensor(join(sample[name][:])).to(self.args.device) for name in (labels, *teacher.needs)
            }
            of_units = known.pop(labels)
            guard.add(teacher(known).logits, of_units, torch.ones_like(of_units, dtype=torch.bool))
        self._check_teacher_at_chance()

    def _named(self, means: dict[str, float]) -> dict[str, float]:
        """Name the means as logs do; the share of labelled units only where it says something."""
        named = {f"loss_{name}": means[name] for name in self.distillation_loss.weights if name in means}
        if means.get("labelled", 1.0) < 1.0:
            named["labelled_share"] = means["labelled"]
        return named | ({"agreement": means["agreement"]} if "agreement" in means else {})

    def prediction_step(
        self,
        model: nn.Module,
        inputs: dict[str, Tensor],
        prediction_loss_only: bool,
        ignore_keys: list[str] | None = None,
    ) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        """Return loss, logits and labels of one batch of evaluation, labelled or not."""
        inputs = self._prepare_inputs(inputs)
        labels = inputs.get("labels")
        with torch.no_grad(), self.compute_loss_context_manager():
            if self.teacher is not None and not self.teacher.covers(inputs):
                logger.warning_once(f"No column `{TEACHER_LOGITS}` and no live teacher: predictions only, no loss.")
                loss, outputs = None, {"logits": self._run_student(model, inputs).logits}
            else:
                rows = self._counted_rows(inputs, self.accelerator.gradient_state.remainder)
                inputs[IS_UNIT] = self.problem_type.units(inputs, rows)
                loss, outputs = self.compute_loss(model, inputs, return_outputs=True)
        if prediction_loss_only:
            return loss, None, None
        if TEACHER_LOGITS in outputs and labels is not None:
            theirs = outputs[TEACHER_LOGITS]
            if self.preprocess_logits_for_metrics is not None:
                theirs = self.preprocess_logits_for_metrics(theirs, labels)
            theirs = self.accelerator.pad_across_processes(theirs, dim=1, pad_index=IGNORE_INDEX)
            self._teacher_logits.append(self.accelerator.gather_for_metrics(theirs).cpu().numpy())
        return loss, outputs["logits"], labels

    def evaluation_loop(
        self,
        dataloader: DataLoader,
        description: str,
        prediction_loss_only: bool | None = None,
        ignore_keys: list[str] | None = None,
        metric_key_prefix: str = "eval",
    ) -> EvalLoopOutput:
        """Evaluate; the loss and its terms are exact means over the rows, however they are split."""
        self._eval_means.reset()
        self._teacher_logits: list[np.ndarray] = []
        output = super().evaluation_loop(dataloader, description, prediction_loss_only, ignore_keys, metric_key_prefix)
        self._stop_if_not_finite(self._eval_means, "evaluation", dataloader.dataset)
        means = self._eval_means.reduce(self.accelerator)
        self._check_teacher_at_chance()
        if self._student_guard is not None:
            self._student_guard.check(self.accelerator)
        extra: dict[str, Any] = self._named(means)
        if means:
            extra["loss"] = sum(weight * means[name] for name, weight in self.distillation_loss.weights.items())
        # A metric that is computed batch by batch, or from more than logits and labels, is the student's alone.
        is_plain = not self.args.batch_eval_metrics and not self.args.include_for_metrics
        if self._teacher_logits and self.compute_metrics is not None and is_plain:
            labels = cast(np.ndarray, output.label_ids)
            teacher = EvalPrediction(predictions=_concatenate(self._teacher_logits), label_ids=labels)
            extra |= {f"teacher_{name}": value for name, value in self.compute_metrics(teacher).items()}
        named = {f"{metric_key_prefix}_{name}": value for name, value in extra.items()}
        return output._replace(metrics={**(output.metrics or {}), **named})

    def _on_labelled_rows(self, compute_metrics: Callable) -> Callable:
        """Wrap `compute_metrics` so that rows without a label do not count as wrong."""

        @functools.wraps(compute_metrics)  # Trainer looks at the signature
        def on_labelled_rows(prediction: EvalPrediction, **kwargs: Any) -> dict[str, float]:
            if isinstance(prediction.label_ids, list):  # batches that were not concatenated are the caller's affair
                return compute_metrics(prediction, **kwargs)
            keep = self.problem_type.has_labelled_unit(torch.as_tensor(prediction.label_ids)).cpu().numpy()
            if keep.all():
                return compute_metrics(prediction, **kwargs)
            if not keep.any() and not self.args.batch_eval_metrics:
                return {}
            parts = (prediction.predictions, prediction.label_ids, prediction.inputs, prediction.losses)
            kept = [None if part is None else cast(np.ndarray, part)[keep] for part in parts]
            return compute_metrics(EvalPrediction(*cast("list[np.ndarray]", kept)), **kwargs)

        return on_labelled_rows


def _concatenate(batches: list[np.ndarray]) -> np.ndarray:
    """Join batches of rows; those of tokens, `(batch, length, num_labels)`, are padded to one length."""
    if batches[0].ndim < 3:
        return np.concatenate(batches)
    longest = max(batch.shape[1] for batch in batches)
    padding = [[(0, 0), (0, longest - batch.shape[1]), (0, 0)] for batch in batches]
    return np.concatenate(
        [np.pad(batch, pad, constant_values=IGNORE_INDEX) for batch, pad in zip(batches, padding, strict=True)]
    )
