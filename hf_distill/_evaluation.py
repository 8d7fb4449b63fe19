"""Logs and evaluation that are exact means over rows, however these are split, with or without labels."""

import functools
import math
from collections.abc import Callable
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader
from transformers import EvalPrediction, PreTrainedModel, Trainer
from transformers.trainer_utils import EvalLoopOutput
from transformers.utils import logging

from hf_distill._running import ChanceGuard, RunningMeans
from hf_distill.labels import id2label_of
from hf_distill.objectives import DistillationLoss
from hf_distill.outputs import IS_UNIT, TEACHER_LOGITS, Batch, ClassifierOutputs
from hf_distill.problem_types import ProblemType, agreement
from hf_distill.teachers import CachedTeacher, Teacher

logger = logging.get_logger(__name__)


class ExactEvaluation(Trainer):
    """The half of [`DistillationTrainer`] that reports: terms of the loss, agreement and the teacher's metrics."""

    model: PreTrainedModel
    teacher: Teacher | CachedTeacher | None
    problem_type: ProblemType
    distillation_loss: DistillationLoss

    def _run_student(self, model: nn.Module, inputs: Batch) -> ClassifierOutputs:
        raise NotImplementedError

    def _is_unit(self, inputs: Batch, remainder: int) -> Tensor:
        raise NotImplementedError

    def _start_reports(self) -> None:
        id2label = id2label_of(self.model.config)
        self.class_names = [id2label[i] for i in range(len(id2label))]
        self._chance_guard = ChanceGuard(self.class_names, self.args.device)
        terms = list(self.distillation_loss.weights)
        self._train_means = RunningMeans([*terms, "labelled"], self.args.device)
        compared = ["agreement"] if self.teacher is not None and self.problem_type.has_classes else []
        self._eval_means = RunningMeans([*terms, "labelled", *compared], self.args.device)

    def _track(
        self,
        is_training: bool,
        student: ClassifierOutputs,
        teacher: ClassifierOutputs | None,
        inputs: Batch,
        terms: dict[str, Tensor],
        num_units: Tensor | int | None,
    ) -> None:
        """Add a micro-batch to the means; `num_units` are those of the whole accumulated batch."""
        labels, is_unit = inputs.get("labels"), inputs[IS_UNIT]
        labelled = torch.zeros_like(is_unit) if labels is None else self.problem_type.is_labelled(labels)
        if teacher is not None and labels is not None and self.problem_type.has_classes:
            self._chance_guard.add(teacher.logits, labels, is_unit)
        if is_training:
            self._train_means.add({**terms, "labelled": labelled}, is_unit, 1.0 if num_units is None else num_units)
            return
        compared = {} if teacher is None else {"agreement": agreement(student.logits, teacher.logits)}
        self._eval_means.add({**terms, "labelled": labelled, **compared}, is_unit)

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Log, with every term of the training loss beside `loss`."""
        if "loss" in logs:
            terms = self._named(self._train_means.reduce(self.accelerator))
            for name, value in terms.items():
                if not math.isfinite(value):
                    raise FloatingPointError(
                        f"`{name}` is {value} after step {self.state.global_step}. Look for NaN in the weights of the "
                        "teacher or the student, or lower the learning rate; the last checkpoint is still good."
                    )
            logs.update(terms)
            self._chance_guard.check(self.accelerator)
        super().log(logs, start_time)

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
                inputs[IS_UNIT] = self._is_unit(inputs, self.accelerator.gradient_state.remainder)
                loss, outputs = self.compute_loss(model, inputs, return_outputs=True)
        if prediction_loss_only:
            return loss, None, None
        if TEACHER_LOGITS in outputs and labels is not None:
            theirs = outputs[TEACHER_LOGITS]
            if self.preprocess_logits_for_metrics is not None:
                theirs = self.preprocess_logits_for_metrics(theirs, labels)
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
        means = self._eval_means.reduce(self.accelerator)
        self._chance_guard.check(self.accelerator)
        extra: dict[str, Any] = self._named(means)
        if means:
            extra["loss"] = sum(weight * means[name] for name, weight in self.distillation_loss.weights.items())
        # A metric that is computed batch by batch, or from more than logits and labels, is the student's alone.
        is_plain = not self.args.batch_eval_metrics and not self.args.include_for_metrics
        if self._teacher_logits and self.compute_metrics is not None and is_plain:
            logits, labels = np.concatenate(self._teacher_logits), cast(np.ndarray, output.label_ids)
            teacher = EvalPrediction(predictions=logits, label_ids=labels)
            extra |= {f"teacher_{name}": value for name, value in self.compute_metrics(teacher).items()}
        named = {f"{metric_key_prefix}_{name}": value for name, value in extra.items()}
        return output._replace(metrics={**(output.metrics or {}), **named})

    def _on_labelled_rows(self, compute_metrics: Callable) -> Callable:
        """Wrap `compute_metrics` so that rows without a label do not count as wrong."""

        @functools.wraps(compute_metrics)  # Trainer looks at the signature
        def on_labelled_rows(prediction: EvalPrediction, **kwargs: Any) -> dict[str, float]:
            if isinstance(prediction.label_ids, list):  # batches that were not concatenated are the caller's affair
                return compute_metrics(prediction, **kwargs)
            keep = self.problem_type.is_labelled(torch.as_tensor(prediction.label_ids)).cpu().numpy()
            if keep.all():
                return compute_metrics(prediction, **kwargs)
            if not keep.any() and not self.args.batch_eval_metrics:
                return {}
            parts = (prediction.predictions, prediction.label_ids, prediction.inputs, prediction.losses)
            kept = [None if part is None else cast(np.ndarray, part)[keep] for part in parts]
            return compute_metrics(EvalPrediction(*cast("list[np.ndarray]", kept)), **kwargs)

        return on_labelled_rows
