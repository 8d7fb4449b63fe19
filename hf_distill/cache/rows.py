"""The rows of a dataset as a teacher reads them: their canonical form, a key for every row, and batches of rows."""

import hashlib
from collections.abc import Collection, Generator, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from transformers import PreTrainedTokenizerBase

from hf_distill.cache.store import KEY
from hf_distill.utils.columns import select_formatted

ROWS_PER_CHUNK = 10_000  # number of rows that are in memory at the same time
PADDED_COLUMNS = ("input_ids", "token_type_ids", "attention_mask")  # the columns that every tokenizer can pad

Row = Mapping[str, np.ndarray]  # the values of one row by column


def read_rows(dataset: datasets.Dataset, names: Collection[str]) -> Iterator[Row]:
    """Yield the rows of the existing columns among `names`, without padding.

    Positions at either end of a row whose attention mask is 0 are padding, and are cut from every column that has a
    value for each token.

    Raises:
        ValueError: for a row without a value, a column that does not consist of numbers, or columns that do not have
            one value for each token.
    """
    start = 0
    for table in _read_chunks(dataset, names):
        columns = [_to_arrays(name, table[name], start) for name in table.column_names]
        for number, values in enumerate(zip(*columns, strict=True), start):
            row = dict(zip(table.column_names, values, strict=True))
            _check_lengths(row, number)
            yield _without_padding(row)
        start += len(table)


def _check_lengths(row: Row, number: int) -> None:
    length = len(row["input_ids"])
    for name in PADDED_COLUMNS[1:]:
        if name in row and len(row[name]) != length:
            raise ValueError(
                f"Row {number} has {length} token ids and {len(row[name])} values in `{name}`. Tokenize the row again."
            )


def token_span(row: Row) -> tuple[int, int]:
    """Return the first position of a row that is not padding, and the position after the last one."""
    length, mask = len(row["input_ids"]), row.get("attention_mask")
    if mask is None or mask.shape != (length,) or not mask.any():
        return 0, length
    return int(mask.argmax()), length - int(mask[::-1].argmax())


def _without_padding(row: Row) -> Row:
    (start, stop), length = token_span(row), len(row["input_ids"])
    if (start, stop) == (0, length):
        return row
    return {name: v[start:stop] if v.ndim and len(v) == length else v for name, v in row.items()}


def hash_rows(
    dataset: datasets.Dataset,
    names: Collection[str] = PADDED_COLUMNS,
    defaults: Collection[str] = ("attention_mask", "token_type_ids"),
    fingerprint: str = "",
) -> np.ndarray:
    """Return a key for each row: a hash of everything that the teacher reads, `(num_rows,)`, 16 bytes each.

    Rows that the teacher cannot tell apart have the same key: padding is not hashed, and neither is a column of
    `defaults` with the values that the teacher assumes if it does not get the column.

    Args:
        dataset: Rows with `input_ids`.
        names: The columns that the teacher reads, if the dataset has them.
        defaults: The columns that the teacher replaces if it does not get them: `attention_mask` by ones,
            `token_type_ids` by zeros and `position_ids` by 0, 1, 2, ...
        fingerprint: Fingerprint of the teacher. The keys of two teachers differ.

    Raises:
        ValueError: for a row without a value, or a column that does not consist of numbers.
    """
    teacher = hashlib.blake2b(fingerprint.encode(), digest_size=16).digest()
    digests = [_hash_row(row, defaults, teacher) for row in read_rows(dataset, names)]
    return np.frombuffer(b"".join(digests), KEY)


def _hash_row(row: Row, defaults: Collection[str], teacher: bytes) -> bytes:
    # Names, types and shapes are hashed too, so that a column and a longer row have different keys.
    digest = hashlib.blake2b(digest_size=16, key=teacher)
    for name in sorted(row):
        if name not in defaults or not _is_default(name, row[name]):
            values = row[name]
            digest.update(f"{name} {values.dtype} {values.shape} ".encode())
            digest.update(np.ascontiguousarray(values).data)
    return digest.digest()


def _is_default(name: str, values: np.ndarray) -> bool:
    if name == "attention_mask":
        return bool((values == 1).all())
    if name == "token_type_ids":
        return not values.any()
    return np.array_equal(values, np.arange(len(values)))


