"""Split text into lines, and remove invisible marks."""

from __future__ import annotations

MARK = "\ufeff"
# Invisible characters: byte-order marks, joiners, direction marks, soft hyphens.
INVISIBLE = "\ufeff\u200b\u200c\u200d\u200e\u200f\u2060\u00ad"


def without_inner_marks(text: str) -> tuple[str, int]:
    """Remove byte-order marks at the starts of lines, as in joined files; return the text and their number."""
    if MARK not in text:
        return text, 0
    cleaned = text.removeprefix(MARK).replace(f"\n{MARK}", "\n")
    return cleaned, (len(text) - len(cleaned)) // len(MARK)


def split_lines(text: str) -> list[str]:
    """Split a text at line feeds; at carriage returns if it has no line feeds.

    `splitlines` also splits at U+2028 and other characters, which are part of the text in data files.
    """
    if "\n" not in text:
        return text.split("\r")
    lines = text.split("\n")
    return [line.rstrip("\r") for line in lines] if "\r" in text else lines


def clean_name(cell: str) -> str:
    """Return a column name without blanks and invisible marks around it."""
    return " ".join(cell.strip(INVISIBLE).split()).strip(INVISIBLE)
