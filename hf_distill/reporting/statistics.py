"""Statistics of scores on a sample of rows: ratios, bootstrap intervals and paired tests."""

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np

# From how often each resample draws each row, `(num_resamples, num_rows)`, to scores by name, `(num_resamples,)` each.
Scorer = Callable[[np.ndarray], dict[str, np.ndarray]]
Samples = dict[str, dict[str, np.ndarray]]  # name of a model -> name of a score -> `(num_resamples,)`

_POWER = 0.8
_CHUNK = 500_000  # counts in memory at once, 4 MB


def standard_error(share: float, num_rows: int) -> float:
    r"""Return the standard error of a share of `num_rows` independent rows, $\sqrt{p (1 - p) / n}$."""
    return math.sqrt(share * (1 - share) / num_rows)


def retention(student: float, teacher: float) -> float | None:
    """Return student / teacher; None if the teacher's score is not above 0, because the ratio would mean nothing."""
    return student / teacher if teacher > 0 else None


def gap_closed(teacher: float, student: float, baseline: float, num_rows: int | None = None) -> float | None:
    r"""Return the share of the gap between baseline and teacher that the student closes.

    $$g = \frac{\mathrm{student} - \mathrm{baseline}}{\mathrm{teacher} - \mathrm{baseline}}$$

    Args:
        teacher: Score of the teacher; higher is better.
        student: Score of the student; if it is below the baseline, the result is negative.
        baseline: Score of the same student trained without the teacher.
        num_rows: Number of rows, if the scores are shares of rows, as accuracies are. If unset, every teacher above
            the baseline counts.

    Returns:
        None if the teacher is not above the baseline, or by at most two standard errors: the ratio would then divide
        by noise.
    """
    margin = 0.0
    if num_rows is not None:
        # The larger of the two, because the standard error of a share of exactly 0 or 1 is 0 even for few rows.
        margin = 2 * max(standard_error(teacher, num_rows), standard_error(baseline, num_rows))
    gap = teacher - baseline
    return (student - baseline) / gap if gap > margin else None


def on_all_rows(scorer: Scorer, num_rows: int) -> dict[str, float]:
    """Return the scores of the rows themselves, each counted once."""
    return {name: float(values[0]) for name, values in scorer(np.ones((1, num_rows))).items()}


def mean_of(scorers: Sequence[Scorer]) -> Scorer:
    """Return the scorer of several runs of one model: the mean of their scores."""

    def score(draws: np.ndarray) -> dict[str, np.ndarray]:
        runs = [scorer(draws) for scorer in scorers]
        return {name: np.mean([scores[name] for scores in runs], axis=0) for name in runs[0]}

    return score


