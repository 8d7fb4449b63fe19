"""The metadata at the head of a card, as lines of YAML. Only the keys that change are written again.

`huggingface_hub.RepoCard` writes the whole block again: comments are lost, and `language: no` becomes `false`.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple, cast

import yaml
from huggingface_hub.repocard import REGEX_YAML_BLOCK
from huggingface_hub.utils import yaml_dump


class Card(NamedTuple):
    """The content of a card.

    Attributes:
        block: The lines of YAML, each with its line end; None if the card has no metadata.
        body: The text after the metadata.
    """

    block: str | None
    body: str


def split_card(content: str) -> Card:
    """Split a card into metadata and body."""
    match = REGEX_YAML_BLOCK.search(content)
    return Card(None, content) if match is None else Card(match[2].rstrip("\r\n") + "\n", content[match.end() :])


def join_card(card: Card) -> str:
    """Join metadata and body."""
    if card.block is None:
        return card.body
    newline = "\r\n" if "\r\n" in card.block or "\r\n" in card.body else "\n"
    block = card.block.replace("\r\n", "\n").replace("\n", newline)
    return f"---{newline}{block}---{newline}{card.body}"


def read_metadata(card: Card) -> dict[str, Any]:
    """Return the metadata of a card.

    Raises:
        ValueError: if they are not a mapping in YAML. The message has the line of the file.
    """
    if card.block is None:
        return {}
    try:
        metadata, node = yaml.safe_load(card.block), yaml.compose(card.block, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        mark = error.problem_mark if isinstance(error, yaml.MarkedYAMLError) else None
        line = "" if mark is None else f" in line {mark.line + 2}"  # line 1 of the file is ---
        raise ValueError(f"its metadata are not valid YAML{line}: {' '.join(str(error).split())}") from None
    if node is None:
        return {}
    if not isinstance(metadata, dict):
        raise ValueError(f"its metadata must be keys with values, but they are a {type(metadata).__name__}")
    keys = [key.value for key, _ in node.value]
    if repeated := sorted({str(key) for key in keys if keys.count(key) > 1}):
        raise ValueError(f"its metadata have the key {repeated[0]} more than once")
    return metadata


def change_metadata(card: Card, changes: Mapping[str, Any]) -> Card:
    """Set or remove keys. The lines of all other keys stay as they are.

    Args:
        card: A card with valid metadata.
        changes: Key -> new value; None removes the key.
    """
    metadata = read_metadata(card)
    changes = {key: value for key, value in changes.items() if value != metadata.get(key)}
    if not changes:
        return card
    head, lines = _lines_by_key(card.block or "", metadata)
    for key, value in changes.items():
        comments = _trailing_comments(lines.get(key, ""))
        lines[key] = comments if value is None else yaml_dump({key: value}, sort_keys=False) + comments
    return Card(head + "".join(lines.values()), card.body)


def _lines_by_key(block: str, metadata: Mapping[str, Any]) -> tuple[str, dict[str, str]]:
    """Return the lines before the first key, and the lines of each key."""
    node = cast(yaml.MappingNode | None, yaml.compose(block, Loader=yaml.SafeLoader))
    if node is None:
        return block if block.strip() else "", {}
    if node.flow_style:  # {license: mit}: all keys can be on one line
        return "", {str(key): yaml_dump({key: value}, sort_keys=False) for key, value in metadata.items()}
    lines = block.splitlines(keepends=True)
    starts = [key.start_mark.line for key, _ in node.value]
    ends = [*starts[1:], len(lines)]
    names = [str(key.value) for key, _ in node.value]
    by_key = {name: "".join(lines[start:end]) for name, start, end in zip(names, starts, ends, strict=True)}
    return "".join(lines[: starts[0]]), by_key


def _trailing_comments(lines: str) -> str:
    """Return the comments and blank lines after the value of a key, which are about the key that follows."""
    kept: list[str] = []
    for line in reversed(lines.splitlines(keepends=True)):
        if line.strip() and not line.startswith("#"):
            break
        kept.insert(0, line)
    return "".join(kept)
