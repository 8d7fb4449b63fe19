"""Kinds of text classification: what each means by a unit, a hard loss, a soft loss, and a unit without a label."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from hf_distill import functional
from hf_distill.classifiers.label_maps import id2label_of
from hf_distill.classifiers.outputs import WORD_STARTS, Batch

if TYPE_CHECKING:  # slow to import
    from transformers import PreTrainedModel


@dataclass(frozen=True)
class ProblemType:
    """How one kind of problem reads logits and labels.

    A unit is what has a logit row of its own: an example, or a token.

    Attributes:
        name: `config.problem_type` in transformers' words, or the head's task.
        soft_loss: (student logits, teacher logits, temperature) -> `(units,)`, the `kl` objective.
        hard_loss: (logits, labels, label smoothing) -> `(units,)`, the `ce` objective; 0 where there is no label.
        is_labelled: labels of units -> `(units,)` bool.
        unlabelled: The value that says that there is no label.
        mean_of_teachers: (logits of all teachers, `(num_teachers, units, num_labels)`; their weights, of sum 1) ->
            `(units, num_labels)`: the logits of the mean of what they predict.
        agreement: (student logits, teacher logits) -> `(units,)`, from 0 to 1; None where nothing is decided.
        has_temperature: Whether the outputs are distributions that a temperature softens.
        is_exclusive: Whether exactly one class is right, so that label smoothing and "at chance" mean anything.
        is_token_level: Whether tokens are the units.
        has_label_names: Whether the outputs are named by `config.id2label`; those of a language model are its words.
    """

    name: str
    soft_loss: Callable[[Tensor, Tensor, float], Tensor]
    hard_loss: Callable[[Tensor, Tensor, float], Tensor]
    is_labelled: Callable[[Tensor], Tensor]
    unlabelled: float
    mean_of_teachers: Callable[[Tensor, Tensor], Tensor]
    agreement: Callable[[Tensor, Tensor], Tensor] | None = None
    has_temperature: bool = True
    is_exclusive: bool = False
    is_token_level: bool = False
    has_label_names: bool = True

    def units(self, batch: Batch, rows: Tensor) -> Tensor:
        """Return what counts in a batch.

        Args:
            batch: `labels`, and `word_starts` if sentences without a label are to count.
            rows: `(batch,)` bool, the rows that count.

        Returns:
            `rows`; for tokens `(batch, length)` bool: where a label is, and in a sentence without any, the first
            token of each word.
        """
        if not self.is_token_level:
            return rows
        labels, starts = batch.get("labels"), batch.get(WORD_STARTS)
        none = torch.zeros_like(batch["input_ids"], dtype=torch.bool)
        has_label = none if labels is None else self.is_labelled(labels)
        of_unlabelled = none if starts is None else starts.bool() & ~has_label.any(dim=1, keepdim=True)
        return (has_label | of_unlabelled) & rows[:, None]

    def has_labelled_unit(self, labels: Tensor) -> Tensor:
        """Return which rows have a label, `(batch,)` bool, from the labels of whole rows."""
        is_labelled = self.is_labelled(labels)
        return is_labelled.any(dim=1) if self.is_token_level else is_labelled


def _has_class(labels: Tensor) -> Tensor:
    return labels != functional.IGNORE_INDEX


def _has_target(labels: Tensor) -> Tensor:
    return ~labels.isnan().reshape(len(labels), -1).all(dim=-1)


def _same_class(student_logits: Tensor, teacher_logits: Tensor) -> Tensor:
    return (student_logits.argmax(dim=-1) == teacher_logits.argmax(dim=-1)).to(torch.float32)


def _same_decisions(student_logits: Tensor, teacher_logits: Tensor) -> Tensor:
    return ((student_logits > 0) == (teacher_logits > 0)).to(torch.float32).mean(dim=-1)


def _one_class(name: str, **changes: bool) -> ProblemType:
    return ProblemType(
        name=name,
        soft_loss=functional.kl_divergence,
        hard_loss=functional.cross_entropy,
        is_labelled=_has_class,
        unlabelled=functional.IGNORE_INDEX,
        mean_of_teachers=functional.mean_of_softmax,
        agreement=_same_class,
        is_exclusive=True,
        **changes,
    )


PROBLEM_TYPES = {
    "single_label_classification": _one_class("single_label_classification"),
    "multi_label_classification": ProblemType(
        name="multi_label_classification",
        soft_loss=functional.bernoulli_kl_divergence,
        hard_loss=lambda logits, labels, _: functional.binary_cross_entropy(logits, labels),
        is_labelled=_has_target,
        unlabelled=float("nan"),
        mean_of_teachers=functional.mean_of_sigmoid,
        agreement=_same_decisions,
    ),
    "regression": ProblemType(
        name="regression",
        # Neither a temperature nor label smoothing exists here; both are refused where they are set.
        soft_loss=lambda student_logits, teacher_logits, _: functional.squared_error(student_logits, teacher_logits),
        hard_loss=lambda logits, labels, _: functional.squared_error(logits, labels),
        is_labelled=_has_target,
        unlabelled=float("nan"),
        mean_of_teachers=functional.weighted_mean,
        has_temperature=False,
    ),
    "token_classification": _one_class("token_classification", is_token_level=True),
    "masked_lm": _one_class("masked_lm", is_token_level=True, has_label_names=False),
}

# What the head alone says; the heads for sequences leave it to `config.problem_type`.
_HEADS = {"ForTokenClassification": "token_classification", "ForMaskedLM": "masked_lm"}


def auto_model(problem_type: str) -> Any:
    """Return the class of transformers that loads a model with the head of a problem type."""
    import transformers

    suffix = next((suffix for suffix, name in _HEADS.items() if name == problem_type), "ForSequenceClassification")
    return getattr(transformers, f"AutoModel{suffix}")


def problem_type_of_head(class_name: str) -> str | None:
    """Return the problem type that the name of a model's class decides; None for a head for sequences, or none."""
    return next((name for suffix, name in _HEADS.items() if class_name.endswith(suffix)), None)


def without_adapter(model: nn.Module) -> nn.Module:
    """Return the model inside of a PEFT model, which takes any argument and names none; others as they are."""
    get_base_model = getattr(model, "get_base_model", None)
    return get_base_model() if get_base_model else model


def resolve_problem_type(model: PreTrainedModel) -> ProblemType:
    """Find the problem type of a model.

    The head says it; if it classifies sequences, `config.problem_type` does; if that is unset, one output is a
    regression and several are single-label classification.

    Raises:
        ValueError: for a problem type that is not supported, or that the head contradicts.
    """
    config, head = model.config, type(without_adapter(model)).__name__
    of_head = problem_type_of_head(head)
    name = config.problem_type or of_head
    name = name or ("regression" if config.num_labels == 1 else "single_label_classification")
    if name not in PROBLEM_TYPES:
        raise ValueError(
            f"`config.problem_type` is {name!r}; hf_distill knows {', '.join(PROBLEM_TYPES)}. A softmax loss on "
            "another head would train on the wrong target."
        )
    is_right = name == of_head if of_head else not PROBLEM_TYPES[name].is_token_level
    if not is_right:
        raise ValueError(
            f"`config.problem_type` is {name!r}, and the model is a {head}. Leave it unset, or load another head."
        )
    if name == "single_label_classification" and len(id2label_of(config)) < 2:
        raise ValueError(
            f"Single-label classification needs at least 2 classes, got num_labels={config.num_labels}. Set "
            "`num_labels` of the config, or its `problem_type` to 'regression'."
        )
    return PROBLEM_TYPES[name]
