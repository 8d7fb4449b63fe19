"""One teacher of a Trainer, and what a dataset needs before the teacher can be run on it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import datasets
from transformers import PreTrainedConfig, PreTrainedTokenizerBase

from hf_distill.cache import OutputCache
from hf_distill.classifiers.problem_types import ProblemType
from hf_distill.teachers import BaseTeacher
from hf_distill.training.dataset_kinds import is_transformed
from hf_distill.training_args import DistillationTrainingArguments


@dataclass(frozen=True)
class TeacherContext:
    """What all teachers of a Trainer share.

    Attributes:
        args: The Trainer's.
        student_tokenizer: The tokenizer of the student's token ids, `processing_class`.
        text_columns: The Trainer's `teacher_text_columns`.
        reads: Names of the fields of [`ClassifierOutputs`] that the objectives read of a teacher.
    """

    args: DistillationTrainingArguments
    student_tokenizer: PreTrainedTokenizerBase | None
    text_columns: list[str] | None = None
    reads: frozenset[str] = frozenset({"logits"})


class Source:
    """One teacher of a Trainer, and what a dataset needs before the teacher can be run on it.

    Attributes:
        teacher: From a batch to outputs.
        id2label: Names of the teacher's classes; None for the student's.
        problem_type: The teacher's problem type; None for the student's.
        config: The config of a model; None for a function.
        description: The teacher's entry in the record.
        caches: The stores of its outputs, one for each kind; empty for a teacher that runs in every step.
        is_identified: Whether anything but its outputs can tell it from other teachers.
        reads_texts: Whether it reads texts, not the student's token ids.
        texts_hash: Hash of the texts as the teacher reads them, of the dataset that was prepared last; None if the
            teacher does not read texts.
        tokenizers: Prefix of columns -> the tokenizer whose token ids they hold; empty if no such columns are left.
    """

    teacher: BaseTeacher
    id2label: Mapping[int, str] | None = None
    problem_type: ProblemType | None = None
    config: PreTrainedConfig | None = None
    description: dict[str, Any]
    is_identified: bool = True
    reads_texts: bool = False
    texts_hash: str | None = None
    caches: Sequence[OutputCache] = ()
    tokenizers: Mapping[str, PreTrainedTokenizerBase] = {}

    @property
    def added_columns(self) -> frozenset[str]:
        """The columns that [`Source.prepare`] adds; empty if the teacher reads the student's columns."""
        return frozenset()

    def identify(self) -> str | None:
        """Return what tells this teacher, as it is now, from other teachers when a run is resumed.

        A live teacher and its stored outputs are the same teacher. None for a teacher that is not identified.
        """
        return None

    def bind(self, problem_type: ProblemType, num_labels: int) -> None:
        """Note the student's problem type and number of outputs."""

    def prepare(self, dataset: datasets.Dataset) -> datasets.Dataset:
        """Add the columns that the teacher reads to a dataset."""
        return dataset

    def check_rows(self, dataset: datasets.Dataset) -> None:
        """Refuse a prepared dataset with rows that the teacher cannot read.

        Raises:
            ValueError: that names the first such row.
        """


def with_column(dataset: datasets.Dataset, column: datasets.Dataset, name: str) -> datasets.Dataset:
    """Add a column under a name; an existing column of that name is replaced."""
    if column.column_names != [name]:
        column = column.rename_column(column.column_names[0], name)
    others = dataset.remove_columns([name] if name in dataset.column_names else [])
    return datasets.concatenate_datasets([others, column], axis=1)


def add_columns(dataset: datasets.Dataset, sources: Sequence[Source]) -> datasets.Dataset:
    """Add the columns that teachers read to a dataset, and keep its format.

    Args:
        dataset: The rows.
        sources: The teachers that need columns.

    Raises:
        ValueError: for a dataset with `set_transform`, which makes its columns when rows are read.
    """
    given = dataset.format
    if is_transformed(dataset):
        raise ValueError(
            "The rows are made by `set_transform` when they are read, and this teacher reads rows before training. "
            "Use `map` instead, or a live teacher on the student's token ids without `cache_teacher_outputs`."
        )
    columns = dataset.column_names
    dataset = dataset.with_format(None)
    for source in sources:
        dataset = source.prepare(dataset)
    added = [name for name in dataset.column_names if name not in columns]
    columns, keeps_others = [*given["columns"], *added], given["output_all_columns"]
    return dataset.with_format(given["type"], columns, keeps_others, **given["format_kwargs"])
