"""From what a user passes as `teacher_model` to a teacher that reads columns, and the columns that datasets need."""

import os
from typing import Any, cast

import datasets
from accelerate import PartialState
from torch import nn
from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

from hf_distill.cache import OutputCache, TeacherCache
from hf_distill.cache.fingerprint import hash_json, identify
from hf_distill.classifiers.compiled import compiled_in_place
from hf_distill.classifiers.label_maps import id2label_of
from hf_distill.classifiers.outputs import STORABLE_OUTPUTS, TEACHER_LOGITS
from hf_distill.classifiers.padding import align_pad_token, check_row_padding, warn_about_left_padding
from hf_distill.classifiers.problem_types import ProblemType, resolve_problem_type
from hf_distill.classifiers.sharding import check_equal_on_all_processes
from hf_distill.classifiers.signature import tokenizer_names
from hf_distill.classifiers.token_ids import TokenLimits
from hf_distill.data.retokenize import Retokenizer, at_positions
from hf_distill.record import describe_model
from hf_distill.teachers import (
    CachedTeacher,
    FunctionTeacher,
    Teacher,
    TeacherEnsemble,
    ZeroShotTeacher,
    load_teacher,
)
from hf_distill.teachers.pipelines import model_and_tokenizer
from hf_distill.training.function_source import FunctionSource
from hf_distill.training.row_hashes import hash_columns
from hf_distill.training.source import Source, TeacherContext, with_column
from hf_distill.training.zero_shot_source import ZeroShotSource


class ModelSource(Source):
    """A model that runs in every step or through a cache, on the student's token ids or those of its own tokenizer.

    Args:
        given: The model, or its path or Hub id.
        tokenizer: The teacher's tokenizer; None if the teacher reads the student's token ids.
        prefix: Prefix of the names of its columns.
        context: What all teachers share.

    Raises:
        ValueError: for outputs that cannot be cached, or a tokenizer that lacks something.
    """

    def __init__(
        self,
        given: PreTrainedModel | str | os.PathLike,
        tokenizer: PreTrainedTokenizerBase | None,
        prefix: str,
        context: TeacherContext,
    ) -> None:
        self.prefix = prefix
        self._identity: str | None = None
        self._padding_tokenizer: PreTrainedTokenizerBase | None = None
        self.problem_type: ProblemType
        self.config: PreTrainedConfig
        if context.args.cache_teacher_outputs:
            self._read_through_caches(given, tokenizer or context.student_tokenizer, context)
        else:
            self._run_in_every_step(given, tokenizer, context)
        self.id2label = dict(id2label_of(self.config))
        if not self.problem_type.has_label_names and (tokenizer or self.caches):
            raise ValueError(
                "A language model's words are masked anew in every batch, so there is nothing to store, and its "
                "outputs are the words of its tokenizer. Remove `cache_teacher_outputs` and "
                "`teacher_processing_class`."
            )
        self.retokenizer = tokenizer and Retokenizer(
            tokenizer,
            context.student_tokenizer,
            prefix,
            has_segments=_has_segments(self.config, tokenizer),
            is_token_level=self.problem_type.is_token_level,
            text_columns=context.text_columns,
        )
        self.tokenizers = {prefix: tokenizer} if tokenizer and not self.caches else {}
        self.reads_texts = tokenizer is not None

    def _read_through_caches(
        self,
        given: PreTrainedModel | str | os.PathLike,
        tokenizer: PreTrainedTokenizerBase | None,
        context: TeacherContext,
    ) -> None:
        args = context.args
        if tokenizer is None:
            raise ValueError("`cache_teacher_outputs` needs `processing_class`, the tokenizer of the rows.")
        caches = [
            TeacherCache(
                args.teacher_cache_dir, given, tokenizer, args.resolved_teacher_dtype(), args.device, outputs=name
            )
            for name in sorted(context.reads & STORABLE_OUTPUTS.keys()) or ["logits"]
        ]
        self.caches, self.teacher = caches, CachedTeacher(self.prefix)
        self.config, self.problem_type = caches[0].config, caches[0].problem_type
        self.description = {**caches[0].description, "fingerprint": caches[0].identity}

    def _run_in_every_step(
        self,
        given: PreTrainedModel | str | os.PathLike,
        tokenizer: PreTrainedTokenizerBase | None,
        context: TeacherContext,
    ) -> None:
        args, padding_tokenizer = context.args, tokenizer or context.student_tokenizer
        model = given if isinstance(given, nn.Module) else load_teacher(given)
        if padding_tokenizer is not None:
            align_pad_token(model, padding_tokenizer, "teacher")
        check_equal_on_all_processes(model)
        is_sharded = args.shard_teacher and args.world_size > 1
        # Weights that are shared out or cast here cannot be hashed later. Only the user can change other weights.
        is_hashed_once = is_sharded or not isinstance(given, nn.Module)
        # The main process alone writes records, and reads and writes checkpoints.
        identity = identify(model) if PartialState().is_main_process else None
        self._identity = identity if is_hashed_once else None
        self.teacher = teacher = Teacher(
            model,
            args.device,
            args.resolved_teacher_dtype(),
            prefix=self.prefix if tokenizer is not None else "",
            is_sharded=is_sharded,
            tokenizer_names=tokenizer_names(padding_tokenizer),
        )
        self.config, self.problem_type = model.config, resolve_problem_type(model)
        self.description = {**describe_model(model), "fingerprint": identity}
        self._padding_tokenizer = None if args.shard_teacher else padding_tokenizer
        if self._padding_tokenizer is not None:
            warn_about_left_padding(model, self._padding_tokenizer, "teacher")
        if not isinstance(given, nn.Module):
            teacher.cast_weights()

    def identify(self) -> str | None:
        """Return a hash of the model's weights, config and adapters."""
        if isinstance(self.teacher, Teacher):
            return self._identity or identify(self.teacher.model)
        return cast(TeacherCache, self.caches[0]).identity

    @property
    def added_columns(self) -> frozenset[str]:
        """The columns that [`ModelSource.prepare`] adds."""
        return self.teacher.required_columns if self.caches or self.retokenizer else frozenset()

    def prepare(self, dataset: datasets.Dataset) -> datasets.Dataset:
        """Tokenize for the teacher if it has its own tokenizer, and label the rows if there is a cache."""
        if self.retokenizer:
            dataset = self.retokenizer.add_to(dataset)
            self.texts_hash = hash_json(hash_columns(self.retokenizer.added_to(dataset)))
        for cache in self.caches:
            dataset = with_column(dataset, self._label(cache, dataset), f"{self.prefix}{cache.cached_output.name}")
        return self.retokenizer.without(dataset) if self.retokenizer and self.caches else dataset

    def check_rows(self, dataset: datasets.Dataset) -> None:
        """Refuse token ids and lengths out of the teacher's range, and padding that changes the teacher's answers."""
        if not isinstance(self.teacher, Teacher):  # a cache checks its rows itself
            return
        column = f"{self.prefix}input_ids" if self.retokenizer else "input_ids"
        TokenLimits.of(self.teacher.model, "teacher").check(dataset, column)
        tokenizer = None if self.retokenizer else self._padding_tokenizer
        if tokenizer is not None:
            check_row_padding(dataset, self.teacher.model, tokenizer, "teacher")

    def _label(self, cache: OutputCache, dataset: datasets.Dataset) -> datasets.Dataset:
        """Return only the column of a cache, with its tokens at the places of the student's tokens."""
        rows = self.retokenizer.teacher_inputs(dataset) if self.retokenizer else dataset
        outputs = cache.label(rows).select_columns([cache.cached_output.column])
        if self.retokenizer and self.retokenizer.is_token_level:
            return at_positions(outputs, dataset.select_columns([f"{self.prefix}positions"]))
        return outputs


