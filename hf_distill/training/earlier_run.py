"""Remove what an earlier run wrote into an output folder, and nothing else."""

import shutil
from pathlib import Path

from hf_distill.data.seen_rows import ROWS_NAME
from hf_distill.hub.stale import TOKENIZER_FILES, WEIGHT_FILES
from hf_distill.record import RECORD_NAME
from hf_distill.training.checkpoint_files import RUN_NAME
from hf_distill.training.folder_lock import LOCK_NAME

_OTHER_FILES = frozenset({RECORD_NAME, ROWS_NAME, "config.json"}) | TOKENIZER_FILES


def remove_earlier_run(folder: Path) -> tuple[list[str], list[str]]:
    """Remove model, tokenizer, record and checkpoints that hf_distill wrote into a folder.

    A model card is not removed: the next one replaces its generated part.

    Args:
        folder: The folder. Without a record of an earlier run, nothing but checkpoints is removed.

    Returns:
        The names of what was removed, and the names of what stays.

    Raises:
        OSError: if a file cannot be removed.
    """
    has_model = (folder / RECORD_NAME).is_file()
    removed, stays = list[str](), list[str]()
    for path in sorted(folder.glob("*")):
        is_model_file = path.name in _OTHER_FILES or WEIGHT_FILES.fullmatch(path.name)
        if path.name.startswith("checkpoint-") and (path / RUN_NAME).is_file() and not path.is_symlink():
            shutil.rmtree(path)
            removed.append(path.name)
        elif has_model and is_model_file and not path.is_dir():
            path.unlink()
            removed.append(path.name)
        elif path.name != LOCK_NAME:
            stays.append(path.name)
    return removed, stays
