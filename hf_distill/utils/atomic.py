"""Files and folders that are there whole or not at all."""

import os
import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

_WRITING = "_writing-"  # names with this start are not pushed


def why_not_written(error: BaseException, folder: Path) -> str | None:
    """Say why a file could not be written, and how much room there is; None if the error is about something else."""
    error = error.__cause__ or error
    of_torch = isinstance(error, RuntimeError) and "inline_container" in str(error)  # torch and safetensors have
    if not (of_torch or isinstance(error, OSError | SafetensorError)):  # errors of their own for a full disk
        return None
    place = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    return f"{error}; {shutil.disk_usage(place).free / 2**20:,.1f} MiB are free"


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


@contextmanager
def whole_files(folder: Path) -> Iterator[Path]:
    """Give a folder to write into, whose files then take the places of those of the same names, each whole.

    Weights come last: where they are, the rest is. What a killed process left half-written is removed.

    Args:
        folder: Where the files go; made if it is not there. One process at a time writes to it.

    Raises:
        OSError: if they cannot be written or moved; the older files are as they were then.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for left in folder.glob(f"{_WRITING}*"):
        shutil.rmtree(left, ignore_errors=True)
    temporary = Path(tempfile.mkdtemp(prefix=_WRITING, dir=folder))
    try:
        yield temporary
        written = [path for path in temporary.rglob("*") if path.is_file()]
        for path in written:
            with path.open("rb") as file:
                os.fsync(file.fileno())
        for path in sorted(written, key=lambda path: path.suffix == ".safetensors"):
            place = folder / path.relative_to(temporary)
            place.parent.mkdir(parents=True, exist_ok=True)
            path.replace(place)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
