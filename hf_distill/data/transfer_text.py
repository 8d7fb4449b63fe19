"""Load unlabelled text."""

from __future__ import annotations

from collections.abc import Sequence

from datasets import Dataset, List, Value, concatenate_datasets

from hf_distill.classifiers.outputs import TEACHER_LOGITS
from hf_distill.data.assemble import joined_name, parts_of_name
from hf_distill.data.columns import Choice, as_list, choose_text_columns, find_column, is_words, split_names
from hf_distill.data.describe import Origin, describe_text
from hf_distill.data.reading import PathLike, ReadOptions, read_dataset, read_file
from hf_distill.data.reading.options import read_options
from hf_distill.data.roles import LABEL_COLUMNS, WORDS
from hf_distill.data.stored_logits import align_stored_logits
from hf_distill.data.summary import SplitSummary
from hf_distill.data.table import Table, no_rows
from hf_distill.data.teacher_file import name_stored_logits
from hf_distill.data.texts import Texts
from hf_distill.utils.hub_names import split_revision


def load_transfer_text(
    file: PathLike | Sequence[PathLike] | None = None,
    dataset_name: str | None = None,
    text_column_names: str | Sequence[str] | None = ("text",),
    *,
    dataset_config_name: str | None = None,
    split: str = "train",
    are_words: bool = False,
    encoding: str | None = None,
    column_names: str | Sequence[str] | None = None,
    text_column_delimiter: str | None = None,
) -> Dataset:
    """Load texts that the teacher will label. A label column is ignored, and rows without text are left out.

    Args:
        file: A `.txt` file with one text per line, another file as in [`load_text_dataset`], or a list of files.
        dataset_name: An id on the Hub or a folder, instead of a file.
        text_column_names: Text columns of the task. If a file lacks them, the columns that [`load_text_dataset`] would
            choose are renamed to these names, if their number is the same. None keeps the chosen columns.
        dataset_config_name: Configuration of the dataset.
        split: Split of the dataset.
        are_words: Whether the rows of the task are lists of words. If the file has no such column of this name or of
            the name `tokens`, its texts are split at white space.
        encoding: Encoding of text files that are not UTF-8 and have no byte-order mark.
        column_names: Names of all columns of CSV, TSV and text files without a header, in order, as a list or with
            commas.
        text_column_delimiter: The text between joined text columns, as in [`load_text_dataset`].

    Returns:
        Rows with the text columns, and with `teacher_logits` if the source has this column.

    Raises:
        FileNotFoundError: if a file does not exist.
        ValueError: if not exactly one of `file` and `dataset_name` is given, if the source cannot be read, or if
            several columns could be the text.
    """
    dataset, _ = read_transfer_text(
        file,
        dataset_name,
        as_list(text_column_names),
        dataset_config_name,
        split,
        are_words,
        read_options(encoding, column_names),
        text_column_delimiter,
    )
    return dataset


