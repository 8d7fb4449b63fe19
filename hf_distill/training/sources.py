"""From what a user passes as a teacher to a teacher that reads columns, and what a data set needs to have these."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import datasets
from torch import nn
from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

from hf_distill.cache import FunctionCache, OutputCache, TeacherCache
from hf_distill.classifiers.label_maps import id2label_of
from hf_distill.classifiers.outputs import COLUMNS, TEACHER_LOGITS
from hf_distill.classifiers.placement import check_equal_everywhere
from hf_distill.classifiers.problem_types import ProblemType, resolve_problem_type
from hf_distill.data.retokenize import Retokenizer, at_positions, find_text_columns
from hf_distill.record import describe_model
from hf_distill.teachers import BaseTeacher, CachedTeacher, FunctionTeacher, Teacher, TeacherEnsemble, load_teacher
from hf_distill.training_args import DistillationTrainingArguments


@dataclass(frozen=True)
class Setting:
    """What all teachers of a Trainer have in common.

    Attributes:
        args: The Trainer's.
        student_tokenizer: The tokenizer of the student's token ids, `processing_class`.
        text_columns: `teacher_text_columns`.
        reads: What the objectives read of a teacher.
    """

    args: DistillationTrainingArguments
    student_tokenizer: PreTrainedTokenizerBase | None
    text_columns: list[str] | None = None
    reads: frozenset[str] = frozenset({"logits"})


class Source:
    """One teacher of a Trainer: what answers, and what a data set needs so that it can be asked.

    Attributes:
        teacher: From a batch to outputs.
        id2label: Names of its classes; None for the student's.
        problem_type: Of its outputs; None for the student's.
        config: Of a model.
        description: For the record.
        caches: Where its outputs come from, one for each kind, if not from a forward pass in every step.
    """

    teacher: BaseTeacher
    id2label: Mapping[int, str] | None = None
    problem_type: ProblemType | None = None
    config: PreTrainedConfig | None = None
    description: dict[str, Any]
    caches: Sequence[OutputCache] = ()
    tokenizers: Mapping[str, PreTrainedTokenizerBase] = {}

    @property
    def adds(self) -> frozenset[str]:
        """The columns that [`Source.prepare`] adds; empty if the teacher reads the student's."""
        return frozenset()

    def bind(self, problem_type: ProblemType, num_labels: int) -> None:
        """Take note of the student's outputs."""

    def prepare(self, dataset: datasets.Dataset) -> datasets.Dataset:
        """Add what the teacher reads to a data set."""
        return dataset


class ModelSource(Source):
    """A model: live or through a cache, on the student's token ids or on its own.

    Args:
        given: The model, or its path or Hub id.
        tokenizer: Its tokenizer, if it does not read the student's token ids.
        prefix: What the names of its columns start with.
        setting: What all teachers have in common.

    Raises:
        ValueError: for what cannot be cached, or a tokenizer that lacks something.
    """

    def __init__(
        self,
        given: PreTrainedModel | str | os.PathLike,
        tokenizer: PreTrainedTokenizerBase | None,
        prefix: str,
        setting: Setting,
    ) -> None:
        args, dtype = setting.args, setting.args.resolved_teacher_dtype()
        self.prefix = prefix
        if args.cache_teacher_outputs:
            if (reads := tokenizer or setting.student_tokenizer) is None:
                raise ValueError("`cache_teacher_outputs` needs `processing_class`, the tokenizer of the rows.")
            caches = [
                TeacherCache(args.teacher_cache_dir, given, reads, dtype, args.device, outputs=name)
                for name in sorted(setting.reads & COLUMNS.keys()) or ["logits"]
            ]
            self.caches, self.teacher = caches, CachedTeacher(prefix)
            self.config, self.problem_type = caches[0].config, caches[0].problem_type
            self.description = caches[0].description
        else:
            model = given if isinstance(given, nn.Module) else load_teacher(given)
            check_equal_everywhere(model)
            is_sharded = args.shard_teacher and args.world_size > 1
            self.teacher = Teacher(
                model, args.device, dtype, prefix=prefix if tokenizer else "", is_sharded=is_sharded
            )
            self.config, self.problem_type = model.config, resolve_problem_type(model)
            self.description = describe_model(model)
        self.id2label = id2label_of(self.config)
        if not self.problem_type.has_label_names and (tokenizer or self.caches):
            raise ValueError(
                "A language model's words are masked anew in every batch, so there is nothing to store, and its "
                "outputs are its tokenizer's. Leave `cache_teacher_outputs` and `teacher_processing_class` out."
            )
        self.retokenizer = tokenizer and Retokenizer(
            tokenizer,
            setting.student_tokenizer,
            prefix,
            has_segments=getattr(self.config, "type_vocab_size", 0) > 1,
            is_token_level=self.problem_type.is_token_level,
            text_columns=setting.text_columns,
        )
        self.tokenizers = {prefix: tokenizer} if tokenizer and not self.caches else {}

    @property
    def adds(self) -> frozenset[str]:
        """The columns that [`ModelSource.prepare`] adds."""
        return self.teacher.needs if self.caches or self.retokenizer else frozenset()

    def prepare(self, dataset: datasets.Dataset) -> datasets.Dataset:
        """Tokenise for the teacher if it reads tokens of its own, and label if there is a cache."""
        if self.retokenizer:
            dataset = self.retokenizer.add_to(dataset)
        for cache in self.caches:
            dataset = with_column(dataset, self._label(cache, dataset), f"{self.prefix}{cache.kept.name}")
        return self.retokenizer.without(dataset) if self.retokenizer and self.caches else dataset

    def _label(self, cache: OutputCache, dataset: datasets.Dataset) -> datasets.Dataset:
        """Return the column of a cache alone, its tokens at the places of the student's."""
        rows = self.retokenizer.alone(dataset) if self.retokenizer else dataset
        outputs = cache.label(rows).select_columns([cache.kept.column])
        if self.retokenizer and self.retokenizer.is_token_level:
            return at_positions(outputs, dataset.select_columns([f"{self.prefix}positions"]))
        return outputs


