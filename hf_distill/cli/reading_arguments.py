"""Flags that say how files are read; every command that reads files has them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # slow to import
    from hf_distill.data.files import ColumnNames
    from hf_distill.data.labels.settings import LabelSettings
    from hf_distill.data.reading import ReadOptions
    from hf_distill.pipeline.teacher_head import TeacherHead


@dataclass
class ReadingArguments:
    """How files are read. A list is several words, or one word with commas: `a b` or `a,b`."""

    text_column_names: list[str] | None = field(
        default=None,
        metadata={
            "help": "Text column, or the two columns of a pair: a,b. Three or more columns are joined. Unset: columns "
            "with known names, or the only string column; for token classification the column `tokens`."
        },
    )
    text_column_delimiter: str | None = field(
        default=None,
        metadata={
            "help": "Join the text columns with this text in between. Unset: a blank for three or more columns; two "
            "columns stay a pair."
        },
    )
    label_column_name: list[str] | None = field(
        default=None,
        metadata={
            "help": "Label column, or several columns with one number for each class: toxic,insult. Unset: label, "
            "else labels; for token classification the first of tags, ner_tags, labels and label."
        },
    )
    label_delimiter: str | None = field(
        default=None, metadata={"help": "The text between several labels in one cell, e.g. '|' in joy|love."}
    )
    label_map: dict[str, str | None] | str | None = field(
        default=None,
        metadata={
            "help": 'Other names for labels, as JSON: \'{"Positive": "positive", "N/A": null}\'. null makes a row '
            "unlabelled."
        },
    )
    class_names: list[str] | None = field(
        default=None,
        metadata={
            "help": "Names of the teacher's outputs, in the teacher's order: negative,positive. Integer labels are "
            "positions in this list."
        },
    )
    encoding: str | None = field(
        default=None,
        metadata={"help": "Encoding of text files that are not UTF-8 and have no byte-order mark, e.g. cp1252."},
    )
    column_names: list[str] | None = field(
        default=None,
        metadata={"help": "Names of all columns, in order, for CSV, TSV and text files without a header: text,label."},
    )

    @property
    def names_of_outputs(self) -> list[str] | None:
        """The names of the teacher's outputs, if they are given."""
        names = words(self.class_names)
        return None if names is None else [name.strip() for name in names]

    @property
    def options(self) -> ReadOptions:
        """How text files are read."""
        from hf_distill.data.reading import ReadOptions

        names = words(self.column_names)
        return ReadOptions(self.encoding, None if names is None else tuple(names))

    @property
    def columns(self) -> ColumnNames:
        """The columns that are named. Names with commas are split when the columns of the file are known."""
        from hf_distill.data.files import ColumnNames

        return ColumnNames(self.text_column_names, self.label_column_name, self.text_column_delimiter)

    def settings(self, problem_type: str | None, teacher: TeacherHead | None = None) -> LabelSettings:
        """Return how labels are read; the teacher's outputs decide what the labels leave open."""
        from hf_distill.data.labels.settings import LabelSettings

        return LabelSettings(
            problem_type,
            self.names_of_outputs,
            self.label_map,
            self.label_delimiter,
            None if teacher is None else teacher.num_labels,
            None if teacher is None else teacher.problem_type,
            () if teacher is None else teacher.label_names,
        )


def words(values: list[str] | None) -> list[str] | None:
    """Return the words of a flag; a single word is split at commas."""
    return values[0].split(",") if values is not None and len(values) == 1 else values