def read_transfer_text(
    file: PathLike | Sequence[PathLike] | None,
    dataset_name: str | None,
    text_column_names: Sequence[str] | None,
    dataset_config_name: str | None = None,
    split: str = "train",
    are_words: bool = False,
    options: ReadOptions | None = None,
    text_column_delimiter: str | None = None,
) -> tuple[Dataset, SplitSummary]:
    """Load unlabelled text as [`load_transfer_text`], and return it with a summary of what was read."""
    if (file is None) == (dataset_name is None):
        raise ValueError(f"Pass either a file or the name of a dataset. Got {file!r} and {dataset_name!r}.")
    if file is not None:
        origins = [file] if not isinstance(file, Sequence) or isinstance(file, str) else file
        tables = [read_file(one, options) for one in origins]
    else:
        origins = [str(dataset_name)]
        name, revision = split_revision(str(dataset_name))
        splits, _ = read_dataset(name, dataset_config_name, revision, options)
        if split not in splits:
            raise ValueError(
                f"{dataset_name} has no split {split!r}, only {', '.join(splits)}. Name a file of it by "
                "--transfer_file, or pass another `split`."
            )
        tables = splits[split]
    source = ", ".join(map(str, origins))
    if not sum(map(len, tables)):
        raise ValueError(no_rows([source]))
    wanted = None if text_column_names is None else split_names(text_column_names, tables[0])
    if are_words:
        parts = [_words(table, wanted) for table in tables]
    else:
        parts = [_texts(table, wanted, text_column_delimiter) for table in tables]
    names = parts[0][0].names
    datasets = [texts.without_missing() for texts, _ in parts]
    if len({frozenset(dataset.column_names) for dataset in datasets}) > 1:
        raise ValueError(f"{source}: the files have different columns. Give all of them the same columns.")
    dataset = concatenate_datasets(align_stored_logits(tables, datasets)) if len(datasets) > 1 else datasets[0]
    if not len(dataset):
        raise ValueError(f"{source} has no text, only blank rows.")
    dataset = name_stored_logits(dataset, origins)
    return dataset, _summary(parts, dataset, names)


def _texts(table: Table, wanted: Sequence[str] | None, delimiter: str | None) -> tuple[Texts, Choice]:
    """Return the texts in columns with the names that the task uses.

    Args:
        table: The table.
        wanted: The columns of the task; a name such as `title + text` stands for columns that are joined. None to use
            the names in the table.
        delimiter: The text between joined columns.
    """
    labels = [name for name in table.names if name.casefold() in LABEL_COLUMNS]
    if wanted is None:
        choice = choose_text_columns(table, None, labels)
        return Texts(table, choice.names, *joined_name(choice.names, delimiter)), choice
    names = [part for name in wanted for part in (parts_of_name(name) if table.find(name) is None else [name])]
    if all(table.find(name) is not None for name in names):
        choice = Choice(tuple(find_column(table, name, "text") for name in names), "same name as in the task")
        return Texts(table, choice.names, *joined_name(names, delimiter)), choice
    choice = choose_text_columns(table, None, labels)
    if len(choice.names) != len(wanted) or len(names) != len(wanted) or set(choice.names) & set(wanted):
        raise ValueError(
            f"{table.source.path} has the text columns {', '.join(choice.names)}; the task has {', '.join(wanted)}. "
            f"Rename the columns to the names in the task. The columns are {table.describe_columns()}."
        )
    return Texts(table, choice.names, wanted), choice


def _words(table: Table, wanted: Sequence[str] | None) -> tuple[Texts, Choice]:
    """Return the words of unlabelled sentences in a column with the name that the task uses."""
    (name,) = wanted or [WORDS]
    for column in (name, WORDS):
        if is_words(table, column):
            return Texts(table, [column], [name], are_words=True), Choice((column,), "known name")
    texts, choice = _texts(table, None, None)
    if len(choice.names) != 1:
        raise ValueError(f"{table.source.path} has pairs of texts. Expected one column of texts or words.")
    rows = texts.without_missing()[texts.names[0]]
    words = Dataset.from_dict({name: [row.split() for row in rows]}).cast_column(name, List(Value("string")))
    split = Table(table.source, words, line_of=table.line_of)
    result = Texts(split, [name], [name], are_words=True)
    result.remarks += texts.remarks
    return result, choice


def _summary(parts: Sequence[tuple[Texts, Choice]], dataset: Dataset, names: Sequence[str]) -> SplitSummary:
    tables = [part.table for part, _ in parts]
    used = {name for _, chosen in parts for name in chosen.names} | {TEACHER_LOGITS}
    origin = Origin(
        sources=[(table.source, len(table)) for table in tables],
        text=parts[0][1],
        not_read=list(dict.fromkeys(name for table in tables for name in table.names if name not in used)),
        remarks=[remark for part, _ in parts for remark in part.remarks],
    )
    return describe_text("transfer", dataset, names, origin)
