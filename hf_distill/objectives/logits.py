"""Terms on logits: the soft losses."""

import math
from typing import ClassVar

from torch import Tensor

from hf_distill import functional
from hf_distill.classifiers.outputs import Batch, ClassifierOutputs
from hf_distill.classifiers.problem_types import PROBLEM_TYPES
from hf_distill.objectives.base import Objective, TemperedObjective
from hf_distill.objectives.schedules import Scheduled


class KLDivergence(TemperedObjective):
    """KL divergence from the teacher's soft targets; see [`functional.kl_divergence`].

    For multi-label classification it is [`functional.bernoulli_kl_divergence`], and for regression the squared error
    between student and teacher, [`functional.squared_error`].
    """

    name = "kl"
    paper = "Hinton et al. (2015), https://huggingface.co/papers/1503.02531"
    teacher_reads = frozenset({"logits"})
    problem_types: ClassVar[frozenset[str]] = frozenset(PROBLEM_TYPES)

    def forward(self, student: ClassifierOutputs, teacher: ClassifierOutputs, batch: Batch) -> Tensor:
        return self.problem_type.soft_loss(student.logits, teacher.logits, self.temperature)


class ReverseKLDivergence(TemperedObjective):
    """Reverse KL divergence, which is mode-seeking; see [`functional.reverse_kl_divergence`]."""

    name = "reverse_kl"
    paper = "Gu et al. (2024), https://huggingface.co/papers/2306.08543"
    teacher_reads = frozenset({"logits"})

    def forward(self, student: ClassifierOutputs, teacher: ClassifierOutputs, batch: Batch) -> Tensor:
        return functional.reverse_kl_divergence(student.logits, teacher.logits, self.temperature)


class JensenShannonDivergence(TemperedObjective):
    """Jensen-Shannon divergence, which is bounded; see [`functional.jensen_shannon_divergence`]."""

    name = "jsd"
    paper = "Agarwal et al. (2024), https://huggingface.co/papers/2306.13649"
    teacher_reads = frozenset({"logits"})

    def __init__(self, temperature: Scheduled | None = None, beta: float = 0.5, weight: Scheduled = 1.0) -> None:
        super().__init__(temperature, weight)
        if not 0 < beta < 1:
            raise ValueError(f"`beta` of jsd must be > 0 and < 1, got {beta}.")
        self.beta = beta

    def forward(self, student: ClassifierOutputs, teacher: ClassifierOutputs, batch: Batch) -> Tensor:
        return functional.jensen_shannon_divergence(student.logits, teacher.logits, self.temperature, self.beta)


class LogitMSE(Objective):
    """Squared error between centered logits, the limit of `kl` for high temperatures; see [`functional.logit_mse`]."""

    name = "logit_mse"
    paper = "Ba & Caruana (2014), https://huggingface.co/papers/1312.6184"
    teacher_reads = frozenset({"logits"})

    def forward(self, student: ClassifierOutputs, teacher: ClassifierOutputs, batch: Batch) -> Tensor:
        return functional.logit_mse(student.logits, teacher.logits)


class DecoupledKLDivergence(TemperedObjective):
    """Decoupled knowledge distillation (DKD); every row needs a label; see [`functional.decoupled_kl_divergence`]."""

    name = "dkd"
    paper = "Zhao et al. (2022), https://huggingface.co/papers/2203.08679"
    teacher_reads = frozenset({"logits"})
    reads_labels = True

    def __init__(
        self, temperature: Scheduled | None = None, alpha: float = 1.0, beta: float = 8.0, weight: Scheduled = 1.0
    ) -> None:
        super().__init__(temperature, weight)
        if not 0 <= alpha < math.inf or not 0 <= beta < math.inf:
            raise ValueError(f"`alpha` and `beta` of dkd must be finite numbers >= 0, got {alpha} and {beta}.")
        self.alpha, self.beta = alpha, beta

    def forward(self, student: ClassifierOutputs, teacher: ClassifierOutputs, batch: Batch) -> Tensor:
        return functional.decoupled_kl_divergence(
            student.logits, teacher.logits, batch["labels"], self.temperature, self.alpha, self.beta
        )


class DIST(TemperedObjective):
    """Correlation of the probabilities; the value depends on the rows of the batch; see [`functional.dist_loss`]."""

    name = "dist"
    paper = "Huang et al. (2022), https://huggingface.co/papers/2205.10536"
    teacher_reads = frozenset({"logits"})
    is_per_unit = False

    def __init__(
        self, temperature: Scheduled | None = None, beta: float = 1.0, gamma: float = 1.0, weight: Scheduled = 1.0
    ) -> None:
        super().__init__(temperature, weight)
        if not 0 <= beta < math.inf or not 0 <= gamma < math.inf:
            raise ValueError(f"`beta` and `gamma` of dist must be finite numbers >= 0, got {beta} and {gamma}.")
        self.beta, self.gamma = beta, gamma

    def forward(self, student: ClassifierOutputs, teacher: ClassifierOutputs, batch: Batch) -> Tensor:
        return functional.dist_loss(student.logits, teacher.logits, self.temperature, self.beta, self.gamma)
