"""Read files, folders and datasets into tables: formats, dialects, encodings, archives and paths."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from hf_distill.data.reading.columnar import read_parquet
from hf_distill.data.reading.conll import looks_like_conll, read_conll
from hf_distill.data.reading.content import COMPRESSED, SHEETS, Content, open_content
from hf_distill.data.reading.delimited import read_delimited
from hf_distill.data.reading.encodings import decode
from hf_distill.data.reading.folders import read_folder
from hf_distill.data.reading.hub import read_hub
from hf_distill.data.reading.json_rows import read_json
from hf_distill.data.reading.options import ReadOptions
from hf_distill.data.reading.plain_text import read_plain_text
from hf_distill.data.table import Table
from hf_distill.utils.user_paths import PathLike, find_file

# Suffix -> reader. Help texts and error messages list these suffixes.
READERS: dict[str, Callable[[Content, ReadOptions], Table]] = {
    ".csv": read_delimited,
    ".tsv": read_delimited,
    ".tab": read_delimited,
    ".json": read_json,
    ".jsonl": read_json,
    ".ndjson": read_json,
    ".parquet": read_parquet,
    ".txt": read_plain_text,
    ".conll": read_conll,
    ".bio": read_conll,
    ".iob": read_conll,
}
SUFFIXES = ", ".join(READERS)


def read_file(file: PathLike, options: ReadOptions | None = None) -> Table:
    """Read a file of rows.

    Args:
        file: A path with one of the suffixes of `READERS`, which can be compressed (`.csv.gz`). A file of words and
            tags can have any suffix.
        options: How to read text files.

    Raises:
        FileNotFoundError: if the file does not exist.
        ValueError: if the file cannot be read. The message names the file and the line.
    """
    options = options or ReadOptions()
    content = open_content(find_file(file))
    reader = READERS.get(content.suffix)
    if reader is None and content.suffix not in SHEETS and looks_like_conll(decode(content)[0]):
        reader = read_conll
    if reader is None:
        hint = "Save the sheet as CSV UTF-8." if content.suffix in SHEETS else "Rename or convert the file."
        raise ValueError(
            f"{content.path} ends in {content.suffix!r}. Expected one of {SUFFIXES}, or one of them compressed as "
            f"{', '.join(COMPRESSED)}. {hint}"
        )
    table = reader(content, options)
    if options.column_names is not None and reader not in (read_delimited, read_plain_text):
        table.source = table.source.with_notes(
            f"--column_names is not used: {table.source.format} has names of columns"
        )
    return table


def read_dataset(
    name: str, config_name: str | None = None, revision: str | None = None, options: ReadOptions | None = None
) -> tuple[dict[str, list[Table]], list[str]]:
    """Read the splits of a folder, or of a dataset on the Hub.

    Args:
        name: A folder, or an id on the Hub. Files of a folder are read by [`read_file`].
        config_name: Name of a configuration.
        revision: Branch, tag or commit on the Hub.
        options: How to read text files.

    Returns:
        The tables of each split, and notes.

    Raises:
        ValueError: if `name` is a file, and as in [`read_file`] and [`read_folder`].
        OSError: if there is no such folder or dataset.
    """
    folder = Path(name).expanduser()
    if folder.is_dir():
        if revision is not None:
            raise ValueError(f"`revision` selects a version on the Hub, but {name} is a folder. Leave it out.")
        return read_folder(folder, config_name, list(READERS), lambda path: read_file(path, options))
    if folder.is_file():
        raise ValueError(f"{name} is a file. Pass it with --train_file, --validation_file or --transfer_file.")
    if str(name).startswith(("/", ".", "~")):
        raise FileNotFoundError(f"There is no folder {folder}.")
    return read_hub(name, config_name, revision), []
