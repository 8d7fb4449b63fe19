"""What an objective is, and the weighted sum of several."""

import inspect
import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, cast

from torch import Tensor, nn
from transformers import PreTrainedConfig

from hf_distill.classifiers.outputs import Batch, ClassifierOutputs
from hf_distill.classifiers.problem_types import PROBLEM_TYPES, ProblemType
from hf_distill.objectives.schedules import Schedule, Scheduled, read_schedule


class Objective(nn.Module):
    """One weighted term of the loss: a name, what it reads, its hyper-parameters and one line of `forward`.

    A subclass keeps each argument of its constructor under the argument's name, so that [`Objective.spec`] can write
    it down, and returns one value per unit from `forward`; the Trainer alone normalises.

    Attributes:
        name: Key in specs, and in logs as `loss_<name>`.
        paper: Where it comes from.
        student_reads: What it reads of the student: names of fields of [`ClassifierOutputs`].
        teacher_reads: The same of the teacher; the teacher need not run for objectives that read nothing of it.
        reads_labels: Whether every row must have a label.
        problem_types: The problem types that it is defined for; unless said otherwise those with a softmax.
        is_per_unit: Whether a unit's value depends on this unit alone. The loss of an objective for which it does not
            changes with how rows are split over batches, accumulation steps and processes.
    """

    name: ClassVar[str]
    paper: ClassVar[str]
    student_reads: ClassVar[frozenset[str]] = frozenset({"logits"})
    teacher_reads: ClassVar[frozenset[str]] = frozenset()
    reads_labels: ClassVar[bool] = False
    problem_types: ClassVar[frozenset[str]] = frozenset(n for n, kind in PROBLEM_TYPES.items() if kind.is_exclusive)
    is_per_unit: ClassVar[bool] = True

    def __init__(self, weight: Scheduled = 1.0) -> None:
        super().__init__()
        self.schedules: dict[str, Schedule] = {}
        self.weight = self._number("weight", weight)

    def _number(self, name: str, value: Scheduled, *, above_zero: bool = False) -> float:
        """Return a number, or where a schedule starts, which is kept."""
        numbers = [value]
        if isinstance(value, Mapping):
            schedule = self.schedules[name] = read_schedule(value, f"`{name}` of objective `{self.name}`")
            numbers = [schedule.start, schedule.end]
        for number in cast("list[float]", numbers):
            if not (0 < number if above_zero else 0 <= number) or number == math.inf:
                bound = "> 0" if above_zero else ">= 0"
                raise ValueError(f"`{name}` of `{self.name}` must be a finite number {bound}, got {number}.")
        return cast("list[float]", numbers)[0]

    def set_progress(self, progress: float) -> None:
        """Give every number that has a schedule its value after a share of the optimiser steps, from 0 to 1."""
        for name, schedule in self.schedules.items():
            setattr(self, name, schedule.at(progress))

    @property
    def is_used(self) -> bool:
        """Whether its weight is ever above 0."""
        schedule = self.schedules.get("weight")
        return (self.weight if schedule is None else max(schedule.start, schedule.end)) > 0

    def bind(self, problem_type: ProblemType) -> None:
        """Fix the problem type, and with it what is left to defaults.

        Raises:
            ValueError: if the objective is not defined for it.
        """
        if problem_type.name not in self.problem_types:
            raise ValueError(
                f"`{self.name}` is defined for {', '.join(sorted(self.problem_types))}, and the student's problem "
                f"type is {problem_type.name}. Use `kl`, which has a form for every problem type."
            )
        self.problem_type = problem_type

    def connect(self, student_config: PreTrainedConfig, teacher_config: PreTrainedConfig) -> None:
        """Fix what depends on the depths and widths of the models; only for objectives that look inside of them.

        Raises:
            ValueError: if the models cannot be compared.
        """

    def forward(self, student: ClassifierOutputs, teacher: ClassifierOutputs, batch: Batch) -> Tensor:
        """Return `(batch,)`; an objective that reads nothing of the teacher may be given None for it."""
        raise NotImplementedError

    def spec(self) -> dict[str, Any]:
        """Return the arguments that would build the same objective again."""
        names = list(inspect.signature(type(self).__init__).parameters)[1:]
        numbers = {name: schedule.spec() for name, schedule in self.schedules.items()}
        return {name: numbers.get(name, getattr(self, name)) for name in names}


