"""Print the table in `docs/objectives.md` from `OBJECTIVES`: `python tools/objectives_table.py`."""

import inspect

from hf_distill.classifiers.outputs import STORABLE_OUTPUTS
from hf_distill.classifiers.problem_types import PROBLEM_TYPES
from hf_distill.objectives import OBJECTIVES, Objective


def objectives_table() -> str:
    """Return a Markdown table of the objectives: what each one reads, its hyperparameters, and its problem types."""
    header = ["objective", "hyperparameters and defaults", "reads from the teacher", "trains from stored outputs"]
    header += ["independent of the batch", *(name.replace("_", " ") for name in PROBLEM_TYPES)]
    lines = [f"| {' | '.join(header)} |", "| --- " * len(header) + "|"]
    for name, objective in OBJECTIVES.items():
        reads = ", ".join(sorted(objective.teacher_reads)) or "nothing"
        cells = [
            f"`{name}`",
            _hyperparameters(objective),
            reads,
            _yes(objective.teacher_reads <= STORABLE_OUTPUTS.keys()),
            _yes(objective.is_per_unit),
        ]
        cells += [_yes(problem_type in objective.problem_types) for problem_type in PROBLEM_TYPES]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _hyperparameters(objective: type[Objective]) -> str:
    """Return the hyperparameters with their defaults; None is a default that depends on the task or the run."""
    parameters = list(inspect.signature(objective.__init__).parameters.values())[1:]
    own = [parameter for parameter in parameters if parameter.name != "weight"]
    return ", ".join(f"`{p.name}`{'' if p.default is None else f' {p.default}'}" for p in own) or "\u2013"


def _yes(value: bool) -> str:
    return "yes" if value else "–"


if __name__ == "__main__":
    print(objectives_table())
