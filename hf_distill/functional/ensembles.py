"""Ensemble predictions: the weighted mean of the probabilities or of the outputs of several teachers."""

import torch
import torch.nn.functional as F
from torch import Tensor


def mean_of_softmax(logits: Tensor, weights: Tensor) -> Tensor:
    r"""Logits of an ensemble: the logarithm of the weighted arithmetic mean of the class distributions.

    $$z_{bc} = \log \sum_k w_k\, \mathrm{softmax}(z_k)_{bc}, \qquad \sum_k w_k = 1$$

    The soft targets of an ensemble are the arithmetic or the geometric mean of the distributions of its members:
    Hinton et al. (2015), section 2, https://huggingface.co/papers/1503.02531. [`weighted_mean`] gives the geometric
    mean.

    Args:
        logits: `(num_teachers, ..., num_labels)`, any float dtype; -inf forbids a class.
        weights: `(num_teachers,)`, > 0, with the sum 1.

    Returns:
        `(..., num_labels)`, log-probabilities.
    """
    log_probs = F.log_softmax(logits.float(), dim=-1)
    return torch.logsumexp(log_probs + _broadcast_over_teachers(weights, logits).log(), dim=0)


def mean_of_sigmoid(logits: Tensor, weights: Tensor) -> Tensor:
    r"""Logits of a multi-label ensemble: the log-odds of the weighted mean of the probabilities of each class.

    $$z_{bc} = \log \frac{\sum_k w_k\, \sigma(z_{kbc})}{\sum_k w_k\, \sigma(-z_{kbc})}$$

    Args:
        logits: `(num_teachers, ..., num_labels)`, any float dtype.
        weights: `(num_teachers,)`, > 0, with the sum 1.

    Returns:
        `(..., num_labels)`.
    """
    log_weights = _broadcast_over_teachers(weights, logits).log()
    log_positive, log_negative = F.logsigmoid(logits.float()), F.logsigmoid(-logits.float())
    return torch.logsumexp(log_positive + log_weights, dim=0) - torch.logsumexp(log_negative + log_weights, dim=0)


def weighted_mean(outputs: Tensor, weights: Tensor) -> Tensor:
    r"""Weighted mean of logits or of regression outputs: $z_{bc} = \sum_k w_k\, z_{kbc}$.

    The softmax of the mean logits is the normalized geometric mean of the class distributions.

    Args:
        outputs: `(num_teachers, ..., num_labels)`, any float dtype.
        weights: `(num_teachers,)`, > 0, with the sum 1.

    Returns:
        `(..., num_labels)`.
    """
    return (outputs.float() * _broadcast_over_teachers(weights, outputs)).sum(dim=0)


def _broadcast_over_teachers(weights: Tensor, logits: Tensor) -> Tensor:
    """Return the weights as `(num_teachers, 1, ..., 1)`."""
    return weights.float().view(-1, *[1] * (logits.ndim - 1))
