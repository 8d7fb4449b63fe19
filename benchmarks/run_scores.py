"""What the logits of a run are worth on the test rows, whatever the problem type."""

from collections.abc import Callable

import numpy as np
import torch

from hf_distill.classifiers.problem_types import PROBLEM_TYPES
from hf_distill.data.metrics import find_metric
from hf_distill.reporting.comparison.reliability import reliability_bins
from hf_distill.reporting.comparison.scores import Answers, make_scorer
from hf_distill.reporting.comparison.units import Units

Score = Callable[[np.ndarray], np.ndarray]  # from draws, `(num_draws, num_rows)`, to a score for each


class RunScores:
    """The scores of models on the same labelled rows.

    Args:
        problem_type: That of the task.
        metric_name: The task's metric.
        labels: `(num_rows,)`, or `(num_rows, num_labels)` for a multi-label task.
        num_labels: Number of outputs of a model.
    """

    def __init__(self, problem_type: str, metric_name: str, labels: np.ndarray, num_labels: int) -> None:
        rows, names = np.arange(len(labels)), [str(i) for i in range(num_labels)]
        metric = find_metric(metric_name)
        assert metric is not None
        self.metric, self.kind, self.labels = metric, PROBLEM_TYPES[problem_type], labels
        self.units = Units(problem_type, names, labels, rows, [""] * len(labels), np.ones(len(labels)))

    def of_rows(self, logits: np.ndarray) -> float:
        """Return the metric on the rows as they are."""
        return Answers(self.units, logits).score(self.metric)

    def of_draws(self, logits: np.ndarray) -> Score:
        """Return how often each row is drawn -> the metric."""
        scorer = make_scorer(Answers(self.units, logits), [self.metric])
        return lambda draws: scorer(draws)[self.metric.name]

    def losses(self, logits: np.ndarray) -> np.ndarray:
        """Return the loss of each row: cross-entropy in nats, its mean over several labels; squared error."""
        return self.kind.hard_loss(torch.tensor(logits), torch.tensor(self.labels), 0.0, None).numpy()

    def calibration_error(self, logits: np.ndarray) -> float | None:
        """Return the expected calibration error, over rows or labels; None for a regression."""
        if not self.kind.has_temperature:
            return None
        values = torch.tensor(logits).double()
        if self.kind.is_exclusive:
            confidence, answers = (found.numpy() for found in values.softmax(dim=1).max(dim=1))
            is_right = answers == self.labels
        else:
            confidence, is_right = values.sigmoid().numpy().ravel(), self.labels.ravel()
        bins = [found for found in reliability_bins(confidence, is_right) if found["rows"]]
        return sum(found["rows"] * abs(found["accuracy"] - found["confidence"]) for found in bins) / len(confidence)
