"""The hard-label term: the loss of fine-tuning without a teacher."""

from typing import ClassVar

from torch import Tensor

from hf_distill.classifiers.outputs import Batch, ClassifierOutputs
from hf_distill.classifiers.problem_types import PROBLEM_TYPES, ProblemType
from hf_distill.objectives.base import Objective
from hf_distill.objectives.schedules import Scheduled


class HardLabels(Objective):
    """Cross-entropy with the labels, or the squared error for regression; 0 for units without a label.

    See [`functional.cross_entropy`], [`functional.binary_cross_entropy`] and [`functional.squared_error`].
    """

    name = "ce"
    paper = "Hinton et al. (2015), section 2, https://huggingface.co/papers/1503.02531"
    problem_types: ClassVar[frozenset[str]] = frozenset(PROBLEM_TYPES)

    def __init__(self, label_smoothing: float = 0.0, weight: Scheduled = 1.0) -> None:
        super().__init__(weight)
        if not 0 <= label_smoothing < 1:
            raise ValueError(f"`label_smoothing` must be >= 0 and < 1, got {label_smoothing}.")
        self.label_smoothing = label_smoothing

    def bind(self, problem_type: ProblemType) -> None:
        super().bind(problem_type)
        if self.label_smoothing and not problem_type.is_exclusive:
            raise ValueError(f"Label smoothing is not defined for {problem_type.name}. Set it to 0.")

    def forward(self, student: ClassifierOutputs, teacher: ClassifierOutputs, batch: Batch) -> Tensor:
        if "labels" not in batch:  # unlabelled text
            return student.logits.new_zeros(len(student.logits))
        return self.problem_type.hard_loss(student.logits, batch["labels"], self.label_smoothing)
