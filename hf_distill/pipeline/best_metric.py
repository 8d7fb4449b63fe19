"""The metric by which the best checkpoint is chosen, checked before a model is loaded."""

from dataclasses import replace

from datasets import DatasetDict

from hf_distill.classifiers.problem_types import PROBLEM_TYPES
from hf_distill.data import Task, has_labels
from hf_distill.data.compute_metrics import metric_names
from hf_distill.training_args import DistillationTrainingArguments


def check_best_metric(task: Task, args: DistillationTrainingArguments) -> None:
    """Check that an evaluation on the rows of a task will have `metric_for_best_model`.

    Args:
        task: The task.
        args: Training arguments of the student.

    Raises:
        ValueError: for another name; the message lists the names.
    """
    split = task.validation_splits[0]
    evaluated = replace(task, datasets=DatasetDict({split: task.datasets[split]}))
    scores = metric_names(task.compute_metrics) if has_labels(evaluated) else []
    if args.metric_for_best_model is None or scores is None:
        return
    agreement = [] if PROBLEM_TYPES[task.problem_type].agreement is None else ["agreement"]
    losses = ["loss", *(f"loss_{name}" for name in args.objective_spec())]
    names = [*scores, *agreement, *losses, *(f"teacher_{name}" for name in scores)]
    metric = args.metric_for_best_model.removeprefix("eval_")
    if metric not in names:
        raise ValueError(
            f"`metric_for_best_model` is {metric!r}, and an evaluation on {task.name} has {', '.join(names)}."
        )
