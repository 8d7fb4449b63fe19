"""Numbers, intervals and names as text, for sentences, Markdown tables and the HTML page."""

import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from hf_distill.data.metrics import find_metric
from hf_distill.data.table import counted

NOT_AVAILABLE = "n/a"
UNCLEAR_GAP = "unclear"  # how much of the gap is closed, if the gap is small

BUSY = "The machine was busy with other work, so the times are unreliable. Measure them again on an idle machine."

Show = Callable[[Any], str]  # from a number, or None, to text

_MARKDOWN = re.compile(r"[\\`*\[\]<>|&~$@]|(?<![^\W_])_|_(?![^\W_])|:(?=//)")


def one_line(text: str) -> str:
    """Replace everything that does not print, such as line breaks and direction marks, by single spaces."""
    return " ".join("".join(char if char.isprintable() else " " for char in text).split())


def bullets(texts: Iterable[str]) -> str:
    """Return a list in Markdown, each text in one line."""
    return "\n".join(f"- {one_line(text)}" for text in texts)


def escape(text: str) -> str:
    """Escape a string from outside so that Markdown shows it literally, in a table too."""
    # A character written as an entity is never markup. After a backslash it sometimes is.
    return _MARKDOWN.sub(lambda match: f"&#{ord(match[0])};", one_line(text))


def short(text: object, length: int) -> str:
    """Return one printable line of at most `length` characters; the end is cut off."""
    line = one_line(str(text))
    return line if len(line) <= length else line[: length - 1].rstrip() + "…"


def ends(text: object, length: int) -> str:
    """Return one printable line of at most `length` characters; the middle is cut out.

    The names of classes often differ only at their ends.
    """
    line = one_line(str(text))
    return line if len(line) <= length else f"{line[: length // 2].rstrip()}…{line[-((length - 1) // 2) :].lstrip()}"


def typeset(text: str) -> str:
    """Return a sentence in the typography of HTML: a unit stays on the line of its number, minus signs are long."""
    line = re.sub(
        r"(?<=\d) (?=%|points?\b|rows?\b|tokens?\b|ms\b|GiB\b)|(?<=batch) (?=\d)", HTML.space, one_line(text)
    )
    line = re.sub(r"(?<![\w.])-(?=[\d.]*\d)", HTML.minus, line)
    return re.sub(r"(?<=\w)'(?=s\b)", "\u2019", line)


def is_clear_gap(gap_closed: Mapping[str, Any] | None) -> bool:
    """Return whether it is known how much of the gap is closed: the interval is not wider than the gap itself."""
    return gap_closed is not None and gap_closed["high"] - gap_closed["low"] <= 1


def describe_machine(machine: Mapping[str, Any] | None) -> str:
    """Return the machine of a measurement; empty if it was not recorded."""
    if not machine:
        return ""
    cores = "an unknown number of cores" if machine.get("cores") is None else counted(machine["cores"], "core")
    parts = [f"{cores} of {machine.get('cpu') or 'an unknown CPU'}"]
    parts += [counted(machine["threads"], "thread")] if machine.get("threads") else []
    parts += [f"{machine['memory_gb']} GiB of memory"] if machine.get("memory_gb") is not None else []
    return ", ".join([*parts, f"GPU {machine['gpu']}" if machine.get("gpu") else "no GPU"])


def finite(value: Any) -> float | None:
    """Return the value if it is a finite number, else None."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return value if is_number and math.isfinite(value) else None


def number(value: Any, spec: str, factor: float = 1) -> str:
    """Format value x factor; n/a if the value is not a finite number."""
    return NOT_AVAILABLE if finite(value) is None else format(value * factor, spec)


def whole(value: Any) -> str:
    """Format an integer: 22,713,216."""
    return number(value, ",")


def text_length(tokens: int | None) -> str:
    """Format the length of the texts that were timed: 16 tokens, or "evaluation texts" if they are the rows' own."""
    return "evaluation texts" if tokens is None else f"{tokens} tokens"


def p_value(value: Any) -> str:
    """Format a p-value with three decimals: 0.043, or < 0.001."""
    return "< 0.001" if finite(value) is not None and value < 0.001 else number(value, ".3f")


def equals_p_value(value: Any) -> str:
    """Format a p-value with its sign: = 0.012, or < 0.001."""
    text = p_value(value)
    return text if text.startswith("<") else f"= {text}"


def rounded_rows(number: int) -> str:
    """Format an estimated number of further rows, rounded up to two digits: 2,300 more rows."""
    step = 10 ** max(0, len(str(number)) - 2)
    return counted(math.ceil(number / step) * step, "more row")


