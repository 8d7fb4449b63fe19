"""Atomic writes: after a failure or a kill, a file or folder is either complete or unchanged."""

import os
import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

_TEMPORARY_PREFIX = "_writing-"  # names that start with "_" are not pushed to the Hub


def describe_write_failure(error: BaseException, folder: Path) -> str | None:
    """Describe why a file could not be written and how much disk space is free.

    Args:
        error: The exception that was raised.
        folder: Folder of the file; it need not exist.

    Returns:
        The description, or None if the error has another reason than a failed write.
    """
    error = error.__cause__ or error
    # For a full disk, torch raises a RuntimeError, safetensors a SafetensorError and tokenizers a bare Exception.
    is_torch_error = isinstance(error, RuntimeError) and "inline_container" in str(error)
    is_tokenizers_error = type(error) is Exception and "(os error " in str(error)
    if not (is_torch_error or is_tokenizers_error or isinstance(error, OSError | SafetensorError)):
        return None
    existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    return f"{error}; {shutil.disk_usage(existing).free / 2**20:,.1f} MiB are free"


def write_file_atomically(folder: Path, name: str | Callable[[Path], str], write: Callable[[Path], object]) -> Path:
    """Write a file under a temporary name, flush it to the disk, and rename it.

    Args:
        folder: Folder of the file; it is created if needed.
        name: Name of the file, or a function that returns the name from the path of the written file.
        write: Function that writes to the path that it is given.

    Returns:
        The path of the file.

    Raises:
        OSError: if the file cannot be written; an older file with the same name is then unchanged.
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


def write_folder_atomically(folder: Path, write: Callable[[Path], object], marker: str) -> None:
    """Write a folder under a temporary name next to its destination, and rename it.

    Args:
        folder: The destination. A folder that has the marker file is replaced.
        write: Function that writes into the folder that it is given.
        marker: Name of the file that identifies a folder of this kind. Any other folder that is not empty is an error.

    Raises:
        FileExistsError: if the destination is not empty and has no marker file.
        OSError: if the folder cannot be written; an older folder is then unchanged.
    """
    folder = folder.absolute()
    if folder.exists() and any(folder.iterdir()) and not (folder / marker).is_file():
        raise FileExistsError(f"{folder} is not empty and has no {marker}. Choose another folder.")
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary, replaced = (folder.with_name(f"{folder.name}.{uuid.uuid4().hex}.{end}") for end in ("tmp", "old"))
    temporary.mkdir()
    try:
        write(temporary)
        if folder.exists():
            folder.replace(replaced)
        temporary.replace(folder)
    except BaseException as error:
        shutil.rmtree(temporary, ignore_errors=True)
        if replaced.exists() and not folder.exists():
            replaced.replace(folder)
        if not isinstance(error, OSError) and (reason := describe_write_failure(error, folder)) is not None:
            raise OSError(f"{folder} cannot be written ({reason}). Free some space, or choose another.") from error
        raise
    shutil.rmtree(replaced, ignore_errors=True)


@contextmanager
def replace_files_atomically(folder: Path) -> Iterator[Path]:
    """Yield a temporary folder, then move each of its files into `folder` in place of the file with the same name.

    Files with weights are moved last, so a folder that has new weights has all other new files. Temporary folders of
    processes that were killed are removed.

    Args:
        folder: Destination of the files; it is created if needed. Only one process at a time can write to it.

    Raises:
        OSError: if the files cannot be written or moved; files that were not yet replaced are then unchanged.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for abandoned in folder.glob(f"{_TEMPORARY_PREFIX}*"):
        shutil.rmtree(abandoned, ignore_errors=True)
    temporary = Path(tempfile.mkdtemp(prefix=_TEMPORARY_PREFIX, dir=folder))
    try:
        yield temporary
        written = [path for path in temporary.rglob("*") if path.is_file()]
        for path in written:
            with path.open("rb") as file:
                os.fsync(file.fileno())
        for path in sorted(written, key=lambda path: path.suffix == ".safetensors"):
            destination = folder / path.relative_to(temporary)
            destination.parent.mkdir(parents=True, exist_ok=True)
            path.replace(destination)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
