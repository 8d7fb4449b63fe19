"""Warnings about a teacher that cannot teach, from rows that are scored anyway."""

import math
from collections.abc import Callable, Sequence

import torch
from accelerate import Accelerator
from torch import Tensor
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.utils import logging

from hf_distill.functional import IGNORE_INDEX
from hf_distill.training.running_means import zeros

logger = logging.get_logger(__name__)


class ChanceGuard:
    """Warns once if the teacher is no better than always predicting the most frequent label.

    The guard compares the rows that only the teacher gets right with the rows that only the most frequent label gets
    right, as McNemar's test does, once 100 labelled rows were seen and 30 of them have another label. From 1,000 rows
    on the teacher must be two standard errors ahead.

    The warning says so if the teacher's classes have another order: if another assignment of its outputs to the
    classes gets at least half of the rows right and is three standard errors ahead of the most frequent label, with at
    least 20 rows per class.

    Args:
        label_names: Names of the classes.
        device: Where the logits are.
    """

    def __init__(self, label_names: Sequence[str], device: torch.device) -> None:
        self.label_names = label_names
        self.is_done = False
        # Rows by label and the teacher's answer, `(num_labels, num_labels)` in one row.
        self._counts = zeros(len(label_names) ** 2, device)

    def add(self, teacher_logits: Tensor, labels: Tensor, is_unit: Tensor) -> None:
        """Count a batch: `(batch, num_labels)`, `(batch,)` and `(batch,)`."""
        if self.is_done:
            return
        counted = is_unit & (labels != IGNORE_INDEX)
        # Unlabelled rows are added to label 0 with weight 0.
        places = labels.clamp(min=0) * len(self.label_names) + teacher_logits.argmax(dim=-1)
        self._counts.index_add_(0, places, counted.to(self._counts))

    def check(self, accelerator: Accelerator) -> None:
        """Judge by the counts of all processes; every process must call it."""
        if self.is_done:
            return
        counts = accelerator.reduce(self._counts, reduction="sum").view(len(self.label_names), -1)
        rows, correct = counts.sum(dim=1), counts.diagonal()
        num_rows, most_frequent = rows.sum().item(), int(rows.argmax())
        if num_rows < 100 or num_rows - rows[most_frequent].item() < 30:
            return
        self.is_done = num_rows >= 1000
        only_most_frequent = (rows[most_frequent] - correct[most_frequent]).item()
        only_teacher = (correct.sum() - correct[most_frequent]).item()
        margin = 2 * (only_teacher + only_most_frequent) ** 0.5 if num_rows >= 1000 else 0.0
        if only_teacher - only_most_frequent <= margin:
            self.is_done = True
            if exchanged := self._describe_exchange(counts):
                logger.warning(exchanged)
                return
            logger.warning(
                f"THE TEACHER IS AT CHANCE: it gets {correct.sum().item() / num_rows:.1%} of {num_rows:,.0f} labelled "
                f"rows right (repeats count), and always predicting {self.label_names[most_frequent]!r} gets "
                f"{rows[most_frequent].item() / num_rows:.1%}. Was the teacher fine-tuned on this task, and do its "
                "labels mean what the labels of the data mean? A student learns what its teacher does."
            )

    def _describe_exchange(self, counts: Tensor) -> str | None:
        """Return a warning if the teacher knows the classes in another order, else None."""
        from scipy.optimize import linear_sum_assignment  # slow to import

        counts = counts.cpu()
        rows, num_rows, num_classes = counts.sum(dim=1), counts.sum().item(), len(self.label_names)
        _, outputs = linear_sum_assignment(counts.numpy(), maximize=True)
        right = counts[torch.arange(num_classes), torch.as_tensor(outputs)]
        most_frequent, num_right = int(rows.argmax()), right.sum().item()
        only_most_frequent = (rows[most_frequent] - right[most_frequent]).item()
        only_teacher = num_right - right[most_frequent].item()
        is_ahead = only_teacher - only_most_frequent > 3 * (only_teacher + only_most_frequent) ** 0.5
        if num_rows < 20 * num_classes or num_right < num_rows / 2 or not is_ahead:
            return None
        pairs = [
            f"{self.label_names[output]!r} means {name!r}"
            for name, output in zip(self.label_names, outputs, strict=True)
            if self.label_names[output] != name
        ]
        return (
            f"THE TEACHER'S CLASSES HAVE ANOTHER ORDER: it gets {counts.trace().item() / num_rows:.1%} of "
            f"{num_rows:,.0f} labelled rows right (repeats count), and {num_right / num_rows:.1%} if its answer "
            f"{', '.join(pairs[:8])}. Correct `id2label` in the teacher's config, or use --class_names."
        )


class StudentGuard:
    """Warns if the student is already better than its teacher, at the first evaluation with enough labelled rows.

    The guard compares the units that only the teacher gets right with the units that only the student gets right, as
    McNemar's test does. It warns if the student is more than two standard errors ahead.

    Args:
        device: Where the logits are.
    """

    def __init__(self, device: torch.device) -> None:
        self.is_done = False
        self._counts = zeros(4, device)  # units; right: the teacher's, the student's alone, the teacher's alone

    def add(self, student_logits: Tensor, teacher_logits: Tensor, labels: Tensor, is_unit: Tensor) -> None:
        """Count a batch of evaluation: logits `(batch, num_labels)`, labels and units `(batch,)`."""
        if self.is_done:
            return
        counted = is_unit & (labels != IGNORE_INDEX)
        student, teacher = (counted & (z.argmax(dim=-1) == labels) for z in (student_logits, teacher_logits))
        self._counts += torch.stack([counted, teacher, student & ~teacher, teacher & ~student]).to(self._counts).sum(1)

    def check(self, accelerator: Accelerator) -> None:
        """Judge by the counts of all processes at the end of an evaluation; every process must call it."""
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
                f"right, the student {(right - only_teacher + only_student) / units:.1%}. The teacher's soft targets "
                "hold the student back. Use a better teacher, or train on the labels alone."
            )


class EarlyTeacherCheck(TrainerCallback):
    """Calls a function once in a run, after the step by which enough rows were seen: the first log can be late.

    Args:
        check: The function.
        num_rows: How many rows are enough.
    """

    def __init__(self, check: Callable[[], None], num_rows: int = 1000) -> None:
        self.check, self.num_rows = check, num_rows

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: object
    ) -> None:
        rows_per_step = args.per_device_train_batch_size * args.gradient_accumulation_steps * args.world_size
        if state.global_step == math.ceil(self.num_rows / rows_per_step):
            self.check()
