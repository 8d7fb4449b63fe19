"""`teacher.json`: the teacher whose logits a folder contains, and the order of its classes."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from datasets import Dataset
from huggingface_hub import hf_hub_download
from huggingface_hub.errors import EntryNotFoundError

from hf_distill.classifiers.label_order import name_teacher_logits, teacher_label_names
from hf_distill.classifiers.outputs import TEACHER_LOGITS
from hf_distill.utils.hub_names import split_revision

TEACHER_FILE, CLASS_NAMES = "teacher.json", "class_names"


def read_teacher(dataset_name: str | os.PathLike, revision: str | None = None) -> dict[str, Any] | None:
    """Return the content of `teacher.json` of a folder or a dataset on the Hub; None if there is no such file.

    Raises:
        ValueError: if the file is damaged.
    """
    name, revision = split_revision(dataset_name, revision)
    path = Path(name).expanduser() / TEACHER_FILE
    if not path.parent.is_dir():
        try:
            path = Path(hf_hub_download(name, TEACHER_FILE, repo_type="dataset", revision=revision))
        except EntryNotFoundError:
            return None
    if not path.is_file():
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        names = content.get(CLASS_NAMES) or []
        if all(isinstance(name, str) for name in names) and not isinstance(names, str):
            return content
    except (ValueError, AttributeError, TypeError):
        pass
    raise ValueError(
        f"{path} is damaged. Write it again with `hf-distill cache`, or remove it and name the classes of the logits "
        "with --class_names (`class_names`)."
    )


def name_stored_logits(
    dataset: Dataset,
    origins: Sequence[str | os.PathLike],
    class_names: Sequence[str] | None = None,
    revision: str | None = None,
) -> Dataset:
    """Note the class of each number of the column `teacher_logits` of rows that were read, if it is known.

    Args:
        dataset: The rows. Without the column, and with a note, they are returned as they are.
        origins: The files, the folder or the dataset on the Hub that the rows were read from.
        class_names: Names of the classes, from the user; None for the names in `teacher.json` beside the files.
        revision: Branch, tag or commit of a dataset on the Hub.

    Raises:
        ValueError: if the number of names is not the number of logits, or `class_names` contradict `teacher.json`.
    """
    if TEACHER_LOGITS not in dataset.column_names or teacher_label_names(dataset) is not None:
        return dataset
    folders = {path.parent if (path := Path(origin).expanduser()).is_file() else origin for origin in origins}
    stored = {tuple((read_teacher(folder, revision) or {}).get(CLASS_NAMES) or ()) for folder in folders}
    names = list(stored.pop()) if len(stored) == 1 else []
    if names and class_names and names != list(class_names):
        raise ValueError(
            f"--class_names (`class_names`) is {', '.join(class_names)}, but {TEACHER_FILE} says that the numbers in "
            f"`{TEACHER_LOGITS}` are in the order {', '.join(names)}. Leave out --class_names."
        )
    names = names or list(class_names or [])
    return name_teacher_logits(dataset, names) if names else dataset
