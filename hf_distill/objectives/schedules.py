"""Numbers that change over a run: weights and temperatures."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

# What may stand for a number: itself, or for instance {"schedule": "linear", "start": 4.0, "end": 1.0}.
Scheduled = float | Mapping[str, Any]

_SHARES = {
    "constant": lambda progress: 0.0,
    "linear": lambda progress: progress,
    "cosine": lambda progress: (1 - math.cos(math.pi * progress)) / 2,
}


@dataclass(frozen=True)
class Schedule:
    r"""A number on its way from `start` to `end`, by the share $p$ of optimiser steps that are done.

    $$v(p) = \mathrm{start} + (\mathrm{end} - \mathrm{start})\, s(p), \qquad
    s_\mathrm{constant} = 0, \quad s_\mathrm{linear} = p, \quad s_\mathrm{cosine} = \frac{1 - \cos \pi p}{2}$$
    """

    schedule: str
    start: float
    end: float

    def at(self, progress: float) -> float:
        """Return the number after a share of the steps, from 0 to 1."""
        share = _SHARES[self.schedule](progress)
        return (1 - share) * self.start + share * self.end

    def spec(self) -> dict[str, Any]:
        """Return what [`read_schedule`] reads."""
        return {"schedule": self.schedule, "start": self.start, "end": self.end}


def read_schedule(value: Mapping[str, Any], what: str) -> Schedule:
    """Read a schedule; one that is constant needs no `end`.

    Args:
        value: `{"schedule": "constant" | "linear" | "cosine", "start": number, "end": number}`.
        what: Whose schedule it is, for the message.

    Raises:
        ValueError: for anything else.
    """
    given = {"end": value.get("start"), **value} if value.get("schedule") == "constant" else dict(value)
    numbers = [given.get("start"), given.get("end")]
    is_right = given.keys() == {"schedule", "start", "end"} and given["schedule"] in _SHARES
    if not is_right or not all(isinstance(n, int | float) and not isinstance(n, bool) for n in numbers):
        raise ValueError(
            f"{what} is {dict(value)!r}, which is no schedule. Give a number, or for instance "
            f'{{"schedule": "linear", "start": 4.0, "end": 1.0}}; the schedules are {", ".join(_SHARES)}.'
        )
    return Schedule(**given)
