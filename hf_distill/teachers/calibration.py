"""Temperature scaling: the temperature at which the probabilities of a classifier fit held-out labels best."""

import math
from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor

MIN_TEMPERATURE, MAX_TEMPERATURE = 0.05, 20.0
_INVERSE_GOLDEN_RATIO = (math.sqrt(5) - 1) / 2


def negative_log_likelihood(logits: Tensor, labels: Tensor, temperature: float = 1.0) -> float:
    """Return the mean negative log-likelihood of labels at a temperature, in nats, computed in float64.

    Args:
        logits: `(num_rows, num_labels)`.
        labels: Class ids, `(num_rows,)`; in multi-label problems 0 or 1 for each class, `(num_rows, num_labels)`.
        temperature: The logits are divided by it.
    """
    scaled = logits.double() / temperature
    if labels.is_floating_point():
        return F.binary_cross_entropy_with_logits(scaled, labels.double()).item()
    return F.cross_entropy(scaled, labels).item()


def calibrate_temperature(logits: Tensor, labels: Tensor) -> float:
    r"""Find the temperature that minimizes the negative log-likelihood of labels: temperature scaling.

    $$\tau^* = \arg\min_\tau \; -\frac{1}{N} \sum_i \log \mathrm{softmax}(z_i / \tau)_{y_i}$$

    The temperature does not change which class is predicted: Guo et al. (2017), section 4.2,
    https://huggingface.co/papers/1706.04599. The log-likelihood is concave in $1/\tau$, so it has one optimum, which
    golden-section search finds in float64.

    Args:
        logits: `(num_rows, num_labels)`, for rows that the classifier was not trained on.
        labels: Class ids, `(num_rows,)`; in multi-label problems 0 or 1 for each class, `(num_rows, num_labels)`.

    Returns:
        The temperature, from 0.05 to 20. It is one of these limits if the likelihood has no optimum between them: if
        every prediction is correct, or if the logits contain no information about the labels.

    Raises:
        ValueError: if there are no rows, or the shapes do not match.
    """
    expected_shape = logits.shape if labels.is_floating_point() else logits.shape[:1]
    if len(logits) == 0 or logits.ndim != 2 or labels.shape != expected_shape:
        raise ValueError(
            f"Logits of shape {tuple(logits.shape)} and labels of shape {tuple(labels.shape)} cannot be calibrated: "
            "the logits must be `(num_rows, num_labels)` with at least one row, and the labels one class id per row, "
            "or 0 or 1 for each class."
        )

    def loss(log_temperature: float) -> float:
        return negative_log_likelihood(logits, labels, math.exp(log_temperature))

    return math.exp(_minimize(loss, math.log(MIN_TEMPERATURE), math.log(MAX_TEMPERATURE)))


def _minimize(function: Callable[[float], float], low: float, high: float, tolerance: float = 1e-6) -> float:
    """Find the minimum of a function with one minimum between two limits, by golden-section search."""
    left = high - _INVERSE_GOLDEN_RATIO * (high - low)
    right = low + _INVERSE_GOLDEN_RATIO * (high - low)
    left_value, right_value = function(left), function(right)
    while high - low > tolerance:
        if left_value <= right_value:
            high, right, right_value = right, left, left_value
            left = high - _INVERSE_GOLDEN_RATIO * (high - low)
            left_value = function(left)
        else:
            low, left, left_value = left, right, right_value
            right = low + _INVERSE_GOLDEN_RATIO * (high - low)
            right_value = function(right)
    return (low + high) / 2
