"""Find the text columns and the label columns of a table."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from hf_distill.classifiers.outputs import TEACHER_LOGITS
from hf_distill.data.table import Table
from hf_distill.utils.near_misses import did_you_mean

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
# Columns with information about the text. Such a column is not used as the text only because no other one is left.
NOT_TEXTS = (
    "sentiment", "category", "categories", "class", "classes", "target", "topic", "topics", "intent", "emotion",
    "emotions", "stance", "rating", "stars", "score", "polarity", "label_text", "label_name", "gold_label", "gold",
    "prediction", "predicted", "tag", "tags", "split", "lang", "language", "source", "id", "uid", "uuid", "date",
    "time", "timestamp", "author", "user", "username", "url", "file", "filename", "answer", "__index_level_0__",
)  # fmt: skip
_NUMBERS = r"^\s*[-+]?(\d+([.,]\d+)*|\.\d+)([eE][-+]?\d+)?\s*%?$"


@dataclass(frozen=True)
class Choice:
    """Columns, and why they were chosen.

    Attributes:
        names: Names of the columns in the first table.
        reason: `by flag`, `known names`, ...
    """

    names: tuple[str, ...]
    reason: str


def split_names(names: str | Sequence[str], table: Table) -> tuple[str, ...]:
    """Return column names. A single name with commas is split, unless it is the name of a column."""
    given = [names] if isinstance(names, str) else list(names)
    if len(given) != 1 or "," not in given[0] or table.find(given[0]) is not None:
        return tuple(given)
    return tuple(name.strip() for name in given[0].split(","))


def as_list(names: str | Sequence[str] | None) -> list[str] | None:
    """Return names as a list: a single name can be passed without a list."""
    return None if names is None else [names] if isinstance(names, str) else list(names)


def choose_text_columns(table: Table, names: Sequence[str] | None, not_text: Sequence[str] = ()) -> Choice:
    """Choose the text columns.

    The first rule that gives columns wins: the columns that the user names; exactly one known pair of names; exactly
    one known name; the only string column that is left.

    Args:
        table: The first table of a task. The other tables must have the same columns.
        names: The text columns that the user names; None if the user names none.
        not_text: Columns that have another role, such as labels.

    Raises:
        ValueError: if no rule gives columns. The message lists the columns and the flag.
    """
    if names is not None:
        return _named(table, names, not_text)
    free = [name for name in table.names if name not in not_text and name != TEACHER_LOGITS]
    texts = [name for name in free if _may_be_text(table, name)]
    known = {name.casefold(): name for name in texts}
    pairs = [pair for pair in TEXT_PAIRS if known.keys() >= set(pair)]
    singles = [name for name in texts if name.casefold() in TEXTS]
    if len(pairs) == 1:
        return Choice(
            (only_spelling(texts, pairs[0][0], table), only_spelling(texts, pairs[0][1], table)), "known names"
        )
    if not pairs and len(singles) == 1:
        return Choice((singles[0],), "known name")
    if pairs or singles:
        candidates = [" and ".join(pair) for pair in pairs] or singles
        raise ValueError(f"{table.source.path} has several text columns: {', '.join(candidates)}. {_flag(table)}")
    return _only_one_left(table, free)


def only_spelling(names: Sequence[str], wanted: str, table: Table) -> str:
    """Return the only name that equals the wanted one apart from case."""
    alike = [name for name in names if name.casefold() == wanted]
    if len(alike) > 1:
        raise ValueError(
            f"{table.source.path} has the columns {', '.join(map(repr, alike))}, which differ only "
            "by case. Name one of them with --text_column_names or --label_column_name."
        )
    return alike[0]


def find_column(table: Table, name: str, role: str) -> str:
    """Return the name of a column as the table spells it.

    Args:
        table: The table.
        name: The name that is searched, in upper or lower case.
        role: What the column is for; the error message names it.

    Raises:
        ValueError: if the table has no such column.
    """
    column = table.find(name)
    if column is None:
        suggestion = did_you_mean(name, table.names)
        hint = "" if suggestion and not table.header_doubt else header_hint(table)
        raise ValueError(
            f"{table.source.path} has no {role} column {name!r}.{suggestion} The columns are "
            f"{table.describe_columns()}.{hint}"
        )
    return column


def _named(table: Table, names: Sequence[str], not_text: Sequence[str]) -> Choice:
    if not names:
        raise ValueError("`text_column_names` is empty. Leave it out, or name a text column.")
    columns = tuple(find_column(table, name, "text") for name in split_names(names, table))
    if len(set(columns)) < len(columns):
        raise ValueError(f"`text_column_names` names a column twice: {', '.join(names)}.")
    if both := set(columns) & set(not_text):
        raise ValueError(f"The column {both.pop()!r} is named as text, but it is the label column. Name another one.")
    return Choice(columns, "by flag")


def holds_text(table: Table, name: str) -> bool:
    """Whether a column holds strings other than numbers."""
    return _may_be_text(table, name) and not _is_numbers(table, name)


def _may_be_text(table: Table, name: str) -> bool:
    """Whether a column holds any string; a mix of strings and other values is refused when the column is chosen."""
    if name in table.mixed:
        return any(isinstance(value, str) for value in table.mixed[name])
    column = table.dataset.data.column(name)
    if not is_string(column.type):
        return pa.types.is_binary(column.type)
    return not all(pc.all(pc.equal(pc.utf8_trim_whitespace(part), "")).as_py() for part in (column[:100], column))


def is_string(kind: pa.DataType) -> bool:
    """Whether an Arrow type is a string type."""
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
    left = [name for name in strings if name.casefold() not in NOT_TEXTS]
    if len(left) == 1 and len(strings) == 1 and not table.header_doubt and not _is_category(table, left[0]):
        return Choice((left[0],), "only string column left")
    raise ValueError(
        f"{table.source.path}: cannot tell which column is the text. The columns are {table.describe_columns()}. "
        f"{_flag(table)}"
    )


def _flag(table: Table) -> str:
    return f"Name the text with --text_column_names (`text_column_names`).{header_hint(table)}"


def header_hint(table: Table) -> str:
    """Return advice for a CSV or TSV file whose first line may not be a header; an empty text for other formats."""
    if table.source.format not in ("CSV", "TSV"):
        return ""
    doubt = table.header_doubt or "the first line is read as the header"
    return (
        f" {doubt[0].upper()}{doubt[1:]}. If the file has no header, name its columns in order: --column_names "
        "text,label (`column_names`)."
    )


def _is_numbers(table: Table, name: str) -> bool:
    """Whether every cell of a string column is a number or empty."""
    if name in table.mixed:
        return False
    column = table.column(name)
    for part in (column.slice(0, 100), column):
        fits = pc.match_substring_regex(part.cast(pa.large_string()), _NUMBERS)
        if not pc.all(pc.or_(fits, pc.equal(pc.utf8_trim_whitespace(part.cast(pa.large_string())), ""))).as_py():
            return False
    return True


def _is_category(table: Table, name: str) -> bool:
    """Whether a column repeats a few words, like a column of classes or languages."""
    if name in table.mixed:
        return False
    values = table.column(name).unique().to_pylist()
    return len(table) >= 20 and len(values) * 10 <= len(table) and not any(re.search(r"\s", v or "") for v in values)
