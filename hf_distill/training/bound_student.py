"""A student and a loss that are fitted to each other, and what a Trainer holds for this pair."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, cast

from accelerate import Accelerator
from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from hf_distill.classifiers.label_maps import class_names_of
from hf_distill.objectives import DistillationLoss
from hf_distill.training.dataset_preparation import DatasetPreparation
from hf_distill.training.evaluation import TeacherPredictions
from hf_distill.training.label_checks import match_first_student
from hf_distill.training.labelled_rows import count_labels
from hf_distill.training.loss import LossRunner
from hf_distill.training.monitor import LossMonitor
from hf_distill.training.student import fit_student
from hf_distill.training.teaching import Teaching
from hf_distill.training.units import Units
from hf_distill.training_args import DistillationTrainingArguments


class BoundStudent:
    """Fits a student, a loss and the teachers to each other, and makes the objects that depend on them.

    `model_init` and the trials of a search make all of this anew.

    Args:
        student: The student.
        loss: The objectives.
        teaching: The teachers.
        tokenizer: The tokenizer that pads the student's batches; None without one, or if the student is split.
        datasets: The training set, then the evaluation sets; None for one that was not given.
        accelerator: The Trainer's.
        args: The Trainer's.
        first_names: Class names of the first student, in whose order the datasets are; None for the first student.

    Attributes:
        class_names: Names of the student's classes, by id.
        units: Marks and counts the units of batches.
        loss_runner: Runs the objectives.
        preparation: Checks datasets and adds the teachers' columns.
        monitor: Means of all terms, and guards.
        teacher_predictions: The teacher's logits of one evaluation.

    Raises:
        ValueError: if student, loss and teachers do not fit.
    """

    def __init__(
        self,
        student: PreTrainedModel,
        loss: DistillationLoss,
        teaching: Teaching,
        tokenizer: PreTrainedTokenizerBase | None,
        datasets: Sequence[Any],
        accelerator: Accelerator,
        args: DistillationTrainingArguments,
        first_names: list[str] | None,
    ) -> None:
        self.problem_type = fit_student(student, loss, teaching, datasets[0], tokenizer)
        self.units = Units(self.problem_type, accelerator)
        self.loss_runner = LossRunner(loss, accelerator)
        self.loss_runner.bind(self.problem_type, student.config, teaching.compared_config(*datasets), args.seed)
        if args.gradient_accumulation_steps * args.world_size > 1:
            self.loss_runner.warn_about_batchwise_terms()
        if first_names is not None and self.problem_type.has_label_names:
            match_first_student(student.config, first_names)
        self.class_names = class_names_of(student.config)
        unwrapped = accelerator.unwrap_model(cast(nn.Module, student), keep_torch_compile=False)
        self.preparation = DatasetPreparation(
            unwrapped, self.problem_type, self.class_names, loss, teaching, tokenizer
        )
        self.monitor = LossMonitor(loss, self.problem_type, self.class_names, teaching.teacher, accelerator)
        self.teacher_predictions = TeacherPredictions(accelerator, args)

    def prepare_first(self, train_dataset: Any, eval_dataset: Any) -> tuple[Any, Any]:
        """Check the datasets that a Trainer is made with, and add the columns that the teachers read.

        Args:
            train_dataset: The training set or None.
            eval_dataset: An evaluation set, a dict of them, or None.

        Returns:
            Both, prepared. Logits that they store can have named the student's classes.
        """
        train_dataset, eval_dataset = self.preparation.prepare_first(train_dataset, eval_dataset)
        self.class_names[:] = class_names_of(self.preparation.student.config)
        self.bind_classes(train_dataset)
        return train_dataset, eval_dataset

    def bind_classes(self, train_dataset: Any) -> None:
        """Fit the objectives to the classes of the student, whose labels the training rows count."""
        count = partial(count_labels, train_dataset, self.problem_type, len(self.class_names))
        self.loss_runner.bind_classes(self.class_names, count)

    def begin_evaluation(self, loader: Any) -> None:
        """Forget the last evaluation, and note the loader of this one."""
        self.monitor.evaluation.reset()
        self.teacher_predictions.reset()
        self.units.evaluated_loader = loader

    def finish_evaluation(self, compute_metrics: Callable | None, labels: Any) -> dict[str, Any]:
        """Return what the evaluation adds to Trainer's metrics, and let the guards look; every process must call it.

        Args:
            compute_metrics: The Trainer's; None if it does not score the teacher.
            labels: The labels of all rows; None if there are none.
        """
        metrics: dict[str, Any] = self.monitor.evaluation_metrics()
        self.monitor.check_teacher()
        self.monitor.check_student()
        if compute_metrics is not None and labels is not None:
            metrics |= self.teacher_predictions.score(compute_metrics, labels)
        return metrics
