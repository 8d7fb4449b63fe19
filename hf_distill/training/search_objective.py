"""What a hyperparameter search optimizes if the user does not say it."""

from collections.abc import Iterable, Mapping
from typing import Any

from transformers.utils import logging

from hf_distill.training_args import is_lower_better

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
        self._is_announced = False

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

    def check_direction(self, direction: str | list[str]) -> None:
        """Refuse a direction that contradicts the default objective.

        Raises:
            ValueError: for the other direction, or for several.
        """
        if direction == self.direction:
            return
        objective = "the sum of the metrics" if self.has_metrics else "the evaluation loss"
        raise ValueError(
            f"`direction` is {direction!r}, but without `compute_objective` the search uses {objective}, to "
            f"{self.direction}. Remove `direction`, or pass `compute_objective`."
        )

    def check_searched(self, names: Iterable[str]) -> None:
        """Refuse to compare losses that a trial defines anew.

        Raises:
            ValueError: if a trial changes the loss, and there are no metrics.
        """
        if not self.has_metrics and (changed := sorted(set(names) & _OF_THE_LOSS)):
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
