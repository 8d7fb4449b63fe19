"""The kinds of text classification: for each, its units, its hard and soft loss, and how a missing label is marked."""

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
    """How one kind of problem interprets logits and labels.

    A unit is an example, or a token in a token-level problem: the model returns one row of logits for each unit.

    Attributes:
        name: The value of `config.problem_type` in transformers, or the task of the head.
        soft_loss: (student logits, teacher logits, temperature) -> `(units,)`. The `kl` objective uses it.
        hard_loss: (logits, labels, label smoothing, class weights or None) -> `(units,)`, 0 for a unit without a
            label. The `ce` objective uses it.
        is_labelled: (labels of units) -> `(units,)` bool.
        unlabelled: The label value that marks a missing label.
        ensemble_mean: (teacher logits `(num_teachers, units, num_labels)`, teacher weights with the sum 1) ->
            `(units, num_labels)`, the logits of the mean prediction.
        agreement: (student logits, teacher logits) -> `(units,)`, from 0 to 1; None if the outputs are not decisions.
        has_temperature: Whether the outputs define a probability distribution that a temperature softens.
        is_exclusive: Whether exactly one class is correct. Label smoothing and chance level need this.
        is_token_level: Whether the units are tokens.
        has_label_names: Whether `config.id2label` names the outputs. It does not for language models.
    """

    name: str
    soft_loss: Callable[[Tensor, Tensor, float], Tensor]
    hard_loss: Callable[[Tensor, Tensor, float, Tensor | None], Tensor]
    is_labelled: Callable[[Tensor], Tensor]
    unlabelled: float
    ensemble_mean: Callable[[Tensor, Tensor], Tensor]
    agreement: Callable[[Tensor, Tensor], Tensor] | None = None
    has_temperature: bool = True
    is_exclusive: bool = False
    is_token_level: bool = False
    has_label_names: bool = True

    def units(self, batch: Batch) -> Tensor:
        """Return which tokens of a batch of a token-level problem are units, `(batch, length)` bool.

        These are the labelled tokens, and in sentences without labels the first token of each word.

        Args:
            batch: A batch with `labels`, and with `word_starts` if sentences without labels count.
        """
        labels, word_starts = batch.get("labels"), batch.get(WORD_STARTS)
        no_token = torch.zeros_like(batch["input_ids"], dtype=torch.bool)
        has_label = no_token if labels is None else self.is_labelled(labels)
        is_unlabelled_sentence = ~has_label.any(dim=1, keepdim=True)
        is_unlabelled_word = no_token if word_starts is None else word_starts.bool() & is_unlabelled_sentence
        return has_label | is_unlabelled_word

    def unit_places(self, batch: Batch) -> Tensor:
        """Return the place of each unit among the `batch * length` tokens of a batch, `(units,)`.

        On a GPU the caller waits for it.
        """
        return self.units(batch).flatten().nonzero()[:, 0]

    def all_units_have_labels(self, batch: Batch) -> bool:
        """Return whether every unit of a batch has a label."""
        if "labels" not in batch:
            return False
        is_labelled = self.is_labelled(batch["labels"])
        return bool(is_labelled[self.units(batch)].all() if self.is_token_level else is_labelled.all())

    def has_labelled_unit(self, labels: Tensor) -> Tensor:
        """Return which rows have a label, `(batch,)` bool; a token-level row needs at least one labelled token."""
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


def _exclusive_classes(name: str, **flags: bool) -> ProblemType:
    return ProblemType(
        name=name,
        soft_loss=functional.kl_divergence,
        hard_loss=functional.cross_entropy,
        is_labelled=_has_class,
        unlabelled=functional.IGNORE_INDEX,
        ensemble_mean=functional.mean_of_softmax,
        agreement=_same_class,
        is_exclusive=True,
        **flags,
    )


