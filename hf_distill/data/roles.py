"""Choose the text columns and label columns of a task."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa

from hf_distill.classifiers.outputs import TEACHER_LOGITS
from hf_distill.data.columns import (
    NOT_TEXTS,
    TEXTS,
    Choice,
    choose_text_columns,
    find_column,
    header_hint,
    is_list,
    is_words,
    only_spelling,
    split_names,
)
from hf_distill.data.table import Table
from hf_distill.data.words_in_texts import refuse_words_in_texts

LABEL_COLUMNS = ("label", "labels")
TAG_COLUMNS = ("tags", "ner_tags", "labels", "label")
WORDS = "tokens"
# Names of columns that often hold the label. None of them is read as the label unless the user names it.
LIKELY_LABELS = (
    "sentiment", "category", "class", "target", "topic", "intent", "emotion", "stance", "rating", "stars", "polarity",
    "gold_label", "gold",
)  # fmt: skip


@dataclass(frozen=True)
class Roles:
    """The text columns and label columns of a task.

    Attributes:
        text: One column, the two columns of a pair, or more columns, which are joined.
        label: One column, or several columns with one number for each class.
        has_words: Whether rows are lists of words with one tag for each word.
    """

    text: Choice
    label: Choice
    has_words: bool = False


def choose_roles(
    table: Table, text_names: Sequence[str] | None, label_name: str | Sequence[str] | None, problem_type: str | None
) -> Roles:
    """Choose the text columns and label columns of a task from its first table.

    The label column is the one that the user names, else `label`, else `labels`. If the table has a column of words,
    it can also be `tags` or `ner_tags`.

    Args:
        table: The first table of the task.
        text_names: The text columns that the user names, if any.
        label_name: The label column that the user names, if any; several columns as a list or with commas.
        problem_type: The problem type that the user names, if any.

    Raises:
        ValueError: if the table has no label column, or if several columns could be the text.
    """
    words = _words_and_tags(table, text_names, label_name, problem_type)
    if words is not None:
        return words
    refuse_words_in_texts(table, text_names, label_name)
    if label_name is not None:
        names = [find_column(table, name, "label") for name in split_names(label_name, table)]
        if TEACHER_LOGITS in names:
            raise ValueError(f"`{TEACHER_LOGITS}` has the outputs of a teacher, not labels. Name a column of labels.")
        label = Choice(tuple(names), "by flag")
    else:
        known = [column for name in LABEL_COLUMNS for column in table.names if column.casefold() == name]
        if not known:
            raise ValueError(_no_label(table))
        label = Choice((only_spelling(known, known[0].casefold(), table),), "known name")
    return Roles(choose_text_columns(table, text_names, label.names), label)


def _words_and_tags(
    table: Table, text_names: Sequence[str] | None, label_name: str | Sequence[str] | None, problem_type: str | None
) -> Roles | None:
    """Return the columns of words and of tags; None if rows are texts."""
    if problem_type not in (None, "token_classification"):
        return None
    asked = [label_name] if isinstance(label_name, str) else label_name
    words = [column for name in text_names or [WORDS] if (column := table.find(name)) and is_words(table, column)]
    tags = [column for name in asked or TAG_COLUMNS if (column := table.find(name)) and is_list(table, column)]
    if words and tags:
        reasons = ["known name" if names is None else "by flag" for names in (text_names, label_name)]
        return Roles(Choice((words[0],), reasons[0]), Choice((tags[0],), reasons[1]), has_words=True)
    if problem_type is not None or (text_names and len(words) == len(text_names)):
        types = {name: str(table.feature(name)) for name in table.names}
        raise ValueError(
            f"{table.source.path}: expected two columns of lists, words and tags, got {types}. Call them "
            f"`{WORDS}` and `{TAG_COLUMNS[0]}`, or name them with --text_column_names and --label_column_name."
        )
    return None


def warn_of_labels(not_read: Sequence[str]) -> list[str]:
    """Return a warning if columns that were not read, in rows that count as unlabelled, can hold the label."""
    names = [name for name in not_read if name.casefold() in LIKELY_LABELS]
    if not names:
        return []
    return [
        f"no label is read; if {names[0]!r} is the label, pass --label_column_name {names[0]} (`label_column_name`)"
    ]


def _no_label(table: Table) -> str:
    zeros_and_ones = [name for name in table.names if _is_zero_or_one(table, name)]
    several = f" or {','.join(zeros_and_ones)}" if len(zeros_and_ones) > 1 else ""
    known = next((name for name in table.names if name.casefold() in NOT_TEXTS), None)
    candidates = [name for name in reversed(table.names) if name.casefold() not in (*TEXTS, TEACHER_LOGITS)]
    example = known or min(candidates, key=lambda name: _num_values(table, name), default=None)
    if table.has_only_texts:
        hint = (
            " A .txt file holds only texts. Write texts and labels to a .csv or .tsv file, or lines `__label__x text`."
        )
    elif TEACHER_LOGITS in table.names and example is None:
        hint = (
            " To train on the logits alone, pass --problem_type (`problem_type`): single_label_classification if each "
            "text has one class, multi_label_classification if it can have several. Otherwise add a column `label`."
        )
    elif example is None:
        hint = " Add a column `label`."
    else:
        hint = (
            f" Name it with --label_column_name {several.removeprefix(' or ') or repr(example)} (`label_column_name`)."
        )
    return (
        f"{table.source.path} has no column `label` or `labels`, only {table.describe_columns()}.{hint}"
        f"{header_hint(table)}"
    )


def _is_zero_or_one(table: Table, name: str) -> bool:
    if name not in table.dataset.column_names or pa.types.is_nested(table.column(name).type):
        return False
    values = set(table.column(name)[:1000].to_pylist())
    return bool(values) and all(str(value) in ("0", "1", "True", "False", "0.0", "1.0") for value in values)


def _num_values(table: Table, name: str) -> float:
    """Return the number of different values of a column that has at least two; infinity for other columns."""
    if name not in table.dataset.column_names or pa.types.is_nested(table.column(name).type):
        return math.inf
    number = len(set(table.column(name)[:1000].to_pylist()))
    return number if number > 1 else math.inf
