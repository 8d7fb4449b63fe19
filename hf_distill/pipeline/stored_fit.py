"""Look whether logits that the training rows carry know anything of the labels, before a student learns them."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedConfig

from hf_distill.classifiers.outputs import TEACHER_LOGITS
from hf_distill.classifiers.problem_types import PROBLEM_TYPES, ProblemType
from hf_distill.data import Task
from hf_distill.data.transfer import logits_column
from hf_distill.pipeline.inputs import DistillationInputs
from hf_distill.pipeline.teacher_fit import LEARNED_SHARE, MIN_ROWS, Fit, choose_rows, measure_fit
from hf_distill.training.dataset_checks import check_teacher_logits
from hf_distill.training.logit_order import put_logits_in_student_order


@dataclass(frozen=True)
class StoredFit:
    """How well the column `teacher_logits` fits the labels of the training rows.

    Attributes:
        metric_name: The metric of the task.
        loss_name: What the losses are.
        fit: The metric and the losses.
        informed_loss: The mean of the losses with the factor on the logits, not below 0, and the bias of each class
            that fit the labels best. Logits that say nothing of the label are no better than the class frequencies.
    """

    metric_name: str
    loss_name: str
    fit: Fit
    informed_loss: float

    def __str__(self) -> str:
        return (
            f"Stored logits: {self.metric_name} {self.fit.metric:.3f}, {self.loss_name} {self.fit.loss:.3f} on "
            f"{len(self.fit.losses):,} training rows."
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the numbers for the record."""
        return {
            "metric_name": self.metric_name,
            "loss_name": self.loss_name,
            "train": {**self.fit.to_dict(), "informed_loss": self.informed_loss},
        }


def measure_stored_logits(inputs: DistillationInputs) -> StoredFit | None:
    """Compare the column `teacher_logits` with the labels of up to 1,000 training rows. No model runs.

    Args:
        inputs: The rows.

    Returns:
        How well it fits; None with a teacher, for words, or if fewer than 100 training rows have a label.

    Raises:
        ValueError: if the column does not say which class each number belongs to, has another width than the labels,
            or has a row without a usable number.
    """
    task = inputs.task
    if inputs.teacher is not None or "train" not in task.datasets or task.has_words:
        return None
    rows = inputs.rows["train"]
    if TEACHER_LOGITS not in rows.column_names:
        return None
    numbers = choose_rows(rows, task)
    if len(numbers) < MIN_ROWS:
        return None
    if task.label_names is not None:
        config = PreTrainedConfig(id2label=dict(enumerate(task.label_names)))
        rows = put_logits_in_student_order(rows, config, "training")
    logits, labels = logits_column(rows), np.array(rows.select(numbers)["labels"][:])
    num_labels = len(task.label_names) if task.label_names is not None else labels.reshape(len(labels), -1).shape[1]
    check_teacher_logits(logits, "training", num_labels)
    return _measure(logits[numbers], labels, task)


def _measure(logits: np.ndarray, labels: np.ndarray, task: Task) -> StoredFit:
    problem_type = PROBLEM_TYPES[task.problem_type]
    loss_name = "cross-entropy" if problem_type.has_temperature else "squared error"
    fit = measure_fit(list(labels), list(logits), task)
    informed = informed_loss(torch.tensor(logits), torch.tensor(labels), problem_type)
    return StoredFit(task.metric_name, loss_name, fit, informed)


def informed_loss(logits: Tensor, labels: Tensor, problem_type: ProblemType) -> float:
    r"""Return $\min_{a \ge 0, b} \frac{1}{n} \sum_i \ell(a z_i + b, y_i)$, the loss after the best factor and biases.

    The loss is convex in both, and with $a = 0$ it is that of the class frequencies (of the mean, for a regression).
    Scaling and shifting the logits of a class is vector scaling with one factor: Guo et al. (2017), section 4.2,
    https://huggingface.co/papers/1706.04599.

    Args:
        logits: `(num_rows, num_labels)`; -inf counts as a logit just below the lowest finite one.
        labels: The labels of all rows, none missing.
        problem_type: The problem type.
    """
    # -inf for one right class would outweigh all other rows, so it is only a little below the lowest other logit.
    finite = logits[logits.isfinite()].double()
    values = logits.double().clamp(min=(finite.min() - finite.std(unbiased=False).clamp(min=1.0)).item())
    # Logits of unit spread make the first step of the optimizer as large as the answer.
    values = (values - values.mean(dim=0)) / values.std(dim=0).mean().clamp(min=1e-12)
    factor = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    bias = torch.zeros(logits.shape[1], dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([factor, bias], max_iter=200, line_search_fn="strong_wolfe")
    targets = labels.double() if labels.is_floating_point() else labels

    def loss() -> Tensor:
        return problem_type.hard_loss(values * factor.clamp(min=0.0) + bias, targets, 0.0, None).double().mean()

    def closure() -> Tensor:
        optimizer.zero_grad()
        value = loss()
        value.backward()
        return value

    optimizer.step(closure)
    return float(loss().detach())


def check_stored_logits(stored: StoredFit, *, allow_weak_teacher: bool) -> str | None:
    """Refuse stored logits that say nothing of the labels.

    Soft labels of people or of a language model need not fit the labels, and can be as unsure as they like. But if
    they tell no more about the labels than the class frequencies do, there is nothing to learn from them.

    Args:
        stored: What [`measure_stored_logits`] returns.
        allow_weak_teacher: Whether they are only warned about.

    Returns:
        A warning, or None.

    Raises:
        ValueError: if they say nothing of the labels.
    """
    trivial = stored.fit.trivial_loss
    without_logits = "the mean label" if stored.loss_name == "squared error" else "the class frequencies"
    if stored.informed_loss <= (1 - LEARNED_SHARE) * trivial:
        return None
    message = (
        f"THE STORED LOGITS SAY NOTHING OF THE LABELS: on {len(stored.fit.losses):,} labelled training rows their "
        f"{stored.metric_name} is {stored.fit.metric:.3f}, and even after the best scaling their {stored.loss_name} "
        f"({stored.informed_loss:.3f}) is not clearly below that of {without_logits} ({trivial:.3f})."
    )
    if allow_weak_teacher:
        return message
    raise ValueError(
        f"{message} Check that each row has the logits of its own text, and that --class_names names the classes in "
        "the order of the numbers, or label the rows with a better teacher. To train on these logits nevertheless, "
        "pass --allow_weak_teacher."
    )
