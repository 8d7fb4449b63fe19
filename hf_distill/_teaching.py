"""Who teaches: live or through the cache, matched with the student by problem type and label names."""

import os
from typing import Any

import datasets
import numpy as np
from torch.utils.data import DataLoader
from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase, Trainer
from transformers.utils import logging

from hf_distill.cache import TeacherCache
from hf_distill.labels import align_labels, are_placeholders, id2label_of, label2id_of
from hf_distill.objectives import DistillationLoss
from hf_distill.outputs import COLUMNS, TEACHER_CLS_STATES
from hf_distill.problem_types import ProblemType, resolve_problem_type
from hf_distill.record import describe_model
from hf_distill.teachers import CachedTeacher, Teacher, resolve_teacher
from hf_distill.training_args import DistillationTrainingArguments

logger = logging.get_logger(__name__)


class Teaching(Trainer):
    """The part of [`DistillationTrainer`] that knows where the teacher's outputs come from.

    Attributes:
        teacher: From a batch to the teacher's outputs; None if no objective needs one and none was given.
        teacher_caches: With `cache_teacher_outputs`, the stores that label data sets, one for each kind of output.
        teacher_config: Of the teacher; None if only its logits are known.
        teacher_description: What the record says of it.
    """

    model: PreTrainedModel
    distillation_loss: DistillationLoss

    def _resolve_teacher(
        self,
        teacher_model: PreTrainedModel | str | os.PathLike | None,
        args: DistillationTrainingArguments,
        processing_class: PreTrainedTokenizerBase | None,
    ) -> None:
        """Set `teacher`, `teacher_cache`, and what the label spaces and the record need to know of the teacher."""
        self.teacher: Teacher | CachedTeacher | None = None
        self.teacher_caches: list[TeacherCache] = []
        self.teacher_config: PreTrainedConfig | None = None
        self.teacher_problem_type: ProblemType | None = None
        self.teacher_description: dict[str, Any] | None = None
        dtype = args.resolved_teacher_dtype()
        if args.cache_teacher_outputs and teacher_model is not None:
            if processing_class is None:
                raise ValueError("`cache_teacher_outputs` needs `processing_class`, the tokenizer of the rows.")
            self.teacher_caches = [
                TeacherCache(args.teacher_cache_dir, teacher_model, processing_class, dtype, args.device, outputs=name)
                for name in sorted(self.distillation_loss.teacher_reads & COLUMNS.keys()) or ["logits"]
            ]
            self.teacher, self.teacher_config = CachedTeacher(), self.teacher_caches[0].config
            self.teacher_problem_type = self.teacher_caches[0].problem_type
            if not self.teacher_problem_type.has_label_names:
                raise ValueError(
                    "A language model's words are masked anew in every batch, so there is nothing to store. Leave "
                    "`cache_teacher_outputs` out."
                )
            self.teacher_description = self.teacher_caches[0].description
        elif teacher_model is not None or self.distillation_loss.teacher_reads:
            self.teacher = resolve_teacher(teacher_model, args.device, dtype)
            if isinstance(self.teacher, Teacher):
                self.teacher_config = self.teacher.model.config
                self.teacher_problem_type = resolve_problem_type(self.teacher.model)
                self.teacher_description = describe_model(self.teacher.model)

    def _teacher_columns(self) -> list[str]:
        """Return the columns that must be there for training, because nothing else knows the teacher's outputs."""
        if self.teacher_config is not None:
            return []
        return [COLUMNS[name] for name in sorted(self.distillation_loss.teacher_reads)]

    def _compared_teacher_config(self) -> PreTrainedConfig | None:
        """Return the teacher's config, or what the column of its [CLS] states says; None if there are only logits."""
        if self.teacher_config is not None or "cls_states" not in self.distillation_loss.teacher_reads:
            return self.teacher_config
        dataset: Any = self.train_dataset if self.train_dataset is not None else self.eval_dataset
        if dataset is None or TEACHER_CLS_STATES not in dataset[0]:
            return None
        num_states, size = np.shape(dataset[0][TEACHER_CLS_STATES])
        return PreTrainedConfig.from_dict({"num_hidden_layers": num_states - 1, "hidden_size": size})

    def _labelled(self, dataset: Any) -> Any:
        """Label a data set through the caches, if there are any and they can."""
        if not self.teacher_caches or dataset is None:
            return dataset
        if not isinstance(dataset, datasets.Dataset):
            raise TypeError(f"`cache_teacher_outputs` needs a `datasets.Dataset`, got {type(dataset).__name__}.")
        for cache in self.teacher_caches:
            dataset = cache.label(dataset)
        return dataset

    def _label_datasets(self) -> None:
        self.train_dataset = self._labelled(self.train_dataset)
        if isinstance(self.eval_dataset, dict):
            self.eval_dataset = {name: self._labelled(rows) for name, rows in self.eval_dataset.items()}
        else:
            self.eval_dataset = self._labelled(self.eval_dataset)

    def get_eval_dataloader(self, eval_dataset: Any = None) -> DataLoader:
        """Return the loader of an evaluation set; one that the cache has not seen is labelled first."""
        is_new = isinstance(eval_dataset, datasets.Dataset) and not all(
            cache.kept.column in eval_dataset.column_names for cache in self.teacher_caches
        )
        return super().get_eval_dataloader(self._labelled(eval_dataset) if is_new else eval_dataset)

    def _match_teacher_and_student(self, student: PreTrainedModel) -> None:
        """Refuse different kinds of problem, and align the label spaces by name."""
        config = student.config
        self.problem_type = resolve_problem_type(student)
        if self.teacher is None or self.teacher_config is None or self.teacher_problem_type is None:
            return
        if self.teacher_problem_type is not self.problem_type:
            raise ValueError(
                f"The teacher's problem type is {self.teacher_problem_type.name}, the student's "
                f"{self.problem_type.name}. Set `problem_type` and `num_labels` of the student's config to the "
                "teacher's."
            )
        if not self.problem_type.has_label_names:
            return
        theirs, ours = id2label_of(self.teacher_config), id2label_of(config)
        self.teacher.label_order = align_labels(theirs, ours)
        if self.teacher.label_order is not None:
            logger.warning_once(f"The teacher's classes are reordered by name to the student's: {ours}.")
        elif are_placeholders(ours) and not are_placeholders(theirs):
            config.id2label, config.label2id = dict(theirs), label2id_of(self.teacher_config)
            logger.warning_once(f"The student's labels had no names and take the teacher's, in its order: {theirs}.")
        elif are_placeholders(theirs) and not are_placeholders(ours):
            logger.warning_once(f"The teacher's labels have no names; its order is taken for the student's: {ours}.")
