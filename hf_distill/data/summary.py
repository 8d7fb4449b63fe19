"""The summary of what was read: printed by the commands, stored in the record, and returned with a task."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from hf_distill.data.table import Source, counted

_FEW_CLASSES = 8  # so many are listed with their numbers of rows


@dataclass
class SplitSummary:
    """What was read for one split, or as unlabelled text.

    Attributes:
        role: `train`, `validation`, `test`, `transfer`, ...
        sources: The files with their numbers of rows.
        rows: Number of rows.
        text_columns: Names of the text columns in the files.
        text_reason: How the text columns were chosen: `by flag`, `known name`, ...
        example: The first text.
        not_read: Names of the other columns.
        sha256: Hash of the texts and labels. It is the same for the same rows in every file format.
        labelled_rows: Number of rows with a label; None if no labels were read.
        label_columns: Names of the label columns.
        label_reason: How the label columns were chosen.
        classes: Number of rows (or words) of each class; empty for scores.
        remarks: Notes on the split, such as the number of texts that are also in train.
    """

    role: str
    sources: list[tuple[Source, int]]
    rows: int
    text_columns: tuple[str, ...]
    text_reason: str
    example: str
    not_read: list[str]
    sha256: str
    labelled_rows: int | None = None
    label_columns: tuple[str, ...] = ()
    label_reason: str = ""
    classes: dict[str, int] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """Return the entry of the record, as JSON without local folders."""
        files = [
            {
                "name": source.name,
                "format": source.format,
                **({"delimiter": source.delimiter} if source.delimiter else {}),
                **({"quoting": source.quoting} if source.quoting else {}),
                **({"encoding": source.encoding} if source.encoding else {}),
                "rows": rows,
                **({"notes": list(source.notes)} if source.notes else {}),
                **({"warnings": list(source.warnings)} if source.warnings else {}),
            }
            for source, rows in self.sources
        ]
        labels = {
            "labelled_rows": self.labelled_rows,
            "label_columns": list(self.label_columns),
            "label_columns_chosen": self.label_reason,
            **({"classes": self.classes} if self.classes else {}),
        }
        return {
            "files": files,
            "rows": self.rows,
            "text_columns": list(self.text_columns),
            "text_columns_chosen": self.text_reason,
            **(labels if self.labelled_rows is not None else {}),
            **({"not_read": self.not_read} if self.not_read else {}),
            **({"remarks": self.remarks} if self.remarks else {}),
            "sha256": self.sha256,
        }

    def lines(self, widths: tuple[int, int, int], earlier: SplitSummary | None = None) -> list[str]:
        """Return the printed lines.

        Args:
            widths: Width of the roles, of the names of files, and of their formats.
            earlier: The split before this one. Columns that equal its columns are left out.
        """
        role_width, name_width, format_width = widths
        lines = []
        for place, (source, rows) in enumerate(self.sources):
            role = "" if place else self.role
            start = f"{role:<{role_width}}{source.name:<{name_width}}  {_format(source):<{format_width}}  "
            lines.append(start + (self._counts() if place == len(self.sources) - 1 else counted(rows, "row")))
            lines += [" " * role_width + note for note in source.notes]
            lines += [f"{' ' * role_width}warning: {warning}" for warning in source.warnings]
        if earlier is None or self._columns() != earlier._columns():
            width = role_width - 12 + name_width + format_width + 2
            columns = f"{' and '.join(self.text_columns)} ({self.text_reason})"
            not_read = f"   not read: {', '.join(self.not_read)}" if self.not_read else ""
            lines.append(f"  {'text':<10}{columns:<{width}}  {_quoted(self.example)}{not_read}")
            if self.label_columns:
                columns = f"{', '.join(self.label_columns)} ({self.label_reason})"
                lines.append(f"  {'label':<10}{columns:<{width}}  {self._classes()}")
        return [line.rstrip() for line in lines]

    def _counts(self) -> str:
        total = sum(rows for _, rows in self.sources)
        together = f"{counted(self.sources[-1][1], 'row')}; together " if len(self.sources) > 1 else ""
        rows = counted(total, "row") if self.rows == total else f"{self.rows:,} of {counted(total, 'row')}"
        labelled = "" if self.labelled_rows is None else f", {self.labelled_rows:,} labelled"
        return f"{together}{rows}{labelled}{''.join(f'; {remark}' for remark in self.remarks)}"

    def _columns(self) -> tuple[Any, ...]:
        return self.text_columns, self.not_read, self.label_columns

    def _classes(self) -> str:
        if not self.classes:
            return "scores"
        if len(self.classes) <= _FEW_CLASSES:
            return ", ".join(f"{name} {count:,}" for name, count in self.classes.items())
        counts = sorted(self.classes.values())
        return f"{len(self.classes):,} classes, {counts[0]:,} to {counts[-1]:,} of each"


@dataclass
class DataSummary:
    """What was read for a task.

    `str(summary)` is the text that the commands print, `summary["train"]` is the entry of a split.

    Attributes:
        splits: One entry for each split, and for unlabelled text.
        notes: What was decided about splits, columns and labels.
        warnings: Contradictions in the data.
    """

    splits: list[SplitSummary] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def __getitem__(self, role: str) -> SplitSummary:
        return next(split for split in self.splits if split.role == role)

    def __add__(self, other: DataSummary) -> DataSummary:
        return DataSummary(self.splits + other.splits, self.notes + other.notes, self.warnings + other.warnings)

    def __str__(self) -> str:
        notes = [f"  {'note':<10}{note}" for note in self.notes]
        return "\n".join([self.table(), *notes, *(f"  {'warning':<10}{warning}" for warning in self.warnings)])

    def table(self) -> str:
        """Return the printed lines on files, texts and labels, without notes and warnings."""
        sources = [source for split in self.splits for source, _ in split.sources]
        widths = (
            max([12, *(len(split.role) + 2 for split in self.splits)]),
            max((len(source.name) for source in sources), default=0),
            max([24, *(len(_format(source)) for source in sources)]),
        )
        lines: list[str] = []
        for place, split in enumerate(self.splits):
            lines += split.lines(widths, self.splits[place - 1] if place else None)
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Any]:
        """Return the summary as JSON for the record, without local folders and texts: a record can be published."""
        return {
            "splits": {split.role: split.to_dict() for split in self.splits},
            **({"notes": self.notes} if self.notes else {}),
            **({"warnings": [text.partition(", such as ")[0] for text in self.warnings]} if self.warnings else {}),
        }


def hash_rows(texts: Sequence[pa.ChunkedArray], labels: Iterable[Any] | None = None) -> str:
    """Return the SHA-256 of the texts (or words) and labels of rows in their order.

    The names of the columns and the format of the file do not matter.

    Args:
        texts: The text columns.
        labels: The label of each row: a class name, a number, or a list of them; None for rows without labels.
    """
    digest = hashlib.sha256()
    for column in texts:
        chunks = [chunk for chunk in column.chunks if len(chunk)]
        if pa.types.is_list(column.type) or pa.types.is_large_list(column.type):
            for chunk in chunks:
                digest.update(pc.list_value_length(chunk).cast(pa.int64()).to_numpy(zero_copy_only=False).tobytes())
            chunks = [chunk.flatten() for chunk in chunks]
        for chunk in chunks:  # all lengths come before all texts, so that the chunks of a column do not matter
            digest.update(pc.binary_length(chunk).cast(pa.int64()).to_numpy(zero_copy_only=False).tobytes())
        for chunk in chunks:
            digest.update("".join(chunk.to_pylist()).encode())
    if labels is not None:
        digest.update("\n".join(map(repr, labels)).encode())
    return digest.hexdigest()


def _format(source: Source) -> str:
    delimiter = source.delimiter and {"\t": "tab", " ": "blanks"}.get(source.delimiter, f"'{source.delimiter}'")
    return ", ".join(filter(None, [source.format, delimiter, source.quoting, source.encoding]))


def _quoted(text: str) -> str:
    line = " ".join(text.split())
    return f'"{line if len(line) <= 40 else line[:37] + "..."}"'
