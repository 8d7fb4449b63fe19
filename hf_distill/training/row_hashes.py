"""Hashes of a dataset's columns by what they hold, equal for equal rows whatever file or memory they lie in."""

import hashlib
from collections.abc import Sequence
from typing import Any

import datasets
import numpy as np
import pyarrow as pa

from hf_distill.cache.fingerprint import hash_json

_CHUNK = 10_000  # rows that are in memory at a time


def hash_columns(dataset: datasets.Dataset) -> dict[str, str]:
    """Return for each column the SHA-256 of its values in the order of the rows, as 32 hexadecimal digits.

    Integers of all widths hash alike, and so do floats that are equal in float32, in which training reads them. So a
    dataset that was saved as JSON and loaded again keeps its hashes.
    """
    digests = {name: hashlib.sha256() for name in dataset.column_names}
    rows = dataset.with_format("arrow")
    for start in range(0, len(rows), _CHUNK):
        table = rows[start : start + _CHUNK]
        for name, digest in digests.items():
            _update(digest, pa.concat_arrays(table[name].chunks))
    return {name: digest.hexdigest()[:32] for name, digest in digests.items()}


def hash_of_texts(dataset: datasets.Dataset, columns: Sequence[str]) -> str:
    """Return one hash of the texts in some columns."""
    hashes = hash_columns(dataset.select_columns(list(columns)))
    return hash_json({"texts": [hashes[column] for column in columns]})


def _update(digest: Any, values: pa.Array) -> None:
    """Hash an array: its nulls, then its lengths and parts, or its numbers."""
    if isinstance(values, pa.ExtensionArray):
        values = values.storage
    if pa.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    digest.update(len(values).to_bytes(8, "little") + np.packbits(values.is_valid()).tobytes())
    kind = values.type
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        digest.update(_integers(values.value_lengths()))
        _update(digest, values.flatten())
    elif pa.types.is_struct(kind):
        for field, part in zip(kind, values.flatten(), strict=True):
            digest.update(field.name.encode())
            _update(digest, part)
    elif pa.types.is_integer(kind) or pa.types.is_boolean(kind):
        digest.update(_integers(values))
    elif pa.types.is_floating(kind):
        digest.update(b"float" + _numbers(values.cast(pa.float32(), safe=False).fill_null(0)).tobytes())
    else:  # texts and bytes; dates and the like by their texts
        texts = values if pa.types.is_binary(kind) else values.cast(pa.large_string())
        texts = texts.cast(pa.large_binary()).fill_null(b"")
        _, offsets, characters = texts.buffers()
        ends = np.frombuffer(offsets, np.int64)[texts.offset : texts.offset + len(texts) + 1]
        digest.update((ends - ends[0]).tobytes())
        digest.update(memoryview(characters or b"")[ends[0] : ends[-1]])


def _integers(values: pa.Array) -> bytes:
    return _numbers(values.cast(pa.int64(), safe=False).fill_null(0)).tobytes()


def _numbers(values: pa.Array) -> np.ndarray:
    return values.to_numpy(zero_copy_only=False)
