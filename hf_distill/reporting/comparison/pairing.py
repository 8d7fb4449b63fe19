"""How the outputs of a model without class names belong to the classes of the evaluation set."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from hf_distill.classifiers.label_maps import are_paired_by_order, are_placeholders
from hf_distill.reporting.class_order import Pairing
from hf_distill.reporting.comparison.contenders import Contender
from hf_distill.reporting.comparison.predict import Predicts, TorchPredictor
from hf_distill.reporting.comparison.units import Units


def name_outputs(teacher: Predicts, class_names: list[str]) -> None:
    """Name the outputs of a teacher as the user says.

    Raises:
        TypeError: if the teacher is not a transformers model.
    """
    if not isinstance(teacher, TorchPredictor):
        raise TypeError(f"`class_names` name the outputs of a transformers model; set `id2label` of {teacher!r}.")
    teacher.class_names = class_names


def find_pairing(units: Units, teacher: Predicts, teacher_names: Sequence[str]) -> Pairing | None:
    """Return how the teacher's outputs are paired with the classes; None if the names in its config pair them.

    Args:
        units: The units of the evaluation set.
        teacher: The teacher, with the names that the user gives.
        teacher_names: The names in the teacher's config.
    """
    if units.problem_type == "regression":
        return None
    given_names = [teacher.id2label[i] for i in range(len(teacher_names))]
    # Labels that are ids, or LABEL_0 and so on, promise nothing about a teacher without names.
    are_ids = are_placeholders(dict(enumerate(given_names))) and bool(units.is_labelled.any())
    if are_ids or are_paired_by_order(units.names, given_names):
        return Pairing(list(teacher_names), units.names, "by order")
    if given_names != list(teacher_names):
        return Pairing(list(teacher_names), given_names, "by --class_names")
    return None


def find_pairing_of(name: str, units: Units, predictor: Predicts) -> Pairing | None:
    """Return how the outputs of a model other than the teacher are paired with the classes; None if by their names.

    Args:
        name: Name of the model.
        units: The units of the evaluation set.
        predictor: The model.
    """
    output_names = [predictor.id2label[i] for i in range(len(predictor.id2label))]
    if units.problem_type == "regression" or not are_paired_by_order(units.names, output_names):
        return None
    return Pairing(output_names, units.names, "by order", model=name)


def check_pairing(pairing: Pairing, units: Units, logits: np.ndarray) -> None:
    """Compare a pairing with the labelled units.

    Args:
        pairing: The pairing.
        units: The units of the evaluation set.
        logits: The model's, `(num_units, num_labels)`, in the order of `units.names`.

    Raises:
        ValueError: if another order of the outputs agrees significantly better.
    """
    # The order of the outputs, which is the order of `units.names` unless --class_names gives another one.
    folded = [name.casefold() for name in units.names]
    order = list(range(len(folded)))
    if pairing.reason != "by order":
        order = [folded.index(name.casefold()) for name in pairing.names]
    class_of = np.argsort(order)
    labels = units.labels[units.is_labelled]
    labels = class_of[labels] if labels.ndim == 1 else labels[:, order]
    rows = units.rows[units.is_labelled] if units.is_token_level else None
    pairing.check(labels, logits[units.is_labelled][:, order], rows)


def find_pairings(contenders: Sequence[Contender], units: Units, teacher_names: list[str]) -> dict[str, Pairing]:
    """Return how the outputs of models were paired with the classes, for models that are not paired by name."""
    teacher, *others = contenders
    pairings = {teacher.name: find_pairing(units, teacher.first, teacher_names)}
    pairings |= {other.name: find_pairing_of(other.name, units, other.first) for other in others}
    return {name: pairing for name, pairing in pairings.items() if pairing is not None}


def describe_pairing(pairing: Pairing) -> dict[str, Any]:
    """Return the entry of the report."""
    return {**pairing.to_dict(), "note": pairing.sentences}
