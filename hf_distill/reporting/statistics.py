"""Statistics of scores on a sample of rows: ratios, shares of rows with their intervals, and paired tests."""

import math
from collections.abc import Sequence

import numpy as np

_POWER = 0.8
_SMALLEST_Z = 0.1


def critical_value(level: float = 0.95, degrees_of_freedom: float = math.inf) -> float:
    """Return the number of standard errors of a two-sided interval, by the t distribution; 1.96 by default."""
    from scipy.stats import t  # slow to import

    return float(t.ppf((1 + level) / 2, degrees_of_freedom))


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


def detectable_difference(low: float, high: float, level: float = 0.95) -> float:
    r"""Return the margin that as many rows can show in 4 of 5 samples, if the two models are equally good.

    $(z_{(1 + \mathrm{level})/2} + z_{0.8})$ standard errors: Julious (2004), https://doi.org/10.1002/sim.1783, for
    non-inferiority with a power of 80 %.

    Args:
        low: Lower end of the interval of the difference.
        high: Upper end.
        level: Level of the interval.
    """
    z, one_sided = critical_value(level), critical_value(2 * _POWER - 1)
    return (high - low) / 2 / z * (z + one_sided)


def num_rows_needed(num_rows: int, detectable: float, margin: float) -> int:
    """Return how many rows can show a margin in 4 of 5 samples.

    Args:
        num_rows: Number of rows of a sample.
        detectable: The margin that this sample can show, see [`detectable_difference`].
        margin: The margin that is wanted.
    """
    return math.ceil(num_rows * (detectable / margin) ** 2)


def rows_to_show(num_rows: int, z: float, level: float = 0.95) -> int | None:
    r"""Return how many rows in all can show in 4 of 5 samples what so many rows only suggest.

    $$n' = n \left(\frac{z_{(1 + \mathrm{level})/2} + z_{0.8}}{z}\right)^2$$

    The half width of an interval shrinks with $1 / \sqrt n$, so the distance to a bound in standard errors grows with
    $\sqrt n$. It must exceed the critical value by $z_{0.8}$ for a power of 80 %: Julious (2004),
    https://doi.org/10.1002/sim.1783. This holds for rows like these, if the measured number is the true one.

    Args:
        num_rows: Number of rows n of the sample.
        z: By how many standard errors the measured number is on the wanted side of the bound.
        level: Level of the interval.

    Returns:
        None if z is not above 0.1: at or beyond the bound no number of rows shows it, and just before it more than 784
        times as many rows would be needed, at a level of 95 %.
    """
    if not z > _SMALLEST_Z:
        return None
    return max(num_rows, math.ceil(num_rows * ((critical_value(level) + critical_value(2 * _POWER - 1)) / z) ** 2))


def unseen_share(num_rows: float, level: float = 0.95) -> float:
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


def sign_flip_test(differences: np.ndarray) -> float:
    """Return the exact two-sided p-value of the hypothesis that swapping the models in any group changes nothing.

    The randomization test of paired differences: Fisher (1935), The Design of Experiments, section 21. The sum of the
    differences is compared with its distribution over all signs of the groups. With groups of one row it is
    McNemar's exact test.

    Args:
        differences: For each group how many rows more the first model gets right, integers `(num_groups,)`.
    """
    sizes = np.abs(differences[differences != 0])
    shares = np.ones(1)  # of the sums -total, -total + 1, ..., total of the groups so far
    for size in sizes:
        wider = np.zeros(len(shares) + 2 * size)
        wider[: len(shares)] += shares / 2
        wider[2 * size :] += shares / 2
        shares = wider
    is_as_far = np.abs(np.arange(len(shares)) - sizes.sum()) >= abs(differences.sum())
    return min(1.0, float(shares[is_as_far].sum()))


def design_effect(values: np.ndarray, groups: np.ndarray) -> float:
    r"""Return how many times as large the variance of a mean is because rows come in groups, at least 1.

    $\sum_g (\sum_{i \in g} (x_i - \bar x))^2 \cdot \frac{G}{G - 1}$ over $\sum_i (x_i - \bar x)^2$: Kish
    (1965), Survey Sampling. The number of rows divided by it is the number of independent rows that tell as much. If
    all values are equal, or there is only one group, they do not show how alike the rows of a group are, and the
    result is the one for groups whose rows are all alike.

    Args:
        values: `(num_rows,)`.
        groups: The group of each row, `(num_rows,)`, numbered from 0.
    """
    sizes, distance = np.bincount(groups), values - values.mean()
    if not distance.any() or len(sizes) == 1:
        return float(np.square(sizes).sum() / len(values))
    between = np.square(np.bincount(groups, distance)).sum() * len(sizes) / (len(sizes) - 1)
    return max(1.0, float(between / np.square(distance).sum()))


def paired_score(num_only_first: float, num_only_second: float, num_rows: float, difference: float) -> float:
    r"""Return the score statistic of the hypothesis that the second model's share of right rows is higher by d.

    $$z = \frac{c - b - n d}{\sqrt{n (2 q + d (1 - d))}}$$

    with the maximum likelihood estimate $q$ of the share of rows that only the first model gets right, under the
    hypothesis: Tango (1998), equations 3 to 5, Statistics in Medicine 17, 891-908.

    Args:
        num_only_first: Number b of rows that only the first model gets right.
        num_only_second: Number c of rows that only the second model gets right.
        num_rows: Number n of rows. For rows in groups, all three numbers are divided by the design effect.
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
    num_only_first: float,
    num_only_second: float,
    num_rows: float,
    level: float = 0.95,
    degrees_of_freedom: float = math.inf,
) -> tuple[float, float]:
    """Return the differences that [`paired_score`] does not reject: Tango's interval of a difference of two shares."""
    from scipy.optimize import brentq  # slow to import

    z = critical_value(level, degrees_of_freedom)
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


def wilson_interval(
    share: float, num_rows: float, level: float = 0.95, degrees_of_freedom: float = math.inf
) -> tuple[float, float]:
    r"""Return the interval of a share of independent rows: Wilson (1927).

    Unlike the normal approximation it is valid for shares of 0 and 1 too.

    $$\frac{p + z^2/2n \pm z \sqrt{p(1-p)/n + z^2/4n^2}}{1 + z^2/n}$$

    Args:
        share: The share p.
        num_rows: Number n of rows. For rows in groups, n is divided by the design effect and z comes from the t
            distribution: Dean and Pagano (2015), https://doi.org/10.1093/jssam/smv024.
        level: Level of the interval.
        degrees_of_freedom: Of the t distribution, number of groups - 1.
    """
    z = critical_value(level, degrees_of_freedom)
    middle = share + z**2 / (2 * num_rows)
    half_width = z * math.sqrt(share * (1 - share) / num_rows + z**2 / (4 * num_rows**2))
    scale = 1 + z**2 / num_rows
    return (middle - half_width) / scale, (middle + half_width) / scale
