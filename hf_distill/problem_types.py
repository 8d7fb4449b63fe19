"""Kinds of text classification: what each means by a hard loss, a soft loss, and a row without a label."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import PreTrainedConfig

from hf_distill import functional
from hf_distill.labels import id2label_of


@dataclass(frozen=True)
class ProblemType:
    """How one kind of problem reads logits and labels.

    Attributes:
        name: `config.problem_type` in transformers' words.
        soft_loss: (student logits, teacher logits, temperature) -> `(batch,)`, the `kl` objective.
        hard_loss: (logits, labels, label smoothing) -> `(batch,)`, the `ce` objective; 0 where there is no label.
        is_labelled: labels -> `(batch,)` bool.
        unlabelled: The value that says that a row has no label.
        has_classes: Whether a temperature, label smoothing and a predicted class (argmax) mean anything.
    """

    name: str
    soft_loss: Callable[[Tensor, Tensor, float], Tensor]
    hard_loss: Callable[[Tensor, Tensor, float], Tensor]
    is_labelled: Callable[[Tensor], Tensor]
    unlabelled: float
    has_classes: bool


def _has_class(labels: Tensor) -> Tensor:
    return labels != functional.IGNORE_INDEX


def _has_target(labels: Tensor) -> Tensor:
    return ~labels.isnan().reshape(len(labels), -1).all(dim=-1)


PROBLEM_TYPES = {
    "single_label_classification": ProblemType(
        name="single_label_classification",
        soft_loss=functional.kl_divergence,
        hard_loss=functional.cross_entropy,
        is_labelled=_has_class,
        unlabelled=functional.IGNORE_INDEX,
        has_classes=True,
    ),
    "regression": ProblemType(
        name="regression",
        # Neither a temperature nor label smoothing exists here; both are refused where they are set.
        soft_loss=lambda student_logits, teacher_logits, _: functional.squared_error(student_logits, teacher_logits),
        hard_loss=lambda logits, labels, _: functional.squared_error(logits, labels),
        is_labelled=_has_target,
        unlabelled=float("nan"),
        has_classes=False,
    ),
}


def resolve_problem_type(config: PreTrainedConfig) -> ProblemType:
    """Find the problem type of a model: what its config says, else regression for one output and one label otherwise.

    Raises:
        ValueError: for a problem type that is not supported.
    """
    name = config.problem_type or ("regression" if config.num_labels == 1 else "single_label_classification")
    if name not in PROBLEM_TYPES:
        raise ValueError(
            f"`config.problem_type` is {name!r}; hf_distill knows {', '.join(PROBLEM_TYPES)}. A softmax loss on "
            "another head would train on the wrong target."
        )
    if name == "single_label_classification" and len(id2label_of(config)) < 2:
        raise ValueError(
            f"Single-label classification needs at least 2 classes, got num_labels={config.num_labels}. Set "
            "`num_labels` of the config, or its `problem_type` to 'regression'."
        )
    return PROBLEM_TYPES[name]


def agreement(student_logits: Tensor, teacher_logits: Tensor) -> Tensor:
    """Whether student and teacher predict the same class: `(batch,)`, 1.0 or 0.0."""
    return (student_logits.argmax(dim=-1) == teacher_logits.argmax(dim=-1)).to(torch.float32)