class TemperedObjective(Objective):
    """An objective that softens both distributions; an unset temperature becomes 2.0 where there are classes."""

    def __init__(self, temperature: Scheduled | None = None, weight: Scheduled = 1.0) -> None:
        super().__init__(weight)
        # None only until `bind`, and for problems without classes
        self.temperature = cast(
            float, temperature if temperature is None else self._number("temperature", temperature, above_zero=True)
        )

    def bind(self, problem_type: ProblemType) -> None:
        super().bind(problem_type)
        if problem_type.has_temperature and self.temperature is None:
            self.temperature = 2.0
        if not problem_type.has_temperature and self.temperature is not None:
            raise ValueError(
                f"`temperature` is {self.temperature}, but {problem_type.name} has no distribution over classes to "
                "soften. Leave it unset."
            )


class DistillationLoss(nn.Module):
    """Several objectives and what they read together; to be bound before it is called.

    Args:
        objectives: At least one, each name once.

    Attributes:
        terms: Those with a weight; one whose weight stays 0 would only cost time, a teacher's forward pass perhaps.
        student_reads: What they read of the student.
        teacher_reads: What they read of the teacher.
        reads_labels: Names of those that need the label of every row.
    """

    def __init__(self, objectives: Sequence[Objective]) -> None:
        super().__init__()
        names = [objective.name for objective in objectives]
        if len(set(names)) != len(names):
            raise ValueError(f"Each objective may occur once, got {names}.")
        self.terms = [objective for objective in objectives if objective.is_used]
        if not self.terms:
            raise ValueError(f"At least one objective needs a weight > 0, got {names or 'no objective'}.")
        self.objectives = nn.ModuleList(self.terms)  # so that what they learn is moved, saved and trained
        self.student_reads = frozenset[str]().union(*(o.student_reads for o in self.terms))
        self.teacher_reads = frozenset[str]().union(*(o.teacher_reads for o in self.terms))
        self.reads_labels = [o.name for o in self.terms if o.reads_labels]

    def bind(
        self,
        problem_type: ProblemType,
        student_config: PreTrainedConfig | None = None,
        teacher_config: PreTrainedConfig | None = None,
    ) -> "DistillationLoss":
        """Fix the problem type and the models of every objective.

        Args:
            problem_type: Of the student.
            student_config: None, as the next, if there are only logits to compare.
            teacher_config: Of the teacher.
        """
        for objective in self.terms:
            objective.bind(problem_type)
            if student_config is not None and teacher_config is not None:
                objective.connect(student_config, teacher_config)
        return self

    def set_progress(self, progress: float) -> None:
        """Move all schedules to a share of the optimiser steps, from 0 to 1."""
        for objective in self.terms:
            objective.set_progress(progress)

    @property
    def weights(self) -> dict[str, float]:
        """The weight of each term, now."""
        return {objective.name: objective.weight for objective in self.terms}

    @property
    def scheduled(self) -> dict[str, float]:
        """The numbers that change over the run, now, as `<objective>_<number>`."""
        return {f"{o.name}_{number}": getattr(o, number) for o in self.terms for number in o.schedules}

    @property
    def numbers(self) -> dict[str, float]:
        """All weights, temperatures and other numbers of the terms, now, by the same names."""
        named = {f"{o.name}_{argument}": getattr(o, argument) for o in self.terms for argument in o.spec()}
        return {name: value for name, value in named.items() if type(value) in (int, float)}

    def forward(
        self, student: ClassifierOutputs, teacher: ClassifierOutputs | None, batch: Batch
    ) -> dict[str, Tensor]:
        """Return the unweighted value of each term per unit, `(batch,)` each."""
        return {objective.name: objective(student, teacher, batch) for objective in self.terms}

    def spec(self) -> dict[str, dict[str, Any]]:
        """Return the spec that builds the same loss again; see [`build_objectives`]."""
        return {objective.name: objective.spec() for objective in self.terms}
