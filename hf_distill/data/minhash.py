"""Near-duplicate texts: MinHash signatures find the candidates, the exact Jaccard similarity decides."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
from datasets import Dataset

from hf_distill.data.word_characters import find_words

NUM_HASHES = 128
SHINGLE_SIZE = 2  # words; with three words, two versions of a text of ten words would share few shingles
_MAX_MISSED = 1e-3  # share of the pairs at the threshold that is missed


class Shingles:
    """The shingles of texts as 32-bit hashes. A shingle is a run of words, in lower case and without punctuation.

    A text with fewer words than a shingle has one shingle, the whole text. So has a text without words, such as an
    emoji. Languages without spaces between words are compared by whole phrases. The columns of a pair share no
    shingles.

    Args:
        dataset: Rows of text, or of lists of words.
        text_columns: One column, or the two columns of a pair.
        size: Number of words in a shingle.
    """

    def __init__(self, dataset: Dataset, text_columns: Sequence[str], size: int = SHINGLE_SIZE) -> None:
        columns = [
            [text if isinstance(text, str) else " ".join(text) for text in dataset[column]] for column in text_columns
        ]
        rows = [
            sorted(
                {_hash(f"{column} {shingle}") for column, text in enumerate(texts) for shingle in _split(text, size)}
            )
            for texts in zip(*columns, strict=True)
        ]
        self._starts = np.cumsum([0, *map(len, rows)])
        self._hashes = np.array([value for row in rows for value in row], dtype=np.uint64)

    def __len__(self) -> int:
        return len(self._starts) - 1

    def __getitem__(self, row: int) -> set[int]:
        return set(self._hashes[self._starts[row] : self._starts[row + 1]].tolist())

    def jaccard(self, row: int, other: int) -> float:
        """Return the number of shingles that two rows share, divided by the number of all their shingles."""
        return len(self[row] & self[other]) / len(self[row] | self[other])

    def signatures(self, num_hashes: int = NUM_HASHES) -> np.ndarray:
        """Return the lowest value of each hash function over the shingles of each row, `(num_rows, num_hashes)`.

        The share of equal values in two rows estimates their Jaccard similarity J with a standard deviation of
        sqrt(J (1 - J) / num_hashes): Broder (1997), "On the resemblance and containment of documents". The functions
        are multiply-shift, ((a x + b) mod 2^64) >> 32, with the same a and b in every process.
        """
        a, b = _random_words((2, num_hashes))
        least = np.empty((len(self), num_hashes), dtype=np.uint32)
        if len(self):
            for i in range(num_hashes):
                hashed = (self._hashes * a[i] + b[i]) >> np.uint64(32)
                least[:, i] = np.minimum.reduceat(hashed, self._starts[:-1])
        return least

    def first_near_duplicates(self, threshold: float, num_known: int = 0) -> np.ndarray:
        """Find for each row the first kept row before it that is a near-duplicate.

        Args:
            threshold: Lowest Jaccard similarity of near-duplicates, from 0.1 to 1.
            num_known: Number of rows at the start that are always kept.

        Returns:
            `(num_rows,)` row numbers; -1 for rows that are kept. A pair at the threshold is missed with a probability
            of at most 0.001, a more similar pair with a lower probability, and equal rows are never missed.
        """
        found = np.full(len(self), -1)
        kept_by_key: dict[int, list[int]] = {}
        for row, keys in enumerate(self._band_keys(threshold)):
            if row >= num_known:
                candidates = sorted({other for key in keys for other in kept_by_key.get(key, ())})
                found[row] = next((other for other in candidates if self.jaccard(row, other) >= threshold), -1)
            if found[row] < 0:
                for key in keys:
                    kept_by_key.setdefault(key, []).append(row)
        return found

    def groups(self, threshold: float) -> np.ndarray:
        """Group the rows so that near-duplicates are in the same group, directly or through other rows.

        Args:
            threshold: Lowest Jaccard similarity of near-duplicates, from 0.1 to 1.

        Returns:
            `(num_rows,)`, the number of the first row of the group that each row belongs to. Pairs are missed as in
            [`Shingles.first_near_duplicates`].
        """
        first = list(range(len(self)))

        def find(row: int) -> int:
            while first[row] != row:
                first[row] = first[first[row]]
                row = first[row]
            return row

        by_key: dict[int, dict[int, list[int]]] = {}  # band -> group -> rows
        for row, keys in enumerate(self._band_keys(threshold)):
            tested: set[int] = set()
            for key in dict.fromkeys(keys):
                for group, members in by_key.setdefault(key, {}).items():
                    # A group is skipped as a whole, so that many equal texts take no time.
                    if (root := find(group)) != find(row) and self._has_near_duplicate(
                        row, members, tested, threshold
                    ):
                        first[max(root, find(row))] = min(root, find(row))
            for key in dict.fromkeys(keys):
                by_key[key].setdefault(find(row), []).append(row)
        return np.array([find(row) for row in range(len(self))], dtype=np.int64)

    def _has_near_duplicate(self, row: int, others: Sequence[int], tested: set[int], threshold: float) -> bool:
        """Whether one of the other rows that are not yet in `tested` is a near-duplicate."""
        for other in others:
            if other not in tested:
                tested.add(other)
                if self.jaccard(row, other) >= threshold:
                    return True
        return False

    def _band_keys(self, threshold: float) -> list[list[int]]:
        """Return one number for each band of a signature. Rows that share a number are candidates."""
        rows = _rows_per_band(threshold)
        num_bands = NUM_HASHES // rows
        factors, offsets = _random_words((2, num_bands, rows))
        bands = self.signatures()[:, : num_bands * rows].reshape(-1, num_bands, rows)
        return [((signature * factors).sum(axis=1) + offsets[:, 0]).tolist() for signature in bands]


def _split(text: str, size: int) -> list[str]:
    words = find_words(text.casefold()) or [text.strip()]
    return [" ".join(words[i : i + size]) for i in range(max(1, len(words) - size + 1))]


def _hash(shingle: str) -> int:
    return int.from_bytes(hashlib.blake2b(shingle.encode(), digest_size=4).digest(), "little")


def _random_words(shape: tuple[int, ...]) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 2**64, shape, dtype=np.uint64)


def _rows_per_band(threshold: float) -> int:
    """Return the highest number of rows in a band that misses few enough pairs at the threshold.

    More rows in a band give fewer false candidates. With b bands of r rows each, a pair of similarity s is missed with
    the probability (1 - s^r)^b.
    """
    sizes = range(1, NUM_HASHES + 1)
    return max(r for r in sizes if (1 - threshold**r) ** (NUM_HASHES // r) <= _MAX_MISSED)
