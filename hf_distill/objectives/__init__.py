"""Objectives by name, and building a list of objectives from a spec (a dict, JSON or YAML)."""

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

from hf_distill.objectives.attentions import AttentionMSE, MiniLMRelation
from hf_distill.objectives.base import DistillationLoss, Objective
from hf_distill.objectives.class_weights import ClassWeights
from hf_distill.objectives.hard_labels import HardLabels
from hf_distill.objectives.hidden_states import EmbeddingMSE, HiddenCosine, HiddenMSE, PatientDistillation
from hf_distill.objectives.layer_maps import LayerMapping
from hf_distill.objectives.logits import (
    DIST,
    DecoupledKLDivergence,
    JensenShannonDivergence,
    KLDivergence,
    LogitMSE,
    ReverseKLDivergence,
)
from hf_distill.objectives.schedules import Scheduled

OBJECTIVES: dict[str, type[Objective]] = {
    "ce": HardLabels,
    "kl": KLDivergence,
    "reverse_kl": ReverseKLDivergence,
    "jsd": JensenShannonDivergence,
    "logit_mse": LogitMSE,
    "dkd": DecoupledKLDivergence,
    "dist": DIST,
    "hidden_mse": HiddenMSE,
    "hidden_cosine": HiddenCosine,
    "embedding_mse": EmbeddingMSE,
    "pkd": PatientDistillation,
    "attention_mse": AttentionMSE,
    "minilm_relation": MiniLMRelation,
}

# The soft losses: objectives that only read logits of the teacher.
LOGIT_OBJECTIVES = tuple(name for name, cls in OBJECTIVES.items() if cls.teacher_reads == {"logits"})


def accepted_arguments(name: str) -> list[str]:
    """Return the names of the hyperparameters of an objective, including `weight`.

    Raises:
        ValueError: for an unknown name.
    """
    return list(_parameters(name))


def _parameters(name: str) -> dict[str, inspect.Parameter]:
    if name not in OBJECTIVES:
        raise ValueError(f"There is no objective {name!r}; the objectives are {', '.join(OBJECTIVES)}.")
    parameters = dict(inspect.signature(OBJECTIVES[name].__init__).parameters)
    del parameters["self"]
    return parameters


def build_objectives(spec: Mapping[str, Any] | Sequence[Objective]) -> list[Objective]:
    """Build objectives from a spec.

    Args:
        spec: A mapping from names to weights or to dicts of hyperparameters, for instance
            `{"ce": 0.1, "kl": {"weight": 0.9, "temperature": 4.0}}`. A list of objectives is returned unchanged.

    Raises:
        ValueError: for an unknown name or hyperparameter, or an invalid value.
        TypeError: for a spec of another type.
    """
    if not isinstance(spec, Mapping):
        if not isinstance(spec, Sequence) or not all(isinstance(objective, Objective) for objective in spec):
            raise TypeError(f"`objectives` must map names to weights, or list `Objective`s; got {spec!r}.")
        return list(spec)
    return [_build(name, value) for name, value in spec.items()]


def _build(name: str, value: Any) -> Objective:
    parameters = _parameters(name)
    arguments = dict(value) if isinstance(value, Mapping) else {"weight": value}
    if unknown := sorted(arguments.keys() - set(parameters)):
        raise ValueError(
            f"Objective `{name}` has no hyperparameter {unknown[0]!r}; its hyperparameters are "
            f"{', '.join(parameters)}."
        )
    for argument, argument_value in arguments.items():
        # None means unset, if it is the default; `bind` resolves it.
        if argument_value is not None or parameters[argument].default is not None:
            _check_type(name, argument, argument_value, parameters[argument].annotation)
    return OBJECTIVES[name](**arguments)


def _check_type(name: str, argument: str, value: Any, expected: Any) -> None:
    """Check a value from JSON or YAML against a type annotation; the objective checks the content of mappings."""
    if expected in (LayerMapping, ClassWeights | None):
        return
    if expected is bool:
        description, is_valid = "true or false", isinstance(value, bool)
    else:
        accepts_schedule = expected in (Scheduled, Scheduled | None)
        description = "a number or a schedule" if accepts_schedule else "a number"
        is_valid = isinstance(value, int | float) and not isinstance(value, bool)
        is_valid = is_valid or (accepts_schedule and isinstance(value, Mapping))
    if not is_valid:
        raise ValueError(f"`{argument}` of objective `{name}` must be {description}, got {value!r}.")


__all__ = [
    "LOGIT_OBJECTIVES",
    "OBJECTIVES",
    "DistillationLoss",
    "Objective",
    "accepted_arguments",
    "build_objectives",
]