def bootstrap(scorers: Mapping[str, Scorer], num_rows: int, num_resamples: int = 2000, seed: int = 0) -> Samples:
    """Score resamples of the rows, drawn with replacement: Efron (1979), https://doi.org/10.1214/aos/1176344552.

    All scorers get the same resamples, and so does another call with the same number of rows and the same seed. So
    the difference of two models is taken on one resample at a time, which removes the difficulty of its rows.

    Args:
        scorers: One for each model.
        num_rows: Number of rows to draw from.
        num_resamples: Number of resamples.
        seed: Seed of the draws.

    Returns:
        Name of a model -> name of a score -> `(num_resamples,)`.
    """
    generator = np.random.default_rng(seed)
    chunk_size = max(1, _CHUNK // num_rows)
    chunks: dict[str, list[dict[str, np.ndarray]]] = {name: [] for name in scorers}
    for start in range(0, num_resamples, chunk_size):
        size = min(chunk_size, num_resamples - start)
        rows = generator.integers(0, num_rows, (size, num_rows)) + num_rows * np.arange(size)[:, None]
        draws = np.bincount(rows.ravel(), minlength=size * num_rows).reshape(size, num_rows).astype(np.float64)
        for name, scorer in scorers.items():
            chunks[name].append(scorer(draws))
    return {
        name: {score: np.concatenate([chunk[score] for chunk in model_chunks]) for score in model_chunks[0]}
        for name, model_chunks in chunks.items()
    }


def interval(samples: np.ndarray, level: float = 0.95) -> tuple[float, float]:
    """Return the percentiles between which `level` of the resamples lie. NaN, an undefined score, is left out."""
    if np.isnan(samples).all():
        return math.nan, math.nan
    low, high = np.nanpercentile(samples, [50 * (1 - level), 50 * (1 + level)])
    return float(low), float(high)


def detectable_difference(low: float, high: float, level: float = 0.95) -> float:
    r"""Return the margin that as many rows can show in 4 of 5 samples, if the two models are equally good.

    $(z_{(1 + \mathrm{level})/2} + z_{0.8})$ standard errors: Julious (2004), https://doi.org/10.1002/sim.1783, for
    non-inferiority with a power of 80 %.

    Args:
        low: Lower end of the interval of the difference.
        high: Upper end.
        level: Level of the interval.
    """
    from scipy.stats import norm  # slow to import

    z = float(norm.ppf((1 + level) / 2))
    return (high - low) / 2 / z * (z + float(norm.ppf(_POWER)))


def num_rows_needed(num_rows: int, detectable: float, margin: float) -> int:
    """Return how many rows can show a margin in 4 of 5 samples.

    Args:
        num_rows: Number of rows of a sample.
        detectable: The margin that this sample can show, see [`detectable_difference`].
        margin: The margin that is wanted.
    """
    return math.ceil(num_rows * (detectable / margin) ** 2)


def unseen_share(num_rows: int, level: float = 0.95) -> float:
    r"""Return how frequent an event can be that none of `num_rows` rows shows, $-\ln(1 - \mathrm{level}) / n$.

    This is the rule of three, since $-\ln 0.05 \approx 3$: Hanley and Lippman-Hand (1983),
    https://doi.org/10.1001/jama.1983.03330370053031. The bootstrap misses such events: if all rows are right, so are
    all resamples.
    """
    return min(1.0, -math.log(1 - level) / num_rows)


def mcnemar(num_only_first: int, num_only_second: int) -> float:
    """Return the exact two-sided p-value of the hypothesis that both models are right equally often.

    McNemar (1947), https://doi.org/10.1007/BF02295996, with the binomial distribution instead of an approximation.

    Args:
        num_only_first: Number of rows that only the first model gets right.
        num_only_second: Number of rows that only the second model gets right.
    """
    from scipy.stats import binom  # slow to import

    num_rows = num_only_first + num_only_second
    return min(1.0, 2 * float(binom.cdf(min(num_only_first, num_only_second), num_rows, 0.5)))


def paired_score(num_only_first: int, num_only_second: int, num_rows: int, difference: float) -> float:
    r"""Return the score statistic of the hypothesis that the second model's share of right rows is higher by d.

    $$z = \frac{c - b - n d}{\sqrt{n (2 q + d (1 - d))}}$$

    with the maximum likelihood estimate $q$ of the share of rows that only the first model gets right, under the
    hypothesis: Tango (1998), equations 3 to 5, Statistics in Medicine 17, 891-908.

    Args:
        num_only_first: Number b of rows that only the first model gets right.
        num_only_second: Number c of rows that only the second model gets right.
        num_rows: Number n of rows.
        difference: The difference d of the hypothesis, between -1 and 1.

    Returns:
        A value that is standard normal under the hypothesis.
    """
    b, c, n, d = num_only_first, num_only_second, num_rows, difference
    linear, constant = (2 * n - c + b) * d - b - c, -b * d * (1 - d)
    q = (-linear + math.sqrt(max(0.0, linear**2 - 8 * n * constant))) / (4 * n)
    excess, variance = c - b - n * d, n * (2 * q + d * (1 - d))
    if excess == 0:
        return 0.0
    return excess / math.sqrt(variance) if variance > 0 else math.copysign(math.inf, excess)


def paired_score_interval(
    num_only_first: int, num_only_second: int, num_rows: int, level: float = 0.95
) -> tuple[float, float]:
    """Return the differences that [`paired_score`] does not reject: Tango's interval of a difference of two shares."""
    from scipy.optimize import brentq  # slow to import
    from scipy.stats import norm

    z = float(norm.ppf((1 + level) / 2))
    middle = (num_only_second - num_only_first) / num_rows

    def bound(end: float, wanted: float) -> float:
        def excess(difference: float) -> float:
            return paired_score(num_only_first, num_only_second, num_rows, difference) - wanted

        return end if middle == end else brentq(excess, end, middle)

    return bound(-1.0, z), bound(1.0, -z)


def sign_test(num_worse: int, num_better: int) -> float:
    """Return the exact one-sided p-value of the hypothesis that worse is not more frequent than better.

    Args:
        num_worse: Number of pairs in which the second model is worse.
        num_better: Number of pairs in which it is better. Ties do not count.
    """
    from scipy.stats import binom  # slow to import

    return float(binom.sf(num_worse - 1, num_worse + num_better, 0.5))


def holm(p_values: Sequence[float]) -> list[float]:
    """Correct p-values of several tests so that any wrong rejection has the level of one: Holm (1979).

    https://www.jstor.org/stable/4615733
    """
    order = np.argsort(p_values)
    corrected = np.asarray(p_values, dtype=float)[order] * np.arange(len(p_values), 0, -1)
    result = np.empty(len(p_values))
    result[order] = np.minimum(1.0, np.maximum.accumulate(corrected))
    return result.tolist()


def bootstrap_p_value(differences: np.ndarray) -> float:
    """Return the two-sided p-value of no difference: twice the smaller share of resamples on one side of 0.

    The sample itself counts as a resample, so the value is never 0: Davison and Hinkley (1997), Bootstrap Methods and
    their Application, section 4.2.

    Args:
        differences: `(num_resamples,)`.
    """
    num_beyond = min((differences <= 0).sum(), (differences >= 0).sum())
    return min(1.0, 2 * float(1 + num_beyond) / (1 + len(differences)))


def wilson_interval(share: float, num_rows: int, z: float = 1.96) -> tuple[float, float]:
    r"""Return the interval of a share of independent rows: Wilson (1927), 95 % for the default `z`.

    Unlike the normal approximation it is valid for shares of 0 and 1 too.

    $$\frac{p + z^2/2n \pm z \sqrt{p(1-p)/n + z^2/4n^2}}{1 + z^2/n}$$
    """
    middle = share + z**2 / (2 * num_rows)
    half_width = z * math.sqrt(share * (1 - share) / num_rows + z**2 / (4 * num_rows**2))
    scale = 1 + z**2 / num_rows
    return (middle - half_width) / scale, (middle + half_width) / scale
