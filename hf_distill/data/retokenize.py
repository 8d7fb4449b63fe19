"""A data set's texts for a teacher that does not read the student's token ids: which columns, and its own tokens."""

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
    """Find the texts that the student's token ids were made of.

    Args:
        dataset: Rows with `input_ids` of the student.
        chosen: `teacher_text_columns`; None for the string columns if there are one or two, or the one column of words
            of a token classifier, and if they give the student's token ids.
        is_token_level: Whether rows are lists of words.
        student_tokenizer: The student's.

    Returns:
        One column, or the two of a pair.

    Raises:
        ValueError: if they cannot be told, with the columns that there are.
    """
    kinds: list[Any] = [Value("string"), Value("large_string")]
    kinds = [List(kind) for kind in kinds] if is_token_level else kinds
    found = [name for name, feature in dataset.features.items() if feature in kinds]
    wanted = "a list of words" if is_token_level else "text"
    if chosen is not None:
        if missing := [name for name in chosen if name not in found]:
            raise ValueError(
                f"`teacher_text_columns` names {missing}, and the columns of {wanted} are {found}. Keep the raw text "
                "beside the token ids when you tokenise."
            )
        return list(chosen)
    if not 1 <= len(found) <= (1 if is_token_level else 2):
        raise ValueError(
            "The teacher does not read the student's token ids, so it needs the raw text, and the columns of "
            f"{wanted} are {found or 'none'} (of {dataset.column_names}). Keep the text beside the token ids when you "
            "tokenise, and name its columns by `teacher_text_columns`."
        )
    if student_tokenizer is not None and (row := _differing_row(dataset, found, is_token_level, student_tokenizer)):
        raise ValueError(
            f"The columns {found} are not what the student's token ids were made of, {row}. Name the columns that the "
            "teacher is to read by `teacher_text_columns`."
        )
    return found


def _differing_row(
    dataset: Dataset, columns: list[str], is_token_level: bool, tokenizer: PreTrainedTokenizerBase
) -> str | None:
    """Name one of the first rows that the tokenizer makes other ids of; those that were cut are left out."""
    rows = dataset[:_CHECKED_ROWS]
    texts = [rows[name] for name in columns]
    encoded = tokenizer(*texts, is_split_into_words=is_token_level, verbose=False)["input_ids"]
    # Without padding, on both sides: the last token of every text can be the padding token.
    whole, given = (
        [[token for token in ids if token != tokenizer.pad_token_id] for ids in column]
        for column in (encoded, rows["input_ids"])
    )
    longest = max(map(len, given))
    for row, (ours, theirs) in enumerate(zip(given, whole, strict=True)):
        is_cut = len(theirs) > len(ours) == longest
        if ours != theirs and not is_cut:
            return f"for instance in row {row}: {[text[row] for text in texts]}"
    return None


