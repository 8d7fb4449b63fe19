"""Settings for reading text files."""

from __future__ import annotations

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
