"""Words in every script: a letter or digit, with the vowel signs and accents that are written as marks after it."""

import functools
import re
import sys
import unicodedata


def _is_mark(character: str) -> bool:
    """Return whether a character is a mark on the one before it: a vowel sign of Hindi or Thai, an accent."""
    return unicodedata.category(character).startswith("M")


@functools.cache
def _word_character() -> str:
    r"""Return a regular expression for a letter, digit or underscore and the marks after it; `\w` knows no marks."""
    marks = "".join(filter(_is_mark, map(chr, range(sys.maxunicode + 1))))
    return rf"\w[{marks}]*"


@functools.cache
def _word() -> re.Pattern[str]:
    return re.compile(f"(?:{_word_character()})+")


@functools.cache
def _between_punctuation() -> re.Pattern[str]:
    character = _word_character()
    return re.compile(rf"(\W*?)({character}(?:.*{character})?)(\W*)", re.DOTALL)


def find_words(text: str) -> list[str]:
    """Return the words of a text, without what is between them."""
    return _word().findall(text)


def split_punctuation(text: str) -> tuple[str, str, str] | None:
    """Return what is before, within and after the first and the last word of a text; None if it has no word."""
    match = _between_punctuation().fullmatch(text)
    return None if match is None else (match[1], match[2], match[3])


def is_of_letters(text: str) -> bool:
    """Return whether a text is one word of letters and their marks."""
    return text[:1].isalpha() and all(character.isalpha() or _is_mark(character) for character in text)
