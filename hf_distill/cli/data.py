"""`hf-distill data`: print what is read from files, and how it is understood."""

from collections.abc import Sequence
from pathlib import Path

from hf_distill.classifiers.problem_types import PROBLEM_TYPES
from hf_distill.cli.arguments import DataArguments
from hf_distill.cli.early_checks import count_files
from hf_distill.cli.parsing import parse
from hf_distill.cli.printing import delayed_bars
from hf_distill.data.files import read_task
from hf_distill.data.reading import read_file
from hf_distill.data.roles import LABEL_COLUMNS, TAG_COLUMNS, warn_of_labels
from hf_distill.data.sources import Sources
from hf_distill.data.summary import DataSummary
from hf_distill.data.table import Table
from hf_distill.data.transfer_text import read_transfer_text
from hf_distill.pipeline.transfer import load_transfer
from hf_distill.utils.user_paths import find_files


@delayed_bars()
def run(arguments: Sequence[str]) -> None:
    """Print the summary of each file that is named before the flags, then of the rows that the flags name."""
    num_files = count_files(arguments)
    (data,) = parse((DataArguments,), arguments[num_files:])
    files, notes = find_files(list(arguments[:num_files]))
    for note in notes:
        print(note)
    for file in files:
        print(_read(file, data))
    if summary := _read_flags(data):
        print(summary)
    elif not files:
        raise ValueError("No files given. Name files first, then flags: hf-distill data rows.csv --encoding cp1252.")


def _read(file: Path, data: DataArguments) -> DataSummary:
    """Read a folder, a file with labels, or a file with texts only."""
    if file.expanduser().is_dir():
        sources = Sources(str(file), data.dataset_config_name, None, {}, data.validation_split_name)
    else:
        table = read_file(file, data.options)
        if not _has_labels(table, data):
            return _read_texts(file, table, data)
        sources = Sources(None, None, None, {"train": file})
    task = read_task(sources, data.options, data.settings(data.problem_type), data.columns, needs_validation=False)
    if sources.dataset_name is None:
        task.summary.splits[0].role = "labelled"
    return task.summary


def _read_texts(file: Path, table: Table, data: DataArguments) -> DataSummary:
    delimiter, options = data.text_column_delimiter, data.options
    _, summary = read_transfer_text(
        file, None, data.text_column_names, options=options, text_column_delimiter=delimiter
    )
    summary.role = "text"
    not_read = summary.not_read
    return DataSummary([summary], warnings=warn_of_labels(not_read) or _warn_of_classes(table, not_read))


def _warn_of_classes(table: Table, not_read: Sequence[str]) -> list[str]:
    """Return a warning if a file without a column `label` has a column whose values repeat, as classes do."""
    for name in not_read:
        values = table.dataset[:1000][name] if name in table.dataset.column_names else []
        texts = [str(value) for value in values]
        if len(set(texts)) < len(texts):
            return [
                f"no label is read, because no column is called `label` or `labels`; if {name!r} is the label, pass "
                f"--label_column_name {name}"
            ]
    return []


def _has_labels(table: Table, data: DataArguments) -> bool:
    if data.label_column_name is not None and not table.has_only_texts:
        return True  # a column that does not exist is then an error
    return any(table.find(name) is not None for name in (*LABEL_COLUMNS, *TAG_COLUMNS))


def _read_flags(data: DataArguments) -> DataSummary | None:
    """Read the rows that flags such as --train_file name; return None if there are no such flags."""
    if data.has_labelled_rows:
        task = data.load(to_train=False)
        transfer = load_transfer(data.transfer, task.text_columns, PROBLEM_TYPES[task.problem_type], task.datasets)
        return task.summary if transfer is None else task.summary + transfer.data
    problem_type = PROBLEM_TYPES[data.problem_type or "single_label_classification"]
    transfer = load_transfer(data.transfer, data.text_column_names, problem_type)
    return None if transfer is None else transfer.data
