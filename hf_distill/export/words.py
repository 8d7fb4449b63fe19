"""From the logits of tokens to the words of a text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from tokenizers import Encoding

from hf_distill.export.inputs import Row

Spans = dict[int, tuple[int, int]]  # index of a word -> its first and last character in the text


def align_words(row: Row, encoding: Encoding, logits: np.ndarray) -> tuple[np.ndarray, Spans]:
    """Select the logits of each word from the logits of the tokens of a text.

    Args:
        row: The text, or its words.
        encoding: Its encoding.
        logits: `(tokens, num_labels)`.

    Returns:
        `(words, num_labels)`: the logits of the first token of each word, NaN for a word without a token; and the
        character span of each word that has tokens.
    """
    first_tokens: dict[int, int] = {}
    spans: Spans = {}
    for token, word in enumerate(encoding.word_ids):
        if word is not None:
            first_tokens.setdefault(word, token)
            start, end = encoding.offsets[token]
            spans[word] = (spans[word][0] if word in spans else start, end)
    num_words = max(first_tokens, default=-1) + 1 if isinstance(row, str) else len(row)
    word_logits = np.full((num_words, logits.shape[-1]), np.nan, np.float32)
    word_logits[list(first_tokens)] = logits[list(first_tokens.values())]
    return word_logits, spans


def describe_words(row: Row, scores: np.ndarray, spans: Spans, id2label: Mapping[int, str]) -> list[dict[str, Any]]:
    """Return the words of a text whose label is not `O`, as transformers' pipeline describes them.

    Args:
        row: The text, or its words.
        scores: Probabilities of the classes, `(words, num_labels)`.
        spans: Character span of each word that has tokens, see [`align_words`].
        id2label: Label names by class id.
    """
    text = row if isinstance(row, str) else " ".join(row)
    if not isinstance(row, str):
        ends = np.cumsum([len(word) + 1 for word in row]) - 1
        spans = {i: (int(ends[i - 1]) + 1 if i else 0, int(ends[i])) for i in spans}
    entities = [_describe(text, *spans[i], scores[i], id2label) for i in sorted(spans)]
    return [entity for entity in entities if entity["entity"] != "O"]


def _describe(text: str, start: int, end: int, scores: np.ndarray, id2label: Mapping[int, str]) -> dict[str, Any]:
    word = text[start:end]
    start += len(word) - len(word.lstrip())  # some tokenizers include the space before a word
    best = int(scores.argmax())
    return {
        "word": text[start:end],
        "entity": id2label[best],
        "score": float(scores[best]),
        "start": start,
        "end": end,
    }
