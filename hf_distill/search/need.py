"""What the user needs: requirements on quality and cost, and the cost to minimize."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hf_distill.data import Task
from hf_distill.data.metrics import default_metrics, find_metric
from hf_distill.reporting.requirements import Requirement, check_labels, parse_requirement

COSTS = ("latency_p50_ms", "latency_p95_ms", "latency_p99_ms", "size_mb", "num_parameters")
# What `--minimize` names -> the number of an architecture.
MINIMIZED = {"latency": "latency_p50_ms", "size": "size_mb", "flops": "flops"}
OF_CLASS = ("recall", "precision", "f1")
_LEAST_MISS = 1e-9  # a bound that is excluded (>) and exactly reached
_WORST_MISS = 1e6

Numbers = Mapping[str, float]


@dataclass(frozen=True)
class Need:
    """Requirements, and the cost to minimize among the students that meet them.

    Attributes:
        quality: Requirements on metrics, of which there is at least one.
        cost: Requirements on time and size.
        minimize: A key of `MINIMIZED`.
    """

    quality: tuple[Requirement, ...]
    cost: tuple[Requirement, ...]
    minimize: str

    @property
    def requirements(self) -> tuple[Requirement, ...]:
        """All requirements."""
        return (*self.quality, *self.cost)

    def margin(self, values: Numbers, teacher: Numbers) -> float:
        """Return by how much the quality requirement that is missed most is met; negative if it is not met."""
        return min(signed_distance(requirement, values, teacher) for requirement in self.quality)

    def check_task(self, task: Task) -> None:
        """Check that the task has every metric and class of the requirements.

        Raises:
            ValueError: for a metric or a class that the task does not have.
        """
        metrics = default_metrics(task.problem_type, task.label_names)
        metrics = list(dict.fromkeys([task.metric_name, *metrics]))
        has_classes = task.problem_type != "regression"
        known = [*metrics, *(["agreement"] if has_classes else []), *COSTS]
        for requirement in self.requirements:
            if requirement.label is not None and has_classes:
                continue
            if requirement.name not in known or requirement.label is not None:
                of_class = ", recall[CLASS], precision[CLASS], f1[CLASS]" if has_classes else ""
                raise ValueError(
                    f"`{requirement.text}`: a search for {task.name} ({task.problem_type}) can judge "
                    f"{', '.join(known)}{of_class}."
                )
        check_labels(self.requirements, task.label_names)


def make_need(lines: Sequence[str], minimize: str) -> Need:
    """Parse requirements, see [`~hf_distill.reporting.requirements.parse_requirement`].

    Raises:
        ValueError: for a line that cannot be read, or without a requirement on quality.
    """
    requirements = [parse_requirement(line) for line in lines]
    quality = tuple(requirement for requirement in requirements if requirement.name not in COSTS)
    if not quality:
        raise ValueError(
            "No requirement on quality given, and without one the cheapest student wins however bad it is. Pass "
            "--require 'accuracy >= 0.98 * teacher', for example."
        )
    return Need(quality, tuple(r for r in requirements if r.name in COSTS), minimize)


def key_of(requirement: Requirement) -> str:
    """Return the name of the number that a requirement bounds, `recall[fraud]` for example."""
    return requirement.name if requirement.label is None else f"{requirement.name}[{requirement.label}]"


def bound_of(requirement: Requirement, teacher: Numbers) -> float:
    """Return the bound; `teacher` has the teacher's numbers by name."""
    return requirement.factor * (teacher[key_of(requirement)] if requirement.is_relative else 1.0)


def show(value: float | None) -> str:
    """Return a number as text; a number that is not defined on the rows is None or NaN."""
    return "undefined" if value is None or math.isnan(value) else f"{value:.4g}"


def signed_distance(requirement: Requirement, values: Numbers, teacher: Numbers) -> float:
    """Return the distance to the bound; at least 0 if the requirement is met, negative if not or if undefined."""
    distance = values[key_of(requirement)] - bound_of(requirement, teacher)
    distance = distance if requirement.sign.startswith(">") else -distance
    if math.isnan(distance):
        return -_WORST_MISS
    is_excluded = distance == 0 and not requirement.sign.endswith("=")
    return -_LEAST_MISS if is_excluded else max(distance, -_WORST_MISS)


def sign_of(metric: str) -> float:
    """Return 1.0 if higher values of a metric are better, -1.0 for an error."""
    known = find_metric(metric)
    return 1.0 if known is None else known.sign


def score(margin: float, cost_rank: int, num_ranks: int) -> float:
    """Return the number that the search maximizes.

    Below the required quality it is the margin, which is negative: better metrics score higher. Once the requirements
    are met it is at least 1: the cheaper architecture scores higher, and of two students with the same architecture
    the one with the larger margin.

    Args:
        margin: What [`Need.margin`] returns.
        cost_rank: Number of cheaper architectures.
        num_ranks: Number of architectures.
    """
    return margin if margin < 0 else num_ranks - cost_rank + margin / (1 + margin)
