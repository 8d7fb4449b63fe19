"""Texts for a teacher that does not read the student's token ids: their columns, and the teacher's token ids."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from accelerate import PartialState
from datasets import Dataset, List, Value, concatenate_datasets

from hf_distill.classifiers.outputs import TEACHER_LOGITS, WORD_STARTS
from hf_distill.functional import IGNORE_INDEX

if TYPE_CHECKING:  # slow to import
    from transformers import PreTrainedTokenizerBase

_CHECKED_ROWS = 16
_NO_LENGTH = 1_000_000  # transformers gives a tokenizer without a maximum an astronomical one


def find_text_columns(
    dataset: Dataset,
    chosen: Sequence[str] | None,
    is_token_level: bool,
    student_tokenizer: PreTrainedTokenizerBase | None,
) -> list[str]:
    """Find the columns with the texts that the student's token ids were made from.

    Args:
        dataset: Rows with `input_ids` of the student.
        chosen: `teacher_text_columns`. None for the one or two string columns, or for token classification the one
            column of words, if the student's tokenizer makes the student's token ids from them.
        is_token_level: Whether rows are lists of words.
        student_tokenizer: The student's tokenizer.

    Returns:
        One column, or the two columns of a pair.

    Raises:
        ValueError: if the columns are not clear; the message lists all columns.
    """
    kinds: list[Any] = [Value("string"), Value("large_string")]
    kinds = [List(kind) for kind in kinds] if is_token_level else kinds
    text_columns = [name for name, feature in dataset.features.items() if feature in kinds]
    wanted = "a list of words" if is_token_level else "text"
    if chosen is not None:
        if missing := [name for name in chosen if name not in text_columns]:
            raise ValueError(
                f"`teacher_text_columns` names {missing}, and the columns of {wanted} are {text_columns}. Keep the "
                "raw text beside the token ids when you tokenize."
            )
        return list(chosen)
    if not 1 <= len(text_columns) <= (1 if is_token_level else 2):
        raise ValueError(
            "The teacher does not read the student's token ids, so it needs the raw text, and the columns of "
            f"{wanted} are {text_columns or 'none'} (of {dataset.column_names}). Keep the text beside the token ids "
            "when you tokenize, and name its columns with `teacher_text_columns`."
        )
    if student_tokenizer is None:
        return text_columns
    if row := _differing_row(dataset, text_columns, is_token_level, student_tokenizer):
        raise ValueError(
            f"The columns {text_columns} are not what the student's token ids were made of, {row}. Name the columns "
            "that the teacher reads with `teacher_text_columns`."
        )
    return text_columns


def _differing_row(
    dataset: Dataset, columns: list[str], is_token_level: bool, tokenizer: PreTrainedTokenizerBase
) -> str | None:
    """Describe one of the first rows that the tokenizer encodes differently; rows that were cut do not count."""
    rows = dataset[:_CHECKED_ROWS]
    texts = [rows[name] for name in columns]
    encoded = tokenizer(*texts, is_split_into_words=is_token_level, verbose=False)["input_ids"]
    # Without padding on both sides: the last token of every text can be the padding token.
    expected, given = (
        [[token for token in ids if token != tokenizer.pad_token_id] for ids in column]
        for column in (encoded, rows["input_ids"])
    )
    longest = max(map(len, given))
    for row, (given_ids, expected_ids) in enumerate(zip(given, expected, strict=True)):
        is_cut = len(expected_ids) > len(given_ids) == longest
        if given_ids != expected_ids and not is_cut:
            return f"for instance in row {row}: {[text[row] for text in texts]}"
    return None


class Retokenizer:
    """Adds columns with the token ids of a teacher that has another tokenizer than the student.

    Rows are cut to the tokenizer's `model_max_length`. For token classification, `<prefix>positions` contains for the
    first token of each word the position of the teacher's first token of the same word, and -1 elsewhere. A word that
    either tokenizer has cut off, or has no token for, does not count: its label becomes -100 and its `word_starts` 0.

    Args:
        tokenizer: The teacher's tokenizer.
        student_tokenizer: The student's tokenizer.
        prefix: Prefix of the names of the new columns.
        has_segments: Whether the teacher reads segment ids.
        is_token_level: Whether rows are lists of words.
        text_columns: See [`find_text_columns`].

    Raises:
        ValueError: for a tokenizer without a maximum length, or for words a tokenizer that does not know the word of
            each token.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        student_tokenizer: PreTrainedTokenizerBase | None,
        prefix: str,
        has_segments: bool,
        is_token_level: bool,
        text_columns: Sequence[str] | None = None,
    ) -> None:
        if tokenizer.model_max_length > _NO_LENGTH:
            raise ValueError(
                "The teacher's tokenizer does not say how many tokens the teacher takes. Set its `model_max_length`, "
                "512 for most encoders."
            )
        if is_token_level and not (tokenizer.is_fast and student_tokenizer is not None and student_tokenizer.is_fast):
            raise ValueError(
                "Words are matched by two fast tokenizers, which know the word of each token: pass both, "
                "`processing_class` and `teacher_processing_class`."
            )
        self.tokenizer, self.student_tokenizer, self.prefix = tokenizer, student_tokenizer, prefix
        self.has_segments, self.is_token_level, self.text_columns = has_segments, is_token_level, text_columns

    def add_to(self, dataset: Dataset) -> Dataset:
        """Add the teacher's columns."""
        columns = find_text_columns(dataset, self.text_columns, self.is_token_level, self.student_tokenizer)
        arguments: dict[str, Any] = {"tokenizer": self.tokenizer, "columns": columns, "prefix": self.prefix}
        if self.is_token_level:
            encode: Callable = _encode_words
            arguments["student_tokenizer"] = self.student_tokenizer
        else:
            encode = _encode_texts
            arguments["has_segments"] = self.has_segments
        with PartialState().local_main_process_first():
            return dataset.map(encode, batched=True, fn_kwargs=arguments, desc="Tokenizing for the teacher")

    def teacher_inputs(self, dataset: Dataset) -> Dataset:
        """Return the columns that the teacher reads, with the names that it knows them by."""
        names = self._input_columns(dataset)
        return dataset.select_columns(names).rename_columns({name: name.removeprefix(self.prefix) for name in names})

    def added_to(self, dataset: Dataset) -> Dataset:
        """Return the columns that [`Retokenizer.add_to`] has added, with their names there."""
        return dataset.select_columns(self._added_columns(dataset))

    def without(self, dataset: Dataset) -> Dataset:
        """Return the columns that [`Retokenizer.add_to`] has not added."""
        return dataset.remove_columns(self._added_columns(dataset))

    def _added_columns(self, dataset: Dataset) -> list[str]:
        positions = f"{self.prefix}positions"
        return self._input_columns(dataset) + ([positions] if positions in dataset.column_names else [])

    def _input_columns(self, dataset: Dataset) -> list[str]:
        names = [f"{self.prefix}{name}" for name in ("input_ids", "token_type_ids")]
        return [name for name in names if name in dataset.column_names]


