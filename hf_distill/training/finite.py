"""A loss that is NaN or infinite stops the run: its term, its rows, and whether the teacher is to blame."""

from typing import Any, cast

import datasets
import torch
from accelerate.utils import gather_object
from torch import Tensor, nn
from transformers import PreTrainedModel

from hf_distill.classifiers.outputs import Batch, ClassifierOutputs, row_numbers
from hf_distill.classifiers.problem_types import ProblemType
from hf_distill.functional import ForbiddenClassError
from hf_distill.teachers import BaseTeacher
from hf_distill.training.loss import TrainedObjectives
from hf_distill.training.running import NotFinite, RunningMeans

_MOST_NAMED = 8


class FiniteLoss(TrainedObjectives):
    """The part of [`DistillationTrainer`] that stops when the loss is no number.

    A look at the loss in every step would make every step wait for the device. The losses of the units are kept there
    instead and looked at when something is logged or saved, so that no checkpoint is written behind one.
    """

    model: PreTrainedModel
    teacher: BaseTeacher | None
    problem_type: ProblemType
    _train_means: RunningMeans

    def _run_objectives(
        self, student: ClassifierOutputs, teacher: ClassifierOutputs | None, batch: Batch
    ) -> dict[str, Tensor]:
        try:
            return super()._run_objectives(student, teacher, batch)
        except ForbiddenClassError as error:
            if (rows := row_numbers(batch)) is None:
                raise
            place = f"Row {error.unit} of this batch is row {rows[error.unit].item()} of the data set."
            raise ForbiddenClassError(f"{error} {place}", error.unit) from error

    def _stop_if_not_finite(self, means: RunningMeans, role: str, dataset: Any) -> None:
        """Look at what was added to the means; every process must call it.

        Args:
            means: Of the terms, in training or in evaluation.
            role: "training" or "evaluation", for the message.
            dataset: What the rows are of.

        Raises:
            FloatingPointError: on every process, if a value is NaN or infinite on any.
        """
        if means.is_finite(self.accelerator):
            return
        found = means.first_not_finite()
        said = gather_object([None if found is None else self._explain(found, role, dataset)])
        raise FloatingPointError(next(filter(None, said), f"The {role} loss is too large for a number."))

    def _explain(self, found: NotFinite, role: str, dataset: Any) -> str:
        after = f"after step {found.step}"
        if found.rows and (rows := self._unusable_teacher_rows(dataset, found.rows[:_MOST_NAMED])):
            return (
                f"The teacher gives NaN, +inf or no finite logit for {_listed(rows)} of the {role} data set: "
                f"`loss_{found.name}` is {found.value} {after}. Load a teacher that is whole, in float32 "
                "(`teacher_dtype`) if it may overflow, or leave these rows out."
            )
        where = f" for {_listed(found.rows)} of the {role} data set" if found.rows else ""
        if len(found.rows) == found.num_rows:
            where += f", all {found.num_rows} of a batch" if found.num_rows > 1 else ", a batch of its own"
            return (
                f"`loss_{found.name}` is {found.value} {after}{where}. Look for NaN in the weights of the student, or "
                "lower the learning rate; the last checkpoint is still good."
            )
        return (
            f"`loss_{found.name}` is {found.value} {after}{where}; the other rows of the batch are fine. Look at what "
            "is in these rows, their labels too; the last checkpoint is still good."
        )

    @torch.no_grad()
    def _unusable_teacher_rows(self, dataset: Any, rows: list[int]) -> list[int]:
        """Ask the teacher again for some rows, and return those with logits that nothing can be learnt from."""
        if self.teacher is None or not self.teacher.shows_logits or not isinstance(dataset, datasets.Dataset):
            return []
        numbered: Any = self._remove_unused_columns(dataset)
        batch: Batch = cast("dict[str, Tensor]", self._prepare_inputs(self.data_collator(numbered.__getitems__(rows))))
        if not self.teacher.covers(batch):
            return []
        # Infinite for a row with +inf, -inf for one without a finite logit; a class that is forbidden changes nothing.
        is_bad = ~self.teacher(batch).logits.logsumexp(dim=-1).isfinite()
        is_unit = self.problem_type.units(batch, torch.ones_like(batch["input_ids"][:, 0], dtype=torch.bool))
        is_bad = (is_bad & is_unit).reshape(len(rows), -1).any(dim=1)
        return [row for row, bad in zip(rows, is_bad.tolist(), strict=True) if bad]

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        """Save, unless the loss, or what it made of the weights, is no number: the checkpoints before are good."""
        self._stop_if_not_finite(self._train_means, "training", self.train_dataset)
        # Sharded weights are left out: each process would see others, and not all would stop.
        is_sharded = self.is_fsdp_enabled or self.is_deepspeed_enabled
        if not (is_sharded or torch.stack([weight.isfinite().all() for weight in self.model.parameters()]).all()):
            raise FloatingPointError(
                f"Weights of the student are NaN or infinite after step {self.state.global_step}, so this checkpoint "
                "is not written; the last one is still good. Lower the learning rate, or clip gradients "
                "(`max_grad_norm`)."
            )
        super()._save_checkpoint(model, trial)


def _listed(rows: list[int]) -> str:
    named = ", ".join(map(str, rows[:_MOST_NAMED]))
    more = f" and {len(rows) - _MOST_NAMED} more" if len(rows) > _MOST_NAMED else ""
    return f"row{'s' if len(rows) > 1 else ''} {named}{more}"
