"""The teacher of a run: one or several, live or stored, matched with the student by problem type and label names."""

from typing import Any, cast

import datasets
import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils import logging

from hf_distill.cache import OutputCache
from hf_distill.classifiers.label_maps import class_names_of
from hf_distill.classifiers.outputs import STORABLE_OUTPUTS, TEACHER_CLS_STATES, TEACHER_LOGITS
from hf_distill.classifiers.problem_types import ProblemType, resolve_problem_type
from hf_distill.data.retokenize import TeacherCollator
from hf_distill.teachers import BaseTeacher, CachedTeacher, EnsembleTeacher, TeacherEnsemble
from hf_distill.training.dataset_kinds import described_parts
from hf_distill.training.logit_order import align_with_student, put_logits_in_student_order
from hf_distill.training.source import Source, TeacherContext, add_columns
from hf_distill.training.sources import make_sources
from hf_distill.training.units import Units
from hf_distill.utils.redaction import publishable

logger = logging.get_logger(__name__)


class Teaching:
    """Resolves what a user passes as a teacher, prepares datasets for it, and matches it with the student.

    Args:
        teacher_model: What was passed as `teacher_model`.
        tokenizer: What was passed as `teacher_processing_class`.
        context: What all teachers share.

    Attributes:
        teacher: From a batch to the teacher's outputs; None if no objective needs one and none was given.
        sources: What was given as a teacher, one or several; empty if the datasets carry the teacher's outputs.
        description: The teacher's entry in the record.
        training_texts: For each source the hash of the training texts as the teacher reads them; None for a teacher
            that does not read texts.
        has_given_temperatures: Whether the user gave the temperatures of the teachers.
    """

    def __init__(self, teacher_model: Any, tokenizer: PreTrainedTokenizerBase | None, context: TeacherContext) -> None:
        self.context, self.reads = context, context.reads
        self.teacher: BaseTeacher | None = CachedTeacher() if context.reads else None
        self.sources: list[Source] = []
        self.description: dict[str, Any] | None = None
        self.training_texts: list[str | None] = []
        self.has_given_temperatures = False
        self._prepared: set[str] = set()  # fingerprints of datasets
        if teacher_model is None:
            return
        self.sources, ensemble = make_sources(teacher_model, tokenizer, context)
        if ensemble is None:
            (source,) = self.sources
            self.teacher, self.description = source.teacher, source.description
        else:
            self._form(ensemble)

    def _form(self, ensemble: TeacherEnsemble) -> None:
        members = [source.teacher for source in self.sources]
        self.has_given_temperatures = ensemble.temperatures is not None
        for member, temperature in zip(members, ensemble.temperatures or [], strict=False):
            member.temperature = temperature
        self.teacher = EnsembleTeacher(members, ensemble)
        descriptions = [source.description for source in self.sources]
        self.description = {
            "name_or_path": None,
            "model_type": "ensemble",
            "num_parameters": sum(member.get("num_parameters", 0) for member in descriptions),
            "mean_of": ensemble.mean_of,
            "weights": ensemble.normalized_weights(),
            "temperatures": list(ensemble.temperatures) if ensemble.temperatures else None,
            "teachers": descriptions,
        }

    @property
    def config(self) -> PreTrainedConfig | None:
        """The config of a single teacher that is a model."""
        return self.sources[0].config if len(self.sources) == 1 else None

    @property
    def identity(self) -> dict[str, Any]:
        """What tells the teacher from others when a run is resumed, and its name; empty without a teacher."""
        if self.description is None:
            return {}
        names = [source.description["name_or_path"] or source.description["model_type"] for source in self.sources]
        combined = ("mean_of", "weights", "temperatures")
        return {
            "name": publishable(" and ".join(names)),
            "teachers": [[source.identify(), source.id2label] for source in self.sources],
            "combined by": {part: self.description[part] for part in combined if part in self.description},
            "calibrated": self.context.args.calibrate_teacher,
        }

    @property
    def reads_texts(self) -> bool:
        """Whether a teacher reads texts."""
        return any(source.reads_texts for source in self.sources)

    @property
    def temperatures(self) -> list[float]:
        """The temperatures that the teachers' logits are divided by."""
        return [source.teacher.temperature for source in self.sources]

    @property
    def padding_sides(self) -> list[str] | None:
        """The sides on which the teachers' own tokenizers pad batches; None if stored outputs are used.

        Stored outputs do not depend on padding.
        """
        if self.context.args.cache_teacher_outputs:
            return None
        return [tokenizer.padding_side for source in self.sources for tokenizer in source.tokenizers.values()]

    @property
    def unidentified_columns(self) -> frozenset[str]:
        """The columns with outputs of teachers that only their outputs can tell from others."""
        unknown = (source.added_columns for source in self.sources if not source.is_identified)
        return frozenset[str]().union(*unknown)

    @property
    def caches(self) -> list[OutputCache]:
        """The stores of the teachers' outputs, one for each teacher and kind of output."""
        return [cache for source in self.sources for cache in source.caches]

    def request(self, reads: frozenset[str]) -> None:
        """Choose what the teacher returns: names of fields of [`ClassifierOutputs`].

        Raises:
            ValueError: if the teacher cannot return them.
        """
        self.reads = reads
        if self.teacher is not None:
            self.teacher.request(reads)

    def compared_config(self, *datasets_given: Any) -> PreTrainedConfig | None:
        """Return the config that layer objectives compare with; None if only logits are compared.

        Args:
            *datasets_given: Datasets or None. Without a teacher model, a column of [CLS] states gives the sizes.

        Raises:
            ValueError: if [CLS] states are read, and there is neither a teacher nor such a column.
        """
        if self.config is not None or "cls_states" not in self.reads:
            return self.config
        first_rows: list[Any] = [next(iter(dataset), {}) for dataset in datasets_given if dataset is not None]
        shapes = [np.shape(row[TEACHER_CLS_STATES]) for row in first_rows if TEACHER_CLS_STATES in row]
        if not shapes:
            raise ValueError(
                f"There is no teacher: `teacher_model` is None and no dataset has a column `{TEACHER_CLS_STATES}`. "
                "Pass `teacher_model`, or data that `TeacherCache(outputs='cls_states')` has labelled."
            )
        return PreTrainedConfig.from_dict({"num_hidden_layers": shapes[0][0] - 1, "hidden_size": shapes[0][1]})

    # ---- Datasets ----

    @property
    def required_columns(self) -> list[str]:
        """The columns that the training rows must have, because nothing else knows the teacher's outputs."""
        if self.sources:
            return []
        return [STORABLE_OUTPUTS[name] for name in sorted(self.reads & STORABLE_OUTPUTS.keys())]

    @property
    def read_columns(self) -> frozenset[str]:
        """The columns that the teacher reads if they are there."""
        return self.teacher.columns if self.teacher is not None else frozenset()

    def prepare(self, dataset: Any, role: str) -> Any:
        """Make the columns that the teachers read, whatever columns of these names a dataset has.

        A column `teacher_logits` that is used as it is, because there is no other teacher, is put into the student's
        order of the classes.

        Args:
            dataset: A dataset, a dict of datasets or None. A dataset that was prepared before is returned unchanged.
            role: "training", "evaluation" or "prediction", for the messages.

        Raises:
            TypeError: if a teacher needs columns, and the dataset is not a `datasets.Dataset`.
            ValueError: if `teacher_logits` does not say its order of the classes, or has other classes.
        """
        if isinstance(dataset, dict):
            return {name: self.prepare(rows, role) for name, rows in dataset.items()}
        if dataset is None or self.has_prepared(dataset):
            return dataset
        if not self.sources and "logits" in self.reads and self._has_label_names:
            dataset = put_logits_in_student_order(dataset, self._student_config, role)
        sources = [source for source in self.sources if source.added_columns]
        if not isinstance(dataset, datasets.Dataset):
            if sources:
                why = "`cache_teacher_outputs`" if self.context.args.cache_teacher_outputs else "This teacher"
                raise TypeError(f"{why} needs a `datasets.Dataset`, got {type(dataset).__name__}.")
            return dataset
        if sources:
            dataset = add_columns(dataset, sources)
        if role == "training":
            self.training_texts = [source.texts_hash for source in self.sources]
        for source in self.sources:
            source.check_rows(dataset)
        self._prepared.add(dataset._fingerprint)
        return dataset

    def has_prepared(self, dataset: Any) -> bool:
        """Return whether [`prepare`] has returned these rows before."""
        return isinstance(dataset, datasets.Dataset) and dataset._fingerprint in self._prepared

    def wrap_collator(self, collator: Any) -> Any:
        """Return a collator that also pads the token ids of teachers with their own tokenizers."""
        tokenizers = {prefix: its for source in self.sources for prefix, its in source.tokenizers.items()}
        return TeacherCollator(collator, tokenizers) if tokenizers else collator

    def warn_about_unused_column(self, dataset: Any, role: str) -> None:
        """Warn about a column of teacher logits beside a teacher that is run."""
        if self.sources and any(TEACHER_LOGITS in (part.features or ()) for part in described_parts(dataset)):
            logger.warning(
                f"The {role} dataset has a column `{TEACHER_LOGITS}`, which is not used because `teacher_model` is "
                "given. Remove `teacher_model` to train on the column."
            )

    @torch.no_grad()
    def usable_rows(self, batch: dict[str, Tensor], units: Units) -> list[bool]:
        """Return for each row of a batch whether the teacher's logits are usable; true if they are not known."""
        num_rows = len(batch["input_ids"])
        if self.teacher is None or not self.teacher.returns_logits or not self.teacher.can_answer(batch):
            return [True] * num_rows
        # Infinite for a row with +inf, -inf for a row without a finite logit; a forbidden class changes nothing.
        is_bad = ~self.teacher(batch).logits.logsumexp(dim=-1).isfinite()
        if units.problem_type.is_token_level:
            is_bad = (is_bad & units.problem_type.units(batch)).any(dim=1)
        return (~is_bad).tolist()

    # ---- Label spaces ----

    def match(self, student: PreTrainedModel) -> ProblemType:
        """Align the label spaces by name, and return the student's problem type.

        Raises:
            ValueError: if the problem types or the label names differ.
        """
        problem_type, self._student_config = resolve_problem_type(student), student.config
        self._has_label_names = problem_type.has_label_names
        if isinstance(self.teacher, EnsembleTeacher):
            self.teacher.bind(problem_type)
        for source in self.sources:
            source.bind(problem_type, cast(int, student.config.num_labels))
            if source.problem_type is not problem_type:
                raise ValueError(
                    f"The teacher's problem type is {cast(ProblemType, source.problem_type).name}, the student's "
                    f"{problem_type.name}. Set `problem_type` and `num_labels` of the student's config to the "
                    "teacher's."
                )
            if problem_type.has_label_names and source.id2label is not None:
                source.teacher.label_order = align_with_student(source.id2label, student.config)
        return problem_type

    def check_unchanged(self, config: PreTrainedConfig, class_names: list[str]) -> None:
        """Refuse class names that were changed after the Trainer was made, which would have no effect.

        Args:
            config: The student's config.
            class_names: Names of the student's classes when the Trainer was made.

        Raises:
            ValueError: if the student or a teacher that is a model has other names now.
        """
        if not self._has_label_names:
            return
        given = [("student", config, class_names)]
        for source in self.sources:
            if source.config is not None and source.id2label is not None:
                given.append(("teacher", source.config, [source.id2label[i] for i in range(len(source.id2label))]))
        for role, changed_config, names in given:
            if (now := class_names_of(changed_config)) != names:
                raise ValueError(
                    f"The classes of the {role} were {names} when the Trainer was made and are {now} now. Classes are "
                    "matched by name when the Trainer is made: set `id2label` before, and make it again."
                )
