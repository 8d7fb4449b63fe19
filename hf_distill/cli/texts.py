"""Runs without labels: unlabelled text to train on, and some of it to compare student and teacher on."""

from typing import cast

from hf_distill.classifiers.problem_types import ProblemType
from hf_distill.cli.arguments import DataArguments
from hf_distill.data import Task, unlabelled_task
from hf_distill.pipeline.loading import limit_rows
from hf_distill.pipeline.transfer import TransferSet, load_transfer


def load_texts(data: DataArguments, problem_type: ProblemType, class_names: list[str]) -> tuple[Task, TransferSet]:
    """Load unlabelled text to train on, and hold some of it out to compare the student with its teacher.

    Args:
        data: The flags; --class_names wins over `class_names`.
        problem_type: The teacher's.
        class_names: Names of the teacher's outputs.
    """
    transfer = cast(TransferSet, load_transfer(data.transfer, data.text_column_names, problem_type))
    names = class_names if problem_type.has_temperature else None
    name = ", ".join(source["name"] for source in transfer.report["sources"])
    held_out = transfer.hold_out()
    task = unlabelled_task(held_out, problem_type.name, data.names_of_outputs or names, "validation", name)
    return limit_rows(task, max_eval_samples=data.max_eval_samples), transfer