def _has_segments(config: PreTrainedConfig, tokenizer: PreTrainedTokenizerBase) -> bool:
    """Return whether a model reads segment ids: its config says how many there are, or else its tokenizer is asked."""
    num_segments = config.to_dict().get("type_vocab_size")
    return num_segments > 1 if num_segments is not None else "token_type_ids" in tokenizer.model_input_names


def make_source(given: Any, tokenizer: PreTrainedTokenizerBase | None, prefix: str, context: TeacherContext) -> Source:
    """Make the source of one teacher.

    Args:
        given: A model, a path or Hub id, a pipeline, a function, or a zero-shot teacher.
        tokenizer: The teacher's tokenizer; None, or the student's, if it reads the student's token ids.
        prefix: Prefix of the names of its columns.
        context: What all teachers share.

    Raises:
        TypeError: for anything else.
    """
    given = compiled_in_place(given)
    is_model = isinstance(given, nn.Module)
    if callable(given) and not is_model and (unpacked := model_and_tokenizer(given)) is not None:
        model, pipeline_tokenizer = unpacked
        return make_source(model, tokenizer or pipeline_tokenizer, prefix, context)
    if isinstance(given, str | os.PathLike) or (
        is_model and isinstance(getattr(given, "config", None), PreTrainedConfig)
    ):
        return ModelSource(given, None if tokenizer is context.student_tokenizer else tokenizer, prefix, context)
    if isinstance(given, ZeroShotTeacher):
        return ZeroShotSource(given, prefix, context)
    if isinstance(given, FunctionTeacher) or (callable(given) and not is_model):
        function = given if isinstance(given, FunctionTeacher) else FunctionTeacher(given)
        return FunctionSource(function, prefix, context)
    raise TypeError(
        "`teacher_model` must be a transformers or PEFT model, a path or a Hub id, a pipeline that classifies, a "
        "function from texts to logits, a `ZeroShotTeacher`, a list or `TeacherEnsemble` of these, or None with a "
        f"column `{TEACHER_LOGITS}`; got {type(given).__name__}."
    )


def make_sources(
    given: Any, tokenizer: PreTrainedTokenizerBase | None, context: TeacherContext
) -> tuple[list[Source], TeacherEnsemble | None]:
    """Make the sources of all teachers, and return the ensemble that they form, if there are several.

    Args:
        given: What was passed as `teacher_model`, not None.
        tokenizer: What was passed as `teacher_processing_class`.
        context: What all teachers share.
    """
    if not isinstance(given, TeacherEnsemble | list | tuple):
        return [make_source(given, tokenizer, "teacher_", context)], None
    ensemble = given if isinstance(given, TeacherEnsemble) else TeacherEnsemble(given)
    tokenizers = ensemble.processing_classes or [tokenizer] * len(ensemble.teachers)
    members = enumerate(zip(ensemble.teachers, tokenizers, strict=True))
    sources = [
        make_source(teacher, member_tokenizer, f"teacher_{i}_", context) for i, (teacher, member_tokenizer) in members
    ]
    return sources, ensemble
