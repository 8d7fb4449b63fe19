"""Settings for reading text files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class ReadOptions:
    """How to read text files.

    Args:
        encoding: Encoding of files that are not UTF-8 and have no byte-order mark.
        column_names: Names of the columns of CSV, TSV and text files without a header.

    Raises:
        ValueError: if two columns have the same name, or a name is empty.
    """

    encoding: str | None = None
    column_names: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        names = self.column_names
        if names is not None and (len(set(names)) < len(names) or "" in names or not names):
            raise ValueError(f"`column_names` must name each column, each name once, got {list(names)}.")


def read_options(encoding: str | None, column_names: str | Sequence[str] | None) -> ReadOptions:
    """Return options; several column names can be one text with commas."""
    names = column_names.split(",") if isinstance(column_names, str) else column_names
    return ReadOptions(encoding, None if names is None else tuple(name.strip() for name in names))
