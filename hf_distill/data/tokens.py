"""Sentences of words with a label each: how they become tokens, and how tokens become batches."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from datasets import Dataset

from hf_distill.classifiers.outputs import WORD_STARTS
from hf_distill.functional import IGNORE_INDEX

if TYPE_CHECKING:  # slow to import
    from transformers import PreTrainedTokenizerBase


def _filler(column: str) -> float | None:
    """Return what a column with a value, or a row of them, for each token is padded with; None for other columns."""
    if column.startswith("teacher_"):
        return {"logits": 0.0, "positions": -1}.get(column.rpartition("_")[2])
    return {"labels": IGNORE_INDEX, WORD_STARTS: 0}.get(column)


def tokenize_words(
    dataset: Dataset,
    tokenizer: PreTrainedTokenizerBase,
    words_column: str = "tokens",
    labels_column: str | None = None,
    max_length: int = 128,
    keep_words: bool = False,
) -> Dataset:
    """Tokenise sentences that are lists of words.

    Args:
        dataset: Sentences.
        tokenizer: A fast tokenizer; only such know which word a token is of.
        words_column: The words, a list of texts a row.
        labels_column: The label of each word, a list of class ids a row, negative for a word without one, null for a
            whole sentence; None if no sentence has labels.
        max_length: Tokens to cut a sentence to, special tokens included.
        keep_words: Whether the column of words stays, for a teacher with another tokenizer.

    Returns:
        The tokenizer's columns; `word_starts`, 1 for the first token of each word; and `labels`, a word's at its first
        token, -100 elsewhere and in sentences without labels.

    Raises:
        ValueError: for a slow tokenizer, or a sentence whose numbers of words and labels differ.
    """
    if not tokenizer.is_fast:
        raise ValueError(f"{type(tokenizer).__name__} does not know which word a token is of. Load a fast tokenizer.")
    return dataset.map(
        _encode_words,
        batched=True,
        remove_columns=[name for name in dataset.column_names if not (keep_words and name == words_column)],
        fn_kwargs={
            "tokenizer": tokenizer,
            "words_column": words_column,
            "labels_column": labels_column,
            "max_length": min(max_length, tokenizer.model_max_length),
        },
        desc="Tokenizing",
    )


def _encode_words(
    rows: Mapping[str, list[Any]],
    tokenizer: PreTrainedTokenizerBase,
    words_column: str,
    labels_column: str | None,
    max_length: int,
) -> dict[str, Any]:
    words = rows[words_column]
    labels = rows[labels_column] if labels_column else [None] * len(words)
    encoded = tokenizer(words, is_split_into_words=True, truncation=True, max_length=max_length)
    starts, targets = [], []
    for i, of_words in enumerate(labels):
        if of_words is not None and len(of_words) != len(words[i]):
            raise ValueError(f"{len(words[i])} words and {len(of_words)} labels: {words[i]}, {of_words}.")
        ids = encoded.word_ids(i)
        start = [word is not None and word != before for before, word in zip([None, *ids], ids, strict=False)]
        starts.append([int(is_start) for is_start in start])
        known = [-1] * len(words[i]) if of_words is None else of_words
        targets.append([known[word] if is_start else -1 for is_start, word in zip(start, ids, strict=True)])
    labels = [[IGNORE_INDEX if label < 0 else label for label in row] for row in targets]
    return {**encoded, WORD_STARTS: starts, "labels": labels}


class TokenCollator:
    """Pads what has a value for each token, and leaves the rest to another collator.

    Args:
        collate: Of the columns that the model knows, for instance `DataCollatorWithPadding`.
        padding_side: The tokenizer's, "right" or "left".
    """

    def __init__(self, collate: Callable[[list[dict[str, Any]]], dict[str, Any]], padding_side: str = "right") -> None:
        from transformers import DataCollatorForLanguageModeling  # slow to import

        self.collate, self.padding_side = collate, padding_side
        self.masks_tokens = isinstance(collate, DataCollatorForLanguageModeling) and collate.mlm

    def __call__(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Collate rows of one dataset; a column `label` becomes `labels`, as in the collators of transformers.

        Raises:
            ValueError: for rows with labels and a collator that masks them: they are masked already.
        """
        rows = [{"labels" if name == "label" else name: value for name, value in row.items()} for row in rows]
        if self.masks_tokens and "labels" in rows[0]:
            raise ValueError(
                f"The rows have labels, as `mask_once` returns them, and {type(self.collate).__name__} would mask "
                "their tokens a second time. Pass `data_collator=hf_distill.data.MaskingCollator(tokenizer)`, which "
                "masks only rows without labels, or remove the column `labels`."
            )
        fillers = {name: _filler(name) for name, value in rows[0].items() if isinstance(value, Sequence | np.ndarray)}
        columns = {name: filler for name, filler in fillers.items() if filler is not None}
        batch = self.collate([{name: value for name, value in row.items() if name not in columns} for row in rows])
        length = batch["input_ids"].shape[1]
        for name, filler in columns.items():
            padded = [self._pad(torch.as_tensor(row[name]), length, filler) for row in rows]
            batch[name] = torch.stack(padded)
        return batch

    def _pad(self, values: torch.Tensor, length: int, value: float) -> torch.Tensor:
        filler = values.new_full((length - len(values), *values.shape[1:]), value)
        return torch.cat([values, filler] if self.padding_side == "right" else [filler, values])
