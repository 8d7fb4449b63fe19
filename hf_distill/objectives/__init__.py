"""Objectives by name, and how a spec (a dict, JSON or YAML) becomes a list of them."""

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

from hf_distill.objectives.base import DistillationLoss, Objective
from hf_distill.objectives.labels import HardLabels
from hf_distill.objectives.logits import (
    DIST,
    DecoupledKLDivergence,
    JensenShannonDivergence,
    KLDivergence,
    LogitMSE,
    ReverseKLDivergence,
)

OBJECTIVES: dict[str, type[Objective]] = {
    "ce": HardLabels,
    "kl": KLDivergence,
    "reverse_kl": ReverseKLDivergence,
    "jsd": JensenShannonDivergence,
    "logit_mse": LogitMSE,
    "dkd": DecoupledKLDivergence,
    "dist": DIST,
}

# The soft losses: all they read of the teacher is its logits.
LOGIT_OBJECTIVES = tuple(name for name, cls in OBJECTIVES.items() if cls.teacher_reads == {"logits"})


def accepted_arguments(name: str) -> list[str]:
    """Return the hyper-parameters of an objective, `weight` among them.

    Raises:
        ValueError: for an unknown name.
    """
    if name not in OBJECTIVES:
        raise ValueError(f"There is no objective {name!r}; the objectives are {', '.join(OBJECTIVES)}.")
    return list(inspect.signature(OBJECTIVES[name].__init__).parameters)[1:]


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
    known = accepted_arguments(name)
    arguments = dict(value) if isinstance(value, Mapping) else {"weight": value}
    if unknown := sorted(arguments.keys() - set(known)):
        raise ValueError(f"Objective `{name}` has no hyper-parameter {unknown[0]!r}; it has {', '.join(known)}.")
    for argument, number in arguments.items():
        if number is None and argument == "temperature":
            continue  # unset: resolved by `bind`
        if isinstance(number, bool) or not isinstance(number, int | float):
            raise ValueError(f"`{argument}` of objective `{name}` must be a number, got {number!r}.")
    return OBJECTIVES[name](**arguments)


__all__ = [
    "LOGIT_OBJECTIVES",
    "OBJECTIVES",
    "DistillationLoss",
    "Objective",
    "accepted_arguments",
    "build_objectives",
]
