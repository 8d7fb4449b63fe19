"""What [`Predictor`] accepts as texts, and the errors for everything else."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, TypeAlias, runtime_checkable

import numpy as np

# A text, a pair of texts as a tuple or a dict, or a list of words for a token classifier.
Text: TypeAlias = str | tuple[str, str] | Mapping[str, str] | Sequence[str]
# A text as the tokenizer takes it.
Row: TypeAlias = str | tuple[str, str] | list[str]

_EXPECTED_TEXT = (
    "A text must be a string; a pair must be a tuple of two strings or a dict with `text` and `text_pair`."
)
_EXPECTED_WORDS = "A text must be a string, a list of words, or a dict with `text`; a token classifier takes no pairs."


@runtime_checkable
class _Table(Protocol):
    """A DataFrame of pandas or polars, or a table of pyarrow. Iterating over it gives columns and not rows."""

    @property
    def columns(self) -> Any:
        """Names or values of the columns."""


class Texts(NamedTuple):
    """The texts of one call.

    Attributes:
        rows: The texts as the tokenizer takes them.
        is_single: Whether one text was passed, and not several.
        is_dict: Whether this one text was a dict.
    """

    rows: list[Row]
    is_single: bool
    is_dict: bool


def read_texts(texts: Any, takes_words: bool) -> Texts:
    """Check the texts of a call and bring them to one form.

    Args:
        texts: One text, or an iterable of texts. A string, a tuple or a dict is one text.
        takes_words: Whether the model is a token classifier. Its texts can be lists of words, and it takes no pairs.

    Raises:
        TypeError: for anything else. The message gives the index of the text, counted from 0.
        ValueError: for a text that is not valid Unicode.
    """
    if isinstance(texts, str | tuple | Mapping):
        return Texts([_read_text(texts, 0, takes_words)], True, isinstance(texts, Mapping))
    if isinstance(texts, _Table):
        raise TypeError(
            f"Got a {type(texts).__name__}. Pass its column of texts as a list, e.g. `table['text'].tolist()`, or for "
            "pairs a list of tuples, e.g. `list(zip(table['text'], table['text_pair']))`."
        )
    has_no_order = isinstance(texts, set | frozenset)
    is_scalar = isinstance(texts, bytes | bytearray) or (isinstance(texts, np.ndarray) and texts.ndim == 0)
    if not isinstance(texts, Iterable) or has_no_order or is_scalar:
        raise TypeError(f"Got {_shorten(texts)}. Pass a text or a list of texts.")
    return Texts([_read_text(text, index, takes_words) for index, text in enumerate(texts)], False, False)


def _read_text(text: Any, index: int, takes_words: bool) -> Row:
    row = _as_row(text, takes_words)
    if row is None:
        expected = _EXPECTED_WORDS if takes_words else _EXPECTED_TEXT
        raise TypeError(f"Text {index} is {_shorten(text)}. {expected}")
    for part in (row,) if isinstance(row, str) else row:
        try:
            part.encode()
        except UnicodeEncodeError as error:
            raise ValueError(
                f"Text {index} is not valid Unicode: {error}. Read its file with the right encoding, or remove the "
                "character."
            ) from None
    return row


def _as_row(text: Any, takes_words: bool) -> Row | None:
    """Return a text as the tokenizer takes it; None if this is not a text."""
    if isinstance(text, Mapping):
        if not {"text"} <= text.keys() <= {"text", "text_pair"} or not isinstance(text["text"], str):
            return None
        pair = text.get("text_pair")
        if pair is not None and (takes_words or not isinstance(pair, str)):
            return None
        text = text["text"] if pair is None else (text["text"], pair)
    if isinstance(text, str):
        return str(text)  # a string of numpy is a subclass
    if not isinstance(text, list | tuple) or not all(isinstance(part, str) for part in text):
        return None
    if takes_words:
        return [str(word) for word in text]
    return (str(text[0]), str(text[1])) if isinstance(text, tuple) and len(text) == 2 else None


def _shorten(value: Any) -> str:
    words = repr(value)
    return words if len(words) <= 200 else f"{words[:200]}..."
