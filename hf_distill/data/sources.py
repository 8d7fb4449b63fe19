"""Load the splits of a task from files, a folder or the Hub."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from hf_distill.data.reading import PathLike, ReadOptions, read_dataset, read_file
from hf_distill.data.table import Table, no_rows
from hf_distill.data.texts import without_rejected
from hf_distill.utils.hub_names import split_revision

Files = PathLike | Sequence[PathLike]
Splits = dict[str, list[Table]]
# Name of a split in cards and saved datasets -> name of the split in a task.
_OTHER_NAMES = {"training": "train", "dev": "validation", "valid": "validation", "val": "validation"}


@dataclass(frozen=True)
class Sources:
    """Where the rows of a task come from.

    Args:
        dataset_name: An id on the Hub, `user/name@revision`, or a folder.
        config_name: Configuration of the dataset.
        revision: Branch, tag or commit of the dataset on the Hub.
        files: Files by split. They replace splits of the dataset.
        validation_split_name: The split that is used for validation.
        notes: Notes on how the files were found.
    """

    dataset_name: str | None
    config_name: str | None
    revision: str | None
    files: Mapping[str, Files | None]
    validation_split_name: str | None = None
    notes: Sequence[str] = ()

    def __post_init__(self) -> None:
        if self.dataset_name is not None:
            name, revision = split_revision(self.dataset_name, self.revision)
            object.__setattr__(self, "dataset_name", name)
            object.__setattr__(self, "revision", revision)

    @property
    def name(self) -> str:
        """Short name of the task."""
        path = Path(self._first).absolute()
        return path.stem if path.is_file() else path.name

    @property
    def dataset_id(self) -> str:
        """The id on the Hub, or the name of the file or folder without its path."""
        return Path(self._first).absolute().name if Path(self._first).exists() else str(self.dataset_name)

    @property
    def _first(self) -> str:
        if self.dataset_name is not None:
            return os.path.expanduser(self.dataset_name)
        files = next((files for files in self.files.values() if files is not None), "")
        return os.path.expanduser(_as_list(files)[0])

    def origins(self, split: str) -> list[PathLike]:
        """Return the files that a split was read from, or the folder or id of the dataset."""
        if (files := self.files.get(split)) is not None:
            return _as_list(files)
        return [] if self.dataset_name is None else [self.dataset_name]

    def load(self, options: ReadOptions, needs_validation: bool) -> tuple[Splits, list[str]]:
        """Return the tables of each split, `train` first, and notes.

        Raises:
            ValueError: if there are no data, if a split is empty, or if the validation split is missing but needed.
        """
        if self.dataset_name is None and (self.config_name is not None or self.revision is not None):
            raise ValueError(
                "`dataset_config_name` and `revision` belong to a dataset, but `dataset_name` is not set."
            )
        splits: Splits = {}
        notes = list(self.notes)
        if self.dataset_name is not None:
            dataset, more = read_dataset(self.dataset_name, self.config_name, self.revision, options)
            notes += more
            splits |= {_split_name(name, dataset, notes): tables for name, tables in dataset.items()}
        for split, files in self.files.items():
            if files is not None:
                splits[split] = [read_file(file, options) for file in _as_list(files)]
        order = ("train", "validation", "test")
        splits = dict(sorted(splits.items(), key=lambda split: [not split[0].startswith(kind) for kind in order]))
        splits = self._with_validation(splits, notes, needs_validation)
        left_out = [name for name in splits if not name.startswith(order)]
        if left_out:
            notes.append(f"splits not read: {', '.join(left_out)}")
        result = {name: splits[name] for kind in order for name in splits if name.startswith(kind)}
        for tables in result.values():
            if not sum(map(len, tables)):
                raise ValueError(no_rows([table.source.path for table in tables]))
        return {name: [without_rejected(table) for table in tables] for name, tables in result.items()}, notes

    def _with_validation(self, splits: Splits, notes: list[str], needs_validation: bool) -> Splits:
        wanted = self.validation_split_name
        if wanted is not None:
            if wanted not in splits:
                raise ValueError(
                    f"--validation_split_name is {wanted!r}; the splits are {', '.join(splits) or 'none'}. Name one."
                )
            others = {name: tables for name, tables in splits.items() if not name.startswith("validation")}
            instead = [name for name in splits if name.startswith("validation") and name != wanted]
            notes.append(
                f"the split {wanted!r} is used for validation (by flag)"
                + (f" instead of {', '.join(map(repr, instead))}" if instead else "")
            )
            others.pop(wanted, None)
            return {**others, "validation": splits[wanted]}
        if needs_validation and not any(name.startswith("validation") for name in splits):
            spare = [name for name in splits if name != "train"]
            hint = f" or --validation_split_name {spare[0]} (`validation_split_name`)" if spare else ""
            raise ValueError(
                f"There is no validation split, only {', '.join(splits) or 'no data at all'}. Pass --validation_file "
                f"(`validation_file`){hint}, or hold out training rows with --validation_split_percentage 10 "
                "(`validation_split_percentage`)."
            )
        return splits


def _as_list(files: Files) -> list[PathLike]:
    return [files] if isinstance(files, str | os.PathLike) else list(files)


def _split_name(name: str, splits: Mapping[str, object], notes: list[str]) -> str:
    """Return the name of a split in a task; a note says so if it differs."""
    task_name = _OTHER_NAMES.get(name.lower(), name)
    if task_name == name or task_name in splits:
        return name
    notes.append(f"the split {name!r} is used as {task_name!r}")
    return task_name
