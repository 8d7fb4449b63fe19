"""Print the table in `docs/objectives.md` from `OBJECTIVES`: `python tools/objectives_table.py`."""

from hf_distill.classifiers.outputs import STORABLE_OUTPUTS
from hf_distill.classifiers.problem_types import PROBLEM_TYPES
from hf_distill.objectives import OBJECTIVES


def objectives_table() -> str:
    """Return a Markdown table of the objectives: what each one reads, and its problem types."""
    lines = ["| objective | reads of the teacher | trains from stored outputs | independent of the batch |"]
    lines[0] += "".join(f" {name.replace('_', ' ')} |" for name in PROBLEM_TYPES)
    lines.append("| --- " * (4 + len(PROBLEM_TYPES)) + "|")
    for name, objective in OBJECTIVES.items():
        reads = ", ".join(sorted(objective.teacher_reads)) or "nothing"
        cells = [
            f"`{name}`",
            reads,
            _yes(objective.teacher_reads <= STORABLE_OUTPUTS.keys()),
            _yes(objective.is_per_unit),
        ]
        cells += [_yes(problem_type in objective.problem_types) for problem_type in PROBLEM_TYPES]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _yes(value: bool) -> str:
    return "yes" if value else "–"


if __name__ == "__main__":
    print(objectives_table())
