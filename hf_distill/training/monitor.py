"""What a run reports on its loss: exact means of every term, warnings about the teacher, a stop on NaN or infinity."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import datasets
import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from torch import Tensor
from transformers import PreTrainedModel

from hf_distill.classifiers.outputs import IS_UNIT, ROW_NUMBER, ROW_OF_UNIT, Batch, ClassifierOutputs
from hf_distill.classifiers.problem_types import ProblemType
from hf_distill.data.table import name_some
from hf_distill.objectives import DistillationLoss
from hf_distill.teachers import BaseTeacher
from hf_distill.training.guards import ChanceGuard, StudentGuard
from hf_distill.training.labelled_rows import label_column_of
from hf_distill.training.running_means import NotFinite, RunningMeans

_NUM_SAMPLED_ROWS = 2000  # of stored outputs; the guard wants 1,000 rows, and some can be unlabelled
_MOST_NAMED = 8


@dataclass(frozen=True)
class Observation:
    """One micro-batch at its units, and what the objectives gave for it.

    Attributes:
        student: The student's outputs.
        teacher: The teacher's outputs; None if they were not asked for.
        batch: The batch.
        terms: Unweighted values of the objectives, `(units,)` each.
        step: Number of the optimizer step.
    """

    student: ClassifierOutputs
    teacher: ClassifierOutputs | None
    batch: Batch
    terms: dict[str, Tensor]
    step: int

    @property
    def teacher_logits(self) -> Tensor | None:
        """The teacher's logits, if they are known."""
        return None if self.teacher is None else self.teacher.logits


