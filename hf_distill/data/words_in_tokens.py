"""The words of a text that a model reads before its tokenizer cuts the text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # slow to import
    from transformers import PreTrainedTokenizerBase


class WordsInTokens:
    """Cuts rows after the words that fit into a number of tokens; of a pair, the longer text is cut first.

    The tokens of a text are counted word by word, so that a tokenizer that joins words can cut a few words later.

    Args:
        tokenizer: The tokenizer.
        max_length: Number of tokens, special tokens included; at most what the tokenizer allows.
        num_sides: Number of texts in a row: 1, or 2 for pairs.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, max_length: int, num_sides: int) -> None:
        self._tokenizer = tokenizer
        special = tokenizer.num_special_tokens_to_add(pair=num_sides == 2)
        self._room = min(max_length, tokenizer.model_max_length) - special
        self._num_before = len(tokenizer.tokenize("a"))
        self._num_tokens: dict[str, int] = {}

    def cut(self, row: Sequence[Sequence[str]]) -> tuple[tuple[str, ...], ...]:
        """Return the words of each text that fit; of a text that has any, at least one."""
        lengths = [[self._count(word) for word in words] for words in row]
        totals = [sum(of_text) for of_text in lengths]
        room = [self._room]
        if len(row) == 2:
            room = [max(self._room - totals[1 - side], (self._room + 1) // 2) for side in (0, 1)]
        numbers = [_num_that_fit(of_text, most) for of_text, most in zip(lengths, room, strict=True)]
        return tuple(tuple(words[:number]) for words, number in zip(row, numbers, strict=True))

    def _count(self, word: str) -> int:
        if word not in self._num_tokens:
            # Some tokenizers mark the blank before a word, and treat the first word of a text in another way.
            self._num_tokens[word] = len(self._tokenizer.tokenize(f"a {word}")) - self._num_before
        return self._num_tokens[word]


def _num_that_fit(lengths: Sequence[int], room: int) -> int:
    """Return how many words fit, the one that is cut in the middle included."""
    total = 0
    for number, length in enumerate(lengths):
        if total >= room:
            return max(number, 1)
        total += length
    return len(lengths)