class FunctionSource(Source):
    """A function of texts, called once per distinct text before training.

    Args:
        given: The function.
        prefix: What the name of its column starts with.
        setting: What all teachers have in common.

    Raises:
        ValueError: for `cache_teacher_outputs` and no name to store the outputs under.
    """

    def __init__(self, given: FunctionTeacher, prefix: str, setting: Setting) -> None:
        if setting.args.cache_teacher_outputs and given.name is None:
            raise ValueError(
                "`cache_teacher_outputs` needs a name to find a function's outputs by: pass "
                "`FunctionTeacher(function, name=...)`."
            )
        self.given, self.setting, self.column = given, setting, f"{prefix}logits"
        self.teacher = CachedTeacher(prefix)
        self.description = {"name_or_path": given.name, "model_type": "function"}
        self.cache: FunctionCache | None = None
        if given.labels is not None:
            self.id2label = dict(enumerate(given.labels))

    @property
    def adds(self) -> frozenset[str]:
        """The columns that [`FunctionSource.prepare`] adds."""
        return self.teacher.needs

    def bind(self, problem_type: ProblemType, num_labels: int) -> None:
        """Take note of the student's outputs."""
        if problem_type.is_token_level:
            raise ValueError("A function teaches texts, not words. Add its logits as a column `teacher_logits`.")
        self.problem_type, self.num_labels = problem_type, num_labels

    def prepare(self, dataset: datasets.Dataset) -> datasets.Dataset:
        """Call the function on the texts that it has not seen."""
        assert self.problem_type is not None
        setting = self.setting
        columns = find_text_columns(dataset, setting.text_columns, False, setting.student_tokenizer)
        if self.cache is None or self.cache.text_columns != columns:
            self.cache = FunctionCache(
                setting.args.teacher_cache_dir, self.given, self.num_labels, self.problem_type, columns
            )
            self.caches = [self.cache]
        outputs = self.cache.label(dataset).select_columns([TEACHER_LOGITS])
        return with_column(dataset, outputs, self.column)


def with_column(dataset: datasets.Dataset, column: datasets.Dataset, name: str) -> datasets.Dataset:
    """Put a column beside others under a name, in the place of one that has it."""
    if column.column_names != [name]:
        column = column.rename_column(column.column_names[0], name)
    others = dataset.remove_columns([name] if name in dataset.column_names else [])
    return datasets.concatenate_datasets([others, column], axis=1)


def make_source(given: Any, tokenizer: PreTrainedTokenizerBase | None, prefix: str, setting: Setting) -> Source:
    """Make the source of one teacher.

    Args:
        given: A model, a path or Hub id, or a function.
        tokenizer: A model's own; None or the student's if it reads the student's token ids.
        prefix: What the names of its columns start with.
        setting: What all teachers have in common.

    Raises:
        TypeError: for anything else.
    """
    is_model = isinstance(given, nn.Module)
    if isinstance(given, str | os.PathLike) or (
        is_model and isinstance(getattr(given, "config", None), PreTrainedConfig)
    ):
        return ModelSource(given, None if tokenizer is setting.student_tokenizer else tokenizer, prefix, setting)
    if isinstance(given, FunctionTeacher) or (callable(given) and not is_model):
        function = given if isinstance(given, FunctionTeacher) else FunctionTeacher(given)
        return FunctionSource(function, prefix, setting)
    raise TypeError(
        "`teacher_model` must be a transformers or PEFT model, a path or a Hub id, a function from texts to logits, a "
        f"list or `TeacherEnsemble` of these, or None with a column `{TEACHER_LOGITS}`; got {type(given).__name__}."
    )


def make_sources(
    given: Any, tokenizer: PreTrainedTokenizerBase | None, setting: Setting
) -> tuple[list[Source], TeacherEnsemble | None]:
    """Make the sources of all teachers, and return the ensemble that they form, if there are several.

    Args:
        given: What was passed as `teacher_model`, not None.
        tokenizer: What was passed as `teacher_processing_class`.
        setting: What all teachers have in common.
    """
    if not isinstance(given, TeacherEnsemble | list | tuple):
        return [make_source(given, tokenizer, "teacher_", setting)], None
    ensemble = given if isinstance(given, TeacherEnsemble) else TeacherEnsemble(given)
    own = ensemble.processing_classes or [tokenizer] * len(ensemble.teachers)
    members = enumerate(zip(ensemble.teachers, own, strict=True))
    return [make_source(member, its, f"teacher_{i}_", setting) for i, (member, its) in members], ensemble
