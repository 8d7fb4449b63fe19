"""Read Arrow files of a store, which other users can share: what is not a whole file of ours is refused or ignored."""

import os
import stat
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import pyarrow as pa

_SECONDS_PER_DAY = 86_400


def check_regular_file(path: Path) -> None:
    """Refuse a link, a FIFO or a device in a store: reading it could block, or lead out of the folder.

    Raises:
        FileNotFoundError: if there is no such file.
        OSError: if it is not a regular file.
    """
    mode = os.lstat(path).st_mode
    if not stat.S_ISREG(mode):
        kind = "a link" if stat.S_ISLNK(mode) else "not a regular file"
        raise OSError(f"{path} is {kind}, and a store of teacher outputs only has regular files. Remove it.")


def read_batch(path: Path, schemas: Sequence[pa.Schema]) -> pa.RecordBatch | None:
    """Map an Arrow file of one batch into memory; None if it has no such schema or its offsets lead out of it."""
    try:
        reader = pa.ipc.open_file(pa.memory_map(str(path)))
        if reader.num_record_batches != 1 or not any(map(reader.schema.equals, schemas)):
            return None
        batch = reader.get_batch(0)
        batch.validate(full=True)
    except (pa.ArrowException, OSError):
        return None
    return batch


def read_table(path: Path, schema: pa.Schema) -> pa.Table | None:
    """Map an Arrow stream into memory; None if it has another schema or its offsets lead out of it."""
    try:
        reader = pa.ipc.open_stream(pa.memory_map(str(path)))
        if not reader.schema.equals(schema, check_metadata=True):
            return None
        table = reader.read_all()
        table.validate(full=True)
    except (pa.ArrowException, OSError):
        return None
    return table


def remove_unfinished(folder: Path) -> None:
    """Remove files that a killed process has not finished writing, a day after it last wrote to them."""
    for path in folder.glob("*.tmp"):
        with suppress(OSError):  # of a folder that cannot be written, or removed by another process
            if time.time() - path.lstat().st_mtime > _SECONDS_PER_DAY:
                path.unlink()


def remove_unused(folder: Path, num_kept: int, num_days: int) -> None:
    """Remove Arrow files that were not used for some days; the last ones used are kept.

    A process that has mapped such a file into memory keeps it until the process ends.
    """
    with suppress(OSError):
        times = {path: path.lstat().st_mtime for path in folder.glob("*.arrow")}
        for path in sorted(times, key=lambda path: times[path], reverse=True)[num_kept:]:
            if time.time() - times[path] > num_days * _SECONDS_PER_DAY:
                path.unlink(missing_ok=True)