def _encode_texts(
    rows: Mapping[str, list[Any]],
    tokenizer: PreTrainedTokenizerBase,
    columns: list[str],
    prefix: str,
    has_segments: bool,
) -> dict[str, Any]:
    # Not every tokenizer of a model that reads segment ids returns them unless it is asked for them.
    encoded = tokenizer(
        *(rows[name] for name in columns),
        truncation=True,
        return_token_type_ids=has_segments,
        return_attention_mask=False,
    )
    return {prefix + name: values for name, values in encoded.items()}


def _encode_words(
    rows: Mapping[str, list[Any]],
    tokenizer: PreTrainedTokenizerBase,
    student_tokenizer: PreTrainedTokenizerBase,
    columns: list[str],
    prefix: str,
) -> dict[str, Any]:
    words = rows[columns[0]]
    teacher_tokens = tokenizer(words, is_split_into_words=True, truncation=True, return_attention_mask=False)
    student_tokens = student_tokenizer(words, is_split_into_words=True, return_attention_mask=False, verbose=False)
    positions = []
    for i, ids in enumerate(rows["input_ids"]):
        # The student's rows can be cut. A cut row still ends with the special tokens that end every row.
        reversed_words = reversed(student_tokens.word_ids(i))
        num_last = next(n for n, word in enumerate(reversed_words) if word is not None) if words[i] else 0
        end = len(ids) - num_last
        if ids[:end] != student_tokens["input_ids"][i][:end]:
            raise ValueError(f"`{columns[0]}` is not what the student's token ids were made of: {words[i]}.")
        student_places, teacher_places = (
            _first_tokens(encoded.word_ids(i)) for encoded in (student_tokens, teacher_tokens)
        )
        row_positions = [-1] * len(ids)
        for word, position in student_places.items():
            if position < end:
                row_positions[position] = teacher_places.get(word, -1)
        positions.append(row_positions)
    added = {prefix + name: values for name, values in teacher_tokens.items()} | {f"{prefix}positions": positions}
    for name, none in (("labels", IGNORE_INDEX), ("label", IGNORE_INDEX), (WORD_STARTS, 0)):
        if name in rows:
            added[name] = [
                [value if position >= 0 else none for value, position in zip(*pair, strict=True)]
                for pair in zip(rows[name], positions, strict=True)
            ]
    return added


