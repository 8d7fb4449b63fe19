"""A function of texts as the teacher of a Trainer."""

import datasets
from transformers.utils import logging

from hf_distill.cache import FunctionCache
from hf_distill.cache.fingerprint import hash_json
from hf_distill.classifiers.outputs import TEACHER_LOGITS
from hf_distill.classifiers.problem_types import ProblemType
from hf_distill.data.retokenize import find_text_columns
from hf_distill.data.table import counted
from hf_distill.teachers import CachedTeacher, FunctionTeacher
from hf_distill.training.row_hashes import hash_of_texts
from hf_distill.training.source import Source, TeacherContext, with_column

logger = logging.get_logger(__name__)


class FunctionSource(Source):
    """A function of texts, called once per distinct text before training.

    Args:
        given: The function.
        prefix: Prefix of the name of its column.
        context: What all teachers share.

    Raises:
        ValueError: for `cache_teacher_outputs` and no name to store the outputs under.
    """

    def __init__(self, given: FunctionTeacher, prefix: str, context: TeacherContext) -> None:
        if context.args.cache_teacher_outputs and given.name is None:
            raise ValueError(
                "`cache_teacher_outputs` needs a name to find a function's outputs by: pass "
                "`FunctionTeacher(function, name=...)`."
            )
        self.given, self.context, self.column = given, context, f"{prefix}logits"
        self.teacher = CachedTeacher(prefix)
        self.description, self.reads_texts = {"name_or_path": given.name, "model_type": "function"}, True
        self.is_identified = given.name is not None
        self.cache: FunctionCache | None = None
        self._cost = {"texts_asked": 0, "calls": 0, "texts_from_store": 0}
        self.description["cost"] = self._cost
        if given.labels is not None:
            self.id2label = dict(enumerate(given.labels))

    @property
    def added_columns(self) -> frozenset[str]:
        """The columns that [`FunctionSource.prepare`] adds."""
        return self.teacher.required_columns

    def identify(self) -> str | None:
        """Return a hash of the function's name; None without a name."""
        return self.given.name and hash_json({"function": self.given.name, "labels": self.given.labels})

    def bind(self, problem_type: ProblemType, num_labels: int) -> None:
        """Note the student's problem type and number of outputs."""
        if problem_type.is_token_level:
            raise ValueError("A function cannot teach words. Add its logits as a column `teacher_logits`.")
        self.problem_type, self.num_labels = problem_type, num_labels

    def prepare(self, dataset: datasets.Dataset) -> datasets.Dataset:
        """Call the function on the texts that are not stored yet."""
        assert self.problem_type is not None
        context = self.context
        columns = find_text_columns(dataset, context.text_columns, False, context.student_tokenizer)
        self.texts_hash = hash_of_texts(dataset, columns)
        if self.cache is None or self.cache.text_columns != columns:
            self.cache = FunctionCache(
                context.args.teacher_cache_dir, self.given, self.num_labels, self.problem_type, columns
            )
            self.caches = [self.cache]
        before = self.cache.count()
        outputs = self.cache.label(dataset).select_columns([TEACHER_LOGITS])
        self._report(*(now - then for now, then in zip(self.cache.count(), before, strict=True)))
        return with_column(dataset, outputs, self.column)

    def _report(self, num_asked: int, num_calls: int, num_found: int) -> None:
        """Add the counts of a dataset to the record, and print them."""
        for name, count in zip(self._cost, (num_asked, num_calls, num_found), strict=True):
            self._cost[name] += count
        if self.context.args.process_index == 0:
            logger.warning(
                f"The teacher's function was asked {counted(num_asked, 'text')} in {counted(num_calls, 'call')}, and "
                f"{counted(num_found, 'answer')} came from the store."
            )
