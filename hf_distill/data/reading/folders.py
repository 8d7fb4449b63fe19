"""Read folders: find out which file belongs to which split."""

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

# Words in names of files and folders -> the split that they mean, as in `datasets`.
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


_SHARD = re.compile(r"-(?P<number>\d{3,})-of-(?P<total>\d{3,})", re.ASCII)


def read_folder(
    folder: Path, config_name: str | None, suffixes: Sequence[str], read: Reader
) -> tuple[dict[str, list[Table]], list[str]]:
    """Read the files of a folder.

    The folder can be one that `save_to_disk` wrote. Otherwise the card (`README.md`) lists the files of each split. If
    it lists none, the names of the files and folders decide. A folder without such names is the split `train`.

    Args:
        folder: The folder.
        config_name: A configuration of the card, or the name of a folder inside `folder`.
        suffixes: The suffixes of files that can be read.
        read: Function that reads one file.

    Returns:
        The tables of each split, in the order of their numbers; and notes, such as the files that were not read.

    Raises:
        ValueError: if the names do not tell which file belongs to which split.
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
            f"{folder} has no configuration {config_name!r}: its card lists none, and the folders inside are "
            f"{', '.join(names) or 'none'}. Leave out --dataset_config_name, or name one of them."
        )
    else:
        files = _files_by_name(folder, suffixes)
    _check_shards([path for paths in files.values() for path in paths])
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
                f"{folder}: no file matches {', '.join(patterns)}, which the card lists for the split {split!r}."
            )
        files[split] = list(paths)
    return files


def _matches(folder: Path, pattern: str) -> list[Path]:
    if Path(pattern).is_absolute() or ".." in Path(pattern).parts:
        raise ValueError(f"{folder}: the card lists {pattern!r}, which is outside the folder.")
    if (folder / pattern).is_file():
        return [folder / pattern]
    return sorted((path for path in folder.glob(pattern) if path.is_file()), key=_by_number)


def _files_by_name(folder: Path, suffixes: Sequence[str]) -> dict[str, list[Path]]:
    paths = _data_files(folder, suffixes)
    if not paths:
        raise ValueError(f"{folder} has no file that can be read. Expected files that end in {', '.join(suffixes)}.")
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
    """Refuse files that may not be parts of the same split; their rows would be concatenated."""
    names = [str(path.relative_to(folder)) for path in parts]
    listed = f"{', '.join(names[:8])}{', ...' if len(names) > 8 else ''}"
    if len({path.parent for path in parts}) > 1:
        raise ValueError(
            f"{folder} has {listed} in several folders. Name the folder with --dataset_config_name "
            "(`dataset_config_name`), or the files with --train_file and --validation_file. If there is a folder for "
            "each label and a file for each text, write one CSV file with a column `label`."
        )
    if len({_inner_suffix(path) for path in parts}) > 1:
        raise ValueError(
            f"{folder} has {listed} for the split {split!r}: several formats, which may contain the same rows. Name "
            "the files with --train_file and --validation_file, or move one away."
        )
    if len({_base(path) for path in parts}) > 1:
        raise ValueError(
            f"{folder} has {listed}. These names differ by more than a number, so the files may not all belong to the "
            f"split {split!r}. Name the files with --train_file and --validation_file, or rename them to train, "
            "validation and test."
        )
    if len({path.stat().st_size for path in parts}) < len(parts):
        contents = [path.read_bytes() for path in parts]
        if len(set(contents)) < len(contents):
            raise ValueError(f"{folder} has {listed}. Two of these files have the same content: remove one.")


def _check_shards(paths: Sequence[Path]) -> None:
    """Refuse files such as `train-00000-of-00003.parquet` of which some are missing.

    Raises:
        ValueError: if there are fewer files than their names say.
    """
    shards: dict[tuple[str, int], set[int]] = {}
    for path in paths:
        if match := _SHARD.search(path.name):
            name = str(path.parent / f"{path.name[: match.start()]}*{path.name[match.end() :]}")
            shards.setdefault((name, int(match["total"])), set()).add(int(match["number"]))
    for (name, total), numbers in shards.items():
        first = 0 if 0 in numbers else 1
        if missing := sorted(set(range(first, first + total)) - numbers):
            raise ValueError(
                f"{name}: the names say that there are {total} files, and number {missing[0]} is missing "
                f"({len(numbers)} are there). Add the missing ones, or rename the files if these are all."
            )


def _data_files(folder: Path, suffixes: Sequence[str]) -> list[Path]:
    """Return the files that can contain rows, sorted by name; numbers are sorted by value."""
    files = [
        path
        for path in folder.rglob("*")
        if path.is_file()
        and not any(part.startswith((".", "__")) for part in path.relative_to(folder).parts)
        and not path.name.casefold().startswith(_NOT_ROWS)
    ]
    known = [path for path in files if _inner_suffix(path) in suffixes]
    # Files of words and tags can have any suffix, such as `emerging.test.annotated`.
    strange = [path for path in files if _is_named_like_words(path, known)]
    return sorted([*known, *strange], key=_by_number)


def _is_named_like_words(path: Path, known: Sequence[Path]) -> bool:
    siblings = {_inner_suffix(other) for other in known if other.parent == path.parent}
    return path not in known and bool(siblings & {".conll", ".bio", ".iob"}) and _split_of(Path(path.name)) is not None


def _inner_suffix(path: Path) -> str:
    suffix = path.suffix.lower()
    return Path(path.stem).suffix.lower() or suffix if suffix in COMPRESSED else suffix


def _split_of(path: Path) -> str | None:
    """Return the split that the name of a file means, else the split that the nearest folder means."""
    for name in (path.name, *(parent.name for parent in path.parents)):
        for word in re.findall("[a-z]+", name.lower()):
            if word in SPLIT_WORDS:
                return SPLIT_WORDS[word]
    return None


def _base(path: Path) -> str:
    return re.sub(r"[\W\d_]+", " ", path.name).strip()


def _by_number(path: Path) -> list[tuple[int, int, str]]:
    """Return a key that sorts `part-10` after `part-9`."""
    return [(1, int(part), "") if part.isdigit() else (0, 0, part) for part in re.split(r"(\d+)", str(path))]
