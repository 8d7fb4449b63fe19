"""What a user says about files that they do not say themselves."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ReadOptions:
    """How to read text files.

    Attributes:
        encoding: Of files that are not UTF-8 and have no byte-order mark.
        column_names: Columns of a table of text that has no header.
    """

    encoding: str | None = None
    column_names: tuple[str, ...] | None = None
