"""Objectives by name, and how a spec (a dict, JSON or YAML) becomes a list of them."""

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

from hf_distill.objectives.attentions import AttentionMSE, MiniLMRelation
from hf_distill.objectives.base import DistillationLoss, Objective
from hf_distill.objectives.hidden_states import EmbeddingMSE, HiddenCosine, HiddenMSE, PatientDistillation
from hf_distill.objectives.labels import HardLabels
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

# The soft losses: all they read of the teacher is its logits.
LOGIT_OBJECTIVES = tuple(name for name, cls in OBJECTIVES.items() if cls.teacher_reads == {"logits"})


def accepted_arguments(name: str) -> list[str]:
    """Return the hyper-parameters of an objective, `weight` among them.

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
        spec: Name -> weight, or name -> dict of hyper-parameters, for instance
            `{"ce": 0.1, "kl": {"weight": 0.9, "temperature": 4.0}}`; or objectives, which are returned as they are.

    Raises:
        ValueError: for an unknown name, hyper-parameter or value.
        TypeError: for a spec of another type.
    """
    if not isinstance(spec, Mapping):
        if not isinstance(spec, Sequence) or not all(isinstance(objective, Objective) for objective in spec):
            raise TypeError(f"`objectives` must map names to weights, or list `Objective`s; got {spec!r}.")
        return list(spec)
    return [_build(name, value) for name, value in spec.items()]


def _build(name: str, value: Any) -> Objective:
    known = _parameters(name)
    arguments = dict(value) if isinstance(value, Mapping) else {"weight": value}
    if unknown := sorted(arguments.keys() - set(known)):
        raise ValueError(f"Objective `{name}` has no hyper-parameter {unknown[0]!r}; it has {', '.join(known)}.")
    for argument, given in arguments.items():
        if given is not None or known[argument].default is not None:  # None: unset, resolved by `bind`
            _check_type(name, argument, given, known[argument].annotation)
    return OBJECTIVES[name](**arguments)


def _check_type(name: str, argument: str, value: Any, expected: Any) -> None:
    """Check what comes from JSON or YAML against an annotation; what is in a mapping is checked by who takes it."""
    if expected == LayerMapping:
        return
    if expected is bool:
        what, is_right = "true or false", isinstance(value, bool)
    else:
        may_change = expected in (Scheduled, Scheduled | None)
        what = "a number or a schedule" if may_change else "a number"
        is_right = isinstance(value, int | float) and not isinstance(value, bool)
        is_right = is_right or (may_change and isinstance(value, Mapping))
    if not is_right:
        raise ValueError(f"`{argument}` of objective `{name}` must be {what}, got {value!r}.")


__all__ = [
    "LOGIT_OBJECTIVES",
    "OBJECTIVES",
    "DistillationLoss",
    "Objective",
    "accepted_arguments",
    "build_objectives",
]
