"""What a hyperparameter search optimizes if the user does not say it, and which searches would say nothing."""

import gc
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from transformers.utils import logging

from hf_distill.training_args import DistillationTrainingArguments, is_lower_better

logger = logging.get_logger(__name__)

_OF_THE_LOSS = frozenset(
    {"temperature", "soft_label_weight", "hard_label_weight", "soft_loss", "objectives", "label_smoothing_factor"}
)


class SearchObjective:
    """The default objective: the sum of the user's metrics, to be maximized; without metrics the loss, minimized.

    transformers' default sums everything that an evaluation returns. For a distillation that includes terms of the
    loss and the teacher's metrics, so an untrained student could win.

    Args:
        has_metrics: Whether the Trainer has `compute_metrics`.
    """

    def __init__(self, has_metrics: bool) -> None:
        self.has_metrics = has_metrics
        self._metrics: set[str] = set()
        self._losses: set[str] = set()
        self._is_announced = self._is_used = False

    @property
    def direction(self) -> str:
        """Return "maximize" or "minimize"."""
        return "maximize" if self.has_metrics else "minimize"

    def note(self, prefix: str, metrics: Mapping[str, Any]) -> None:
        """Note which of the results of an evaluation are the user's metrics.

        Args:
            prefix: The evaluation's `metric_key_prefix`.
            metrics: Everything that stock Trainer returns: the loss, times, and what `compute_metrics` returned.
        """
        loss = f"{prefix}_loss"
        self._losses.add(loss)
        self._metrics |= {name for name in metrics if name != loss and not name.endswith("_time")}

    def choose(
        self, given: Callable[[dict[str, float]], float] | None, direction: str | list[str] | None
    ) -> tuple[Callable[[dict[str, float]], float], str | list[str]]:
        """Return what a search optimizes and in which direction.

        Args:
            given: The user's `compute_objective`; None for this objective.
            direction: The user's direction; None for the direction of this objective, or to minimize the user's.

        Raises:
            ValueError: for a direction that contradicts this objective, or for several directions.
        """
        self._is_used = given is None
        if given is not None:
            return given, direction or "minimize"
        if direction and direction != self.direction:
            objective = "the sum of the metrics" if self.has_metrics else "the evaluation loss"
            raise ValueError(
                f"`direction` is {direction!r}, but without `compute_objective` the search uses {objective}, to "
                f"{self.direction}. Remove `direction`, or pass `compute_objective`."
            )
        return self, self.direction

    def check_trial(self, names: Iterable[str], objectives: Any, args: DistillationTrainingArguments) -> None:
        """Refuse a trial that changes nothing, or that defines the loss anew by which trials are compared.

        Args:
            names: Names of the arguments that the trial sets.
            objectives: The Trainer's `objectives`.
            args: The Trainer's.

        Raises:
            ValueError: in either case.
        """
        _check_searched(names, objectives, args)
        if self._is_used and not self.has_metrics and (changed := sorted(set(names) & _OF_THE_LOSS)):
            raise ValueError(
                f"The search changes {', '.join(changed)}, so the losses of its trials do not compare, and there are "
                "no other metrics. Pass `compute_metrics` to the Trainer, or `compute_objective` to the search."
            )

    def __call__(self, metrics: Mapping[str, float]) -> float:
        """Return the objective of one evaluation.

        Raises:
            ValueError: if `compute_metrics` returned nothing, or a metric that looks like an error or a loss.
        """
        names = sorted((self._metrics if self.has_metrics else self._losses) & metrics.keys())
        if not names:
            raise ValueError(
                "`compute_metrics` returned no metric to search by; does the evaluation set have labels? Pass "
                "`compute_objective`."
            )
        if self.has_metrics and (losses := [name for name in names if is_lower_better(name)]):
            raise ValueError(
                f"Lower values of {', '.join(losses)} are better. Pass `compute_objective` and `direction`."
            )
        if not self._is_announced:
            self._is_announced = True
            logger.warning(f"The search will {self.direction} {' + '.join(names)}.")
        return sum(metrics[name] for name in names)


def _check_searched(names: Iterable[str], objectives: Any, args: DistillationTrainingArguments) -> None:
    """Refuse a search over arguments that `objectives` replaces.

    Args:
        names: Names of the searched arguments.
        objectives: The Trainer's `objectives`.
        args: The Trainer's.

    Raises:
        ValueError: for a searched argument that would change nothing.
    """
    ignored = sorted({"temperature", "soft_label_weight", "hard_label_weight", "soft_loss"} & set(names))
    if ignored and (objectives is not None or args.objectives is not None):
        raise ValueError(
            f"The search sets {', '.join(ignored)}, which `objectives` replaces, so every trial would be the same. "
            "Remove `objectives`, or search over the argument `objectives` itself."
        )


@contextmanager
def cheap_garbage_collection() -> Iterator[None]:
    """Take all live objects out of garbage collection, which accelerate runs three times between two trials.

    Each of these runs took 0.2 seconds.
    """
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
