"""What scores on a sample of rows say: ratios, intervals by the bootstrap, and paired tests."""

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np

# From how often each row was drawn, `(num_resamples, num_rows)`, to each score, `(num_resamples,)`.
Scorer = Callable[[np.ndarray], dict[str, np.ndarray]]

_CHUNK = 500_000  # counts held at once, 4 MB


def standard_error(share: float, num_rows: int) -> float:
    r"""Standard error of a share of `num_rows` independent rows, $\sqrt{p (1 - p) / n}$."""
    return math.sqrt(share * (1 - share) / num_rows)


def retention(student: float, teacher: float) -> float | None:
    """Student / teacher; None where the teacher's score is not above 0, and a ratio would mean nothing."""
    return student / teacher if teacher > 0 else None


def gap_closed(teacher: float, student: float, baseline: float, num_rows: int | None = None) -> float | None:
    r"""How much of the way from the baseline to the teacher the student went.

    $$g = \frac{\mathrm{student} - \mathrm{baseline}}{\mathrm{teacher} - \mathrm{baseline}}$$

    Args:
        teacher: Its score; higher is better.
        student: Its score; below the baseline the result is negative.
        baseline: Score of the same student trained without the teacher.
        num_rows: Rows that the scores are shares of, as an accuracy is. Unset, the scores are not shares, and any
            teacher above the baseline counts.

    Returns:
        None if the teacher is not above the baseline, or by no more than two standard errors: the ratio would then
        divide by noise.
    """
    margin = 0.0
    if num_rows is not None:
        # The larger of the two: the standard error of a share of exactly 0 or 1 is 0, however few the rows.
        margin = 2 * max(standard_error(teacher, num_rows), standard_error(baseline, num_rows))
    gap = teacher - baseline
    return (student - baseline) / gap if gap > margin else None


def on_the_sample(scorer: Scorer, num_rows: int) -> dict[str, float]:
    """Return the scores of the rows as they are."""
    return {name: float(values[0]) for name, values in scorer(np.ones((1, num_rows))).items()}


def mean_of(scorers: Sequence[Scorer]) -> Scorer:
    """Return the scorer of several runs of one model: the mean of their scores."""

    def score(weights: np.ndarray) -> dict[str, np.ndarray]:
        of_runs = [scorer(weights) for scorer in scorers]
        return {name: np.mean([scores[name] for scores in of_runs], axis=0) for name in of_runs[0]}

    return score


def bootstrap(
    scorers: Mapping[str, Scorer], num_rows: int, num_resamples: int = 2000, seed: int = 0
) -> dict[str, dict[str, np.ndarray]]:
    """Score resamples of the rows, drawn with replacement: Efron (1979), https://doi.org/10.1214/aos/1176344552.

    All scorers see the same resamples, and so does another call with as many rows and the same seed: a difference of
    two models' scores is then that of one and the same resample, which takes the rows' difficulty out of it.

    Args:
        scorers: One a model.
        num_rows: Rows to draw from.
        num_resamples: How often.
        seed: Of the draws.

    Returns:
        Model -> score -> `(num_resamples,)`.
    """
    draw = np.random.default_rng(seed)
    at_once = max(1, _CHUNK // num_rows)
    found: dict[str, list[dict[str, np.ndarray]]] = {name: [] for name in scorers}
    for start in range(0, num_resamples, at_once):
        size = min(at_once, num_resamples - start)
        rows = draw.integers(0, num_rows, (size, num_rows)) + num_rows * np.arange(size)[:, None]
        weights = np.bincount(rows.ravel(), minlength=size * num_rows).reshape(size, num_rows).astype(np.float64)
        for name, scorer in scorers.items():
            found[name].append(scorer(weights))
    return {
        name: {score: np.concatenate([chunk[score] for chunk in chunks]) for score in chunks[0]}
        for name, chunks in found.items()
    }


def interval(samples: np.ndarray, level: float = 0.95) -> tuple[float, float]:
    """Return the percentiles between which `level` of the resamples lie; NaN, no score, is left out."""
    low, high = np.nanpercentile(samples, [50 * (1 - level), 50 * (1 + level)])
    return float(low), float(high)


def unseen_share(num_rows: int, level: float = 0.95) -> float:
    r"""How often something may happen that none of `num_rows` rows showed, $-\ln(1 - \mathrm{level}) / n$.

    The rule of three, since $-\ln 0.05 \approx 3$: Hanley and Lippman-Hand (1983),
    https://doi.org/10.1001/jama.1983.03330370053031. The bootstrap cannot know it: where all rows are right, so are
    all its resamples.
    """
    return min(1.0, -math.log(1 - level) / num_rows)


def mcnemar(num_only_first: int, num_only_second: int) -> float:
    """Return the exact two-sided p-value of "both are right equally often", from the rows that only one gets right.

    McNemar (1947), https://doi.org/10.1007/BF02295996, with the binomial distribution instead of its approximation.
    """
    from scipy.stats import binom  # slow to import

    num_rows = num_only_first + num_only_second
    return min(1.0, 2 * float(binom.cdf(min(num_only_first, num_only_second), num_rows, 0.5)))


def bootstrap_p_value(differences: np.ndarray) -> float:
    """Return the two-sided p-value of "there is no difference": twice the smaller share of resamples beyond 0.

    The sample itself counts as a resample, so that no finite number of them gives 0: Davison and Hinkley (1997),
    Bootstrap Methods and their Application, section 4.2.
    """
    beyond = min((differences <= 0).sum(), (differences >= 0).sum())
    return min(1.0, 2 * float(1 + beyond) / (1 + len(differences)))


def wilson_interval(share: float, num_rows: int, z: float = 1.96) -> tuple[float, float]:
    r"""Interval of a share of independent rows that holds at 0 and 1 too: Wilson (1927), 95 % for the default `z`.

    $$\frac{p + z^2/2n \pm z \sqrt{p(1-p)/n + z^2/4n^2}}{1 + z^2/n}$$
    """
    middle = share + z**2 / (2 * num_rows)
    half = z * math.sqrt(share * (1 - share) / num_rows + z**2 / (4 * num_rows**2))
    scale = 1 + z**2 / num_rows
    return (middle - half) / scale, (middle + half) / scale
