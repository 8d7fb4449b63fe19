"""Running sums over units that are exact over accumulation steps, processes and uneven last batches."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor

_MOST_KEPT = 1 << 20  # numbers, 8 MiB: a thousand steps and more, unless the units are tokens


def zeros(size: int, device: torch.device) -> Tensor:
    """Return a vector of zeros for sums, in the highest precision of the device."""
    # float64, or a mean over a million units would lose its last digits; Apple's GPUs have none.
    return torch.zeros(size, dtype=torch.float32 if device.type == "mps" else torch.float64, device=device)


@dataclass(frozen=True)
class NotFinite:
    """The first micro-batch with a value that is NaN or infinite.

    Attributes:
        name: Name of the value.
        value: The value of the first such unit.
        step: Number of the optimizer step, as given to [`RunningMeans.add`].
        rows: The rows of such units, in order, each once; empty if rows have no numbers.
        num_rows: All rows of the micro-batch.
        has_label: Whether one of these units has a label.
    """

    name: str
    value: float
    step: int
    rows: list[int]
    num_rows: int
    has_label: bool = True


class RunningMeans:
    """Means over units of several named values, kept on the device: nothing waits for it before `reduce`.

    The values themselves are kept for a while, so that values that are not finite can be found afterwards.

    Args:
        names: Names of the values.
        device: Where the values are.
    """

    def __init__(self, names: Sequence[str], device: torch.device) -> None:
        self.names = list(names)
        self._sums = zeros(len(self.names) + 1, device)  # the last one counts the units
        self._recent: list[tuple[Tensor, Any, Tensor | None, int]] = []
        self._num_recent = 0

    def add(
        self,
        values: Mapping[str, Tensor],
        is_unit: Tensor,
        num_units: Tensor | float = 1.0,
        rows: Any = None,
        row_of_unit: Tensor | None = None,
        step: int = 0,
    ) -> None:
        """Add one micro-batch.

        Args:
            values: `(batch,)` for each name.
            is_unit: `(batch,)` bool; the other rows count for nothing.
            num_units: The number that every unit is divided by. With the units of the whole accumulated batch, every
                optimizer step has the same weight in the mean, as in Trainer's `loss`; with 1, every unit has.
            rows: Array or tensor with the number of each row.
            row_of_unit: `(batch,)`, the index in `rows` of the row that each unit belongs to; None if units are rows.
            step: Number of the optimizer step.
        """
        stacked = torch.stack([*(values[name].detach() for name in self.names), torch.ones_like(is_unit)])
        counted = torch.where(is_unit, stacked.to(self._sums), 0.0)
        self._sums += counted.sum(dim=1) / num_units
        self._recent.append((counted, rows, row_of_unit, step))
        self._num_recent += counted.numel()
        if self._num_recent > _MOST_KEPT:
            self._forget_finite()

    def reset(self) -> None:
        """Forget everything that was added."""
        self._sums.zero_()
        self._recent, self._num_recent = [], 0

    def is_finite(self, accelerator: Accelerator) -> bool:
        """Whether all values since the last `reduce` are finite, on all processes; every process must call it."""
        return bool(accelerator.reduce(self._sums, reduction="sum").isfinite().all())

    def first_not_finite(self) -> NotFinite | None:
        """Return the first value of this process that is not finite; None if all are finite."""
        self._forget_finite()
        if not self._recent:
            return None
        counted, rows, row_of_unit, step = self._recent[0]
        is_bad = ~counted.isfinite()
        term = int(is_bad.any(dim=1).int().argmax())
        value = counted[term][is_bad[term]][0].item()
        has_label = (
            bool(counted[self.names.index("labelled")][is_bad[term]].any()) if "labelled" in self.names else True
        )
        if rows is None:
            return NotFinite(self.names[term], value, step, [], counted.shape[1], has_label)
        rows = torch.as_tensor(rows).to(counted.device)
        rows = rows if row_of_unit is None else rows[row_of_unit]
        bad_rows = rows[is_bad[term]].unique().tolist()
        return NotFinite(self.names[term], value, step, bad_rows, len(rows.unique()), has_label)

    def _forget_finite(self) -> None:
        """Keep only the first micro-batch that is not finite: the one time that a step waits for the device."""
        if self._recent and not torch.cat([counted for counted, *_ in self._recent], dim=1).isfinite().all():
            self._recent = [next(batch for batch in self._recent if not batch[0].isfinite().all())]
        else:
            self._recent = []
        self._num_recent = 0

    def reduce(self, accelerator: Accelerator) -> dict[str, float]:
        """Return the means over all processes, and reset; empty if nothing was added.

        Every process must call it, since it waits for all of them.
        """
        *sums, count = accelerator.reduce(self._sums, reduction="sum").tolist()
        self.reset()
        return {name: total / count for name, total in zip(self.names, sums, strict=True)} if count else {}