def _first_tokens(word_ids: Sequence[int | None]) -> dict[int, int]:
    """Return the position of the first token of each word."""
    first: dict[int, int] = {}
    for position, word in enumerate(word_ids):
        if word is not None:
            first.setdefault(word, position)
    return first


def at_positions(logits: Dataset, positions: Dataset) -> Dataset:
    """Move logits from a teacher's tokens to the student's tokens, with zeros where the teacher has no token.

    Args:
        logits: One column, `teacher_logits`: `(teacher's length, num_labels)` for each row.
        positions: One column: for each token of the student the position of the teacher's token, or -1.

    Returns:
        One column, `teacher_logits`: `(student's length, num_labels)` for each row.
    """
    (column,) = positions.column_names
    rows = concatenate_datasets([logits, positions], axis=1)
    return rows.map(
        _pick, batched=True, remove_columns=[column], features=logits.features, fn_kwargs={"column": column}
    )


def _pick(rows: Mapping[str, list[Any]], column: str) -> dict[str, Any]:
    picked = []
    for logits, positions in zip(rows[TEACHER_LOGITS], rows[column], strict=True):
        row_logits, places = np.asarray(logits, np.float32), np.asarray(positions)
        picked.append(np.where(places[:, None] >= 0, row_logits[places], 0.0).astype(np.float32))
    return {TEACHER_LOGITS: picked}


class TeacherCollator:
    """Pads the token ids of each teacher with its tokenizer, and calls another collator for the other columns.

    Args:
        collate: The collator of the student's columns.
        tokenizers: Prefix of a teacher's columns -> its tokenizer.
    """

    def __init__(
        self,
        collate: Callable[[list[dict[str, Any]]], dict[str, Any]],
        tokenizers: Mapping[str, PreTrainedTokenizerBase],
    ) -> None:
        self.collate, self.tokenizers = collate, dict(tokenizers)

    def __call__(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Collate rows of one dataset."""
        input_names = {
            prefix: [name for name in ("input_ids", "token_type_ids") if prefix + name in rows[0]]
            for prefix in self.tokenizers
        }
        taken = {prefix + name for prefix, names in input_names.items() for name in names}
        batch = self.collate([{name: value for name, value in row.items() if name not in taken} for row in rows])
        for prefix, names in input_names.items():
            if names:
                inputs = [{name: row[prefix + name] for name in names} for row in rows]
                tokenizer = self.tokenizers[prefix]
                padded = tokenizer.pad(inputs, return_tensors="pt")
                batch.update({prefix + name: values for name, values in padded.items()})
                if tokenizer.padding_side == "left" and (positions := batch.get(f"{prefix}positions")) is not None:
                    length = padded["input_ids"].shape[1]
                    shift = torch.tensor([[length - len(row[f"{prefix}input_ids"])] for row in rows])
                    batch[f"{prefix}positions"] = torch.where(positions >= 0, positions + shift, positions)
        return batch
