"""The base class of objectives, and the loss that combines several of them."""

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, cast

from torch import Tensor, nn
from transformers import PreTrainedConfig

from hf_distill.classifiers.outputs import Batch, ClassifierOutputs
from hf_distill.classifiers.problem_types import PROBLEM_TYPES, ProblemType
from hf_distill.functional import LOWEST_TEMPERATURE
from hf_distill.objectives.class_weights import LabelCounts
from hf_distill.objectives.schedules import Schedule, Scheduled, read_schedule


class Objective(nn.Module):
    """One weighted term of the loss: a name, the outputs that it reads, its hyperparameters, and `forward`.

    A subclass stores each constructor argument in an attribute with the same name, so that [`Objective.spec`] can
    return it. `forward` returns one value per unit; only the Trainer normalizes.

    Attributes:
        name: Key in specs; logs contain the term as `loss_<name>`.
        paper: Source of the objective.
        student_reads: The outputs of the student that the objective reads: names of fields of [`ClassifierOutputs`].
        teacher_reads: The outputs of the teacher that the objective reads. The teacher does not run if no objective
            reads any of its outputs.
        reads_labels: Whether every row needs a label.
        problem_types: The problem types for which the objective is defined; by default those with a softmax.
        is_per_unit: Whether the value of a unit depends only on this unit. If not, the loss depends on how rows are
            split over batches, accumulation steps and processes.
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
        self.weight = self._read_number("weight", weight)

    def _read_number(self, name: str, value: Scheduled, *, lowest: float = 0.0) -> float:
        """Return a number, or register a schedule and return its start."""
        numbers = [value]
        if isinstance(value, Mapping):
            schedule = self.schedules[name] = read_schedule(value, f"`{name}` of objective `{self.name}`")
            numbers = [schedule.start, schedule.end]
        for number in cast("list[float]", numbers):
            if not lowest <= number < math.inf:
                raise ValueError(f"`{name}` of `{self.name}` must be a finite number >= {lowest:g}, got {number}.")
        return cast("list[float]", numbers)[0]

    def set_progress(self, progress: float) -> None:
        """Set every scheduled number to its value after a share of the optimizer steps, from 0 to 1."""
        for name, schedule in self.schedules.items():
            setattr(self, name, schedule.at(progress))

    @property
    def is_used(self) -> bool:
        """Whether the weight is > 0 at some point of the training."""
        schedule = self.schedules.get("weight")
        return (self.weight if schedule is None else max(schedule.start, schedule.end)) > 0

    def bind(self, problem_type: ProblemType) -> None:
        """Set the problem type and the defaults that depend on it.

        Raises:
            ValueError: if the objective is not defined for the problem type.
        """
        if problem_type.name not in self.problem_types:
            raise ValueError(
                f"`{self.name}` is only defined for {', '.join(sorted(self.problem_types))}, but the problem type of "
                f"the student is {problem_type.name}. Use `kl`, which is defined for every problem type."
            )
        self.problem_type = problem_type

    def bind_models(self, student_config: PreTrainedConfig, teacher_config: PreTrainedConfig) -> None:
        """Set everything that depends on the depths and widths of the models. Does nothing for logit objectives.

        Raises:
            ValueError: if the models cannot be compared.
        """

    def bind_classes(self, class_names: Sequence[str], count_labels: Callable[[], LabelCounts]) -> None:
        """Set everything that depends on the classes of the student. Does nothing for most objectives.

        Args:
            class_names: Names of the classes by id.
            count_labels: Counts the labels of the training rows.

        Raises:
            ValueError: for a hyperparameter that does not fit the classes, or labels that cannot be counted.
        """

    def forward(self, student: ClassifierOutputs, teacher: ClassifierOutputs, batch: Batch) -> Tensor:
        """Return `(units,)`. `teacher` can be None if `teacher_reads` is empty."""
        raise NotImplementedError

    def spec(self) -> dict[str, Any]:
        """Return the constructor arguments that build the same objective."""
        names = list(inspect.signature(type(self).__init__).parameters)[1:]
        schedules = {name: schedule.spec() for name, schedule in self.schedules.items()}
        return {name: schedules.get(name, getattr(self, name)) for name in names}


class TemperedObjective(Objective):
    """An objective with a temperature that softens both distributions; the default is 2.0, or None for regression."""

    def __init__(self, temperature: Scheduled | None = None, weight: Scheduled = 1.0) -> None:
        super().__init__(weight)
        # None only until `bind`, and for problem types without a temperature.
        self.temperature = cast(
            float,
            temperature
            if temperature is None
            else self._read_number("temperature", temperature, lowest=LOWEST_TEMPERATURE),
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
    """Several objectives, and the outputs that they read together. Call `bind` before `forward`.

    Args:
        objectives: One or more objectives with different names.

    Attributes:
        terms: The objectives that are used. An objective whose weight is always 0 is dropped, because it would only
            cost time, for instance for the forward pass of a teacher.
        student_reads: The outputs of the student that the terms read.
        teacher_reads: The outputs of the teacher that the terms read.
        reads_labels: Names of the terms that need a label for every row.

    Raises:
        ValueError: if two objectives have the same name, or no weight is > 0.
    """

    def __init__(self, objectives: Sequence[Objective]) -> None:
        super().__init__()
        names = [objective.name for objective in objectives]
        if len(set(names)) != len(names):
            raise ValueError(f"Each objective can be used only once, got {names}.")
        self.terms = [objective for objective in objectives if objective.is_used]
        if not self.terms:
            raise ValueError(f"At least one objective needs a weight > 0, got {names or 'no objective'}.")
        self.objectives = nn.ModuleList(self.terms)  # registers their parameters, so that they are trained and saved
        self.student_reads = frozenset[str]().union(*(o.student_reads for o in self.terms))
        self.teacher_reads = frozenset[str]().union(*(o.teacher_reads for o in self.terms))
        self.reads_labels = [o.name for o in self.terms if o.reads_labels]

    def bind(
        self,
        problem_type: ProblemType,
        student_config: PreTrainedConfig | None = None,
        teacher_config: PreTrainedConfig | None = None,
    ) -> "DistillationLoss":
        """Bind every objective to the problem type and the models.

        Args:
            problem_type: Problem type of the student.
            student_config: Config of the student. Not needed if all objectives only read logits.
            teacher_config: Config of the teacher. Not needed if all objectives only read logits.
        """
        for objective in self.terms:
            objective.bind(problem_type)
            if student_config is not None and teacher_config is not None:
                objective.bind_models(student_config, teacher_config)
        return self

    def bind_classes(self, class_names: Sequence[str], count_labels: Callable[[], LabelCounts]) -> None:
        """Bind every objective to the classes of the student; see [`Objective.bind_classes`]."""
        for objective in self.terms:
            objective.bind_classes(class_names, count_labels)

    def set_progress(self, progress: float) -> None:
        """Set all scheduled numbers to their values after a share of the optimizer steps, from 0 to 1."""
        for objective in self.terms:
            objective.set_progress(progress)

    @property
    def weights(self) -> dict[str, float]:
        """The current weight of each term."""
        return {objective.name: objective.weight for objective in self.terms}

    @property
    def scheduled_values(self) -> dict[str, float]:
        """The current values of the numbers that have a schedule, as `<objective>_<hyperparameter>`."""
        return {f"{o.name}_{name}": getattr(o, name) for o in self.terms for name in o.schedules}

    @property
    def current_values(self) -> dict[str, float]:
        """The current values of all numeric hyperparameters, as `<objective>_<hyperparameter>`."""
        values = {f"{o.name}_{name}": getattr(o, name) for o in self.terms for name in o.spec()}
        return {name: value for name, value in values.items() if type(value) in (int, float)}

    def forward(
        self, student: ClassifierOutputs, teacher: ClassifierOutputs | None, batch: Batch
    ) -> dict[str, Tensor]:
        """Return the unweighted values of each term by name, `(units,)` each."""
        return {objective.name: objective(student, teacher, batch) for objective in self.terms}

    def spec(self) -> dict[str, dict[str, Any]]:
        """Return the spec from which [`build_objectives`] builds the same objectives."""
        return {objective.name: objective.spec() for objective in self.terms}
