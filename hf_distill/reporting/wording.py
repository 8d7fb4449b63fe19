"""Numbers in sentences and tables of text."""

from collections.abc import Mapping
from typing import Any

from hf_distill.reporting.formats import is_share
from hf_distill.reporting.table import NOT_AVAILABLE


def score(value: float | None, metric: str) -> str:
    """A metric's value: 81.2 %, or 0.812 for a coefficient."""
    if value is None:
        return NOT_AVAILABLE
    return f"{100 * value:.1f} %" if is_share(metric) else f"{value:.3f}"


def share(value: float | None) -> str:
    """A share in per cent."""
    return NOT_AVAILABLE if value is None else f"{100 * value:.1f} %"


def points(value: float, metric: str, sign: str = "") -> str:
    """A difference of two scores, without its unit: 1 for a hundredth of a share, 0.010 for one of a coefficient."""
    if not is_share(metric):
        return f"{value:{sign}.3f}"
    text = f"{100 * value:{sign}.1f}"
    return text.removesuffix(".0") if not sign else text


def with_unit(value: float, metric: str) -> str:
    """A difference with its unit: 1 point, 1.5 points, 0.010."""
    text = points(value, metric)
    return f"{text} point{'' if text == '1' else 's'}" if is_share(metric) else text


def estimate(found: Mapping[str, Any] | None, metric: str) -> str:
    """A value and its interval: 81.2 % (79.3 to 83.1)."""
    if found is None or found["value"] is None:
        return NOT_AVAILABLE
    low, high = (score(found[end], metric).removesuffix(" %") for end in ("low", "high"))
    return f"{score(found['value'], metric)} ({low} to {high})"


def number(value: float | None, spec: str, factor: float = 1.0) -> str:
    """A number by a format, n/a for none."""
    return NOT_AVAILABLE if value is None else format(value * factor, spec)
