"""Numbers as a reader wants them. What is not known, `None`, is n/a."""

from collections.abc import Callable, Mapping
from typing import Any

from hf_distill.data.metrics import find_metric
from hf_distill.reporting.table import NOT_AVAILABLE, one_line

NO_BREAK = "\u00a0"
_MINUS = "\u2212"


def is_share(metric: str) -> bool:
    """Whether a metric is shown in per cent. A metric that `METRICS` does not list is shown as a plain number."""
    known = find_metric(metric)
    return known is not None and known.is_share


def score(value: float | None, metric: str) -> str:
    """A metric's value: 91.2 %, or 0.812 for a correlation."""
    return share(value) if is_share(metric) else decimal(value)


def difference(value: float | None, metric: str) -> str:
    """A difference of two scores, with its sign: points of a per cent, or plain."""
    if value is None:
        return NOT_AVAILABLE
    return _sign(f"{100 * value:+.1f}{NO_BREAK}points" if is_share(metric) else f"{value:+.3f}")


def share(value: float | None) -> str:
    """98.4 %."""
    return NOT_AVAILABLE if value is None else _sign(f"{100 * value:.1f}{NO_BREAK}%")


def decimal(value: float | None, places: int = 3) -> str:
    """0.812."""
    return NOT_AVAILABLE if value is None else _sign(f"{value:,.{places}f}")


def whole(value: int | None) -> str:
    """22,713,216."""
    return NOT_AVAILABLE if value is None else f"{value:,}"


def times(value: float | None) -> str:
    """4.2×."""
    return NOT_AVAILABLE if value is None else f"{value:.1f}×"


def p_value(value: float | None) -> str:
    """0.043, and no more than three digits."""
    return NOT_AVAILABLE if value is None else "< 0.001" if value < 0.001 else f"{value:.3f}"


def milliseconds(value: float | None) -> str:
    """4.12 ms."""
    return NOT_AVAILABLE if value is None else f"{three_digits(value)}{NO_BREAK}ms"


def quantity(value: float | None, unit: str = "") -> str:
    """With a decimal prefix and three digits: 22.7 M, 4.1 G, 91.0 MB."""
    if value is None:
        return NOT_AVAILABLE
    for factor, prefix in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= factor:
            return f"{three_digits(value / factor)}{NO_BREAK}{prefix}{unit}"
    return f"{value:.0f}{NO_BREAK}{unit}".strip()


def interval(estimate: Mapping[str, Any] | None, show: Callable[[float | None], str]) -> str:
    """The bounds of an estimate, `97.8 to 100.1 %`; empty when it has none."""
    if estimate is None or estimate["low"] is None or estimate["high"] is None:
        return ""
    return f"{show(estimate['low']).split(NO_BREAK)[0]}{NO_BREAK}to{NO_BREAK}{show(estimate['high'])}"  # the unit once


def bucket(low: float, high: float | None) -> str:
    """A range of lengths; one without an upper end is open."""
    if high is None:
        return f"{low:.0f}+"
    return f"{low:.0f}" if low == high else f"{low:.0f}\u2013{high:.0f}"


def short(text: object, length: int) -> str:
    """One line of at most `length` characters that print."""
    line = one_line(str(text))
    return line if len(line) <= length else line[: length - 1].rstrip() + "…"


def ends(text: object, length: int) -> str:
    """The same, but what is left out is left out of the middle: names of classes often differ at their ends."""
    line = one_line(str(text))
    return line if len(line) <= length else f"{line[: length // 2].rstrip()}…{line[-((length - 1) // 2) :].lstrip()}"


def three_digits(value: float) -> str:
    """4.12, 41.2, 412, 4,120."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _sign(number: str) -> str:
    return number.replace("-", _MINUS)
