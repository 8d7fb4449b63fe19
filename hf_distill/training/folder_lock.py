"""One training at a time writes into an output folder."""

import contextlib
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from transformers.utils import logging

if sys.platform != "win32":  # which has no such locks; there two trainings are not kept apart
    import fcntl

logger = logging.get_logger(__name__)

LOCK_NAME = ".training.lock"
_held: dict[Path, int] = {}  # folder -> descriptor of its lock file, of this process


@contextmanager
def locked_folder(folder: Path) -> Iterator[None]:
    """Hold a lock on a folder; the operating system drops the lock when the process ends, however it ends.

    A process can lock the same folder several times.

    Raises:
        OSError: if another process holds the lock, or the folder cannot be written.
    """
    folder = folder.resolve()
    if sys.platform == "win32" or folder in _held:
        yield
        return
    descriptor = _lock(folder)
    _held[folder] = descriptor
    try:
        yield
    finally:
        if _held.pop(folder, None) is not None:
            with contextlib.suppress(OSError):  # the folder can be gone
                (folder / LOCK_NAME).unlink()
            os.close(descriptor)


def _lock(folder: Path) -> int:
    path = folder / LOCK_NAME
    while True:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)
        except OSError as error:
            raise OSError(
                f"The output folder {folder} cannot be written ({error}). Make it writable, or choose another."
            ) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(descriptor, 200).decode(errors="replace").strip()
            os.close(descriptor)
            raise OSError(
                f"Another training writes into {folder} ({holder or 'its process is not known'}). Wait until it ends, "
                "or choose another `output_dir`."
            ) from None
        except OSError as error:
            logger.warning(f"{folder} cannot be locked ({error}): start no second training into it.")
            return descriptor
        if _is_same_file(descriptor, path):  # not one that its last holder has just removed
            os.truncate(descriptor, 0)
            os.pwrite(descriptor, f"process {os.getpid()} on {socket.gethostname()}\n".encode(), 0)
            return descriptor
        os.close(descriptor)


def _is_same_file(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def _forget() -> None:
    # A worker of a data loader can outlive a process that was killed, and must not hold the lock meanwhile.
    for descriptor in _held.values():
        os.close(descriptor)
    _held.clear()


if sys.platform != "win32":
    os.register_at_fork(after_in_child=_forget)
