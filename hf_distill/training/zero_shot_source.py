"""A zero-shot teacher of a Trainer: its judgments are stored hypothesis by hypothesis."""

from functools import partial

import datasets
import numpy as np
from transformers.utils import logging

from hf_distill.cache import FunctionCache
from hf_distill.cache.fingerprint import hash_json, hashed_parts
from hf_distill.classifiers.outputs import TEACHER_LOGITS
from hf_distill.classifiers.placement import move_to_device
from hf_distill.classifiers.problem_types import PROBLEM_TYPES, ProblemType
from hf_distill.data.retokenize import find_text_columns
from hf_distill.record import describe_model
from hf_distill.teachers import CachedTeacher, FunctionTeacher, ZeroShotTeacher
from hf_distill.teachers.sentence_encoder import SentenceEncoder
from hf_distill.training.row_hashes import hash_of_texts
from hf_distill.training.source import Source, TeacherContext, with_column

logger = logging.get_logger(__name__)


class ZeroShotSource(Source):
    """A zero-shot teacher that runs once for each distinct text and hypothesis before training.

    Args:
        given: The teacher. Its model is moved to the device.
        prefix: Prefix of the name of its column.
        context: What all teachers share.

    Raises:
        ValueError: for a `teacher_dtype` that is not float32.
    """

    def __init__(self, given: ZeroShotTeacher, prefix: str, context: TeacherContext) -> None:
        if context.args.teacher_dtype not in ("auto", "float32"):
            raise ValueError(
                f"`teacher_dtype` is {context.args.teacher_dtype!r}, and a zero-shot teacher runs in float32. Leave "
                "it unset."
            )
        self.given, self.context, self.column = given, context, f"{prefix}logits"
        move_to_device(given.model, context.args.device)
        self.teacher, self.reads_texts = CachedTeacher(prefix), True
        self.id2label = dict(enumerate(given.labels))
        self.problem_type: ProblemType = PROBLEM_TYPES[given.problem_type]
        self.description = {**describe_model(given.model), "zero_shot": given.describe()}
        self._stores: dict[tuple[str, ...], list[FunctionCache]] = {}
        scorer = given.scorer
        pooling = {"pooling": scorer.pooling} if isinstance(scorer, SentenceEncoder) else {}
        self._hashed = {**hashed_parts(given.model), "max_length": scorer.max_length, **pooling}

    @property
    def added_columns(self) -> frozenset[str]:
        """The columns that [`ZeroShotSource.prepare`] adds."""
        return self.teacher.required_columns

    def identify(self) -> str | None:
        """Return a hash of the model and of all that its answers depend on."""
        return hash_json({**self._hashed, **self.given.describe()})

    def bind(self, problem_type: ProblemType, num_labels: int) -> None:
        """Refuse a student of words."""
        if problem_type.is_token_level:
            raise ValueError("A zero-shot teacher compares whole texts with classes, so it cannot teach words.")

    def prepare(self, dataset: datasets.Dataset) -> datasets.Dataset:
        """Compute the judgments that are not stored yet, and add the logits of the classes."""
        columns = find_text_columns(dataset, self.context.text_columns, False, self.context.student_tokenizer)
        if len(columns) > 1:
            raise ValueError(
                f"A zero-shot teacher reads one text, and the rows have the pair {' and '.join(columns)}. Join them "
                "in one column."
            )
        prior, texts = self.given.prior, dataset[columns[0]]
        bias_texts = list(prior.choose_texts(texts)) if prior.is_pending else []
        self.texts_hash = hash_of_texts(dataset, columns)
        stores = self._stores.setdefault(tuple(columns), [])
        if not stores:
            stores += self._open_stores(columns)
            self.caches = stores
        if prior.is_pending:
            prior.fit(self._uncorrected_logits(datasets.Dataset.from_dict({columns[0]: bias_texts}), stores))
            if self.context.args.process_index == 0:
                logger.warning(str(prior))
        self.description["zero_shot"] |= prior.describe()
        logits = prior.apply(self._uncorrected_logits(dataset, stores))
        feature = datasets.List(datasets.Value("float32"), length=logits.shape[1])
        column = datasets.Dataset.from_dict({self.column: list(logits)}, datasets.Features({self.column: feature}))
        return with_column(dataset, column, self.column)

    def _uncorrected_logits(self, dataset: datasets.Dataset, stores: list[FunctionCache]) -> np.ndarray:
        """Return the logits without the correction of the prior, `(num_texts, num_labels)`."""
        outputs = [np.asarray(store.label(dataset).with_format("numpy")[TEACHER_LOGITS][:]) for store in stores]
        return self.given.combine([values.reshape(len(dataset), -1) for values in outputs])

    def _open_stores(self, columns: list[str]) -> list[FunctionCache]:
        """Return a store for each hypothesis, or the store of the vectors of a sentence encoder."""
        scorer = self.given.scorer
        if isinstance(scorer, SentenceEncoder):
            functions = {"": scorer.embed}
        else:
            functions = {
                hypothesis: partial(scorer.judge, hypothesis=hypothesis) for hypothesis in self.given.hypotheses
            }
        keeps = self.context.args.cache_teacher_outputs
        return [
            FunctionCache(
                self.context.args.teacher_cache_dir,
                FunctionTeacher(
                    function,
                    name=f"zero-shot-{hash_json({**self._hashed, 'hypothesis': hypothesis})}" if keeps else None,
                ),
                scorer.width,
                PROBLEM_TYPES["regression"],  # the values are no distributions, and are not checked as such
                columns,
            )
            for hypothesis, function in functions.items()
        ]
