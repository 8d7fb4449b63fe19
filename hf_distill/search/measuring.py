"""Measure every architecture of a space once for all processes of a search."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from optuna import Study

from hf_distill.search.architectures import Architecture, measure_architecture, measure_model
from hf_distill.search.need import Numbers
from hf_distill.search.storage import alone
from hf_distill.search.trainings import Candidate, Trainings

_COSTS, _TEACHER, _FAILED = "costs", "teacher_cost", "failed"


@dataclass(frozen=True)
class Costs:
    """What the models of a search cost.

    Attributes:
        students: Name of an architecture -> its cost, see
            [`~hf_distill.search.architectures.measure_architecture`].
        teacher: The same numbers of the teacher.
    """

    students: dict[str, Numbers]
    teacher: Numbers


def measure_costs(
    study: Study,
    trainings: Trainings,
    architectures: Sequence[Architecture],
    texts: Sequence[Any],
    folder: Path,
    say: Callable[[str], None],
) -> Costs:
    """Measure the teacher and each architecture, and store the numbers in the study.

    Numbers that the study has already are not measured again, and processes measure one after the other: two at a time
    would slow each other down.

    Args:
        study: The study.
        trainings: Makes the untrained students.
        architectures: The architectures.
        texts: The validation texts.
        folder: Output folder of the search.
        say: Prints a line on the progress.

    Raises:
        ValueError: if no architecture can be made and exported.
    """
    with alone(folder / ".workers" / "measuring.lock"):
        if _TEACHER not in study.user_attrs:
            inputs = trainings.inputs
            tokenizer = inputs.teacher_tokenizer or inputs.tokenizer
            study.set_user_attr(_TEACHER, measure_model(trainings.teacher, tokenizer, texts))
        for architecture in architectures:
            if (line := _measure(study, trainings, architecture, texts)) is not None:
                say(line)
    attrs = study.user_attrs
    if not attrs.get(_COSTS):
        raise ValueError(f"No student of the space can be made and exported: {'; '.join(attrs[_FAILED].values())}")
    return Costs(attrs[_COSTS], attrs[_TEACHER])


def _measure(study: Study, trainings: Trainings, architecture: Architecture, texts: Sequence[Any]) -> str | None:
    attrs, name = study.user_attrs, architecture.name
    costs, failed = attrs.get(_COSTS, {}), attrs.get(_FAILED, {})
    if name in costs or name in failed:
        return None
    try:
        candidate = Candidate(architecture)
        inputs, model = trainings.inputs_for(candidate), trainings.make(candidate)
        cost = measure_architecture(model, inputs.tokenizer, texts, architecture.variant, inputs.max_length)
    except ValueError as error:
        study.set_user_attr(_FAILED, {**failed, name: str(error)})
        return f"{name} is left out: {error}"
    study.set_user_attr(_COSTS, {**costs, name: cost})
    return (
        f"{name}: {cost['latency_p50_ms']:.3g} ms (95th percentile {cost['latency_p95_ms']:.3g}), "
        f"{cost['size_mb']:.3g} MB, {cost['num_parameters'] / 1e6:.3g} M parameters"
    )