def three_digits(value: float) -> str:
    """Format a number with three digits: 4.12, 41.2, 412, 4,120."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def bucket(low: float, high: float | None) -> str:
    """Format a range of lengths: 9–16, or 17+ if it has no upper end."""
    if high is None:
        return f"{low:.0f}+"
    return f"{low:.0f}" if low == high else f"{low:.0f}\u2013{high:.0f}"


def is_share(metric: str) -> bool:
    """Return whether a metric is shown in per cent; one that `METRICS` does not list is shown as a plain number."""
    known = find_metric(metric)
    return known is not None and known.is_share


def is_error(metric: str) -> bool:
    """Return whether lower values of a metric are better."""
    known = find_metric(metric)
    return known is not None and not known.higher_is_better


def is_better(score: float, other: float, metric: str) -> bool:
    """Return whether a score is better than another one, which is lower for an error."""
    return score < other if is_error(metric) else score > other


def non_inferiority(versus: Mapping[str, Any] | None) -> str:
    """Return whether a model is at most the margin worse than another: yes, no or not shown; n/a without a margin."""
    if versus is None or versus.get("non_inferior") is None:
        return NOT_AVAILABLE
    if versus["non_inferior"]:
        return "yes"
    return "no" if versus["high"] < -versus["margin"] else "not shown"


def is_clearly_worse(entry: Mapping[str, Any], level: float) -> bool:
    """Return whether a model is significantly worse than the teacher on a slice."""
    return entry["p_value"] is not None and entry["difference"] < 0 and entry["p_value"] < 1 - level


@dataclass(frozen=True)
class NumberStyle:
    """How numbers with a sign or a unit are written. A missing number is n/a.

    Attributes:
        space: Between a number and its unit.
        minus: The minus sign.
    """

    space: str
    minus: str

    def share(self, value: Any) -> str:
        """Format a share in per cent: 98.4 %."""
        return self._write(value, ".1f", 100, "%")

    def decimal(self, value: Any, places: int = 3) -> str:
        """Format a plain number: 0.812."""
        return self._write(value, f",.{places}f")

    def score(self, value: Any, metric: str) -> str:
        """Format a score: 81.2 % for a share, else 0.812."""
        return self.share(value) if is_share(metric) else self.decimal(value)

    def difference(self, value: Any, metric: str) -> str:
        """Format the difference of two scores with its sign: +1.2 points for shares, else +0.012."""
        return self._write(value, "+.1f", 100, "points") if is_share(metric) else self._write(value, "+.3f")

    def margin(self, value: float, metric: str) -> str:
        """Format the size of a difference: 1 point, 1.5 points, or 0.010 if the scores are not shares."""
        if not is_share(metric):
            return self.decimal(value)
        points = f"{100 * value:.1f}".removesuffix(".0")
        return f"{points}{self.space}{'point' if points == '1' else 'points'}"

    def gap_closed(self, estimate: Mapping[str, Any] | None) -> str:
        """Format the share of the gap that is closed: 69.4 % (39.4 to 96.4), or that it is unclear."""
        if estimate is not None and not is_clear_gap(estimate):
            return f"{UNCLEAR_GAP} (small gap)"
        return self.estimate(estimate, self.share)

    def times(self, value: Any) -> str:
        """Format a ratio: 4.2×."""
        return NOT_AVAILABLE if finite(value) is None else f"{value:.1f}×"

    def milliseconds(self, value: Any) -> str:
        """Format a time with three digits: 4.12 ms."""
        return NOT_AVAILABLE if finite(value) is None else f"{three_digits(value)}{self.space}ms"

    def quantity(self, value: Any, unit: str = "") -> str:
        """Format a number with three digits and a decimal prefix: 22.7 M, 4.10 G, 91.0 MB."""
        if finite(value) is None:
            return NOT_AVAILABLE
        for factor, prefix in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
            if abs(value) >= factor:
                return f"{three_digits(value / factor)}{self.space}{prefix}{unit}"
        return f"{value:.0f}{self.space}{unit}".strip()

    def interval(self, estimate: Mapping[str, Any], show: Show) -> str:
        """Format the bounds of an estimate, with the unit once: 97.8 to 100.1 %. Empty if there are no bounds."""
        if finite(estimate["low"]) is None or finite(estimate["high"]) is None:
            return ""
        return f"{self._without_unit(show(estimate['low']))}{self.space}to{self.space}{show(estimate['high'])}"

    def estimate(self, estimate: Mapping[str, Any] | None, show: Show) -> str:
        """Format a value and its interval: 81.2 % (79.3 to 83.1)."""
        if estimate is None or finite(estimate["value"]) is None:
            return NOT_AVAILABLE
        low, high = (self._without_unit(show(estimate[end])) for end in ("low", "high"))
        return f"{show(estimate['value'])} ({low} to {high})"

    def estimated_score(self, estimate: Mapping[str, Any] | None, metric: str) -> str:
        """Format a score and its interval: 81.2 % (79.3 to 83.1)."""
        return self.estimate(estimate, partial(self.score, metric=metric))

    def estimated_difference(self, versus: Mapping[str, Any], metric: str) -> str:
        """Format the difference of two scores and its interval: +1.2 points (-0.3 to +2.7)."""
        return self.estimate({**versus, "value": versus["difference"]}, partial(self.difference, metric=metric))

    def _write(self, value: Any, spec: str, factor: float = 1, unit: str = "") -> str:
        text = re.sub(r"^[+-](?=[0.]+$)", "", number(value, spec, factor))  # not -0.0
        text = text.replace("-", self.minus)
        return f"{text}{self.space}{unit}" if unit and text != NOT_AVAILABLE else text

    def _without_unit(self, text: str) -> str:
        return text.split(self.space)[0]


PLAIN = NumberStyle(space=" ", minus="-")
HTML = NumberStyle(space="\u00a0", minus="\u2212")  # no-break space and the minus sign of typography


def deferral_cells(guarantee: Mapping[str, Any], style: NumberStyle) -> list[str]:
    """Return the threshold of a cascade and the share of texts that the teacher answers, or why there is none."""
    if guarantee["share"] is None:
        return ["too few rows", NOT_AVAILABLE]
    threshold = "always" if guarantee["threshold"] is None else style.decimal(guarantee["threshold"], 4)
    return [threshold, style.share(guarantee["share"])]
