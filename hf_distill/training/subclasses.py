"""What a subclass of the Trainer can leave out, and which subclasses a baseline cannot be made with."""

import inspect
from collections.abc import Sequence

from transformers.utils import logging

logger = logging.get_logger(__name__)


def warn_about_unmarked_batch(trainer_class: type) -> None:
    """Warn once about a subclass whose batches do not say which of their rows count."""
    logger.warning_once(
        f"{trainer_class.__name__}.get_batch_samples does not call DistillationTrainer.get_batch_samples: rows "
        "that accelerate repeats count, and the loss is divided by the number that it returns."
    )


def warn_about_loss_without_teacher(trainer_class: type) -> None:
    """Warn once about a subclass that computes another loss."""
    logger.warning_once(
        f"{trainer_class.__name__}.compute_loss does not call DistillationTrainer.compute_loss: the student "
        "learns nothing from its teacher, and the logs have no terms of the loss. Call "
        "`super().compute_loss(...)`, or pass `objectives`."
    )


def check_same_class(trainer_class: type, arguments: Sequence[str]) -> None:
    """Refuse a subclass of the Trainer that a baseline cannot be made with.

    Args:
        trainer_class: The class of the distillation's Trainer.
        arguments: Names of the arguments that the baseline's Trainer is given.

    Raises:
        ValueError: if the constructor does not take one of them, or needs others.
    """
    parameters = inspect.signature(trainer_class).parameters
    takes_any = any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters.values())
    required = [
        name
        for name, parameter in parameters.items()
        if parameter.default is inspect.Parameter.empty
        and parameter.kind not in (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
    ]
    if missing := sorted(set(required) - set(arguments)):
        raise ValueError(
            f"A baseline cannot be made with {trainer_class.__name__}: its constructor needs {', '.join(missing)}. "
            "Give these a default, or train the baseline with the class itself."
        )
    if not takes_any and (refused := sorted(set(arguments) - parameters.keys())):
        raise ValueError(
            f"A baseline cannot be made with {trainer_class.__name__}: its constructor does not take "
            f"{', '.join(refused)}. Let it pass keyword arguments on to DistillationTrainer."
        )
