"""Several teachers that teach as one."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import PreTrainedTokenizerBase

from hf_distill import functional
from hf_distill.classifiers.outputs import Batch, ClassifierOutputs
from hf_distill.classifiers.problem_types import ProblemType
from hf_distill.teachers.base import BaseTeacher


@dataclass(frozen=True)
class TeacherEnsemble:
    r"""Several teachers that teach as one, by the weighted mean of what they predict.

    With $z_k$ the logits of teacher $k$ in the student's order of the classes, $T_k$ its own temperature and $w_k$ its
    weight (their sum is made 1), the logits of the ensemble are

    $$z = \log \sum_k w_k\, \mathrm{softmax}(z_k / T_k) \quad \text{(probabilities)}, \qquad
    z = \sum_k w_k\, z_k / T_k \quad \text{(logits)},$$

    and every objective takes them as those of one teacher; its temperature softens the mean. The arithmetic mean of
    the probabilities is the default; the mean of the logits is the geometric one, normalised. Both are named by
    Hinton et al. (2015), section 2, https://huggingface.co/papers/1503.02531. Multi-label, the mean of the
    probabilities is taken class by class; of regressions the outputs themselves are averaged either way.

    Teachers may differ in architecture, tokenizer and order of the classes. With `cache_teacher_outputs` each has a
    store of its own, so that other weights, temperatures or subsets compute nothing again.

    Args:
        teachers: Whatever `teacher_model` takes for one teacher: models, paths, functions.
        weights: One a teacher, > 0; None for equal ones.
        mean_of: "probabilities" or "logits".
        temperatures: One a teacher, > 0; None for 1. `calibrate_teacher` finds them.
        processing_classes: One a teacher, its tokenizer, or None where it reads the student's token ids; None if the
            Trainer's `teacher_processing_class` is that of all.

    Raises:
        ValueError: for no teachers, or numbers that are out of range or too many.
    """

    teachers: Sequence[Any]
    weights: Sequence[float] | None = None
    mean_of: str = "probabilities"
    temperatures: Sequence[float] | None = None
    processing_classes: Sequence[PreTrainedTokenizerBase | None] | None = None

    def __post_init__(self) -> None:
        if not self.teachers:
            raise ValueError("An ensemble needs at least one teacher.")
        if self.mean_of not in ("probabilities", "logits"):
            raise ValueError(f"`mean_of` must be 'probabilities' or 'logits', got {self.mean_of!r}.")
        for name in ("weights", "temperatures", "processing_classes"):
            values = getattr(self, name)
            if values is not None and len(values) != len(self.teachers):
                raise ValueError(f"{len(self.teachers)} teachers and {len(values)} `{name}`: give one a teacher.")
        for name in ("weights", "temperatures"):
            if not all(0 < value < math.inf for value in getattr(self, name) or ()):
                raise ValueError(f"`{name}` must be finite numbers > 0, got {list(getattr(self, name))}.")

    def normalised_weights(self) -> list[float]:
        """Return the weights, scaled to the sum 1."""
        weights = self.weights or [1.0] * len(self.teachers)
        return [weight / sum(weights) for weight in weights]


class EnsembleTeacher(BaseTeacher):
    """The teachers of a [`TeacherEnsemble`], as one.

    Args:
        members: One a teacher, each with its own columns.
        ensemble: How their outputs are averaged.
    """

    def __init__(self, members: Sequence[BaseTeacher], ensemble: TeacherEnsemble) -> None:
        self.members, self.mean_of = list(members), ensemble.mean_of
        self.columns = frozenset[str]().union(*(member.columns for member in members))
        self.needs = frozenset[str]().union(*(member.needs for member in members))
        self.is_stored = all(member.is_stored for member in members)
        self.weights = torch.tensor(ensemble.normalised_weights())

    def bind(self, problem_type: ProblemType) -> None:
        """Fix the problem type, which says what a mean of predictions is."""
        takes_logits = self.mean_of == "logits"
        self._mean = functional.weighted_mean if takes_logits else problem_type.mean_of_teachers

    def _outputs(self, batch: Batch) -> ClassifierOutputs:
        logits = torch.stack([member(batch).logits for member in self.members])
        return ClassifierOutputs(self._mean(logits, self.weights.to(logits.device)))
