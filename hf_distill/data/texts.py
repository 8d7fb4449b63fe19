"""The text columns of a table, checked and with the names that the task uses."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from datasets import Dataset, List, Value

from hf_distill.classifiers.outputs import TEACHER_LOGITS
from hf_distill.data.columns import is_string, is_words
from hf_distill.data.labels.lists import parse_list
from hf_distill.data.stored_logits import check_stored_logits
from hf_distill.data.table import Table, counted, take_rows

_SEEN = r"[^\s\p{Z}\p{Cc}\p{Cf}]"  # a visible character: not a blank, a control character or an invisible mark
_OF_PRODIGY = {"_input_hash", "_task_hash"}


class Texts:
    """The text columns of one table.

    Args:
        table: The table.
        columns: The text columns of the table, or its column of words.
        names: The names of these columns in the task; one name if the columns are joined.
        delimiter: The text between joined columns; None if the columns are not joined.
        are_words: Whether the column holds lists of words.

    Attributes:
        dataset: The rows with the columns of the task, and `teacher_logits` if the table has this column.
        remarks: Notes on blank texts, and on texts that are lists.

    Raises:
        ValueError: if a column does not hold text, if a word is null, or if `teacher_logits` have no use.
    """

    def __init__(
        self,
        table: Table,
        columns: Sequence[str],
        names: Sequence[str],
        delimiter: str | None = None,
        are_words: bool = False,
    ) -> None:
        self.table, self.columns, self.names = table, list(columns), list(names)
        for column in columns:
            _check_type(table, column, are_words)
            if are_words:
                _refuse_null_words(table, column)
        self.remarks = [] if are_words else _about_lists(table, columns)
        kept = [TEACHER_LOGITS] if TEACHER_LOGITS in table.names else []
        if kept:
            check_stored_logits(table, are_words)
        if delimiter is not None:
            self.dataset = self._joined(delimiter, kept)
        else:
            dataset = table.dataset.select_columns([*columns, *kept])
            renamed = {old: new for old, new in zip(columns, names, strict=True) if old != new}
            self.dataset = _as_strings(dataset.rename_columns(renamed), names)

    def refuse_missing(self) -> None:
        """Refuse rows without text. One text of a pair can be blank; a remark counts such pairs.

        Raises:
            ValueError: if a row has no text. The message names the first such row and their number.
        """
        is_missing, is_half = self._missing()
        if is_missing.any():
            raise ValueError(
                f"{self.table.places(is_missing)}: no text in column {' or '.join(map(repr, self.columns))}. Remove "
                "such rows, or fill in the text."
            )
        if is_half.any():
            self.remarks.append(f"one text is blank in {counted(int(is_half.sum()), 'pair')}")

    def without_missing(self) -> Dataset:
        """Return the rows that have a text; a remark counts the others."""
        is_missing, _ = self._missing()
        if not is_missing.any():
            return self.dataset
        self.remarks.append(f"left out: {counted(int(is_missing.sum()), 'row')} without text")
        return take_rows(self.dataset, np.flatnonzero(~is_missing))

    def _missing(self) -> tuple[np.ndarray, np.ndarray]:
        """Return two masks: rows without text (or with a null in a pair), and pairs with one blank text."""
        columns = [self.dataset.data.column(name) for name in self.names]
        is_null = np.logical_or.reduce([column.is_null().to_numpy() for column in columns])
        is_blank = [_is_blank(column) for column in columns]
        is_missing = is_null | np.logical_and.reduce(is_blank)
        return is_missing, np.logical_or.reduce(is_blank) & ~is_missing

    def _joined(self, delimiter: str, kept: Sequence[str]) -> Dataset:
        """Join the texts of several columns; blank texts are left out."""
        joined, *others = [self.table.column(column).fill_null("").combine_chunks() for column in self.columns]
        for part in others:
            between = pc.if_else(pc.or_(pc.equal(joined, ""), pc.equal(part, "")), "", delimiter)
            joined = pc.binary_join_element_wise(joined, between, part, "")
        dataset = Dataset.from_dict({self.names[0]: joined})
        for column in kept:
            dataset = dataset.add_column(column, self.table.column(column), feature=self.table.feature(column))
        return dataset


def without_rejected(table: Table) -> Table:
    """Leave out the rows that an annotator rejected or ignored in Prodigy."""
    if "answer" not in table.dataset.column_names or not _OF_PRODIGY & set(table.names):
        return table
    is_accepted = pc.equal(table.column("answer"), "accept").fill_null(False).to_numpy()
    if is_accepted.all():
        return table
    note = f"left out: {counted(int((~is_accepted).sum()), 'row')} whose `answer` is not 'accept' (Prodigy)"
    return table.select(np.flatnonzero(is_accepted).tolist(), note)


def _about_lists(table: Table, columns: Sequence[str]) -> list[str]:
    """Return a remark for each column of texts that are lists of words, as pandas writes them to CSV."""
    remarks = []
    for name in columns:
        texts = [text for text in table.column(name)[:100].to_pylist() if text]
        if texts and all(text[0] == "[" and parse_list(text) is not None for text in texts):
            remarks.append(
                f"the texts in {name!r} are lists, such as {texts[0][:40]!r}; join their words if they have any"
            )
    return remarks


def _is_blank(column: pa.ChunkedArray) -> np.ndarray:
    if not is_string(column.type):  # words
        return pc.equal(pc.list_value_length(column), 0).fill_null(True).to_numpy()
    return pc.invert(pc.match_substring_regex(column, _SEEN)).fill_null(True).to_numpy()


def _as_strings(dataset: Dataset, names: Sequence[str]) -> Dataset:
    for name in names:
        wanted = Value("string") if is_string(dataset.data.column(name).type) else List(Value("string"))
        if dataset.features[name] != wanted:
            dataset = dataset.cast_column(name, wanted)
    return dataset


def _check_type(table: Table, name: str, are_words: bool) -> None:
    column = table.column(name)  # raises an error if the column holds several types
    if is_words(table, name) if are_words else is_string(column.type):
        return
    kind = "bytes that are not UTF-8 (binary)" if pa.types.is_binary(column.type) else str(table.feature(name))
    raise ValueError(
        f"{table.source.path}: column {name!r} does not hold {'words' if are_words else 'text'} but {kind}. The "
        f"columns are {table.describe_columns()}. Name the text with --text_column_names (`text_column_names`)."
    )


def _refuse_null_words(table: Table, name: str) -> None:
    column = table.column(name)
    if not any(chunk.flatten().null_count for chunk in column.chunks):
        return
    for row, words in enumerate(column.to_pylist()):
        if words is not None and None in words:
            raise ValueError(
                f"{table.place(row, name)}: word {words.index(None) + 1} of {len(words)} is null. Remove the word and "
                "its tag, or fill it in."
            )