class Retokenizer:
    """Adds a teacher's own token ids to a data set, in columns of its own.

    Rows are cut to the tokenizer's `model_max_length`. Of token classifiers, `<prefix>positions` says for the first
    token of each word where the teacher has its first token of the same word, -1 elsewhere; a word that either side
    has cut off, or has no token for, is no unit: its label becomes -100 and its `word_starts` 0.

    Args:
        tokenizer: The teacher's.
        student_tokenizer: The student's.
        prefix: What the names of the new columns start with.
        has_segments: Whether the teacher reads segment ids.
        is_token_level: Whether rows are lists of words.
        text_columns: See [`find_text_columns`].

    Raises:
        ValueError: for a tokenizer that does not say how long a text may be, or of words does not know its words.
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
    # Segment ids are asked for, since not every tokenizer of a model that reads them returns them unasked.
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
    theirs = tokenizer(words, is_split_into_words=True, truncation=True, return_attention_mask=False)
    ours = student_tokenizer(words, is_split_into_words=True, return_attention_mask=False, verbose=False)
    positions = []
    for i, ids in enumerate(rows["input_ids"]):
        # The student's rows may have been cut, before what ends them.
        num_last = next(n for n, word in enumerate(reversed(ours.word_ids(i))) if word is not None) if words[i] else 0
        end = len(ids) - num_last
        if ids[:end] != ours["input_ids"][i][:end]:
            raise ValueError(f"`{columns[0]}` is not what the student's token ids were made of: {words[i]}.")
        first = [_first_tokens(encoded.word_ids(i)) for encoded in (ours, theirs)]
        of_row = [-1] * len(ids)
        for word, position in first[0].items():
            if position < end:
                of_row[position] = first[1].get(word, -1)
        positions.append(of_row)
    found = {prefix + name: values for name, values in theirs.items()} | {f"{prefix}positions": positions}
    for name, none in (("labels", IGNORE_INDEX), ("label", IGNORE_INDEX), (WORD_STARTS, 0)):
        if name in rows:
            found[name] = [
                [value if position >= 0 else none for value, position in zip(*pair, strict=True)]
                for pair in zip(rows[name], positions, strict=True)
            ]
    return found


def _first_tokens(word_ids: Sequence[int | None]) -> dict[int, int]:
    first: dict[int, int] = {}
    for position, word in enumerate(word_ids):
        if word is not None:
            first.setdefault(word, position)
    return first


def at_positions(logits: Dataset, positions: Dataset) -> Dataset:
    """Put a teacher's logits of its own tokens at the student's; zeros where it has none.

    Args:
        logits: One column, `teacher_logits`: `(teacher's length, num_labels)` a row.
        positions: One column: for each token of the student its token, or -1.

    Returns:
        One column, `teacher_logits`: `(student's length, num_labels)` a row.
    """
    (column,) = positions.column_names
    rows = concatenate_datasets([logits, positions], axis=1)
    return rows.map(
        _pick, batched=True, remove_columns=[column], features=logits.features, fn_kwargs={"column": column}
    )


def _pick(rows: Mapping[str, list[Any]], column: str) -> dict[str, Any]:
    picked = []
    for logits, positions in zip(rows[TEACHER_LOGITS], rows[column], strict=True):
        of_row, at = np.asarray(logits, np.float32), np.asarray(positions)
        picked.append(np.where(at[:, None] >= 0, of_row[at], 0.0).astype(np.float32))
    return {TEACHER_LOGITS: picked}


class TeacherCollator:
    """Pads each teacher's own token ids with its own tokenizer, and leaves the rest to another collator.

    Args:
        collate: Of the student's columns.
        tokenizers: Prefix of a teacher's columns -> its tokenizer.
    """

    def __init__(
        self,
        collate: Callable[[list[dict[str, Any]]], dict[str, Any]],
        tokenizers: Mapping[str, PreTrainedTokenizerBase],
    ) -> None:
        self.collate, self.tokenizers = collate, dict(tokenizers)

    def __call__(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Collate rows of one data set."""
        own = {
            prefix: [name for name in ("input_ids", "token_type_ids") if prefix + name in rows[0]]
            for prefix in self.tokenizers
        }
        taken = {prefix + name for prefix, names in own.items() for name in names}
        batch = self.collate([{name: value for name, value in row.items() if name not in taken} for row in rows])
        for prefix, names in own.items():
            if names:
                theirs = [{name: row[prefix + name] for name in names} for row in rows]
                tokenizer = self.tokenizers[prefix]
                padded = tokenizer.pad(theirs, return_tensors="pt")
                batch.update({prefix + name: values for name, values in padded.items()})
                if tokenizer.padding_side == "left" and (positions := batch.get(f"{prefix}positions")) is not None:
                    length = padded["input_ids"].shape[1]
                    shift = torch.tensor([[length - len(row[f"{prefix}input_ids"])] for row in rows])
                    batch[f"{prefix}positions"] = torch.where(positions >= 0, positions + shift, positions)
        return batch
