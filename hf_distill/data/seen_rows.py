"""Hashes of the rows that a training run has seen, in the file `distillation_rows.npz` beside its record.

The file has one array for each split (`train`, `validation`, `test`, `transfer`; `train_before` has the rows that
trained the student's initial model): the 8-byte BLAKE2b hash of each text as an unsigned integer, each once and
sorted. 1,000,000 rows need 8 MB, and two different texts among them have the same hash with a probability below 1
in 10 million. Whoever guesses a text can look for its hash, so the file is never published; the record has only a
hash of its content.
"""

import hashlib
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from datasets import Dataset

from hf_distill.utils.atomic import write_file_atomically

ROWS_NAME = "distillation_rows.npz"
RowHashes = dict[str, np.ndarray]  # split -> sorted uint64 hashes
MOST_TRAINED = 0.5  # share of the rows; above it, they are the training rows rather than texts that occur twice


def hash_texts(texts: Iterable[Any]) -> np.ndarray:
    """Return a hash for each row, `(num_rows,)` uint64. Runs of white space count as one blank.

    Args:
        texts: Texts, pairs of texts, or lists of words.
    """
    return np.array([_hash(text) for text in texts], dtype=np.uint64)


def _hash(text: Any) -> int:
    parts = [text] if isinstance(text, str) else text
    key = "\x1f".join(" ".join(part.split()) for part in parts)
    return int.from_bytes(hashlib.blake2b(key.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")


def hash_rows_of(datasets: Mapping[str, Dataset], text_columns: Sequence[str]) -> RowHashes:
    """Return the hashes of the texts of each split.

    Args:
        datasets: The splits.
        text_columns: One text column, the two columns of a pair, or the column of words.
    """
    return {split: np.unique(hash_dataset(dataset, text_columns)) for split, dataset in datasets.items()}


def hash_dataset(dataset: Dataset, text_columns: Sequence[str]) -> np.ndarray:
    """Return a hash for each row of a split, `(num_rows,)` uint64."""
    columns = [dataset[name] for name in text_columns]
    return hash_texts(columns[0] if len(columns) == 1 else zip(*columns, strict=True))


def hashes_of_roles(runs: Sequence[RowHashes], roles: tuple[str, ...]) -> np.ndarray:
    """Return the hashes of all splits of the runs whose names start with one of the roles."""
    parts = [hashes for run in runs for split, hashes in run.items() if split.startswith(roles)]
    return np.concatenate(parts) if parts else np.zeros(0, dtype=np.uint64)


def hashes_that_trained(runs: Sequence[RowHashes]) -> np.ndarray:
    """Return the hashes of the rows that trained a model, with a label or with a teacher's answer."""
    return hashes_of_roles(runs, ("train", "transfer"))


def checksum_of(hashes: RowHashes) -> str:
    """Return a hash of all hashes, as 32 hexadecimal digits. The record has it, so that an older file is noticed."""
    digest = hashlib.sha256()
    for split in sorted(hashes):
        digest.update(f"{split} {len(hashes[split])} ".encode() + hashes[split].astype("<u8").tobytes())
    return digest.hexdigest()[:32]


def write_row_hashes(folder: Path, hashes: RowHashes) -> None:
    """Write the file into a folder, atomically."""
    arrays: Any = {split: values.astype("<u8") for split, values in hashes.items()}

    def write(path: Path) -> None:
        with path.open("wb") as file:
            np.savez(file, **arrays)

    write_file_atomically(folder, ROWS_NAME, write)


def read_row_hashes(folder: Path, checksum: str | None) -> RowHashes | None:
    """Read the file in a folder.

    Args:
        folder: Folder of a training run.
        checksum: `row_hashes` in the record of the run.

    Returns:
        The hashes; None if there is no file, or if it belongs to another run than the record.

    Raises:
        ValueError: if the file is damaged.
    """
    path = folder / ROWS_NAME
    if checksum is None or not path.is_file():
        return None
    try:
        with np.load(path, allow_pickle=False) as arrays:
            hashes = {split: arrays[split] for split in arrays.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path} cannot be read ({error}). Remove it, or copy it from the training run.") from None
    return hashes if checksum_of(hashes) == checksum else None