def batches_by_length(rows: datasets.Dataset, max_tokens: int, has_padding: bool = True) -> Iterator[np.ndarray]:
    """Yield the row indices of batches of similar lengths, the longest rows first.

    A batch has at most `max_tokens` tokens, including padding, unless a single row is longer.

    Args:
        rows: Rows with `input_ids`.
        max_tokens: Maximum number of tokens of a batch.
        has_padding: Whether rows of different lengths can be in one batch.
    """
    lengths = np.array([len(row["input_ids"]) for row in read_rows(rows, ("input_ids", "attention_mask"))])
    order = np.argsort(-lengths, kind="stable")
    start = 0
    while start < len(order):
        longest = lengths[order[start]]
        stop = start + max(1, max_tokens // max(1, longest))
        if not has_padding:
            stop = min(stop, start + int((lengths[order[start:stop]] == longest).sum()))
        yield order[start:stop]
        start = stop


def read_ahead(items: Iterator[Any]) -> Generator[Any]:
    """Yield items, and let a thread make the next one meanwhile."""
    with ThreadPoolExecutor(max_workers=1) as thread:
        following = thread.submit(next, items, None)
        while (item := following.result()) is not None:
            following = thread.submit(next, items, None)
            yield item


def _read_chunks(dataset: datasets.Dataset, names: Collection[str]) -> Iterator[pa.Table]:
    """Yield the existing columns among `names`, `ROWS_PER_CHUNK` rows at a time."""
    rows = select_formatted(dataset, [name for name in dataset.column_names if name in names], "arrow")
    for start in range(0, len(rows), ROWS_PER_CHUNK):
        yield rows[start : start + ROWS_PER_CHUNK]


def _to_arrays(name: str, column: pa.ChunkedArray, first_row: int) -> Sequence[np.ndarray]:
    """Return the numbers of each row: integers as int64, other numbers as float64."""
    values = pa.concat_arrays(column.chunks)
    if values.null_count:
        row = first_row + int(np.flatnonzero(values.is_null().to_numpy(zero_copy_only=False))[0])
        raise ValueError(f"Row {row} has no value in the column `{name}`, which the teacher reads. Remove the row.")
    is_flat = pa.types.is_list(values.type) or pa.types.is_large_list(values.type)
    if not (is_flat and _is_number(values.type.value_type)):
        return _nested_arrays(name, values)
    numbers = values.flatten().to_numpy(zero_copy_only=False)
    if is_integer := numbers.dtype.kind in "biu":  # one conversion for all rows: most columns are of this kind
        numbers = _canonical(numbers)
    arrays = np.split(numbers, np.cumsum(pc.list_value_length(values).to_numpy(zero_copy_only=False))[:-1])
    return arrays if is_integer else [_canonical(row) for row in arrays]


def _nested_arrays(name: str, values: pa.Array) -> list[np.ndarray]:
    try:
        return [_canonical(np.asarray(value)) for value in values.to_pylist()]
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"The teacher reads the column `{name}`, whose rows cannot be turned into arrays of numbers: {error}."
        ) from error


def _is_number(kind: pa.DataType) -> bool:
    return pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)


def _canonical(numbers: np.ndarray) -> np.ndarray:
    if numbers.dtype.kind not in "biuf":
        raise TypeError(f"the values are of type {numbers.dtype}")
    if numbers.dtype.kind == "f" and not (np.isfinite(numbers).all() and (numbers == numbers.round()).all()):
        return numbers.astype(np.float64)
    return numbers.astype(np.int64)


def pad_rows(rows: Sequence[Row], tokenizer: PreTrainedTokenizerBase) -> dict[str, np.ndarray]:
    """Pad rows to the length of the longest one, on the tokenizer's side, and return them as one array per column.

    The batch always has an attention mask. Columns that are not in `PADDED_COLUMNS` need rows of equal shapes.
    """
    rows = [{"attention_mask": np.ones(len(row["input_ids"]), np.int64), **row} for row in rows]
    fillers = {"input_ids": tokenizer.pad_token_id, "token_type_ids": tokenizer.pad_token_type_id, "attention_mask": 0}
    return {
        name: _pad([row[name] for row in rows], fillers.get(name), tokenizer.padding_side == "left")
        for name in rows[0]
    }


def _pad(values: Sequence[np.ndarray], filler: int | None, is_left: bool) -> np.ndarray:
    length = max(len(value) for value in values) if filler is not None else 0
    if filler is None or all(len(value) == length for value in values):
        return np.stack(values)
    padded = np.full((len(values), length), filler, values[0].dtype)
    for row, value in zip(padded, values, strict=True):
        row[length - len(value) if is_left else 0 :][: len(value)] = value
    return padded


def fill_padding(dataset: datasets.Dataset, column: str) -> datasets.Dataset:
    """Add zeros to a column of outputs for each token at the positions of a row that are padding."""
    if "attention_mask" not in dataset.column_names:
        return dataset
    rows = dataset.select_columns([column, "input_ids", "attention_mask"]).with_format(None)
    is_whole = (
        len(read["input_ids"]) == length
        for read, length in zip(read_rows(rows, ("input_ids", "attention_mask")), _lengths(rows), strict=True)
    )
    if all(is_whole):
        return dataset
    filled = rows.map(
        _fill, batched=True, features=dataset.select_columns([column]).features, fn_kwargs={"column": column},
        remove_columns=["input_ids", "attention_mask"],
    )  # fmt: skip
    return datasets.concatenate_datasets([dataset.remove_columns([column]), filled], axis=1)


def _lengths(rows: datasets.Dataset) -> Iterator[int]:
    for table in _read_chunks(rows, ("input_ids",)):
        yield from pc.list_value_length(table["input_ids"]).to_pylist()


def _fill(rows: Mapping[str, list], column: str) -> dict[str, list]:
    filled = []
    for values, ids, mask in zip(rows[column], rows["input_ids"], rows["attention_mask"], strict=True):
        start, stop = token_span({"input_ids": np.asarray(ids), "attention_mask": np.asarray(mask)})
        row = np.zeros((len(ids), len(values[0])), np.float32)
        row[start:stop] = values
        filled.append(row)
    return {column: filled}
