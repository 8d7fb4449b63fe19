"""Measure every architecture of a space once for all processes of a search."""

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from optuna import Study

from hf_distill.export import Predictor
from hf_distill.reporting.comparison.predict import TorchPredictor
from hf_distill.search.architectures import Architecture, Run, describe_export, describe_model, measure_latencies
from hf_distill.search.need import Numbers
from hf_distill.search.storage import alone
from hf_distill.search.trainings import Candidate, Trainings

_COSTS, _TEACHER = "costs", "teacher_cost"


@dataclass(frozen=True)
class Costs:
    """What the models of a search cost.

    Attributes:
        students: Name of an architecture -> `size_mb`, `num_parameters`, `flops` and `latency_p50_ms`,
            `latency_p95_ms`, `latency_p99_ms` of its export.
        teacher: The same numbers of the teacher.
    """

    students: Mapping[str, Numbers]
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

    They are measured once for all processes of a search.

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
    workers = folder / ".workers"
    with alone(workers / "measuring.lock"):
        if _COSTS not in study.user_attrs:
            with tempfile.TemporaryDirectory(dir=workers) as exports:
                folders = {architecture.name: Path(exports, str(i)) for i, architecture in enumerate(architectures)}
                costs = _measure(trainings, architectures, texts, folders, say)
            study.set_user_attr(_TEACHER, costs.teacher)
            study.set_user_attr(_COSTS, costs.students)
    return Costs(study.user_attrs[_COSTS], study.user_attrs[_TEACHER])


def _measure(
    trainings: Trainings,
    architectures: Sequence[Architecture],
    texts: Sequence[Any],
    folders: Mapping[str, Path],
    say: Callable[[str], None],
) -> Costs:
    inputs = trainings.inputs
    teacher, tokenizer = trainings.teacher, inputs.teacher_tokenizer or inputs.tokenizer
    students = _export_all(trainings, architectures, texts, folders, say)
    loaders: dict[str, Callable[[], Run]] = {name: _loader_of(folders[name]) for name in students}
    loaders[_TEACHER] = lambda: _answer_with(TorchPredictor(teacher, tokenizer))
    latencies = measure_latencies(loaders, texts)
    costs = {name: {**cost, **latencies[name]} for name, cost in students.items()}
    for name, cost in costs.items():
        say(
            f"{name}: {cost['latency_p50_ms']:.3g} ms (95th percentile {cost['latency_p95_ms']:.3g}), "
            f"{cost['size_mb']:.3g} MB, {cost['num_parameters'] / 1e6:.3g} M parameters"
        )
    return Costs(costs, {**describe_model(teacher, tokenizer, texts), **latencies[_TEACHER]})


def _export_all(
    trainings: Trainings,
    architectures: Sequence[Architecture],
    texts: Sequence[Any],
    folders: Mapping[str, Path],
    say: Callable[[str], None],
) -> dict[str, dict[str, float]]:
    """Export each architecture untrained into its folder, and return its cost apart from time.

    An architecture that cannot be made or exported is left out.
    """
    costs, reasons = {}, []
    for architecture in architectures:
        name, candidate = architecture.name, Candidate(architecture)
        try:
            inputs, model = trainings.inputs_for(candidate), trainings.make(candidate)
            variant, max_length = architecture.variant, inputs.max_length
            costs[name] = describe_export(model, inputs.tokenizer, texts, variant, max_length, folders[name])
        except ValueError as error:
            reasons.append(str(error))
            say(f"{name} is left out: {error}")
    if not costs:
        raise ValueError(f"No student of the space can be made and exported. {' '.join(dict.fromkeys(reasons))}")
    return costs


def _loader_of(export: Path) -> Callable[[], Run]:
    return lambda: _answer_with(Predictor(export, num_threads=torch.get_num_threads()))


def _answer_with(predictor: Predictor | TorchPredictor) -> Run:
    return lambda text: predictor.logits([text])
