"""Did distilling pay: the student between its teacher and the same student trained without the teacher."""

import math


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


def wilson_interval(share: float, num_rows: int, z: float = 1.96) -> tuple[float, float]:
    r"""Interval of a share of independent rows that holds at 0 and 1 too: Wilson (1927), 95 % for the default `z`.

    $$\frac{p + z^2/2n \pm z \sqrt{p(1-p)/n + z^2/4n^2}}{1 + z^2/n}$$
    """
    middle = share + z**2 / (2 * num_rows)
    half = z * math.sqrt(share * (1 - share) / num_rows + z**2 / (4 * num_rows**2))
    scale = 1 + z**2 / num_rows
    return (middle - half) / scale, (middle + half) / scale
