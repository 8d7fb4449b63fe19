"""Folders of files: which file belongs to which split."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path

from datasets import Dataset, DatasetDict, load_from_disk

from hf_distill.data.reading.cards import Card, read_card
from hf_distill.data.reading.content import COMPRESSED
from hf_distill.data.table import Source, Table

Reader = Callable[[Path], Table]

# Words in the names of files and folders -> the split that they mean; as `datasets` reads them.
SPLIT_WORDS = {
    "train": "train", "training": "train",
    "validation": "validation", "valid": "validation", "val": "validation", "dev": "validation",
    "test": "test", "testing": "test", "eval": "test", "evaluation": "test",
}  # fmt: skip
_NOT_ROWS = (
    "readme",
    "license",
    "dataset_info.json",
    "dataset_infos.json",
    "teacher.json",
    "state.json",
    "config.json",
)


def read_folder(
    folder: Path, config_name: str | None, suffixes: Sequence[str], read: Reader
) -> tuple[dict[str, list[Table]], list[str]]:
    """Read the files of a folder.

    A folder that `save_to_disk` wrote is read as such. Otherwise the card (`README.md`) says which file is of which
    split; without one, the names of the files do, or those of the folders that they are in. A folder without any such
    name is the split `train`, if it holds one file, or parts of one.

    Args:
        folder: The folder.
        config_name: A configuration of the card, or the name of a folder inside.
        suffixes: Of the files that can be read.
        read: Reads one file.

    Returns:
        The tables of each split, in the order of the parts; and notes, such as the files that were not read.

    Raises:
        ValueError: where it is open which file is of which split.
    """
    if (folder / "dataset_dict.json").is_file() or (folder / "state.json").is_file():
        return _read_saved(folder), []
    card = read_card(folder)
    if card is not None and card.configs:
        files = _files_of_card(card, config_name, suffixes)
    elif config_name is not None and (folder / config_name).is_dir():
        files = _files_by_name(folder / config_name, suffixes)
    elif config_name is not None:
        names = [path.name for path in sorted(folder.iterdir()) if path.is_dir() and not path.name.startswith(".")]
        raise ValueError(
            f"{folder} has no configuration {config_name!r}: its card names none, and the folders in it are "
            f"{', '.join(names) or 'none'}. Leave --dataset_config_name out, or name one of them."
        )
    else:
        files = _files_by_name(folder, suffixes)
    taken = {path for paths in files.values() for path in paths}
    others = [path for path in _data_files(folder, suffixes) if path not in taken]
    notes = [f"not read: {', '.join(str(path.relative_to(folder)) for path in others[:8])}"] if others else []
    tables = {split: [read(path) for path in paths] for split, paths in files.items()}
    for split in tables.values():
        for table in split:
            table.declared |= {} if card is None else card.class_names(config_name)
    return tables, notes


def _read_saved(folder: Path) -> dict[str, list[Table]]:
    saved = load_from_disk(str(folder))
    splits = saved if isinstance(saved, DatasetDict) else DatasetDict({"train": saved})
    return {split: [_saved_table(folder, split, dataset)] for split, dataset in splits.items()}


def _saved_table(folder: Path, split: str, dataset: Dataset) -> Table:
    dataset = dataset.with_format(None).flatten_indices()
    return Table(Source(f"{folder}/{split}", f"{folder.name}/{split}", "save_to_disk"), dataset)


def _files_of_card(card: Card, config_name: str | None, suffixes: Sequence[str]) -> dict[str, list[Path]]:
    folder, files = card.data_folder(config_name), {}
    named = card.data_files(config_name)
    if not named:
        return _files_by_name(folder, suffixes)
    for split, patterns in named.items():
        paths = dict.fromkeys(path for pattern in patterns for path in _matches(folder, pattern))
        if not paths:
            raise ValueError(
                f"{folder}: the card names {', '.join(patterns)} for the split {split!r}; no file matches."
            )
        files[split] = list(paths)
    return files


def _matches(folder: Path, pattern: str) -> list[Path]:
    if Path(pattern).is_absolute() or ".." in Path(pattern).parts:
        raise ValueError(f"{folder}: the card names {pattern!r}, which leads out of the folder.")
    if (folder / pattern).is_file():
        return [folder / pattern]
    return sorted((path for path in folder.glob(pattern) if path.is_file()), key=_by_number)


def _files_by_name(folder: Path, suffixes: Sequence[str]) -> dict[str, list[Path]]:
    paths = _data_files(folder, suffixes)
    if not paths:
        raise ValueError(
            f"{folder} holds no file that can be read. Wanted are files that end in {', '.join(suffixes)}."
        )
    splits = defaultdict[str, list[Path]](list)
    for path in paths:
        if (split := _split_of(path.relative_to(folder))) is not None:
            splits[split].append(path)
    if not splits:
        splits["train"] = paths
    for split, parts in splits.items():
        _check_parts(folder, split, parts)
    return dict(splits)


def _check_parts(folder: Path, split: str, parts: list[Path]) -> None:
    """Refuse files that are perhaps not parts of one split, whose rows would be put together."""
    names = [str(path.relative_to(folder)) for path in parts]
    listed = f"{', '.join(names[:8])}{', ...' if len(names) > 8 else ''}"
    if len({path.parent for path in parts}) > 1:
        raise ValueError(
            f"{folder} holds {listed}, in several folders. Name the folder by --dataset_config_name "
            "(`dataset_config_name`), or the files by --train_file and --validation_file. A folder for each "
            "label, with a text a file, is not read: write one CSV with a column `label`."
        )
    if len({_inner_suffix(path) for path in parts}) > 1:
        raise ValueError(
            f"{folder} holds {listed} for the split {split!r}: rows in several formats, which are perhaps the same "
            "rows twice. Name the files by --train_file and --validation_file, or move one away."
        )
    if len({_base(path) for path in parts}) > 1:
        raise ValueError(
            f"{folder} holds {listed}. The names differ by more than a number, so it is open whether all of them are "
            f"of the split {split!r}. Name the files by --train_file and --validation_file, or rename them to train, "
            "validation and test."
        )
    if len({path.stat().st_size for path in parts}) < len(parts):
        contents = [path.read_bytes() for path in parts]
        if len(set(contents)) < len(contents):
            raise ValueError(f"{folder} holds {listed}, of which two have the same bytes. Remove one.")


def _data_files(folder: Path, suffixes: Sequence[str]) -> list[Path]:
    """Return the files that can hold rows, parts in the order of their numbers."""
    files = [
        path
        for path in folder.rglob("*")
        if path.is_file()
        and not any(part.startswith((".", "__")) for part in path.relative_to(folder).parts)
        and not path.name.casefold().startswith(_NOT_ROWS)
    ]
    known = [path for path in files if _inner_suffix(path) in suffixes]
    # Files of words and tags have all kinds of suffixes (`emerging.test.annotated`).
    strange = [path for path in files if _is_named_like_words(path, known)]
    return sorted([*known, *strange], key=_by_number)


def _is_named_like_words(path: Path, known: Sequence[Path]) -> bool:
    siblings = {_inner_suffix(other) for other in known if other.parent == path.parent}
    return path not in known and bool(siblings & {".conll", ".bio", ".iob"}) and _split_of(Path(path.name)) is not None


def _inner_suffix(path: Path) -> str:
    suffix = path.suffix.lower()
    return Path(path.stem).suffix.lower() or suffix if suffix in COMPRESSED else suffix


def _split_of(path: Path) -> str | None:
    """Return the split that the name of a file says, else the folder that is nearest."""
    for name in (path.name, *(parent.name for parent in path.parents)):
        for word in re.findall("[a-z]+", name.lower()):
            if word in SPLIT_WORDS:
                return SPLIT_WORDS[word]
    return None


def _base(path: Path) -> str:
    return re.sub(r"[\W\d_]+", " ", path.name).strip()


def _by_number(path: Path) -> list[tuple[int, int, str]]:
    """Sort `part-10` behind `part-9`."""
    return [(1, int(part), "") if part.isdigit() else (0, 0, part) for part in re.split(r"(\d+)", str(path))]
