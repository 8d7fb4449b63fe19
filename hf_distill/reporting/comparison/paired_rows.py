"""Two models that are each right or wrong on every row: how much more often the second one is right."""

from __future__ import annotations

import numpy as np

from hf_distill.reporting.comparison.units import Units
from hf_distill.reporting.statistics import (
    design_effect,
    mcnemar,
    paired_score,
    paired_score_interval,
    sign_flip_test,
)


class PairedRows:
    """The rows on which only one of two models is right.

    Args:
        units: The rows.
        first_is_right: Which rows the first model gets right, `(num_rows,)` bool.
        second_is_right: Which rows the second model gets right, of the same shape.
    """

    def __init__(self, units: Units, first_is_right: np.ndarray, second_is_right: np.ndarray) -> None:
        self.units, self.differences = units, second_is_right.astype(np.int64) - first_is_right
        self.design_effect = 1.0 if units.groups is None else design_effect(self.differences, units.groups)
        self.num_only_first, self.num_only_second = (int((sign * self.differences > 0).sum()) for sign in (-1, 1))
        counts = self.num_only_first, self.num_only_second, len(self.differences)
        self._counts = [count / self.design_effect for count in counts]

    @property
    def test(self) -> str:
        """Name of the test of [`p_value`]."""
        return "McNemar exact" if self.units.groups is None else "sign flips of groups"

    def p_value(self) -> float:
        """Return the two-sided p-value of the hypothesis that both models are right equally often.

        For rows in groups it is the larger one of the exact test and the test that belongs to the interval.
        """
        if self.units.groups is None:
            return mcnemar(self.num_only_first, self.num_only_second)
        of_interval = self.p_at_most(0.0)
        by_group = np.bincount(self.units.groups, self.differences).astype(np.int64)
        return max(sign_flip_test(by_group), 2 * min(of_interval, 1 - of_interval))

    def interval(self, level: float) -> tuple[float, float]:
        """Return Tango's interval of the difference."""
        first, second, num_rows = self._counts
        return paired_score_interval(first, second, num_rows, level, self.units.degrees_of_freedom)

    def p_at_most(self, difference: float) -> float:
        """Return the one-sided p-value of the hypothesis that the true difference is at most `difference`."""
        from scipy.stats import t  # slow to import

        first, second, num_rows = self._counts
        return float(t.sf(paired_score(first, second, num_rows, difference), self.units.degrees_of_freedom))
