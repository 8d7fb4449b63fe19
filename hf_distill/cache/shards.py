"""What a shard of a store must contain: which teacher it names, and rows that a teacher can have written."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

FORMAT = 2  # of keys and files; format 1 hashed only token ids and segment ids, and did not name the teacher


@dataclass(frozen=True)
class RowFormat:
    """The rows of one teacher.

    Attributes:
        fingerprint: Fingerprint of the teacher.
        width: Number of values of a row; if rows have different lengths, of each of their tokens.
        has_equal_rows: Whether every row has `width` values.
    """

    fingerprint: str
    width: int
    has_equal_rows: bool = True

    @property
    def metadata(self) -> dict[bytes, bytes]:
        """What every file of the store says about itself."""
        return {b"hf_distill.format": str(FORMAT).encode(), b"hf_distill.teacher": self.fingerprint.encode()}

    def find_problem(self, rows: pa.Array) -> str | None:
        """Say what is wrong with rows that no teacher can have written; None if nothing is."""
        if rows.null_count:
            return "a row has no values"
        lengths, numbers = (
            rows.value_lengths().to_numpy(zero_copy_only=False),
            rows.flatten().to_numpy(zero_copy_only=False),
        )
        is_wrong = lengths != self.width if self.has_equal_rows else lengths % self.width != 0
        if is_wrong.any():
            expected = "" if self.has_equal_rows else "a multiple of "
            return f"a row has {lengths[is_wrong][0]} values instead of {expected}{self.width}"
        # The largest value of a row, or of a token, is NaN if any is NaN.
        if not np.isfinite(numbers.reshape(-1, self.width).max(axis=1, initial=-np.inf)).all():
            return "a row has NaN, +inf or no finite number"
        return None


def is_older(metadata: dict[bytes, bytes] | None) -> bool:
    """Return whether a shard with this metadata was written before shards named their format and their teacher."""
    return b"hf_distill.format" not in (metadata or {})
