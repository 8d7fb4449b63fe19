"""The hard-label term: the loss of fine-tuning without a teacher."""

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor
from transformers.utils import logging

from hf_distill.classifiers.outputs import Batch, ClassifierOutputs
from hf_distill.classifiers.problem_types import PROBLEM_TYPES, ProblemType
from hf_distill.objectives.base import Objective
from hf_distill.objectives.class_weights import (
    BALANCED,
    ClassWeights,
    LabelCounts,
    check_class_weights,
    resolve_class_weights,
)
from hf_distill.objectives.schedules import Scheduled

logger = logging.get_logger(__name__)


class HardLabels(Objective):
    r"""Cross-entropy with the labels, or the squared error for regression; 0 for units without a label.

    See [`functional.cross_entropy`], [`functional.binary_cross_entropy`] and [`functional.squared_error`].

    Args:
        label_smoothing: Share of the target that is spread evenly over all classes, >= 0 and < 1.
        class_weights: Weights of the classes by name, other classes having the weight 1; or "balanced". The value of a
            unit is the weight of its label times the cross-entropy; it is divided by the number of units like every
            other term, not by the sum of the weights. In multi-label problems the weight multiplies the term of the
            positive label. "balanced" is $N / (K n_c)$ over the labelled training units, $N$ of them, $n_c$ of class
            $c$ out of $K$; in multi-label problems the negatives divided by the positives.
        weight: Weight of the term.
    """

    name = "ce"
    paper = "Hinton et al. (2015), section 2, https://huggingface.co/papers/1503.02531"
    problem_types: ClassVar[frozenset[str]] = frozenset(PROBLEM_TYPES)

    def __init__(
        self, label_smoothing: float = 0.0, class_weights: ClassWeights | None = None, weight: Scheduled = 1.0
    ) -> None:
        super().__init__(weight)
        if not 0 <= label_smoothing < 1:
            raise ValueError(f"`label_smoothing` must be >= 0 and < 1, got {label_smoothing}.")
        if class_weights is not None:
            check_class_weights(class_weights)
        self.label_smoothing, self.class_weights = label_smoothing, class_weights
        self.register_buffer("_weights", None, persistent=False)

    def bind(self, problem_type: ProblemType) -> None:
        super().bind(problem_type)
        if self.label_smoothing and not problem_type.is_exclusive:
            raise ValueError(f"Label smoothing is not defined for {problem_type.name}. Set it to 0.")
        has_classes = problem_type.has_temperature and problem_type.has_label_names
        if self.class_weights is not None and not has_classes:
            raise ValueError(f"`class_weights` are not defined for {problem_type.name}. Leave them unset.")

    def bind_classes(self, class_names: Sequence[str], count_labels: Callable[[], LabelCounts]) -> None:
        if self.class_weights is None:
            return
        weights = resolve_class_weights(self.class_weights, class_names, self.problem_type, count_labels)
        if self.class_weights == BALANCED:
            named = ", ".join(f"{name}: {weight:.4g}" for name, weight in weights.items())
            logger.warning_once(f"The balanced class weights of `ce` are {named}.")
        self.class_weights = weights  # so that record, card and baseline have the numbers
        self._weights = torch.tensor([weights[name] for name in class_names])

    def forward(self, student: ClassifierOutputs, teacher: ClassifierOutputs, batch: Batch) -> Tensor:
        if "labels" not in batch:  # unlabelled text
            return student.logits.new_zeros(len(student.logits))
        return self.problem_type.hard_loss(student.logits, batch["labels"], self.label_smoothing, self._weights)

    def spec(self) -> dict[str, Any]:
        return {name: value for name, value in super().spec().items() if value is not None}
