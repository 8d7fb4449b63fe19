"""Running sums over units that are exact over accumulation steps, processes and uneven last batches."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from accelerate import Accelerator
from torch import Tensor
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.utils import logging

from hf_distill.functional import IGNORE_INDEX

logger = logging.get_logger(__name__)

_MOST_KEPT = 1 << 20  # numbers, 8 MiB: a thousand steps and more, unless the units are tokens


def _zeros(size: int, device: torch.device) -> Tensor:
    # float64, or a mean over a million units would lose its last digits; Apple's GPUs have none.
    return torch.zeros(size, dtype=torch.float32 if device.type == "mps" else torch.float64, device=device)


@dataclass(frozen=True)
class NotFinite:
    """The first micro-batch with a value that is NaN or infinite.

    Attributes:
        name: Of the value.
        value: Of the first such unit.
        step: As given to [`RunningMeans.add`].
        rows: The rows of such units, in order, each once; empty if they have no numbers.
        num_rows: All rows of the micro-batch.
    """

    name: str
    value: float
    step: int
    rows: list[int]
    num_rows: int


class RunningMeans:
    """Means over units of several named values, kept on the device: nothing waits for it before `reduce`.

    The values themselves are kept for a while, so that those that are not finite can be found afterwards.
    """

    def __init__(self, names: Sequence[str], device: torch.device) -> None:
        self.names = list(names)
        self._sums = _zeros(len(self.names) + 1, device)  # the last one counts the units
        self._recent: list[tuple[Tensor, Tensor | None, int]] = []
        self._num_recent = 0

    def add(
        self,
        values: Mapping[str, Tensor],
        is_unit: Tensor,
        num_units: Tensor | float = 1.0,
        rows: Tensor | None = None,
        step: int = 0,
    ) -> None:
        """Add one micro-batch.

        Args:
            values: `(batch,)` for each name.
            is_unit: `(batch,)` bool; the other rows count for nothing.
            num_units: What every unit is divided by. With the units of the whole accumulated batch, every optimiser
                step weighs the same in the mean, as in Trainer's `loss`; with 1, every unit does.
            rows: `(batch,)`, the number of the row that each unit is of.
            step: Number of the optimiser step.
        """
        stacked = torch.stack([*(values[name].detach() for name in self.names), torch.ones_like(is_unit)])
        counted = torch.where(is_unit, stacked.to(self._sums), 0.0)
        self._sums += counted.sum(dim=1) / num_units
        self._recent.append((counted, rows, step))
        self._num_recent += counted.numel()
        if self._num_recent > _MOST_KEPT:
            self._forget_finite()

    def reset(self) -> None:
        """Start anew."""
        self._sums.zero_()
        self._recent, self._num_recent = [], 0

    def is_finite(self, accelerator: Accelerator) -> bool:
        """Whether all values since the last `reduce` are finite, on all processes; every process must call it."""
        return bool(accelerator.reduce(self._sums, reduction="sum").isfinite().all())

    def first_not_finite(self) -> NotFinite | None:
        """Return the first value of this process that is not finite; None if there is none."""
        self._forget_finite()
        if not self._recent:
            return None
        (counted, rows, step) = self._recent[0]
        is_bad = ~counted.isfinite()
        term = int(is_bad.any(dim=1).int().argmax())
        value = counted[term][is_bad[term]][0].item()
        if rows is None:
            return NotFinite(self.names[term], value, step, [], counted.shape[1])
        return NotFinite(self.names[term], value, step, rows[is_bad[term]].unique().tolist(), len(rows.unique()))

    def _forget_finite(self) -> None:
        """Keep nothing but the first micro-batch that is not finite: the one time that a step waits for the device."""
        if self._recent and not torch.cat([counted for counted, _, _ in self._recent], dim=1).isfinite().all():
            self._recent = [next(one for one in self._recent if not one[0].isfinite().all())]
        else:
            self._recent = []
        self._num_recent = 0

    def reduce(self, accelerator: Accelerator) -> dict[str, float]:
        """Return the means over all processes, and start anew; empty if nothing was added.

        Every process must call it, since it waits for all of them.
        """
        *sums, count = accelerator.reduce(self._sums, reduction="sum").tolist()
        self.reset()
        return {name: total / count for name, total in zip(self.names, sums, strict=True)} if count else {}


class ChanceGuard:
    """Warns once if the teacher is no better than always giving the commonest label, on rows it has scored anyway.

    It compares the rows that only the teacher gets right with those that only the commonest label gets right, as
    McNemar's test does, once there are 100 labelled rows and 30 of them have another label. From 1,000 rows on the
    teacher must be two standard errors ahead.
    """

    def __init__(self, label_names: Sequence[str], device: torch.device) -> None:
        self.label_names = label_names
        self.is_done = False
        self._counts = _zeros(2 * len(label_names), device)  # rows of each label, then the correct ones of each

    def add(self, teacher_logits: Tensor, labels: Tensor, is_unit: Tensor) -> None:
        """Count a batch: `(batch, num_labels)`, `(batch,)` and `(batch,)`."""
        if self.is_done:
            return
        counted = is_unit & (labels != IGNORE_INDEX)
        correct = counted & (teacher_logits.argmax(dim=-1) == labels)
        # Unlabelled rows go where label 0 goes, with weight 0.
        places = labels.clamp(min=0)
        self._counts.index_add_(0, places, counted.to(self._counts))
        self._counts.index_add_(0, places + len(self.label_names), correct.to(self._counts))

    def check(self, accelerator: Accelerator) -> None:
        """Look at the counts of all processes; every process must call it."""
        if self.is_done:
            return
        rows, correct = accelerator.reduce(self._counts, reduction="sum").view(2, -1)
        num_rows, commonest = rows.sum().item(), int(rows.argmax())
        if num_rows < 100 or num_rows - rows[commonest].item() < 30:
            return
        self.is_done = num_rows >= 1000
        only_commonest = (rows[commonest] - correct[commonest]).item()
        only_teacher = (correct.sum() - correct[commonest]).item()
        margin = 2 * (only_teacher + only_commonest) ** 0.5 if num_rows >= 1000 else 0.0
        if only_teacher - only_commonest <= margin:
            self.is_done = True
            logger.warning(
                f"THE TEACHER IS AT CHANCE: it gets {correct.sum().item() / num_rows:.1%} of {num_rows:,.0f} labelled "
                f"rows right, and always answering {self.label_names[commonest]!r} gets "
                f"{rows[commonest].item() / num_rows:.1%}. Was it fine-tuned on this task, and do its labels mean "
                "what the data's do? A student learns what its teacher does."
            )


class EarlyLook(TrainerCallback):
    """Calls a function once in a run, after the step by which so many rows were seen: the first log may be late.

    Args:
        look: What to call.
        num_rows: How many rows.
    """

    def __init__(self, look: Callable[[], None], num_rows: int = 1000) -> None:
        self.look, self.num_rows = look, num_rows

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: object
    ) -> None:
        of_step = args.per_device_train_batch_size * args.gradient_accumulation_steps * args.world_size
        if state.global_step == math.ceil(self.num_rows / of_step):
            self.look()


class StudentGuard:
    """Warns if the teacher does worse than the student already does, at the first evaluation that can tell.

    It compares the units that only the teacher gets right with those that only the student does, as McNemar's test
    does; the student must be more than two standard errors ahead. It looks at what an evaluation scores anyway.
    """

    def __init__(self, device: torch.device) -> None:
        self.is_done = False
        self._counts = _zeros(4, device)  # units, right: teacher's, student's alone, teacher's alone

    def add(self, student_logits: Tensor, teacher_logits: Tensor, labels: Tensor, is_unit: Tensor) -> None:
        """Count a batch of evaluation: logits `(batch, num_labels)`, labels and units `(batch,)`."""
        if self.is_done:
            return
        counted = is_unit & (labels != IGNORE_INDEX)
        student, teacher = (counted & (z.argmax(dim=-1) == labels) for z in (student_logits, teacher_logits))
        self._counts += torch.stack([counted, teacher, student & ~teacher, teacher & ~student]).to(self._counts).sum(1)

    def check(self, accelerator: Accelerator) -> None:
        """Look at the counts of all processes at the end of an evaluation; every process must call it."""
        if self.is_done:
            return
        units, right, only_student, only_teacher = accelerator.reduce(self._counts, reduction="sum").tolist()
        self._counts.zero_()
        if units < 100:
            return
        self.is_done = True
        if only_student - only_teacher > 2 * (only_student + only_teacher) ** 0.5:
            logger.warning(
                f"THE TEACHER IS WORSE THAN THE STUDENT: it gets {right / units:.1%} of {units:,.0f} labelled rows "
                f"right, the student {(right - only_teacher + only_student) / units:.1%}. Its soft targets hold the "
                "student back. Take a better teacher, or train on the labels alone."
            )
