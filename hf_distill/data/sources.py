"""From which files, folder or dataset the splits of a task are."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from hf_distill.data.reading import PathLike, ReadOptions, read_dataset, read_file
from hf_distill.data.table import Table
from hf_distill.data.texts import without_rejected

Files = PathLike | Sequence[PathLike]
Splits = dict[str, list[Table]]
# What cards, folders and saved datasets call the splits -> what we call them.
_OTHER_NAMES = {"training": "train", "dev": "validation", "valid": "validation", "val": "validation"}


@dataclass(frozen=True)
class Sources:
    """Where the rows of a task are.

    Args:
        dataset_name: An id on the Hub or a folder.
        config_name: Its configuration.
        revision: Its branch, tag or commit on the Hub.
        files: Files by split, which take the place of the splits of the dataset.
        validation_split_name: The split that is to be the validation split.
    """

    dataset_name: str | None
    config_name: str | None
    revision: str | None
    files: Mapping[str, Files | None]
    validation_split_name: str | None = None

    @property
    def name(self) -> str:
        """Short name of the task."""
        path = Path(self._first).absolute()
        return path.stem if path.is_file() else path.name

    @property
    def dataset_id(self) -> str:
        """The id on the Hub, or the bare name of a file or folder."""
        return Path(self._first).absolute().name if Path(self._first).exists() else str(self.dataset_name)

    @property
    def _first(self) -> str:
        if self.dataset_name is not None:
            return os.path.expanduser(self.dataset_name)
        files = next((files for files in self.files.values() if files is not None), "")
        return os.path.expanduser(_as_list(files)[0])

    def load(self, options: ReadOptions, needs_validation: bool) -> tuple[Splits, list[str]]:
        """Return the tables of each split, `train` first, and notes.

        Raises:
            ValueError: if there is no data, no validation split although it is needed, or an empty split.
        """
        if self.dataset_name is None and (self.config_name is not None or self.revision is not None):
            raise ValueError("`dataset_config_name` and `revision` are of a dataset, but `dataset_name` is not set.")
        splits: Splits = {}
        notes: list[str] = []
        if self.dataset_name is not None:
            found, notes = read_dataset(self.dataset_name, self.config_name, self.revision, options)
            splits |= {_our_name(name, found, notes): tables for name, tables in found.items()}
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
        for name, tables in result.items():
            if not sum(map(len, tables)):
                paths = ", ".join(table.source.path for table in tables)
                raise ValueError(f"The split {name!r} is empty: {paths} holds no row. Pass at least one.")
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
            hint = f", or --validation_split_name {spare[0]} (`validation_split_name`)" if spare else ""
            raise ValueError(
                f"There is no validation split, only {', '.join(splits) or 'no data at all'}. Pass --validation_file "
                f"(`validation_file`){hint}; rows are not split off the training data unasked."
            )
        return splits


def _as_list(files: Files) -> list[PathLike]:
    return [files] if isinstance(files, str | os.PathLike) else list(files)


def _our_name(name: str, splits: Mapping[str, object], notes: list[str]) -> str:
    ours = _OTHER_NAMES.get(name.lower(), name)
    if ours == name or ours in splits:
        return name
    notes.append(f"the split {name!r} is used as {ours!r}")
    return ours
