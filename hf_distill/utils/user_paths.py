"""Resolve the paths that users write."""

from __future__ import annotations

import difflib
import glob
import os
from collections.abc import Sequence
from pathlib import Path

PathLike = str | os.PathLike[str]


def find_file(file: PathLike) -> Path:
    """Return the path of a file. `~` is the home folder; brackets, commas and `*` have no special meaning.

    Raises:
        FileNotFoundError: if there is no such file. The message suggests similar names.
        ValueError: if the path is a folder or a URL.
    """
    _refuse_url(file)
    path = Path(file).expanduser()
    if path.is_dir():
        raise ValueError(f"{path} is a folder. Pass it with --dataset_name (`dataset_name`), or name a file in it.")
    if not path.exists():
        meant = "" if str(path) == os.fspath(file) else f" ({file})"
        raise FileNotFoundError(f"There is no file {path}{meant}.{_alike(path)}")
    return path


def _refuse_url(file: PathLike) -> None:
    if "://" in str(file):
        raise ValueError(f"{file} is a URL. Download the file first, and pass the path of the download.")


def _alike(path: Path) -> str:
    if not path.parent.is_dir():
        return f" The folder {path.parent} does not exist either."
    names = [entry.name for entry in path.parent.iterdir() if entry.is_file()]
    folded = {name.casefold(): name for name in names}
    close = difflib.get_close_matches(path.name.casefold(), folded, n=3, cutoff=0.75)
    return f" Similar names in this folder: {', '.join(folded[name] for name in close)}." if close else ""


def find_files(files: PathLike | Sequence[PathLike]) -> tuple[list[Path], list[str]]:
    """Return the files that one or several words stand for, and notes.

    A word that is the path of a file stands for this file. Any other word is a pattern (`part-*.csv`) or several paths
    with commas between them; a note says so. Whether the files exist is checked when they are read.

    Raises:
        ValueError: if a word is a URL, or a file is named twice.
    """
    paths: list[Path] = []
    notes: list[str] = []
    for word in [files] if isinstance(files, str | os.PathLike) else files:
        text = os.path.expanduser(os.fspath(word))
        _refuse_url(text)  # before `Path` makes one slash of two
        if os.path.exists(text):
            paths.append(Path(word))
        elif matches := sorted(name for name in glob.glob(text, recursive=True) if os.path.isfile(name)):
            paths += map(Path, matches)
            notes.append(f"there is no file {word}: as a pattern it matches {len(matches)} files")
        elif "," in text:
            parts, more = find_files([part for part in text.split(",") if part])
            paths += parts
            notes += [f"there is no file {word}: it is read as {len(parts)} files with commas between them", *more]
        else:
            paths.append(Path(word))
    resolved = [os.path.realpath(os.path.expanduser(path)) for path in paths]
    for place, path in enumerate(resolved):
        if path in resolved[:place]:
            raise ValueError(f"The file {paths[place]} is named twice, so its rows would count twice. Name it once.")
    return paths, notes
