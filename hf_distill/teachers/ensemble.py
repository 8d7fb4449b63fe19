"""Ensembles of teachers."""

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
    r"""Several teachers whose weighted mean prediction is the teacher of the student.

    Let $z_k$ be the logits of teacher $k$ in the student's label order, $T_k$ its temperature and $w_k$ its weight,
    normalized so that the weights sum to 1. The logits of the ensemble are

    $$z = \log \sum_k w_k\, \mathrm{softmax}(z_k / T_k) \quad \text{(probabilities)}, \qquad
    z = \sum_k w_k\, z_k / T_k \quad \text{(logits)}.$$

    Every objective treats them like the logits of a single teacher, and the temperature of an objective softens the
    mean. The default is the arithmetic mean of the probabilities; the mean of the logits is the normalized geometric
    mean. Hinton et al. (2015), section 2, https://huggingface.co/papers/1503.02531, name both. In multi-label
    problems, the mean of the probabilities is computed for each class separately. In regression, both options average
    the outputs.

    The teachers can have different architectures, tokenizers and label orders. With `cache_teacher_outputs`, the
    outputs of each teacher are stored separately, so a change of the weights or temperatures, or a subset of the
    teachers, does not run a teacher again.

    Args:
        teachers: Everything that `teacher_model` accepts as a single teacher: models, paths, functions.
        weights: One weight per teacher, > 0. None for equal weights.
        mean_of: "probabilities" or "logits".
        temperatures: One temperature per teacher, > 0. None for 1.0. `calibrate_teacher` computes them.
        processing_classes: One tokenizer per teacher, or None for a teacher that reads the student's token ids. None
            if the Trainer's `teacher_processing_class` is the tokenizer of all teachers.

    Raises:
        ValueError: if there are no teachers, a number is out of range, or a list does not have one entry per teacher.
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
                raise ValueError(
                    f"`{name}` must have one entry per teacher, got {len(values)} for {len(self.teachers)} teachers."
                )
        if not all(0 < weight < math.inf for weight in self.weights or ()):
            raise ValueError(f"`weights` must be finite numbers > 0, got {list(self.weights or ())}.")
        if not all(functional.LOWEST_TEMPERATURE <= value < math.inf for value in self.temperatures or ()):
            raise ValueError(
                f"`temperatures` must be finite numbers >= {functional.LOWEST_TEMPERATURE}, got "
                f"{list(self.temperatures or ())}."
            )

    def normalized_weights(self) -> list[float]:
        """Return the weights, normalized to the sum 1."""
        weights = self.weights or [1.0] * len(self.teachers)
        return [weight / sum(weights) for weight in weights]


class EnsembleTeacher(BaseTeacher):
    """A teacher that returns the mean prediction of several teachers.

    Args:
        members: The teachers, each with its own columns.
        ensemble: How the outputs of the teachers are averaged.
    """

    def __init__(self, members: Sequence[BaseTeacher], ensemble: TeacherEnsemble) -> None:
        self.members, self.mean_of = list(members), ensemble.mean_of
        self.columns = frozenset[str]().union(*(member.columns for member in members))
        self.required_columns = frozenset[str]().union(*(member.required_columns for member in members))
        self.is_stored = all(member.is_stored for member in members)
        self.weights = torch.tensor(ensemble.normalized_weights())

    def bind(self, problem_type: ProblemType) -> None:
        """Set the problem type, which defines the mean of the probabilities."""
        self._mean = functional.weighted_mean if self.mean_of == "logits" else problem_type.ensemble_mean

    def _outputs(self, batch: Batch) -> ClassifierOutputs:
        logits = torch.stack([member(batch).logits for member in self.members])
        self.weights = self.weights.to(logits.device)  # kept there: a copy in each step would wait for the device
        return ClassifierOutputs(self._mean(logits, self.weights))
