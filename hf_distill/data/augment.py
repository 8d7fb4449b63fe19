"""Variants of labelled texts, which a teacher labels: more text where there is no unlabelled text."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from datasets import Dataset

from hf_distill.data.neighbors import WordNeighbors, draw_word
from hf_distill.data.word_characters import split_punctuation
from hf_distill.data.word_proposals import NUM_PROPOSALS, WordProposals
from hf_distill.data.words_in_tokens import WordsInTokens

if TYPE_CHECKING:  # slow to import
    from transformers import PreTrainedTokenizerBase

    Words = Sequence[str]
    Method = Callable[[np.random.Generator, Words, Words], list[str]]

SOURCE_ROW = "source_row"
# Method -> its share of the variants.
DEFAULT_METHODS = {"neighbors": 0.4, "mask": 0.2, "ngram": 0.2, "join": 0.2}
METHODS = (*DEFAULT_METHODS, "masked_lm")
SEED = 42

_SHARE_OF_WORDS = 0.3  # of the words of a text that other words replace
_SHARE_OF_MASKS = 0.15
_LONGEST_NGRAM = 5


def augment_texts(
    dataset: Dataset,
    *,
    text_columns: Sequence[str],
    tokenizer: PreTrainedTokenizerBase,
    embeddings: np.ndarray,
    methods: Mapping[str, float] = DEFAULT_METHODS,
    proposals: WordProposals | None = None,
    copies: int = 4,
    seed: int = SEED,
    max_length: int | None = None,
) -> Dataset:
    """Make variants of texts for a teacher to label. Their labels can differ from the originals', so they have none.

    The methods are those of Jiao et al. (2020, https://huggingface.co/papers/1909.10351) and Tang et al. (2019,
    https://huggingface.co/papers/1903.12136). Only `masked_lm` needs a second model:

    - `neighbors`: 30 % of the words, at least one, become neighbors in the teacher's embedding table; see
      [`~hf_distill.data.neighbors.WordNeighbors`].
    - `mask`: 15 % of the words, at least one and not all, become the mask token.
    - `ngram`: 1 to 5 successive words of the text.
    - `join`: the first half of the text and the second half of another text. Of pairs: the first text and the second
      text of another pair.
    - `masked_lm`: 30 % of the words, at least one, become words that a masked language model proposes; see
      [`~hf_distill.data.word_proposals.WordProposals`]. Words that are not a piece of its vocabulary stay.

    In a pair, one of the two texts varies, except with `join`. Lists of words are varied like texts.

    The variants of a row depend on its text, the seed and the number of the variant: a larger `copies` only adds
    variants, and the teacher reuses the outputs that it computed for the others. Only `join` also depends on the other
    rows.

    Args:
        dataset: Rows with the text columns.
        text_columns: One column of texts or of lists of words, or the two columns of a pair.
        tokenizer: The teacher's tokenizer.
        embeddings: The teacher's input embeddings, `(vocab_size, hidden_size)`.
        methods: Name of a method -> its share of the variants, > 0, in any unit.
        proposals: The proposals of a masked language model. Needed for `masked_lm`, and None otherwise. Rounding can
            change them, so that another kind of device can make other variants.
        copies: Number of variants of each row, at least 1.
        seed: Seed of the variants.
        max_length: Number of tokens after which the models cut texts. What is after them is left out first, or a
            variant could differ only where no model reads on. None if nothing is cut.

    Returns:
        The text columns and `source_row`, the index of the original. Variants that equal an original or an earlier
        variant are left out, so there can be fewer than `copies` of a row.

    Raises:
        ValueError: for an unknown method, a share or a number of copies that is not positive, `mask` without a mask
            token, `masked_lm` without `proposals`, `proposals` without `masked_lm`, or if no text could be varied.
    """
    _check(methods, proposals, copies, tokenizer)
    names, shares = list(methods), np.array(list(methods.values()), dtype=np.float64)
    functions: dict[str, Method] = {
        "mask": lambda draw, words, _: _mask(draw, words, str(tokenizer.mask_token)),
        "ngram": lambda draw, words, _: _ngram(draw, words),
        "join": _halves if len(text_columns) == 1 else lambda draw, words, other: list(other),
    }
    if "neighbors" in methods:
        neighbors = WordNeighbors(tokenizer, embeddings)
        functions["neighbors"] = lambda draw, words, _: _replace(draw, words, _SHARE_OF_WORDS, neighbors.draw)
    if proposals is not None:
        functions["masked_lm"] = lambda draw, words, _: _replace(draw, words, _SHARE_OF_WORDS, proposals.mask)
    originals = [tuple(map(_split, values)) for values in zip(*(dataset[c] for c in text_columns), strict=True)]
    if max_length is not None:
        reader = WordsInTokens(tokenizer, max_length, num_sides=len(text_columns))
        originals = [reader.cut(row) for row in originals]
    drafts: list[tuple[int, tuple[list[str], ...]]] = []
    masked: list[_Masked] = []
    for source, row in enumerate(originals):
        for copy in range(copies):
            draw = np.random.default_rng([seed, _hash(row), copy])
            name = names[int(draw.choice(len(names), p=shares / shares.sum()))]
            other = originals[int(draw.integers(len(originals)))] if name == "join" else row
            variant = _vary(draw, row, other, functions[name], name)
            drafts.append((source, variant))
            if name == "masked_lm":
                masked += [_Masked(draw, *sides) for sides in zip(row, variant, strict=True)]
    if proposals is not None:
        _fill_in(masked, proposals)
    seen = {_key(row) for row in originals}
    variants, sources = [], []
    for source, variant in drafts:
        if any(variant) and (key := _key(variant)) not in seen:
            seen.add(key)
            variants.append(variant)
            sources.append(source)
    if not variants:
        raise ValueError(
            f"None of the {len(originals):,} texts could be varied: a text is varied word by word, and words are "
            "separated by blanks. Leave out the augmentation, or use unlabelled text."
        )
    are_words = not all(text is None or isinstance(text, str) for text in dataset[text_columns[0]])
    columns = zip(text_columns, zip(*variants, strict=True), strict=True)
    return Dataset.from_dict(
        {
            **{name: [list(words) if are_words else " ".join(words) for words in column] for name, column in columns},
            SOURCE_ROW: sources,
        }
    )


@dataclass
class _Masked:
    """A text, and its copy in which some words are masked."""

    draw: np.random.Generator
    words: Words
    copy: list[str]


def _fill_in(texts: Sequence[_Masked], proposals: WordProposals) -> None:
    """Replace the masked words by proposed words, or by the words themselves where none is proposed."""
    places = [[i for i, word in enumerate(text.words) if word != text.copy[i]] for text in texts]
    some = [i for i, of_text in enumerate(places) if of_text]
    proposed = proposals.propose([texts[i].copy for i in some], [places[i] for i in some])
    for i, candidates in zip(some, proposed, strict=True):
        text = texts[i]
        for place, words in zip(places[i], candidates, strict=True):
            text.copy[place] = _replace_word(text.words[place], partial(_draw_other, text.draw, words))


def _draw_other(draw: np.random.Generator, proposed: Sequence[str], word: str) -> str | None:
    """Draw one of the best proposals that are another word; None if there is none."""
    others: dict[str, str] = {}
    for other in proposed:
        others.setdefault(other.lower(), other)
    others.pop(word.lower(), None)
    return draw_word(draw, word, list(others.values())[:NUM_PROPOSALS])


def _check(
    methods: Mapping[str, float], proposals: WordProposals | None, copies: int, tokenizer: PreTrainedTokenizerBase
) -> None:
    if unknown := [name for name in methods if name not in METHODS]:
        raise ValueError(f"There is no method {unknown[0]!r}; the methods are {', '.join(METHODS)}.")
    if proposals is None and "masked_lm" in methods:
        raise ValueError("`methods` has `masked_lm`. Pass `proposals=WordProposals(model, tokenizer)`.")
    if proposals is not None and "masked_lm" not in methods:
        raise ValueError("Only the method `masked_lm` uses `proposals`. Add it to `methods`, or pass no `proposals`.")
    if not methods or not all(0 < share < np.inf for share in methods.values()):
        raise ValueError(f"`methods` maps methods to shares > 0, got {dict(methods)}.")
    if copies < 1:
        raise ValueError(f"`copies` must be at least 1, got {copies}.")
    if "mask" in methods and tokenizer.mask_token is None:
        raise ValueError(
            f"The tokenizer {tokenizer.name_or_path!r} has no mask token. Leave the method `mask` out of `methods`."
        )


def _split(text: str | Words | None) -> tuple[str, ...]:
    return tuple((text or "").split()) if text is None or isinstance(text, str) else tuple(text)


def _key(row: Sequence[Words]) -> str:
    return json.dumps([" ".join(words).casefold() for words in row])


def _hash(row: Sequence[Words]) -> int:
    return int.from_bytes(hashlib.blake2b(json.dumps(row).encode(), digest_size=8).digest(), "little")


def _vary(
    draw: np.random.Generator, row: Sequence[Words], other: Sequence[Words], method: Method, name: str
) -> tuple[list[str], ...]:
    side = int(draw.integers(len(row))) if name != "join" else len(row) - 1
    return tuple(method(draw, words, other[i]) if i == side and words else list(words) for i, words in enumerate(row))


def _replace(
    draw: np.random.Generator,
    words: Words,
    share: float,
    replacement: Callable[[np.random.Generator, str], Any],
) -> list[str]:
    """Replace a share of the words, at least one; a word without a replacement stays."""
    varied = list(words)
    is_chosen = draw.random(len(words)) < share
    is_chosen[int(draw.integers(len(words)))] = True
    for place in np.flatnonzero(is_chosen).tolist():
        varied[place] = _replace_word(words[place], lambda word: replacement(draw, word))
    return varied


def _mask(draw: np.random.Generator, words: Words, mask_token: str) -> list[str]:
    """Mask a share of the words. If none would be left, the text stays as it is."""
    masked = _replace(draw, words, _SHARE_OF_MASKS, lambda *_: mask_token)
    is_left = any(word == before for word, before in zip(masked, words, strict=True))
    return masked if is_left else list(words)


def _replace_word(text: str, replacement: Callable[[str], Any]) -> str:
    """Replace a word, and keep the punctuation around it."""
    parts = split_punctuation(text)
    if parts is None:
        return text
    before, word, after = parts
    return before + (replacement(word) or word) + after


def _ngram(draw: np.random.Generator, words: Words) -> list[str]:
    length = min(int(draw.integers(1, _LONGEST_NGRAM + 1)), len(words))
    start = int(draw.integers(len(words) - length + 1))
    return list(words[start : start + length])


def _halves(_: np.random.Generator, words: Words, other: Words) -> list[str]:
    return [*words[: (len(words) + 1) // 2], *other[(len(other) + 1) // 2 :]]