@dataclass
class LossMonitor:
    """Means over units of all terms in training and evaluation, and guards.

    No step waits for the device: the values are kept there, and looked at when something is logged, evaluated or
    saved.

    Args:
        loss: The objectives.
        problem_type: The student's.
        class_names: Names of the student's classes, by id.
        teacher: From a batch to the teacher's outputs; None without a teacher.
        accelerator: The Trainer's.
    """

    loss: DistillationLoss
    problem_type: ProblemType
    class_names: list[str]
    teacher: BaseTeacher | None
    accelerator: Accelerator
    has_seen_training: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        device, is_exclusive = self.accelerator.device, self.problem_type.is_exclusive
        has_most_frequent = is_exclusive and self.problem_type.has_label_names
        self.chance_guard = ChanceGuard(self.class_names, device) if has_most_frequent else None
        self.student_guard = StudentGuard(device) if is_exclusive else None
        knows_teacher = self.teacher is not None and self.teacher.returns_logits
        compared = ["agreement"] if knows_teacher and self.problem_type.agreement is not None else []
        terms = list(self.loss.weights)
        self.training = RunningMeans([*terms, "labelled"], device)
        self.evaluation = RunningMeans([*terms, "labelled", *compared], device)

    # ---- Every micro-batch ----

    def track(self, seen: Observation, is_training: bool, num_units: Tensor | int | None) -> None:
        """Add a micro-batch; `num_units` are the units of the whole accumulated batch."""
        labels, is_unit, teacher_logits = seen.batch.get("labels"), seen.batch[IS_UNIT], seen.teacher_logits
        is_labelled = torch.zeros_like(is_unit) if labels is None else self.problem_type.is_labelled(labels)
        values = {**seen.terms, "labelled": is_labelled}
        rows, row_of_unit = seen.batch.get(ROW_NUMBER), seen.batch.get(ROW_OF_UNIT)
        if teacher_logits is not None and labels is not None and self.chance_guard is not None:
            self.chance_guard.add(teacher_logits, labels, is_unit)
        if is_training:
            self.has_seen_training = True
            self.training.add(values, is_unit, 1.0 if num_units is None else num_units, rows, row_of_unit, seen.step)
            return
        if teacher_logits is not None and self.problem_type.agreement is not None:
            values["agreement"] = self.problem_type.agreement(seen.student.logits, teacher_logits)
        if teacher_logits is not None and labels is not None and self.student_guard is not None:
            self.student_guard.add(seen.student.logits, teacher_logits, labels, is_unit)
        self.evaluation.add(values, is_unit, 1.0, rows, row_of_unit, seen.step)

    # ---- Logs ----

    def training_logs(self, is_first: bool) -> dict[str, float]:
        """Return the mean of every term since the last call, and the numbers of the loss that change.

        Args:
            is_first: Whether nothing was logged yet; then all numbers of the loss are returned. (The arguments, which
                trackers store, have None for what was not set.)
        """
        terms = self._named(self.training.reduce(self.accelerator))
        return terms | (self.loss.current_values if is_first else self.loss.scheduled_values)

    def evaluation_metrics(self) -> dict[str, float]:
        """Return `loss`, every term and the agreement as exact means over the evaluated units; empty for none."""
        means = self.evaluation.reduce(self.accelerator)
        named = self._named(means)
        if means:
            named["loss"] = sum(weight * means[name] for name, weight in self.loss.weights.items())
        return named

    def _named(self, means: dict[str, float]) -> dict[str, float]:
        """Name the means as logs do; the share of labelled units only if some are unlabelled."""
        named = {f"loss_{name}": means[name] for name in self.loss.weights if name in means}
        if means.get("labelled", 1.0) < 1.0:
            named["labelled_share"] = means["labelled"]
        return named | ({"agreement": means["agreement"]} if "agreement" in means else {})

    # ---- Guards ----

    def check_teacher(self) -> None:
        """Warn about a teacher at chance; every process must call it."""
        if self.chance_guard is not None:
            self.chance_guard.check(self.accelerator)

    def check_student(self) -> None:
        """Warn about a student that is better than its teacher; every process must call it."""
        if self.student_guard is not None:
            self.student_guard.check(self.accelerator)

    def check_stored_outputs(self, dataset: Any) -> None:
        """Warn about a teacher at chance before the first step, if the rows carry its logits."""
        guard, teacher = self.chance_guard, self.teacher
        if guard is None or guard.is_done or teacher is None or not (teacher.is_stored and teacher.returns_logits):
            return
        if not isinstance(dataset, datasets.Dataset) or (label_column := label_column_of(dataset)) is None:
            return
        if self.accelerator.is_main_process:
            # Rows from all over the dataset, which can be sorted.
            step = max(1, len(dataset) // _NUM_SAMPLED_ROWS)
            sample = dataset.with_format(None).select(range(0, len(dataset), step))
            join = np.concatenate if self.problem_type.is_token_level else np.array
            columns = {
                name: torch.tensor(join(sample[name][:])).to(self.accelerator.device)
                for name in (label_column, *teacher.required_columns)
            }
            labels = columns.pop(label_column)
            guard.add(teacher(columns).logits, labels, torch.ones_like(labels, dtype=torch.bool))
        self.check_teacher()

    # ---- NaN and infinity ----

    def check_finite(self, role: str, unusable_teacher_rows: Callable[[list[int]], list[int]]) -> None:
        """Stop if a value is NaN or infinite; every process must call it.

        Args:
            role: "training" or "evaluation".
            unusable_teacher_rows: From numbers of rows to the numbers of rows whose teacher logits are unusable.

        Raises:
            FloatingPointError: on every process, if a value is NaN or infinite on any. The message names the term, the
                step and the rows.
        """
        means = self.training if role == "training" else self.evaluation
        if means.is_finite(self.accelerator):
            return
        first = means.first_not_finite()
        message = None
        if first is not None:
            needs_label = first.name in self.loss.reads_labels and not first.has_label
            message = _explain(first, role, needs_label, unusable_teacher_rows(first.rows[:_MOST_NAMED]))
        messages = gather_object([message])
        raise FloatingPointError(next(filter(None, messages), f"The {role} loss is too large for a floating point."))

    @staticmethod
    def check_weights(model: PreTrainedModel, step: int) -> None:
        """Refuse to save weights that are not finite.

        Raises:
            FloatingPointError: if a weight is NaN or infinite.
        """
        if not torch.stack([weight.isfinite().all() for weight in model.parameters()]).all():
            raise FloatingPointError(
                f"Weights of the student are NaN or infinite after step {step}, so this checkpoint is not written. "
                "The last checkpoint is still good. Lower the learning rate, or clip gradients (`max_grad_norm`)."
            )


def _explain(first: NotFinite, role: str, needs_label: bool, unusable_teacher_rows: list[int]) -> str:
    term = f"`loss_{first.name}` is {first.value} after step {first.step}"
    if needs_label:
        place = f" in {_listed(first.rows)} of the {role} dataset" if first.rows else ""
        return (
            f"{term}: `{first.name}` needs the label of every unit, and there is a unit without one{place}. Use `kl`, "
            "which learns from unlabelled text."
        )
    if unusable_teacher_rows:
        return (
            f"The teacher gives NaN, +inf or no finite logit for {_listed(unusable_teacher_rows)} of the {role} "
            f"dataset: {term}. Load undamaged weights, run the teacher in float32 (`teacher_dtype`) if it can "
            "overflow, or remove these rows."
        )
    place = f" for {_listed(first.rows)} of the {role} dataset" if first.rows else ""
    if len(first.rows) == first.num_rows:
        place += f", all {first.num_rows} rows of a batch" if first.num_rows > 1 else ", the only row of a batch"
        return (
            f"{term}{place}. Look for NaN in the student's weights, or lower the learning rate. The last checkpoint "
            "is still good."
        )
    return (
        f"{term}{place}; the other rows of the batch are finite. Check these rows, including their labels, and "
        "whether a model forbids a class (logit -inf). The last checkpoint is still good."
    )


def _listed(rows: list[int]) -> str:
    return f"row{'s' if len(rows) > 1 else ''} {name_some([*map(str, rows)], _MOST_NAMED)}"
