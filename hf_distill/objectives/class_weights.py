"""Weights of classes in the hard loss: given by name, or balanced by the labels of the training rows."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from hf_distill.classifiers.problem_types import ProblemType

BALANCED = "balanced"

# {name of a class: weight}, other classes having the weight 1; or "balanced".
ClassWeights: TypeAlias = Mapping[str, float] | str


@dataclass(frozen=True)
class LabelCounts:
    """Labels of the training rows.

    Attributes:
        positives: For each class the number of labelled units that have it.
        num_units: Number of labelled units: rows, or tokens.
    """

    positives: Sequence[float]
    num_units: int


def check_class_weights(weights: ClassWeights) -> None:
    """Check what can be checked without knowing the classes.

    Raises:
        ValueError: for anything but "balanced" or a mapping from names to finite numbers >= 0.
    """
    if weights == BALANCED:
        return
    if not isinstance(weights, Mapping) or not weights or not all(isinstance(name, str) for name in weights):
        remedy = ""
        if isinstance(weights, Mapping) and any(isinstance(name, bool) for name in weights):
            remedy = " YAML reads the names no, off, yes and on as false and true: put them in quotes."
        raise ValueError(
            f"`class_weights` of `ce` must map names of classes to numbers, or be {BALANCED!r}; got {weights!r}."
            f"{remedy}"
        )
    for name, weight in weights.items():
        if isinstance(weight, bool) or not isinstance(weight, int | float) or not 0 <= weight < math.inf:
            raise ValueError(f"The class weight of {name!r} must be a finite number >= 0, got {weight!r}.")


def resolve_class_weights(
    weights: ClassWeights,
    class_names: Sequence[str],
    problem_type: ProblemType,
    count_labels: Callable[[], LabelCounts],
) -> dict[str, float]:
    r"""Return the weight of each class by name.

    "balanced" is $N / (K n_c)$ for $N$ labelled units, $K$ classes and $n_c$ units of class $c$. In multi-label
    problems it is $(N - n_c) / n_c$, the negatives divided by the positives.

    Args:
        weights: As given.
        class_names: Names of the student's classes by id.
        problem_type: The student's.
        count_labels: Counts the labels of the training rows; only called for "balanced".

    Raises:
        ValueError: for a name that is no class, weights that are all 0, or a class that no training row has; in
            multi-label problems also for a class that every row has.
    """
    if isinstance(weights, Mapping):
        if unknown := [name for name in weights if name not in class_names]:
            raise ValueError(
                f"`class_weights` names {unknown[0]!r}, but the classes of the student are {', '.join(class_names)}."
            )
        resolved = {name: float(weights.get(name, 1.0)) for name in class_names}
        if not any(resolved.values()):
            raise ValueError("`class_weights` are 0 for every class, so the labels would teach nothing.")
        return resolved
    counts = count_labels()
    if absent := [name for name, n in zip(class_names, counts.positives, strict=True) if n == 0]:
        raise ValueError(
            f"`class_weights` are {BALANCED!r}, but no labelled training row has the class {absent[0]!r}, so its "
            "weight would be infinite. Add rows, or give the weights by name."
        )
    if not problem_type.is_exclusive and counts.num_units in counts.positives:
        name = class_names[list(counts.positives).index(counts.num_units)]
        raise ValueError(
            f"`class_weights` are {BALANCED!r}, but every labelled training row has the class {name!r}, so its weight "
            "would be 0. Give the weights by name."
        )
    if problem_type.is_exclusive:
        balanced = [counts.num_units / (len(class_names) * n) for n in counts.positives]
    else:
        balanced = [(counts.num_units - n) / n for n in counts.positives]
    return dict(zip(class_names, balanced, strict=True))
