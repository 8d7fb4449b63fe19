"""The temperature at which a classifier's probabilities fit held-out labels."""

import math

import torch.nn.functional as F
from torch import Tensor

LOWEST, HIGHEST = 0.05, 20.0
_GOLDEN = (math.sqrt(5) - 1) / 2


def negative_log_likelihood(logits: Tensor, labels: Tensor, temperature: float = 1.0) -> float:
    """Return the mean negative log-likelihood of labels at a temperature, in nats, in float64.

    Args:
        logits: `(num_rows, num_labels)`.
        labels: Class ids, `(num_rows,)`; or of multi-label problems 0 or 1 for each class, `(num_rows, num_labels)`.
        temperature: What the logits are divided by.
    """
    scaled = logits.double() / temperature
    if labels.is_floating_point():
        return F.binary_cross_entropy_with_logits(scaled, labels.double()).item()
    return F.cross_entropy(scaled, labels).item()


def calibrate_temperature(logits: Tensor, labels: Tensor) -> float:
    r"""Find the temperature that minimises the negative log-likelihood of labels: temperature scaling.

    $$\tau^* = \arg\min_\tau \; -\frac{1}{N} \sum_i \log \mathrm{softmax}(z_i / \tau)_{y_i}$$

    A single number that changes no decision: Guo et al. (2017), section 4.2,
    https://huggingface.co/papers/1706.04599. The likelihood has one optimum in $1/\tau$, since it is concave in it;
    it is found by golden-section search in float64.

    Args:
        logits: `(num_rows, num_labels)` of rows that the classifier was not trained on.
        labels: Class ids, `(num_rows,)`; or of multi-label problems 0 or 1 for each class, `(num_rows, num_labels)`.

    Returns:
        The temperature, from 0.05 to 20. It is at one of these ends where the likelihood has no optimum between them:
        where every row is right, or the logits say nothing of the labels.

    Raises:
        ValueError: for no rows, or shapes that do not match.
    """
    wanted = logits.shape if labels.is_floating_point() else logits.shape[:1]
    if len(logits) == 0 or logits.ndim != 2 or labels.shape != wanted:
        raise ValueError(
            f"Logits of shape {tuple(logits.shape)} and labels of shape {tuple(labels.shape)} cannot be calibrated: "
            "at least one row of `(num_rows, num_labels)` is needed, and one class id, or one 0 or 1 for each class."
        )

    def loss(log_temperature: float) -> float:
        return negative_log_likelihood(logits, labels, math.exp(log_temperature))

    low, high = math.log(LOWEST), math.log(HIGHEST)
    left, right = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
    of_left, of_right = loss(left), loss(right)
    while high - low > 1e-6:
        if of_left <= of_right:
            high, right, of_right = right, left, of_left
            left = high - _GOLDEN * (high - low)
            of_left = loss(left)
        else:
            low, left, of_left = left, right, of_right
            right = low + _GOLDEN * (high - low)
            of_right = loss(right)
    return math.exp((low + high) / 2)
