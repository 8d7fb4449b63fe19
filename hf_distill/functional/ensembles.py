"""What several teachers predict together: means over the teachers of probabilities or of outputs."""

import torch
import torch.nn.functional as F
from torch import Tensor


def mean_of_softmax(logits: Tensor, weights: Tensor) -> Tensor:
    r"""Logarithm of the weighted arithmetic mean of class distributions, as logits of an ensemble.

    $$z_{bc} = \log \sum_k w_k\, \mathrm{softmax}(z_k)_{bc}, \qquad \sum_k w_k = 1$$

    Hinton et al. (2015), section 2: the soft targets of an ensemble are the arithmetic or the geometric mean of its
    predictive distributions, https://huggingface.co/papers/1503.02531. [`weighted_mean`] gives the geometric one.

    Args:
        logits: `(num_teachers, ..., num_labels)`, any float dtype; -inf forbids a class.
        weights: `(num_teachers,)`, > 0, their sum is 1.

    Returns:
        `(..., num_labels)`, log-probabilities.
    """
    log_probs = F.log_softmax(logits.float(), dim=-1)
    return torch.logsumexp(log_probs + _along_teachers(weights, logits).log(), dim=0)


def mean_of_sigmoid(logits: Tensor, weights: Tensor) -> Tensor:
    r"""Log-odds of the weighted mean of probabilities, each class by itself: [`mean_of_softmax`] of multi-label.

    $$z_{bc} = \log \frac{\sum_k w_k\, \sigma(z_{kbc})}{\sum_k w_k\, \sigma(-z_{kbc})}$$

    Args:
        logits: `(num_teachers, ..., num_labels)`, any float dtype.
        weights: `(num_teachers,)`, > 0, their sum is 1.

    Returns:
        `(..., num_labels)`.
    """
    log_weights = _along_teachers(weights, logits).log()
    yes, no = F.logsigmoid(logits.float()), F.logsigmoid(-logits.float())
    return torch.logsumexp(yes + log_weights, dim=0) - torch.logsumexp(no + log_weights, dim=0)


def weighted_mean(outputs: Tensor, weights: Tensor) -> Tensor:
    r"""Weighted mean of logits, or of the outputs of regressions: $z_{bc} = \sum_k w_k\, z_{kbc}$.

    The softmax of the mean of logits is the geometric mean of the distributions, normalised.

    Args:
        outputs: `(num_teachers, ..., num_labels)`, any float dtype.
        weights: `(num_teachers,)`, > 0, their sum is 1.

    Returns:
        `(..., num_labels)`.
    """
    return (outputs.float() * _along_teachers(weights, outputs)).sum(dim=0)


def _along_teachers(weights: Tensor, logits: Tensor) -> Tensor:
    return weights.float().view(-1, *[1] * (logits.ndim - 1))
