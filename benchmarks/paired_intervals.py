"""The difference of two models on the same rows and seeds, with an interval over both."""

from collections.abc import Sequence

import numpy as np
from run_scores import Score


def mean_of_draws(values: np.ndarray) -> Score:
    """Return how often each row is drawn -> the mean of a value of each row."""
    return lambda draws: draws @ values / draws.sum(axis=1)


def paired_interval(
    pairs: Sequence[tuple[Score, Score]], num_rows: int, num_draws: int = 1000, seed: int = 0
) -> tuple[float, float, float]:
    """Return the mean difference, first minus second, and its 95 % percentile interval.

    Rows and seeds are drawn with replacement, the same for both models of a pair. With one seed, the interval is over
    rows alone.

    Args:
        pairs: The scores of both models, one pair for each seed.
        num_rows: Number of rows.
        num_draws: Number of resamples.
        seed: Seed of the draws.
    """
    generator = np.random.default_rng(seed)
    all_rows = np.ones((1, num_rows))
    value = float(np.mean([first(all_rows) - second(all_rows) for first, second in pairs]))
    draws = generator.multinomial(num_rows, np.full(num_rows, 1 / num_rows), size=num_draws).astype(float)
    by_seed = np.stack([first(draws) - second(draws) for first, second in pairs])
    chosen = generator.integers(len(pairs), size=(num_draws, len(pairs)))
    means = by_seed[chosen, np.arange(num_draws)[:, None]].mean(axis=1)
    low, high = np.quantile(means, (0.025, 0.975))
    return value, float(low), float(high)
