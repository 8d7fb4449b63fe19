"""Sections of a card that hf_distill writes, each between two HTML comments. All other text belongs to the user.

The first comment has a digest of the section, so a section that somebody edited is recognized and kept.
"""

import hashlib
import re
from collections.abc import Mapping

_SECTION = re.compile(
    r"(?P<before>\s*)<!-- hf_distill:begin (?P<name>[a-z_]+) (?P<digest>[0-9a-f]{16}) -->(?P<text>.*?)"
    r"<!-- hf_distill:end (?P=name) -->",
    re.DOTALL,
)
_COMMENT = re.compile(r"<!-- hf_distill:(?:begin|end) ")


def digest(text: str) -> str:
    """Return 16 hexadecimal digits that change with the text, but not with its line ends and outer blank lines."""
    return hashlib.sha256(text.replace("\r\n", "\n").strip().encode()).hexdigest()[:16]


def has_sections(body: str) -> bool:
    """Return whether a card has sections of hf_distill."""
    return _COMMENT.search(body) is not None


def check_comments(body: str) -> None:
    """Check that the comments of the sections are complete.

    Raises:
        ValueError: if a comment has no partner, or a section occurs twice.
    """
    names = [section["name"] for section in _SECTION.finditer(body)]
    if 2 * len(names) != len(_COMMENT.findall(body)):
        raise ValueError("a comment <!-- hf_distill:begin ... --> or <!-- hf_distill:end ... --> has no partner")
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"the section {repeated[0]} occurs {names.count(repeated[0])} times")


def edited_sections(body: str) -> list[str]:
    """Return the names of the sections whose text was edited."""
    return [section["name"] for section in _SECTION.finditer(body) if _is_edited(section)]


def user_text(body: str) -> str:
    """Return the text of a card without the sections that nobody edited."""
    text = _SECTION.sub(lambda section: section[0] if _is_edited(section) else "", body)
    return text.replace("\r\n", "\n").strip()


def merge_sections(body: str, sections: Mapping[str, str]) -> str:
    """Replace the sections in the body of a card. Edited sections and all other text stay as they are.

    A section that the body lacks is inserted after the section that precedes it in `sections`. A section that is not
    in `sections` is removed, unless it was edited.

    Args:
        body: The card without its metadata.
        sections: Name -> text, in their order.
    """
    newline = "\r\n" if "\r\n" in body else "\n"
    blocks = {name: _block(name, text).replace("\n", newline) for name, text in sections.items()}

    def update(section: re.Match) -> str:
        if _is_edited(section):
            return section[0]
        return section["before"] + blocks[section["name"]] if section["name"] in blocks else ""

    present = {section["name"] for section in _SECTION.finditer(body)}
    merged = _SECTION.sub(update, body)
    previous = None
    for name, block in blocks.items():
        if name not in present:
            merged = _insert(merged, block, previous, newline)
        previous = name
    return merged


def _block(name: str, text: str) -> str:
    return f"<!-- hf_distill:begin {name} {digest(text)} -->\n{text.strip()}\n<!-- hf_distill:end {name} -->"


def _is_edited(section: re.Match) -> bool:
    return digest(section["text"]) != section["digest"]


def _insert(body: str, block: str, previous: str | None, newline: str) -> str:
    """Insert a section after the previous one, before all sections if it is the first, else at the end."""
    comment = f"<!-- hf_distill:end {previous} -->"
    if previous is not None and comment in body:
        return body.replace(comment, comment + 2 * newline + block, 1)
    if previous is None and (first := _COMMENT.search(body)):
        return body[: first.start()] + block + 2 * newline + body[first.start() :]
    text = body.rstrip()
    return text + 2 * newline + block + newline if text else newline + block + newline
