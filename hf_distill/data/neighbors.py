"""Neighbors of words in the embedding table of a model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from hf_distill.data.word_characters import is_of_letters

if TYPE_CHECKING:  # slow to import
    from transformers import PreTrainedTokenizerBase

_NUM_NEIGHBORS = 15
_FREQUENCY_RATIO = 4.0
_BYTE_LEVEL, _SENTENCEPIECE = "\u0120", "\u2581"  # how these tokenizers mark the start of a word
_WORD_END = "</w>"  # how the tokenizers of GPT and XLM mark the end of a word
_SHARE_OF_MARKS = 0.1  # of the pieces, at least, in a vocabulary with such a mark
_CONTINUATION = "##"  # how WordPiece marks a piece that does not start a word


class WordNeighbors:
    """Draws a word that stands for a similar thing from a model's embedding table.

    Candidates are the 15 nearest whole words by cosine similarity. Their places in the vocabulary differ at most by a
    factor of 4, and by Zipf's law their frequencies do, too. So "film" becomes "movie" and not "filmography".

    Args:
        tokenizer: The model's tokenizer.
        embeddings: The model's input embeddings, `(vocab_size, hidden_size)`.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, embeddings: np.ndarray) -> None:
        words = whole_words(tokenizer, len(embeddings))
        self._words = list(words)
        self._lower = np.array([word.lower() for word in words])
        self._places = {word: place for place, word in enumerate(self._words)}
        self._ids = np.array(list(words.values()), dtype=np.int64)
        vectors = np.asarray(embeddings, dtype=np.float32)[self._ids]
        self._vectors = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
        self._nearest: dict[str, list[str]] = {}

    def nearest(self, word: str) -> list[str]:
        """Return the candidates for a word, the nearest first; none if the word is not a piece of the vocabulary."""
        known = word if word in self._places else word.lower()
        if known not in self._places:
            return []
        if known not in self._nearest:
            self._nearest[known] = self._find(self._places[known])
        return self._nearest[known]

    def draw(self, draw: np.random.Generator, word: str) -> str | None:
        """Draw one of the candidates for a word, capitalized like the word; None without candidates."""
        return draw_word(draw, word, self.nearest(word))

    def _find(self, place: int) -> list[str]:
        rank = self._ids[place] + 1
        start, stop = np.searchsorted(self._ids + 1, [rank / _FREQUENCY_RATIO, rank * _FREQUENCY_RATIO])
        similarities = self._vectors[start:stop] @ self._vectors[place]
        similarities[self._lower[start:stop] == self._lower[place]] = -np.inf
        nearest = np.argsort(-similarities, kind="stable")[:_NUM_NEIGHBORS]
        return [self._words[start + i] for i in nearest if similarities[i] > -np.inf]


def draw_word(draw: np.random.Generator, word: str, candidates: Sequence[str]) -> str | None:
    """Draw one of the candidates for a word, with capitals as the word has them; None without candidates."""
    if not candidates:
        return None
    chosen = candidates[int(draw.integers(len(candidates)))]
    if len(word) > 1 and word.isupper():
        return chosen.upper()
    return chosen[0].upper() + chosen[1:] if word[0].isupper() else chosen


def whole_words(tokenizer: PreTrainedTokenizerBase, vocab_size: int) -> dict[str, int]:
    """Return the pieces that are a whole word of letters, and their ids, in the order of the ids."""
    special = set(tokenizer.all_special_ids)
    pieces = {i: piece for piece, i in tokenizer.get_vocab().items() if i < vocab_size and i not in special}
    # Both marks are also letters, which a vocabulary without marks can contain.
    counts = {mark: sum(piece.startswith(mark) for piece in pieces.values()) for mark in (_BYTE_LEVEL, _SENTENCEPIECE)}
    start = next((mark for mark, count in counts.items() if count > _SHARE_OF_MARKS * len(pieces)), "")
    num_ends = sum(piece.endswith(_WORD_END) for piece in pieces.values())
    end = _WORD_END if num_ends > _SHARE_OF_MARKS * len(pieces) else ""
    words: dict[str, int] = {}
    for i, piece in sorted(pieces.items()):
        if not (piece.startswith(start) and piece.endswith(end)) or piece.startswith(_CONTINUATION):
            continue
        # Byte-level pieces write each byte of a word as a letter of its own.
        is_bytes = start == _BYTE_LEVEL
        word = tokenizer.convert_tokens_to_string([piece]).strip() if is_bytes else piece.removeprefix(start)
        word = word.removesuffix(end)
        if len(word) > 1 and is_of_letters(word):
            words.setdefault(word, i)
    return words