PROBLEM_TYPES = {
    "single_label_classification": _exclusive_classes("single_label_classification"),
    "multi_label_classification": ProblemType(
        name="multi_label_classification",
        soft_loss=functional.bernoulli_kl_divergence,
        hard_loss=lambda logits, labels, _, weights: functional.binary_cross_entropy(logits, labels, weights),
        is_labelled=_has_target,
        unlabelled=float("nan"),
        ensemble_mean=functional.mean_of_sigmoid,
        agreement=_same_decisions,
    ),
    "regression": ProblemType(
        name="regression",
        # Regression has no temperature, label smoothing or class weights; the objectives raise an error if one is set.
        soft_loss=lambda student_logits, teacher_logits, _: functional.squared_error(student_logits, teacher_logits),
        hard_loss=lambda logits, labels, *_: functional.squared_error(logits, labels),
        is_labelled=_has_target,
        unlabelled=float("nan"),
        ensemble_mean=functional.weighted_mean,
        has_temperature=False,
    ),
    "token_classification": _exclusive_classes("token_classification", is_token_level=True),
    "masked_lm": _exclusive_classes("masked_lm", is_token_level=True, has_label_names=False),
}

# Heads that define the problem type. For sequence classification heads, `config.problem_type` defines it.
_HEADS = {"ForTokenClassification": "token_classification", "ForMaskedLM": "masked_lm"}


def auto_model(problem_type: str) -> Any:
    """Return the Auto class that loads models with the head of a problem type."""
    from hf_distill.classifiers import auto

    suffix = next((suffix for suffix, name in _HEADS.items() if name == problem_type), "ForSequenceClassification")
    return getattr(auto, f"AutoModel{suffix}")


def problem_type_of_head(class_name: str) -> str | None:
    """Return the problem type that the head of a model class defines, or None if the config has to define it."""
    return next((name for suffix, name in _HEADS.items() if class_name.endswith(suffix)), None)


def without_adapter(model: nn.Module) -> nn.Module:
    """Return the base model of a PEFT model, whose `forward` names no arguments; return other models unchanged."""
    get_base_model = getattr(model, "get_base_model", None)
    return get_base_model() if get_base_model else model


def resolve_problem_type(model: PreTrainedModel) -> ProblemType:
    """Find the problem type of a model.

    A token classification or masked language model head defines the problem type. For a sequence classification head,
    `config.problem_type` defines it; if that is unset, one output means regression and several outputs mean
    single-label classification.

    Raises:
        ValueError: if the model has no head that classifies texts or tokens, or the problem type is not supported,
            contradicts the head, or needs more classes.
    """
    config, class_name = model.config, type(without_adapter(model)).__name__
    # The class of a user can have any name. If it returns no logits, its first forward pass says so.
    is_of_transformers = type(without_adapter(model)).__module__.startswith("transformers.models.")
    if is_of_transformers and not class_name.endswith(("ForSequenceClassification", *_HEADS)):
        raise ValueError(
            f"A {class_name} does not classify texts or tokens. Load the model with a head that was trained to do so, "
            "by `AutoModelForSequenceClassification`, `AutoModelForTokenClassification` or `AutoModelForMaskedLM`."
        )
    head_problem_type = problem_type_of_head(class_name)
    name = config.problem_type or head_problem_type
    name = name or ("regression" if config.num_labels == 1 else "single_label_classification")
    if name not in PROBLEM_TYPES:
        raise ValueError(
            f"`config.problem_type` must be one of {', '.join(PROBLEM_TYPES)}; got {name!r}. A softmax loss on "
            "another head would train on the wrong target."
        )
    fits_head = name == head_problem_type if head_problem_type else not PROBLEM_TYPES[name].is_token_level
    if not fits_head:
        raise ValueError(
            f"`config.problem_type` is {name!r}, but the model is a {class_name}. Leave `problem_type` unset, or load "
            "the model with another head."
        )
    if name == "single_label_classification" and len(id2label_of(config)) < 2:
        raise ValueError(
            f"Single-label classification needs at least 2 classes, got num_labels={config.num_labels}. Set "
            "`num_labels` in the config, or set `problem_type` to 'regression'."
        )
    return PROBLEM_TYPES[name]
