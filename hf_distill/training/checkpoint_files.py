"""What lies beside a checkpoint: `run.json`, which names the run and has the checksums of all files."""

import hashlib
import json
import time
import zipfile
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from transformers.trainer import TRAINER_STATE_NAME

from hf_distill.cache.store import checksum
from hf_distill.utils.atomic import write_file_atomically

RUN_NAME = "run.json"


@dataclass(frozen=True)
class CheckpointInfo:
    """The content of `run.json`.

    Attributes:
        run: Random name that all checkpoints share which one training has written, interrupted and resumed or not.
        step: Number of the optimizer step.
        saved_at: When it was saved, in seconds since 1970.
        identity: The saved [`RunFingerprint.identity`].
        settings: The saved [`RunFingerprint.settings`].
        resumed_with: For each time that the run was resumed with other settings, the step and the changes.
        files: Path in the checkpoint -> the checksum of the file; None while the checkpoint is being written, and for
            weights that are shared out over the processes.
    """

    run: str
    step: int
    saved_at: float
    identity: dict[str, Any]
    settings: dict[str, Any]
    resumed_with: list[dict[str, Any]]
    files: dict[str, str] | None = None

    def write(self, checkpoint: Path) -> None:
        """Write `run.json` atomically."""
        content = asdict(self)
        text = json.dumps({"format": 1, "checksum": _checksum(content), **content}, indent=2) + "\n"
        write_file_atomically(checkpoint, RUN_NAME, lambda path: path.write_text(text, encoding="utf-8"))

    def with_checksums(self, checkpoint: Path) -> "CheckpointInfo":
        """Return the same with the checksums of all files of the checkpoint, which must be written completely."""
        paths = [path for path in sorted(checkpoint.rglob("*")) if path.is_file() and path.name != RUN_NAME]
        files = {path.relative_to(checkpoint).as_posix(): checksum(path) for path in paths}
        return replace(self, files=files, saved_at=time.time())


def read_info(checkpoint: Path) -> CheckpointInfo | None:
    """Read `run.json`; None if there is none.

    Raises:
        ValueError: if it is damaged.
    """
    path = checkpoint / RUN_NAME
    if not path.is_file():
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        saved_checksum = content.pop("checksum")
        if content.pop("format") == 1 and saved_checksum == _checksum(content):
            return CheckpointInfo(**content)
    except (ValueError, KeyError, TypeError, AttributeError):
        pass
    raise ValueError(f"{path} is damaged.")


def _checksum(content: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:32]


def is_finished(checkpoint: Path) -> bool:
    """Whether the file that Trainer writes last is there; if not, the process ended while it saved."""
    return (checkpoint / TRAINER_STATE_NAME).is_file()


def damaged_file(checkpoint: Path) -> Path | None:
    """Return a file of a checkpoint that is missing or changed; None if all are as they were written.

    Without checksums, a file that is truncated or unreadable is returned.
    """
    try:
        info = read_info(checkpoint)
    except ValueError:
        return checkpoint / RUN_NAME
    if info is None or info.files is None:
        paths = (path for path in sorted(checkpoint.rglob("*")) if path.is_file())
        return next((path for path in paths if not _is_readable(path)), None)
    expected = ((checkpoint / name, digest) for name, digest in info.files.items())
    return next((path for path, digest in expected if not path.is_file() or checksum(path) != digest), None)


def _is_readable(path: Path) -> bool:
    try:
        if path.suffix == ".safetensors":
            with safe_open(path, "pt"):
                return True
        if path.suffix == ".json":
            json.loads(path.read_text(encoding="utf-8"))
    except (SafetensorError, ValueError):
        return False
    return path.suffix not in (".pt", ".pth", ".bin") or zipfile.is_zipfile(path)
