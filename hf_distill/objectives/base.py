"""What an objective is, and the weighted sum of several."""

import inspect
import math
from collections.abc import Sequence
from typing import Any, ClassVar, cast

from torch import Tensor, nn

from hf_distill.outputs import Batch, ClassifierOutputs
from hf_distill.problem_types import ProblemType


class Objective(nn.Module):
    """One weighted term of the loss: a name, what it reads, its hyper-parameters and one line of `forward`.

    A subclass keeps each argument of its constructor under the argument's name, so that [`Objective.spec`] can write
    it down, and returns one value per unit from `forward`; the Trainer alone normalises.

    Attributes:
        name: Key in specs, and in logs as `loss_<name>`.
        paper: Where it comes from.
        student_reads: What it reads of the student, of {"logits", "hidden_states", "attentions"}.
        teacher_reads: The same of the teacher; the teacher need not run for objectives that read nothing of it.
        reads_labels: Whether every row must have a label.
        problem_types: The problem types that it is defined for.
        is_per_unit: Whether a unit's value depends on this unit alone. The loss of an objective for which it does not
            changes with how rows are split over batches, accumulation steps and processes.
    """

    name: ClassVar[str]
    paper: ClassVar[str]
    student_reads: ClassVar[frozenset[str]] = frozenset({"logits"})
    teacher_reads: ClassVar[frozenset[str]] = frozenset()
    reads_labels: ClassVar[bool] = False
    problem_types: ClassVar[frozenset[str]] = frozenset({"single_label_classification"})
    is_per_unit: ClassVar[bool] = True

    def __init__(self, weight: float = 1.0) -> None:
        super().__init__()
        if not 0 <= weight < math.inf:
            raise ValueError(f"The weight of `{self.name}` must be a finite number >= 0, got {weight}.")
        self.weight = weight

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

    def forward(self, student: ClassifierOutputs, teacher: ClassifierOutputs, batch: Batch) -> Tensor:
        """Return `(batch,)`; an objective that reads nothing of the teacher may be given None for it."""
        raise NotImplementedError

    def spec(self) -> dict[str, Any]:
        """Return the arguments that would build the same objective again."""
        names = list(inspect.signature(type(self).__init__).parameters)[1:]
        return {name: getattr(self, name) for name in names}


class TemperedObjective(Objective):
    """An objective that softens both distributions; an unset temperature becomes 2.0 where there are classes."""

    def __init__(self, temperature: float | None = None, weight: float = 1.0) -> None:
        super().__init__(weight)
        if temperature is not None and not 0 < temperature < math.inf:
            raise ValueError(
                f"`temperature` must be a finite number > 0, got {temperature}. Use 1.0 to soften nothing."
            )
        self.temperature = cast(float, temperature)  # None only until `bind`, and for problems without classes

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
    """Several objectives and what they read together.

    Args:
        objectives: At least one, each name once.
        problem_type: Of the student.
    """

    def __init__(self, objectives: Sequence[Objective], problem_type: ProblemType) -> None:
        super().__init__()
        names = [objective.name for objective in objectives]
        if len(set(names)) != len(names):
            raise ValueError(f"Each objective may occur once, got {names}.")
        if not any(objective.weight > 0 for objective in objectives):
            raise ValueError(f"At least one objective needs a weight > 0, got {names or 'no objective'}.")
        # One of weight 0 would only cost time, a teacher's forward pass perhaps.
        self.terms = [objective for objective in objectives if objective.weight > 0]
        for objective in self.terms:
            objective.bind(problem_type)
        self.objectives = nn.ModuleList(self.terms)  # so that what they learn is moved, saved and trained
        self.problem_type = problem_type
        self.student_reads = frozenset[str]().union(*(o.student_reads for o in self.terms))
        self.teacher_reads = frozenset[str]().union(*(o.teacher_reads for o in self.terms))
        self.reads_labels = [o.name for o in self.terms if o.reads_labels]

    @property
    def weights(self) -> dict[str, float]:
        """The weight of each term."""
        return {objective.name: objective.weight for objective in self.terms}

    def forward(
        self, student: ClassifierOutputs, teacher: ClassifierOutputs | None, batch: Batch
    ) -> dict[str, Tensor]:
        """Return the unweighted value of each term per unit, `(batch,)` each."""
        return {objective.name: objective(student, teacher, batch) for objective in self.terms}

    def spec(self) -> dict[str, dict[str, Any]]:
        """Return the spec that builds the same loss again; see [`build_objectives`]."""
        return {objective.name: objective.spec() for objective in self.terms}
