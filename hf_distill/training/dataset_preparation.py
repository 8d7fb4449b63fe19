"""The datasets of a run: checked before they are used, and given the columns that the teachers read."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import datasets
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from hf_distill.classifiers.padding import check_row_padding
from hf_distill.classifiers.problem_types import ProblemType
from hf_distill.classifiers.token_ids import TokenLimits
from hf_distill.objectives import DistillationLoss
from hf_distill.training.dataset_checks import check_can_learn, check_dataset
from hf_distill.training.dataset_kinds import is_transformed
from hf_distill.training.label_checks import check_label_names
from hf_distill.training.teaching import Teaching


@dataclass(frozen=True)
class DatasetPreparation:
    """Checks the datasets of a Trainer, and adds the columns that its teachers read.

    Args:
        student: The student, not wrapped.
        problem_type: The student's.
        class_names: Names of the student's classes, by id.
        loss: The objectives.
        teaching: The teachers.
        tokenizer: The tokenizer that pads the student's batches; None without one, or if the student is split.
    """

    student: PreTrainedModel
    problem_type: ProblemType
    class_names: list[str]
    loss: DistillationLoss
    teaching: Teaching
    tokenizer: PreTrainedTokenizerBase | None

    def prepare_first(self, train_dataset: Any, eval_dataset: Any) -> tuple[Any, Any]:
        """Check the datasets that a Trainer is made with, and add the columns that the teachers read.

        Args:
            train_dataset: The training set or None.
            eval_dataset: An evaluation set, a dict of them, or None.

        Returns:
            Both, prepared.

        Raises:
            ValueError: for a dataset that cannot be trained on or evaluated.
            TypeError: for a dict of training sets.
        """
        if not self.loss.teacher_reads:
            check_can_learn(train_dataset, self.problem_type)
        eval_datasets = eval_dataset.values() if isinstance(eval_dataset, dict) else [eval_dataset]
        for role, dataset in [("training", train_dataset), *(("evaluation", rows) for rows in eval_datasets)]:
            if dataset is not None:
                self._check(dataset, role, self.loss.reads_labels)
                self.teaching.warn_about_unused_column(dataset, role)
        return self.teaching.prepare(train_dataset, "training"), self.teaching.prepare(eval_dataset, "evaluation")

    def prepare_new(self, dataset: Any, role: str) -> Any:
        """Check a dataset that the Trainer was not made with, and add the columns that the teachers read.

        Args:
            dataset: A dataset, a dict of datasets, None, or the name of one of several evaluation sets.
            role: "training", "evaluation" or "prediction".

        Raises:
            ValueError: for a dataset that cannot be used.
        """
        if isinstance(dataset, dict):
            return {name: self.prepare_new(rows, role) for name, rows in dataset.items()}
        if dataset is None or isinstance(dataset, str) or self.teaching.has_prepared(dataset):
            return dataset
        self._check(dataset, role)
        if role == "prediction" and not isinstance(dataset, datasets.Dataset):
            return dataset  # predictions need no teacher
        return self.teaching.prepare(dataset, role)

    def _check(self, dataset: Any, role: str, needs_labels: Sequence[str] = ()) -> None:
        if self.problem_type.has_label_names:
            check_label_names(dataset, role, self.student.config)
        TokenLimits.of(self.student, "student").check(dataset)
        if self.tokenizer is not None and isinstance(dataset, datasets.Dataset) and not is_transformed(dataset):
            check_row_padding(dataset, self.student, self.tokenizer, "student")
        check_dataset(
            dataset,
            role,
            self.problem_type,
            self.class_names,
            teacher_columns=self.teaching.required_columns if role == "training" else [],
            needs_labels=needs_labels,
        )
