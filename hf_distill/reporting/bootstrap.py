"""Resamples of the rows of a sample, and the intervals and p-values that are read from them."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

# From how often each resample draws each row, `(num_resamples, num_rows)`, to scores by name, `(num_resamples,)` each.
Scorer = Callable[[np.ndarray], dict[str, np.ndarray]]
Samples = dict[str, dict[str, np.ndarray]]  # name of a model -> name of a score -> `(num_resamples,)`

MOST_BLOCKS = 1000  # of the jackknife
_CHUNK = 500_000  # counts in memory at once, 4 MB
_KEPT = 4_000_000  # counts that are kept of one set of resamples, 8 MB
_EQUAL = 1e-12  # scores of a resample that differ by less are equal


def on_all_rows(scorer: Scorer, num_rows: int) -> dict[str, float]:
    """Return the scores of the rows themselves, each counted once."""
    return {name: float(values[0]) for name, values in scorer(np.ones((1, num_rows))).items()}


def mean_of(scorers: Sequence[Scorer]) -> Scorer:
    """Return the scorer of several runs of one model: the mean of their scores."""

    def score(draws: np.ndarray) -> dict[str, np.ndarray]:
        runs = [scorer(draws) for scorer in scorers]
        return {name: np.mean([scores[name] for scores in runs], axis=0) for name in runs[0]}

    return score


def bootstrap(
    scorers: Mapping[str, Scorer],
    num_rows: int,
    num_resamples: int = 2000,
    seed: int = 0,
    groups: np.ndarray | None = None,
) -> Samples:
    """Score resamples of the rows, drawn with replacement: Efron (1979), https://doi.org/10.1214/aos/1176344552.

    All scorers get the same resamples, and so does another call with the same number of rows and the same seed. So
    the difference of two models is taken on one resample at a time, which removes the difficulty of its rows.

    Args:
        scorers: One for each model.
        num_rows: Number of rows to draw from.
        num_resamples: Number of resamples.
        seed: Seed of the draws.
        groups: The group of each row, `(num_rows,)`, numbered from 0. Whole groups are drawn, the cluster bootstrap:
            Davison and Hinkley (1997), Bootstrap Methods and their Application, section 3.8. By default each row is
            drawn alone.

    Returns:
        Name of a model -> name of a score -> `(num_resamples,)`.
    """
    return _score_all(scorers, draw_resamples(num_rows, num_resamples, seed, groups))


def draw_resamples(
    num_rows: int, num_resamples: int, seed: int = 0, groups: np.ndarray | None = None
) -> Iterator[np.ndarray]:
    """Yield how often each resample draws each row, in chunks `(num_resamples of the chunk, num_rows)`."""
    num_groups = num_rows if groups is None else int(groups.max()) + 1
    draw = _draw_once if num_groups * num_resamples <= _KEPT else _draw_counts
    for counts in draw(num_groups, num_resamples, seed, max(1, _CHUNK // num_rows)):
        draws = counts.astype(np.float64)
        yield draws if groups is None else draws[:, groups]


def _draw_counts(num_groups: int, num_resamples: int, seed: int, chunk_size: int) -> Iterator[np.ndarray]:
    generator, dtype = np.random.default_rng(seed), np.min_scalar_type(num_groups)  # no count is larger
    for start in range(0, num_resamples, chunk_size):
        size = min(chunk_size, num_resamples - start)
        drawn = generator.integers(0, num_groups, (size, num_groups)) + num_groups * np.arange(size)[:, None]
        yield np.bincount(drawn.ravel(), minlength=size * num_groups).reshape(size, num_groups).astype(dtype)


@functools.lru_cache(maxsize=4)
def _draw_once(num_groups: int, num_resamples: int, seed: int, chunk_size: int) -> list[np.ndarray]:
    # One report draws the same resamples of small data many times: for each model, metric and temperature.
    return list(_draw_counts(num_groups, num_resamples, seed, chunk_size))


def jackknife(
    scorers: Mapping[str, Scorer],
    num_rows: int,
    seed: int = 0,
    groups: np.ndarray | None = None,
    most_blocks: int = MOST_BLOCKS,
) -> Samples:
    """Score the rows without each of many blocks: Quenouille (1956), https://doi.org/10.1093/biomet/43.3-4.353.

    Args:
        scorers: One for each model.
        num_rows: Number of rows.
        seed: Seed of the random blocks.
        groups: The group of each row, `(num_rows,)`, numbered from 0; by default each row is a group.
        most_blocks: A block is a group. If there are more groups than this, a block is a random set of groups.

    Returns:
        Name of a model -> name of a score -> `(num_blocks,)`.
    """
    return _score_all(scorers, leave_out_blocks(num_rows, seed, groups, most_blocks))


def leave_out_blocks(
    num_rows: int, seed: int = 0, groups: np.ndarray | None = None, most_blocks: int = MOST_BLOCKS
) -> Iterator[np.ndarray]:
    """Yield which rows are kept without each block, 0 or 1, in chunks `(num_blocks of the chunk, num_rows)`."""
    num_groups = num_rows if groups is None else int(groups.max()) + 1
    num_blocks = min(num_groups, most_blocks)
    block = np.arange(num_groups) % num_blocks
    if num_blocks < num_groups:
        block = np.random.default_rng(seed).permutation(block)
    block_of_row = block if groups is None else block[groups]
    chunk_size = max(1, _CHUNK // num_rows)
    for start in range(0, num_blocks, chunk_size):
        blocks = np.arange(start, min(start + chunk_size, num_blocks))
        yield (block_of_row != blocks[:, None]).astype(np.float64)


def _score_all(scorers: Mapping[str, Scorer], chunks_of_draws: Iterator[np.ndarray]) -> Samples:
    chunks: dict[str, list[dict[str, np.ndarray]]] = {name: [] for name in scorers}
    for draws in chunks_of_draws:
        for name, scorer in scorers.items():
            chunks[name].append(scorer(draws))
    return {
        name: {score: np.concatenate([chunk[score] for chunk in model_chunks]) for score in model_chunks[0]}
        for name, model_chunks in chunks.items()
    }


@dataclass(frozen=True)
class Bootstrapped:
    r"""Samples with their resamples, from which BCa intervals and p-values are read: Efron (1987).

    The bias-corrected and accelerated interval, https://doi.org/10.1080/01621459.1987.10478410, has the ends

    $$\alpha(z) = \Phi\left(z_0 + \frac{z_0 + z}{1 - a (z_0 + z)}\right)$$

    as quantiles of the resamples. The bias $z_0$ comes from the share of resamples below the score (half of the equal
    ones count), and the acceleration $a$ from the skewness of the jackknife. The p-values belong to the same family of
    intervals: an end of the interval of level L has a one-sided p-value of (1 - L) / 2.

    Attributes:
        value: The score of each sample, `(...)`, e.g. `()`.
        samples: Its scores on resamples, `(num_resamples, ...)`, finite.
        left_out: Its scores without each block, `(num_blocks, ...)`, finite.
    """

    value: np.ndarray
    samples: np.ndarray
    left_out: np.ndarray

    def interval(self, level: float = 0.95) -> tuple[np.ndarray, np.ndarray]:
        """Return the lower and the upper end, `(...)` each."""
        from scipy.special import ndtr, ndtri  # slow to import

        bias, acceleration = self._shape()
        ends = []
        ordered = np.sort(self.samples, axis=0)
        for z in (ndtri((1 - level) / 2), ndtri((1 + level) / 2)):
            shifted = bias + z
            share = ndtr(bias + shifted / np.maximum(1 - acceleration * shifted, 0.1))
            ends.append(_quantile(ordered, share))
        return ends[0], ends[1]

    def p_at_most(self, bound: float | np.ndarray) -> np.ndarray:
        """Return the one-sided p-value of the hypothesis that the true score is at most `bound`, `(...)`."""
        return self._p_value((self.samples <= bound + _EQUAL).sum(axis=0), 1.0)

    def p_at_least(self, bound: float | np.ndarray) -> np.ndarray:
        """Return the one-sided p-value of the hypothesis that the true score is at least `bound`, `(...)`."""
        return self._p_value((self.samples >= bound - _EQUAL).sum(axis=0), -1.0)

    def largest_influence(self) -> np.ndarray:
        """Return how much the score changes without the one block that it depends on most, `(...)`."""
        return np.abs(self.left_out - self.value).max(axis=0)

    def difference(self, level: float, unseen: float | np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        r"""Return the interval of a difference of two models, and the two-sided p-value of no difference.

        The BCa interval is too narrow where few rows differ. It is widened by half of what unseen errors can cost, and
        reaches at least as far as these errors. The p-value is at least
        $(1 - \mathrm{level})^{|d| / \mathrm{unseen}}$, by the same law as [`unseen_share`], so the interval contains 0
        exactly where the p-value is at least 1 - level.

        Args:
            level: Level of the interval.
            unseen: How much the score can fall by errors that no row shows, see
                [`~hf_distill.reporting.comparison.unseen.unseen_loss`].
        """
        low, high = self.interval(level)
        p_value = 2 * np.minimum(self.p_at_most(unseen / 2), self.p_at_least(-unseen / 2))
        of_unseen = np.where(unseen > 0, (1 - level) ** (np.abs(self.value) / np.where(unseen > 0, unseen, 1.0)), 0.0)
        return (
            np.minimum(low - unseen / 2, self.value - unseen),
            np.maximum(high + unseen / 2, self.value + unseen),
            np.minimum(1.0, np.maximum(p_value, of_unseen)),
        )

    def _p_value(self, num_beyond: np.ndarray, sign: float) -> np.ndarray:
        from scipy.special import ndtr, ndtri  # slow to import

        bias, acceleration = self._shape()
        # One resample more lies on each side, so that no p-value is 0: Davison and Hinkley (1997), section 4.2.
        z = sign * ndtri((1 + num_beyond) / (2 + len(self.samples))) - bias
        return ndtr(sign * (z / np.maximum(1 + acceleration * z, 0.1) - bias))

    def _shape(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the bias and the acceleration."""
        from scipy.special import ndtri  # slow to import

        distance = self.samples - self.value
        num_below = (distance < -_EQUAL).sum(axis=0) + 0.5 * (np.abs(distance) <= _EQUAL).sum(axis=0)
        num_resamples = len(self.samples)
        bias = ndtri(np.clip(num_below, 0.5, num_resamples - 0.5) / num_resamples)
        influence = self.left_out.mean(axis=0) - self.left_out
        scale = 6 * np.square(influence).sum(axis=0) ** 1.5
        cubes = (influence**3).sum(axis=0)
        return bias, np.divide(cubes, scale, out=np.zeros_like(cubes), where=scale > 1e-30)


def _quantile(ordered: np.ndarray, share: np.ndarray) -> np.ndarray:
    """Return one quantile of each column, `(num_resamples, ...)` in ascending order, by linear interpolation."""
    place = share * (len(ordered) - 1)
    below = np.floor(place).astype(int)
    low, high = (
        np.take_along_axis(ordered, np.minimum(i, len(ordered) - 1)[None], axis=0)[0] for i in (below, below + 1)
    )
    return low + (place - below) * (high - low)


def bootstrapped(value: float, samples: np.ndarray, left_out: np.ndarray) -> Bootstrapped | None:
    """Return one sample with its resamples, without those whose score is undefined (NaN); None if all are."""
    samples, left_out = samples[~np.isnan(samples)], left_out[~np.isnan(left_out)]
    return Bootstrapped(np.asarray(value), samples, left_out) if len(samples) and len(left_out) else None


def interval(samples: np.ndarray, level: float = 0.95) -> tuple[float, float]:
    """Return the percentiles between which `level` of the resamples lie. NaN, an undefined score, is left out."""
    if np.isnan(samples).all():
        return math.nan, math.nan
    low, high = np.nanpercentile(samples, [50 * (1 - level), 50 * (1 + level)])
    return float(low), float(high)
