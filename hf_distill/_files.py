"""Files that are there whole or not at all."""

import os
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
