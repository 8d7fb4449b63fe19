"""Whether the rows are enough to say on which side of a bound a number lies."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hf_distill.reporting.statistics import critical_value, rows_to_show
from hf_distill.reporting.text import rounded_rows

CERTAIN, MORE_ROWS, TOO_NEAR, UNLIKELY = "certain", "more rows", "too near", "unlikely to change"


@dataclass(frozen=True)
class Interval:
    """The interval of a number of a model.

    Attributes:
        low: Lower end.
        high: Upper end.
        num_rows: Number of rows that it comes from.
        level: Its level.
    """

    low: float
    high: float
    num_rows: int
    level: float

    def compare(self, value: float, bound: float, is_met: bool) -> dict[str, Any]:
        """Return how certain it is that a number is on its side of a bound.

        Args:
            value: The number, in the interval.
            bound: The bound.
            is_met: Whether the number meets the bound.

        Returns:
            `interval`: `low`, `high` and `level`. `certainty`: "certain" if the bound is outside of the interval; else
            "more rows" if the bound is met and `more_rows` more rows would show it in 4 of 5 samples, by
            [`~hf_distill.reporting.statistics.rows_to_show`]; "too near" if no practical number of rows would; and
            "unlikely to change" if the measured number itself misses the bound.
        """
        result = {"interval": {"low": self.low, "high": self.high, "level": self.level}, "more_rows": None}
        if not self.low <= bound <= self.high:
            return {**result, "certainty": CERTAIN}
        if not is_met:
            return {**result, "certainty": UNLIKELY}
        half_width = value - self.low if value > bound else self.high - value
        z = critical_value(self.level) * abs(value - bound) / half_width if half_width > 0 else 0.0
        needed = rows_to_show(self.num_rows, z, self.level)
        if needed is None:
            return {**result, "certainty": TOO_NEAR}
        return {**result, "certainty": MORE_ROWS, "more_rows": needed - self.num_rows}


def describe_certainty(result: Mapping[str, Any]) -> str:
    """Return why the answer on a requirement is not certain; empty if it is, or if the number has no interval.

    Args:
        result: What [`~hf_distill.reporting.requirements.Requirement.check`] returns.
    """
    if result["certainty"] in (None, CERTAIN):
        return ""
    interval = result["interval"]
    not_certain = f"not certain: the {100 * interval['level']:g} % interval is {interval['low']:.4g} to "
    not_certain += f"{interval['high']:.4g}"
    if result["certainty"] == MORE_ROWS:
        return f"{not_certain}, and about {rounded_rows(result['more_rows'])} would show it in 4 of 5 samples"
    if result["certainty"] == TOO_NEAR:
        return f"{not_certain}, and the bound is too near for any practical number of rows"
    return f"{not_certain}, but the measured number misses the bound, so more rows will most likely not change this"
