"""Lines of a text, and the marks and blanks that programs leave in them."""

from __future__ import annotations

MARK = "\ufeff"
# What joins letters or says how to read them; a text of these alone is blank.
INVISIBLE = "\ufeff\u200b\u200c\u200d\u200e\u200f\u2060\u00ad"


def without_inner_marks(text: str) -> tuple[str, int]:
    """Remove byte-order marks at starts of lines, which are left where files were joined; return their number, too."""
    if MARK not in text:
        return text, 0
    cleaned = text.removeprefix(MARK).replace(f"\n{MARK}", "\n")
    return cleaned, (len(text) - len(cleaned)) // len(MARK)


def split_lines(text: str) -> list[str]:
    """Split a text at line feeds, or at carriage returns where there is no line feed.

    `splitlines` would also split at U+2028 and other characters that end no line of a data file.
    """
    if "\n" not in text:
        return text.split("\r")
    lines = text.split("\n")
    return [line.rstrip("\r") for line in lines] if "\r" in text else lines


def clean_name(cell: str) -> str:
    """Return a column's name without the blanks and marks around it."""
    return " ".join(cell.strip(INVISIBLE).split()).strip(INVISIBLE)
