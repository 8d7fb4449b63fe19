"""Files and folders that are there whole or not at all."""

import os
import shutil
import uuid
from collections.abc import Callable
from pathlib import Path


def write_whole(folder: Path, name: str | Callable[[Path], str], write: Callable[[Path], object]) -> Path:
    """Write a file under another name, flush it to the disk, and rename it.

    Args:
        folder: Made if it is not there.
        name: Of the file, or a function of what was written, for a name that says what is in it.
        write: Writes the path that it is given.

    Returns:
        The file's path.

    Raises:
        OSError: if it cannot be written; nothing is left of it then, and an older file of the name is as it was.
    """
    folder.mkdir(parents=True, exist_ok=True)
    temporary = folder / f"{uuid.uuid4().hex}.tmp"
    try:
        write(temporary)
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        path = folder / (name if isinstance(name, str) else name(temporary))
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    return path


def write_folder(folder: Path, write: Callable[[Path], object], replaceable: str) -> None:
    """Write a folder under another name beside, and rename it.

    Args:
        folder: If it is there and not empty, it is replaced.
        write: Writes into the folder that it is given.
        replaceable: Name of the file by which a folder of the same kind is known: no other one is replaced.

    Raises:
        FileExistsError: if something else is there.
        OSError: if it cannot be written; nothing is left of it then, and an older folder is as it was.
    """
    folder = folder.absolute()
    if folder.exists() and any(folder.iterdir()) and not (folder / replaceable).is_file():
        raise FileExistsError(f"{folder} is not empty, and has no {replaceable}. Name another folder.")
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary, old = (folder.with_name(f"{folder.name}.{uuid.uuid4().hex}.{end}") for end in ("tmp", "old"))
    temporary.mkdir()
    try:
        write(temporary)
        if folder.exists():
            folder.replace(old)
        temporary.replace(folder)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        if old.exists() and not folder.exists():
            old.replace(folder)
        raise
    shutil.rmtree(old, ignore_errors=True)
