"""A sketch of rows of numbers: a small sample of their hashes that shows later whether other rows have come in.

The sample is the smallest hashes (a bottom-k sketch: Cohen and Kaplan, 2007, https://doi.org/10.1145/1281100.1281133).
Every part of the rows, in any order, fits the sketch of all of them. A new row fits if its hash is larger than the
sample, so a few new rows among very many can stay unnoticed, and a column that was changed cannot.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from hf_distill.utils.columns import select_formatted

if TYPE_CHECKING:  # slow to import
    import datasets

_NUM_HASHES = 1024
_ROWS_PER_CHUNK = 10_000
_LARGEST = 2**32 - 1


@dataclass(frozen=True)
class Sketch:
    """The smallest hashes of rows.

    Attributes:
        hashes: `(at most 1024,)` uint32, sorted. If there are fewer, these are the hashes of all rows.
    """

    hashes: np.ndarray

    @classmethod
    def of(cls, hashes: np.ndarray) -> Sketch:
        """Return the sketch of rows with these hashes, `(num_rows,)` uint32."""
        return cls(np.unique(hashes)[:_NUM_HASHES])

    @classmethod
    def parse(cls, text: str) -> Sketch:
        """Read what `str` returned."""
        return cls(np.frombuffer(base64.b64decode(text), "<u4"))

    def __str__(self) -> str:
        """Return the sketch as text without blanks."""
        return base64.b64encode(self.hashes.astype("<u4").tobytes()).decode()

    def fits(self, hashes: np.ndarray) -> np.ndarray:
        """Return for each row whether it can be one of the rows of the sketch, `(num_rows,)` bool."""
        largest = self.hashes[-1] if len(self.hashes) == _NUM_HASHES else _LARGEST
        return (hashes > largest) | np.isin(hashes, self.hashes)


def hash_numbers(dataset: datasets.Dataset, column: str) -> np.ndarray:
    """Return a hash of each row of a column of numbers, lists or nested lists of numbers, `(num_rows,)` uint32.

    Numbers are hashed as float32, so that a dataset that was converted to float64 keeps its hashes.
    """
    rows = select_formatted(dataset, [column], "arrow")
    starts = range(0, len(rows), _ROWS_PER_CHUNK)
    chunks = [_hash_rows(rows[start : start + _ROWS_PER_CHUNK][column]) for start in starts]
    return np.concatenate([np.empty(0, np.uint32), *chunks])


def _hash_rows(column: pa.ChunkedArray) -> np.ndarray:
    values = pa.concat_arrays(column.chunks)
    ends = np.arange(len(values) + 1)  # where each row ends among the values, with a 0 before the first row
    while not (pa.types.is_floating(values.type) or pa.types.is_integer(values.type)):
        values = values.storage if isinstance(values, pa.ExtensionArray) else values
        lengths = pc.list_value_length(values).fill_null(0).to_numpy(zero_copy_only=False)
        ends = np.concatenate([[0], np.cumsum(lengths)])[ends]
        values = values.flatten()
    # + 0.0 makes 0.0 of -0.0.
    numbers = values.cast(pa.float32(), safe=False).fill_null(0.0).to_numpy(zero_copy_only=False) + np.float32(0.0)
    places = np.arange(len(numbers), dtype=np.uint64) - np.repeat(ends[:-1], np.diff(ends)).astype(np.uint64)
    mixed = _mix(numbers.view(np.uint32).astype(np.uint64) | (places << np.uint64(32)))
    sums = np.concatenate([np.zeros(1, np.uint64), np.cumsum(mixed, dtype=np.uint64)])  # modulo 2^64
    return (_mix(sums[ends[1:]] - sums[ends[:-1]]) >> np.uint64(32)).astype(np.uint32)


def _mix(values: np.ndarray) -> np.ndarray:
    """Scramble 64-bit integers (the finalizer of SplitMix64: Steele et al., 2014, https://doi.org/10.1145/2660193)."""
    values = values + np.uint64(0x9E3779B97F4A7C15)
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))
