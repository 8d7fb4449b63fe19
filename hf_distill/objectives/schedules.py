"""Schedules: weights and temperatures that change during training."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

# A number, or a schedule such as {"schedule": "linear", "start": 4.0, "end": 1.0}.
Scheduled = float | Mapping[str, Any]

_CURVES = {
    "constant": lambda progress: 0.0,
    "linear": lambda progress: progress,
    "cosine": lambda progress: (1 - math.cos(math.pi * progress)) / 2,
}


@dataclass(frozen=True)
class Schedule:
    r"""A number that changes from `start` to `end`, where $p$ is the share of optimizer steps done.

    $$v(p) = \mathrm{start} + (\mathrm{end} - \mathrm{start})\, s(p), \qquad
    s_\mathrm{constant} = 0, \quad s_\mathrm{linear} = p, \quad s_\mathrm{cosine} = \frac{1 - \cos \pi p}{2}$$
    """

    schedule: str
    start: float
    end: float

    def at(self, progress: float) -> float:
        """Return the number after a share of the optimizer steps, from 0 to 1."""
        share = _CURVES[self.schedule](progress)
        return (1 - share) * self.start + share * self.end

    def spec(self) -> dict[str, Any]:
        """Return the mapping from which [`read_schedule`] builds the same schedule."""
        return {"schedule": self.schedule, "start": self.start, "end": self.end}


def read_schedule(value: Mapping[str, Any], name: str) -> Schedule:
    """Read a schedule; a constant schedule does not need `end`.

    Args:
        value: `{"schedule": "constant" | "linear" | "cosine", "start": number, "end": number}`.
        name: Name of the scheduled number, for error messages.

    Raises:
        ValueError: for any other value.
    """
    fields = {"end": value.get("start"), **value} if value.get("schedule") == "constant" else dict(value)
    numbers = [fields.get("start"), fields.get("end")]
    is_schedule = fields.keys() == {"schedule", "start", "end"} and fields["schedule"] in _CURVES
    if not is_schedule or not all(isinstance(n, int | float) and not isinstance(n, bool) for n in numbers):
        raise ValueError(
            f"{name} is {dict(value)!r}, which is not a valid schedule. Use a number, or for instance "
            f'{{"schedule": "linear", "start": 4.0, "end": 1.0}}; the schedules are {", ".join(_CURVES)}.'
        )
    return Schedule(**fields)
