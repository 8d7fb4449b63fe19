"""Which columns of a table are texts, and which are labels."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from hf_distill.classifiers.outputs import TEACHER_LOGITS
from hf_distill.data.table import Table

LABEL_COLUMNS = ("label", "labels")
TAG_COLUMNS = ("tags", "ner_tags", "labels", "label")
WORDS = "tokens"
TEXT_PAIRS = (
    ("text", "text_pair"), ("text1", "text2"), ("text_a", "text_b"), ("sentence1", "sentence2"),
    ("sentence_a", "sentence_b"), ("premise", "hypothesis"), ("question", "sentence"), ("question1", "question2"),
    ("question", "answer"), ("question", "context"), ("question", "passage"), ("query", "passage"),
    ("query", "document"), ("claim", "evidence"), ("title", "text"), ("title", "body"), ("title", "content"),
    ("title", "description"), ("title", "abstract"), ("headline", "body"), ("subject", "body"),
)  # fmt: skip
TEXTS = (
    "text", "texts", "sentence", "review", "review_text", "reviewtext", "review_body", "content", "comment",
    "comment_text", "question_text", "tweet", "tweet_text", "full_text", "document", "message", "body", "utterance",
    "post", "headline", "sms", "email", "input", "input_text", "phrase", "statement",
)  # fmt: skip
# Columns that hold something about the text. One of these is not taken for the text because it is the only one left.
_NOT_TEXTS = (
    "sentiment", "category", "categories", "class", "classes", "target", "topic", "topics", "intent", "emotion",
    "emotions", "stance", "rating", "stars", "score", "polarity", "label_text", "label_name", "gold_label", "gold",
    "prediction", "predicted", "tag", "tags", "split", "lang", "language", "source", "id", "uid", "uuid", "date",
    "time", "timestamp", "author", "user", "username", "url", "file", "filename", "answer", "__index_level_0__",
)  # fmt: skip
_NUMBERS = r"^\s*[-+]?(\d+([.,]\d+)*|\.\d+)([eE][-+]?\d+)?\s*%?$"


@dataclass(frozen=True)
class Choice:
    """Columns and the reason for them.

    Attributes:
        names: As the first table calls them.
        reason: `by flag`, `known names`, ...
    """

    names: tuple[str, ...]
    reason: str


def split_names(names: str | Sequence[str], table: Table) -> tuple[str, ...]:
    """Return names of columns; a string with commas is several names unless it is the name of one column."""
    if not isinstance(names, str):
        return tuple(names)
    if table.find(names) is not None or "," not in names:
        return (names,)
    return tuple(name.strip() for name in names.split(","))


def choose_text_columns(table: Table, names: Sequence[str] | None, not_text: Sequence[str] = ()) -> Choice:
    """Choose the columns of text.

    They are the ones that are named; else the one known pair of columns; else the one column with a known name; else
    the only column of text that is left.

    Args:
        table: The first table of a task; the others must have the same columns.
        names: What the user says.
        not_text: Columns that have another role, such as labels.

    Raises:
        ValueError: if none of these rules gives a column; the message has the columns and the flag.
        TypeError: for a string instead of a list of names.
    """
    if isinstance(names, str):
        raise TypeError(f"`text_column_names` must be a list of names, got the string {names!r}.")
    if names is not None:
        return _named(table, names, not_text)
    free = [name for name in table.names if name not in not_text and name != TEACHER_LOGITS]
    texts = [name for name in free if _may_be_text(table, name)]
    known = {name.casefold(): name for name in texts}
    pairs = [pair for pair in TEXT_PAIRS if known.keys() >= set(pair)]
    singles = [name for name in texts if name.casefold() in TEXTS]
    if len(pairs) == 1:
        return Choice((_only(texts, pairs[0][0], table), _only(texts, pairs[0][1], table)), "known names")
    if not pairs and len(singles) == 1:
        return Choice((singles[0],), "known name")
    if pairs or singles:
        found = [" and ".join(pair) for pair in pairs] or singles
        raise ValueError(f"{table.source.path} has several columns of text: {', '.join(found)}. {_flag(table)}")
    return _only_one_left(table, free)


def _only(names: Sequence[str], wanted: str, table: Table) -> str:
    """Return the name that is the wanted one, upper or lower case."""
    alike = [name for name in names if name.casefold() == wanted]
    if len(alike) > 1:
        raise ValueError(
            f"{table.source.path} has the columns {', '.join(map(repr, alike))}, which differ by upper and lower "
            "case. Name the one that is meant by --text_column_names or --label_column_name."
        )
    return alike[0]


def find_column(table: Table, name: str, role: str) -> str:
    """Return the column of a name, upper or lower case.

    Raises:
        ValueError: if it is not there.
    """
    column = table.find(name)
    if column is None:
        doubt = f" {table.header_doubt[0].upper()}{table.header_doubt[1:]}." if table.header_doubt else ""
        raise ValueError(
            f"{table.source.path} has no {role} column {name!r}. It has {table.describe_columns()}.{doubt}"
            f"{_header_hint(table)}"
        )
    return column


def _named(table: Table, names: Sequence[str], not_text: Sequence[str]) -> Choice:
    if not names:
        raise ValueError("`text_column_names` is empty. Leave it out, or name a column of text.")
    columns = tuple(find_column(table, name, "text") for name in names)
    if len(set(columns)) < len(columns):
        raise ValueError(f"`text_column_names` names a column twice: {', '.join(names)}.")
    if both := set(columns) & set(not_text):
        raise ValueError(f"The column {both.pop()!r} is named as text, and it is the label column. Name another one.")
    return Choice(columns, "by flag")


def holds_text(table: Table, name: str) -> bool:
    """Whether a column holds strings that are no numbers."""
    return _may_be_text(table, name) and not _is_numbers(table, name)


def _may_be_text(table: Table, name: str) -> bool:
    """Whether a column holds strings, or strings and something else, which is an error once it is chosen."""
    if name in table.mixed:
        return any(isinstance(value, str) for value in table.mixed[name])
    column = table.dataset.data.column(name)
    if not is_string(column.type):
        return pa.types.is_binary(column.type)
    return not all(pc.all(pc.equal(pc.utf8_trim_whitespace(part), "")).as_py() for part in (column[:100], column))


def is_string(kind: pa.DataType) -> bool:
    """Whether an Arrow type is one of text."""
    return pa.types.is_string(kind) or pa.types.is_large_string(kind)


def is_words(table: Table, name: str) -> bool:
    """Whether a column holds lists of strings."""
    if name not in table.dataset.column_names:
        return False
    kind = table.dataset.data.column(name).type
    return (pa.types.is_list(kind) or pa.types.is_large_list(kind)) and is_string(kind.value_type)


def is_list(table: Table, name: str) -> bool:
    """Whether a column holds lists."""
    if name not in table.dataset.column_names:
        return False
    kind = table.dataset.data.column(name).type
    return pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)


def _only_one_left(table: Table, free: Sequence[str]) -> Choice:
    named = [name for name in free if not name.startswith(("Unnamed:", "(column", "__index_level_"))]
    strings = [name for name in named if holds_text(table, name)]
    left = [name for name in strings if name.casefold() not in _NOT_TEXTS]
    if len(left) == 1 and len(strings) == 1 and not table.header_doubt and not _is_category(table, left[0]):
        return Choice((left[0],), "the only column of text that is left")
    raise ValueError(
        f"{table.source.path}: it is open which column is the text. The columns are {table.describe_columns()}. "
        f"{_flag(table)}"
    )


def _flag(table: Table) -> str:
    doubt = f" {table.header_doubt[0].upper()}{table.header_doubt[1:]}." if table.header_doubt else ""
    return f"Name the text by --text_column_names (`text_column_names`).{doubt}{_header_hint(table)}"


def _header_hint(table: Table) -> str:
    if table.source.format not in ("CSV", "TSV"):
        return ""
    return (
        " The first line is read as the header; if there is none, name the columns in their order by --column_names "
        "text,label (`column_names`)."
    )


def _is_numbers(table: Table, name: str) -> bool:
    """Whether every cell of a column of strings is a number, or empty."""
    if name in table.mixed:
        return False
    column = table.column(name)
    for part in (column.slice(0, 100), column):
        fits = pc.match_substring_regex(part.cast(pa.large_string()), _NUMBERS)
        if not pc.all(pc.or_(fits, pc.equal(pc.utf8_trim_whitespace(part.cast(pa.large_string())), ""))).as_py():
            return False
    return True


def _is_category(table: Table, name: str) -> bool:
    """Whether a column repeats a few words, as classes and languages do."""
    if name in table.mixed:
        return False
    values = table.column(name).unique().to_pylist()
    return len(table) >= 20 and len(values) * 10 <= len(table) and not any(re.search(r"\s", v or "") for v in values)


@dataclass(frozen=True)
class Roles:
    """What the columns of all tables of a task are.

    Attributes:
        text: One column, two of a pair, or more, which are joined.
        label: One column, or several with a number for each class.
        has_words: Whether rows are lists of words with a tag each.
    """

    text: Choice
    label: Choice
    has_words: bool = False


def choose_roles(
    table: Table, text_names: Sequence[str] | None, label_name: str | Sequence[str] | None, problem_type: str | None
) -> Roles:
    """Choose the columns of text and labels of a task by its first table.

    The label is the column that is named, else `label`, else `labels`; beside a column of words also `tags` or
    `ner_tags`.

    Raises:
        ValueError: if there is no such column, or it is open which one is the text.
    """
    words = _words_and_tags(table, text_names, label_name, problem_type)
    if words is not None:
        return words
    if label_name is not None:
        names = [find_column(table, name, "label") for name in split_names(label_name, table)]
        label = Choice(tuple(names), "by flag")
    else:
        known = [column for name in LABEL_COLUMNS for column in table.names if column.casefold() == name]
        if not known:
            raise ValueError(_no_label(table))
        label = Choice((_only(known, known[0].casefold(), table),), "known name")
    return Roles(choose_text_columns(table, text_names, label.names), label)


def _words_and_tags(
    table: Table, text_names: Sequence[str] | None, label_name: str | Sequence[str] | None, problem_type: str | None
) -> Roles | None:
    """Return the columns of words and of their tags; None if rows are texts."""
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
            f"{table.source.path}: words and tags are wanted in two columns of lists, got {types}. Call them "
            f"`{WORDS}` and `{TAG_COLUMNS[0]}`, or name them by --text_column_names and --label_column_name."
        )
    return None


def _no_label(table: Table) -> str:
    zeros_and_ones = [name for name in table.names if _is_zero_or_one(table, name)]
    several = f" or {','.join(zeros_and_ones)}" if len(zeros_and_ones) > 1 else ""
    doubt = f" {table.header_doubt[0].upper()}{table.header_doubt[1:]}." if table.header_doubt else ""
    example = next(
        (name for name in table.names if name.casefold() in _NOT_TEXTS), table.names[-1] if table.names else ""
    )
    if table.is_one_text:
        hint = " A .txt file holds texts alone: write texts and labels as .csv or .tsv, or lines as `__label__x text`."
    else:
        hint = (
            f" Name it by --label_column_name {several.removeprefix(' or ') or repr(example)} (`label_column_name`)."
        )
    return (
        f"{table.source.path} has no column `label` or `labels`, only {table.describe_columns()}.{hint}{doubt}"
        f"{_header_hint(table)}"
    )


def _is_zero_or_one(table: Table, name: str) -> bool:
    if name not in table.dataset.column_names or pa.types.is_nested(table.column(name).type):
        return False
    values = set(table.column(name)[:1000].to_pylist())
    return bool(values) and all(str(value) in ("0", "1", "True", "False", "0.0", "1.0") for value in values)
