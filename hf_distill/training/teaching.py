"""Who teaches: one or several, live or through a store, matched with the student by problem type and label names."""

from collections.abc import Sequence
from typing import Any, cast

import datasets
import numpy as np
import torch
from accelerate.utils import gather_object
from torch import Tensor
from torch.utils.data import DataLoader
from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase, Trainer
from transformers.utils import logging

from hf_distill.cache import OutputCache
from hf_distill.classifiers.label_maps import align_labels, are_placeholders, id2label_of
from hf_distill.classifiers.outputs import COLUMNS, IS_UNIT, TEACHER_CLS_STATES, Batch, ClassifierOutputs
from hf_distill.classifiers.problem_types import ProblemType, resolve_problem_type
from hf_distill.data.retokenize import TeacherCollator
from hf_distill.objectives import DistillationLoss
from hf_distill.teachers import BaseTeacher, CachedTeacher, EnsembleTeacher
from hf_distill.teachers.calibration import HIGHEST, LOWEST, calibrate_temperature, negative_log_likelihood
from hf_distill.training.sources import Setting, Source, make_sources
from hf_distill.training_args import DistillationTrainingArguments

logger = logging.get_logger(__name__)


class Teaching(Trainer):
    """The part of [`DistillationTrainer`] that knows where the teacher's outputs come from.

    Attributes:
        teacher: From a batch to the teacher's outputs; None if no objective needs one and none was given.
        teacher_sources: What was given as a teacher, one or several; empty if the data sets carry its logits.
        teacher_config: Of a single teacher that is a model.
        teacher_description: What the record says of it.
    """

    model: PreTrainedModel
    args: DistillationTrainingArguments
    record: dict[str, Any]
    problem_type: ProblemType
    distillation_loss: DistillationLoss

    def _counted_rows(self, inputs: Batch, remainder: int) -> Tensor:
        raise NotImplementedError

    def _at_units(
        self, student: ClassifierOutputs, teacher: ClassifierOutputs | None, inputs: dict[str, Tensor]
    ) -> tuple[ClassifierOutputs, ClassifierOutputs | None, dict[str, Tensor]]:
        raise NotImplementedError

    def _resolve_teacher(
        self,
        teacher_model: Any,
        args: DistillationTrainingArguments,
        processing_class: PreTrainedTokenizerBase | None,
        teacher_processing_class: PreTrainedTokenizerBase | None,
        teacher_text_columns: Sequence[str] | None,
    ) -> None:
        """Set `teacher`, its sources, and what the record needs to know of it."""
        self.teacher: BaseTeacher | None = CachedTeacher() if self.distillation_loss.teacher_reads else None
        self.teacher_sources: list[Source] = []
        self.teacher_description: dict[str, Any] | None = None
        self._has_own_temperatures = False
        if teacher_model is None:
            return
        columns = None if teacher_text_columns is None else list(teacher_text_columns)
        setting = Setting(args, processing_class, columns, self.distillation_loss.teacher_reads)
        self.teacher_sources, ensemble = make_sources(teacher_model, teacher_processing_class, setting)
        if ensemble is None:
            (source,) = self.teacher_sources
            self.teacher, self.teacher_description = source.teacher, source.description
            return
        self._has_own_temperatures = ensemble.temperatures is not None
        members = [source.teacher for source in self.teacher_sources]
        for member, temperature in zip(members, ensemble.temperatures or [], strict=False):
            member.temperature = temperature
        self.teacher = EnsembleTeacher(members, ensemble)
        descriptions = [source.description for source in self.teacher_sources]
        self.teacher_description = {
            "name_or_path": None,
            "model_type": "ensemble",
            "num_parameters": sum(member.get("num_parameters", 0) for member in descriptions),
            "mean_of": ensemble.mean_of,
            "weights": ensemble.normalised_weights(),
            "temperatures": list(ensemble.temperatures) if ensemble.temperatures else None,
            "teachers": descriptions,
        }

    @property
    def teacher_config(self) -> PreTrainedConfig | None:
        """The config of a single teacher that is a model."""
        return self.teacher_sources[0].config if len(self.teacher_sources) == 1 else None

    @property
    def teacher_caches(self) -> list[OutputCache]:
        """The stores of the teachers' outputs, one for each teacher and kind of output."""
        return [cache for source in self.teacher_sources for cache in source.caches]

    def _compared_teacher_config(self) -> PreTrainedConfig | None:
        """Return the teacher's config, or what the column of its [CLS] states says; None if there are only logits."""
        if self.teacher_config is not None or "cls_states" not in self.distillation_loss.teacher_reads:
            return self.teacher_config
        evaluation = self.eval_dataset if isinstance(self.eval_dataset, dict) else {"eval": self.eval_dataset}
        datasets_given: list[Any] = [d for d in (self.train_dataset, *evaluation.values()) if d is not None]
        first_rows: list[Any] = [next(iter(dataset), {}) for dataset in datasets_given]
        shapes = [np.shape(row[TEACHER_CLS_STATES]) for row in first_rows if TEACHER_CLS_STATES in row]
        if not shapes:
            raise ValueError(
                f"There is no teacher: `teacher_model` is None and no data set has a column `{TEACHER_CLS_STATES}`. "
                "Pass `teacher_model`, or data that `TeacherCache(outputs='cls_states')` has labelled."
            )
        return PreTrainedConfig.from_dict({"num_hidden_layers": shapes[0][0] - 1, "hidden_size": shapes[0][1]})

    def _teacher_columns(self) -> list[str]:
        """Return the columns that must be there for training, because nothing else knows the teacher's outputs."""
        if self.teacher_sources:
            return []
        return [COLUMNS[name] for name in sorted(self.distillation_loss.teacher_reads & COLUMNS.keys())]

    # ---- Data sets ----

    def _with_teacher_columns(self, dataset: Any) -> Any:
        """Add what the teachers read to a data set, if it is not there by itself."""
        sources = [source for source in self.teacher_sources if source.adds]
        if not sources or dataset is None:
            return dataset
        if not isinstance(dataset, datasets.Dataset):
            why = "`cache_teacher_outputs`" if self.args.cache_teacher_outputs else "This teacher"
            raise TypeError(f"{why} needs a `datasets.Dataset`, got {type(dataset).__name__}.")
        dataset = dataset.with_format(None)
        for source in sources:
            dataset = source.prepare(dataset)
        return dataset

    def _prepare_datasets(self) -> None:
        self.train_dataset = self._with_teacher_columns(self.train_dataset)
        if isinstance(self.eval_dataset, dict):
            self.eval_dataset = {name: self._with_teacher_columns(rows) for name, rows in self.eval_dataset.items()}
        else:
            self.eval_dataset = self._with_teacher_columns(self.eval_dataset)
        tokenizers = {prefix: its for source in self.teacher_sources for prefix, its in source.tokenizers.items()}
        if tokenizers:
            self.data_collator = cast(Any, TeacherCollator(self.data_collator, tokenizers))

    def get_eval_dataloader(self, eval_dataset: Any = None) -> DataLoader:
        """Return the loader of an evaluation set; one that the teachers have not seen gets their columns first."""
        added = frozenset[str]().union(*(source.adds for source in self.teacher_sources))
        is_new = isinstance(eval_dataset, datasets.Dataset) and not added <= set(eval_dataset.column_names)
        return super().get_eval_dataloader(self._with_teacher_columns(eval_dataset) if is_new else eval_dataset)

    # ---- Label spaces ----

    def _match_teacher_and_student(self, student: PreTrainedModel) -> None:
        """Refuse different kinds of problem, and align the label spaces by name."""
        self.problem_type = resolve_problem_type(student)
        if isinstance(self.teacher, EnsembleTeacher):
            self.teacher.bind(self.problem_type)
        for source in self.teacher_sources:
            source.bind(self.problem_type, cast(int, student.config.num_labels))
            if source.problem_type is not self.problem_type:
                raise ValueError(
                    f"The teacher's problem type is {cast(ProblemType, source.problem_type).name}, the student's "
                    f"{self.problem_type.name}. Set `problem_type` and `num_labels` of the student's config to the "
                    "teacher's."
                )
            if self.problem_type.has_label_names and source.id2label is not None:
                source.teacher.label_order = _align(dict(source.id2label), student.config)

    # ---- Calibration ----

    def _calibrate_teacher(self) -> None:
        """Find each teacher's temperature on the labelled units of the evaluation set, and say what it changed."""
        if self.teacher is None or self._has_own_temperatures or not self.problem_type.has_temperature:
            reason = f"{self.problem_type.name} has none" if self.teacher is not None else "there is no teacher"
            raise ValueError(
                "`calibrate_teacher` finds the teacher's temperature, and "
                f"{'`temperatures` of the ensemble are given' if self._has_own_temperatures else reason}. Leave one "
                "out."
            )
        members = self.teacher.members if isinstance(self.teacher, EnsembleTeacher) else [self.teacher]
        logits, labels = self._labelled_logits(members)
        self.record["teacher_calibration"] = found = []
        for i, (member, of_member) in enumerate(zip(members, logits, strict=True)):
            member.temperature = calibrate_temperature(of_member, labels)
            if not 1.01 * LOWEST < member.temperature < 0.99 * HIGHEST:
                logger.warning(
                    f"The teacher's temperature is {member.temperature:.3g}, the end of what is searched: on the "
                    "evaluation set it is always right, or knows nothing. Calibrate it on more rows, or not at all."
                )
            numbers = {
                "temperature": member.temperature,
                "nll_before": negative_log_likelihood(of_member, labels),
                "nll_after": negative_log_likelihood(of_member, labels, member.temperature),
            }
            found.append({**numbers, "num_units": len(labels)})
            name = f"teacher_{i}" if len(members) > 1 else "teacher"
            self.log({f"{name}_{key}": value for key, value in numbers.items()})

    @torch.no_grad()
    def _labelled_logits(self, members: Sequence[BaseTeacher]) -> tuple[list[Tensor], Tensor]:
        """Return each teacher's logits on the labelled units of the first evaluation set, and the labels."""
        eval_dataset: Any = self.eval_dataset
        if isinstance(eval_dataset, dict):
            eval_dataset = next(iter(eval_dataset.values()))
        logits: list[list[Tensor]] = [[] for _ in members]
        labels: list[Tensor] = []
        for batch in self.get_eval_dataloader(eval_dataset) if eval_dataset is not None else []:
            inputs = cast("dict[str, Tensor]", self._prepare_inputs(batch))
            if "labels" not in inputs:
                break
            rows = self._counted_rows(inputs, self.accelerator.gradient_state.remainder)
            inputs[IS_UNIT] = self.problem_type.units(inputs, rows)
            for i, member in enumerate(members):
                theirs, _, units = self._at_units(member(inputs), None, inputs)
                keep = units[IS_UNIT] & self.problem_type.is_labelled(units["labels"])
                logits[i].append(theirs.logits[keep].cpu())
            labels.append(units["labels"][keep].cpu())
        every = gather_object(labels)
        if not sum(map(len, every)):
            raise ValueError("`calibrate_teacher` needs labelled rows that no model saw: pass an `eval_dataset`.")
        return [torch.cat(gather_object(of_member)) for of_member in logits], torch.cat(every)


def _align(theirs: dict[int, str], config: PreTrainedConfig) -> list[int] | None:
    """Return a teacher's class for each of the student's, and name the student's classes if they have no names."""
    ours = id2label_of(config)
    order = align_labels(theirs, ours)
    if order is not None:
        logger.warning_once(f"The teacher's classes are reordered by name to the student's: {ours}.")
    elif are_placeholders(ours) and not are_placeholders(theirs):
        config.id2label, config.label2id = theirs, {name: i for i, name in theirs.items()}
        logger.warning_once(f"The student's labels had no names and take the teacher's, in its order: {theirs}.")
    elif are_placeholders(theirs) and not are_placeholders(ours):
        logger.warning_once(f"The teacher's labels have no names; its order is taken for the student's: {ours}.")
    return order
