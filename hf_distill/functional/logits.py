r"""Losses between student and teacher logits: pure functions, one value per unit (an example or a token).

Every loss takes `student_logits` and `teacher_logits` of shape `(batch, num_labels)`, computes in float32 and returns
`(batch,)`. No loss averages over the batch: only the Trainer normalizes, in the same way for all terms.

A class whose logit is -inf is forbidden: its probability is 0. A class that the distribution in front of the logarithm
forbids contributes 0: the teacher's in [`kl_divergence`] and [`bernoulli_kl_divergence`], the student's in
[`reverse_kl_divergence`], either's in [`jensen_shannon_divergence`]. If only the other side forbids it, the divergence
is infinite. [`logit_mse`] and [`decoupled_kl_divergence`] need finite logits; for others, they are infinite or NaN. No
function looks for such values itself, because that would make every training step wait for the device: the Trainer
stops on a loss that is not finite, and names the rows.

Suffixes of local names: B units, C classes, R classes except the label.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from hf_distill.functional.supervised import IGNORE_INDEX
from hf_distill.functional.tempered import (
    check_shapes,
    check_temperature,
    forbidden_classes,
    log_probs,
    log_softmax,
    subtract_maximum,
)


def kl_divergence(student_logits: Tensor, teacher_logits: Tensor, temperature: float = 1.0) -> Tensor:
    r"""Forward KL divergence between softened class distributions, times the squared temperature.

    $$\ell_b = \tau^2 \sum_c p^T_{bc} \log \frac{p^T_{bc}}{p^S_{bc}}, \qquad p = \mathrm{softmax}(z / \tau)$$

    The factor keeps the size of the gradient when $\tau$ changes: Hinton et al. (2015), section 2.1,
    https://huggingface.co/papers/1503.02531.

    Args:
        student_logits: `(batch, num_labels)`, any float dtype.
        teacher_logits: `(batch, num_labels)`.
        temperature: Softmax temperature of both distributions, > 0.

    Returns:
        `(batch,)`, in nats.

    Raises:
        ValueError: for a temperature that is not > 0, or unequal shapes.
    """
    check_shapes("kl", student_logits, teacher_logits)
    forbidden_BC = forbidden_classes(teacher_logits)
    student_BC, teacher_BC = log_probs(student_logits, teacher_logits, temperature, forbidden_BC)
    return temperature**2 * (teacher_BC.exp() * (teacher_BC - student_BC)).sum(dim=-1)


def reverse_kl_divergence(student_logits: Tensor, teacher_logits: Tensor, temperature: float = 1.0) -> Tensor:
    r"""Reverse KL divergence, which is mode-seeking, times the squared temperature.

    $$\ell_b = \tau^2 \sum_c p^S_{bc} \log \frac{p^S_{bc}}{p^T_{bc}}, \qquad p = \mathrm{softmax}(z / \tau)$$

    Gu et al. (2024), MiniLLM, https://huggingface.co/papers/2306.08543.

    Args:
        student_logits: `(batch, num_labels)`, any float dtype.
        teacher_logits: `(batch, num_labels)`.
        temperature: Softmax temperature of both distributions, > 0.

    Returns:
        `(batch,)`, in nats.

    Raises:
        ValueError: for a temperature that is not > 0, or unequal shapes.
    """
    check_shapes("reverse_kl", student_logits, teacher_logits)
    forbidden_BC = forbidden_classes(student_logits)
    student_BC, teacher_BC = log_probs(student_logits, teacher_logits, temperature, forbidden_BC)
    return temperature**2 * (student_BC.exp() * (student_BC - teacher_BC)).sum(dim=-1)


def jensen_shannon_divergence(
    student_logits: Tensor, teacher_logits: Tensor, temperature: float = 1.0, beta: float = 0.5
) -> Tensor:
    r"""Generalized Jensen-Shannon divergence, which is bounded, times the squared temperature.

    $$\ell_b = \tau^2 \big(\beta\, \mathrm{KL}(p^T \| m) + (1 - \beta)\, \mathrm{KL}(p^S \| m)\big), \qquad
    m = \beta p^T + (1 - \beta) p^S$$

    Agarwal et al. (2024), equation 1, https://huggingface.co/papers/2306.13649. $\beta = 1/2$ gives Lin's symmetric
    form.

    Args:
        student_logits: `(batch, num_labels)`, any float dtype.
        teacher_logits: `(batch, num_labels)`.
        temperature: Softmax temperature of both distributions, > 0.
        beta: Share of the teacher in the mixture, > 0 and < 1.

    Returns:
        `(batch,)`, in nats.

    Raises:
        ValueError: for a `beta` out of range, a temperature that is not > 0, or unequal shapes.
    """
    if not 0 < beta < 1:
        raise ValueError(f"`beta` must be > 0 and < 1, got {beta}. Use `kl` or `reverse_kl` for the limits.")
    check_shapes("jsd", student_logits, teacher_logits)
    student_forbids_BC, teacher_forbids_BC = map(forbidden_classes, (student_logits, teacher_logits))
    student_BC, teacher_BC = log_probs(
        student_logits, teacher_logits, temperature, student_forbids_BC & teacher_forbids_BC
    )
    mixture_BC = torch.logaddexp(teacher_BC + math.log(beta), student_BC + math.log(1 - beta))
    # Filled where the factor before it is 0, because 0 * inf would be NaN.
    teacher_part_BC = beta * teacher_BC.exp() * (teacher_BC.masked_fill(teacher_forbids_BC, 0.0) - mixture_BC)
    student_part_BC = (1 - beta) * student_BC.exp() * (student_BC.masked_fill(student_forbids_BC, 0.0) - mixture_BC)
    return temperature**2 * (teacher_part_BC + student_part_BC).sum(dim=-1)


def logit_mse(student_logits: Tensor, teacher_logits: Tensor) -> Tensor:
    r"""Half the mean squared difference between logits that are centered over the classes.

    $$\ell_b = \frac{1}{2C} \sum_c (d_{bc} - \bar d_b)^2, \qquad d = z^S - z^T$$

    This is the limit of [`kl_divergence`] for $\tau \to \infty$ (Hinton et al., 2015, section 2.1; their derivation
    needs centered logits). Ba & Caruana (2014), https://huggingface.co/papers/1312.6184, introduced matching logits.

    Args:
        student_logits: `(batch, num_labels)`, any float dtype.
        teacher_logits: `(batch, num_labels)`.

    Returns:
        `(batch,)`, in squared logits.

    Raises:
        ValueError: for unequal shapes.
    """
    check_shapes("logit_mse", student_logits, teacher_logits)
    # Subtract each side's maximum first: an offset of 1e4 on one side would round away the difference.
    difference_BC = subtract_maximum(student_logits) - subtract_maximum(teacher_logits)
    return 0.5 * (difference_BC - difference_BC.mean(dim=-1, keepdim=True)).square().mean(dim=-1)


def decoupled_kl_divergence(
    student_logits: Tensor,
    teacher_logits: Tensor,
    labels: Tensor,
    temperature: float = 1.0,
    alpha: float = 1.0,
    beta: float = 8.0,
) -> Tensor:
    r"""Decoupled knowledge distillation (DKD), times the squared temperature.

    $$\ell_b = \tau^2 \big(\alpha\, \mathrm{KL}(b^T \| b^S) + \beta\, \mathrm{KL}(\hat p^T \| \hat p^S)\big)$$

    where $b = (p_y, 1 - p_y)$ is the binary distribution of the label against all other classes, and $\hat p$ is the
    distribution over the other classes. The KL divergence is the case $\alpha = 1$, $\beta = 1 - p^T_y$. Zhao et al.
    (2022), equation 7, https://huggingface.co/papers/2203.08679.

    Args:
        student_logits: `(batch, num_labels)`, any float dtype.
        teacher_logits: `(batch, num_labels)`.
        labels: `(batch,)`, class ids; a row without a label (-100) gives NaN.
        temperature: Softmax temperature of both distributions, > 0.
        alpha: Weight of the label against the other classes.
        beta: Weight of the distribution over the other classes.

    Returns:
        `(batch,)`, in nats.

    Raises:
        ValueError: for a temperature that is not > 0, or unequal shapes.
    """
    check_temperature(temperature)
    check_shapes("dkd", student_logits, teacher_logits)
    is_unlabelled_B, labels_B1 = labels == IGNORE_INDEX, labels.clamp(min=0)[:, None]
    student_binary_B2, student_rest_BR = _split_off_label(student_logits, labels_B1, temperature)
    teacher_binary_B2, teacher_rest_BR = _split_off_label(teacher_logits, labels_B1, temperature)
    label_part_B = (teacher_binary_B2.exp() * (teacher_binary_B2 - student_binary_B2)).sum(dim=-1)
    rest_part_B = (teacher_rest_BR.exp() * (teacher_rest_BR - student_rest_BR)).sum(dim=-1)
    values_B = temperature**2 * (alpha * label_part_B + beta * rest_part_B)
    return values_B.masked_fill(is_unlabelled_B, math.nan)


def _split_off_label(logits: Tensor, labels_B1: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """Return log-probabilities of (label, rest), `(batch, 2)`, and within the rest, `(batch, num_labels - 1)`."""
    log_probs_BC = log_softmax(logits, temperature)
    others_R = torch.arange(logits.shape[-1] - 1, device=logits.device)
    others_BR = others_R + (others_R >= labels_B1).long()  # a boolean mask would wait for the device
    # logsumexp of the rest instead of log(1 - p), which is -inf as soon as p rounds to 1.
    rest_mass_B1 = log_probs_BC.gather(1, others_BR).logsumexp(dim=-1, keepdim=True)
    # Computed from the logits: if the label dominates, log_probs_BC have lost the digits that distinguish the rest.
    rest_BR = log_softmax(logits.gather(1, others_BR), temperature)
    return torch.cat([log_probs_BC.gather(1, labels_B1), rest_mass_B1], dim=-1), rest_BR


def dist_loss(
    student_logits: Tensor, teacher_logits: Tensor, temperature: float = 1.0, beta: float = 1.0, gamma: float = 1.0
) -> Tensor:
    r"""DIST: one minus Pearson's correlation of the probabilities, within rows and within classes.

    $$\ell_b = \tau^2 \Big(\beta\, \big(1 - \rho(p^S_{b\cdot}, p^T_{b\cdot})\big)
    + \frac{\gamma}{C} \sum_c \big(1 - \rho(p^S_{\cdot c}, p^T_{\cdot c})\big)\Big)$$

    The second term correlates over the rows of the batch: it has the same value for all rows, it depends on how rows
    are split into batches, and it is 0 for a batch of one row. The correlation $\rho$ with a constant row or column is
    defined as 0. Huang et al. (2022), equations 8 to 10, https://huggingface.co/papers/2205.10536. The squared
    temperature follows the authors' code; a correlation has no scale, so the loss grows with the temperature.

    Args:
        student_logits: `(batch, num_labels)`, any float dtype.
        teacher_logits: `(batch, num_labels)`.
        temperature: Softmax temperature of both distributions, > 0.
        beta: Weight of the correlation within rows.
        gamma: Weight of the correlation within classes.

    Returns:
        `(batch,)`, without a unit.

    Raises:
        ValueError: for a temperature that is not > 0, or unequal shapes.
    """
    check_temperature(temperature)
    check_shapes("dist", student_logits, teacher_logits)
    student_BC = log_softmax(student_logits, temperature).exp()
    teacher_BC = log_softmax(teacher_logits, temperature).exp()
    within_rows_B = _one_minus_correlation(student_BC, teacher_BC, dim=-1)
    within_classes = _one_minus_correlation(student_BC, teacher_BC, dim=0).mean() if len(student_BC) > 1 else 0.0
    return temperature**2 * (beta * within_rows_B + gamma * within_classes)


def _one_minus_correlation(student_BC: Tensor, teacher_BC: Tensor, dim: int) -> Tensor:
    student = student_BC - student_BC.mean(dim=dim, keepdim=True)
    teacher = teacher_BC - teacher_BC.mean(dim=dim, keepdim=True)
    # A centered constant is only rounding error: its direction is noise, and its gradient would be 1 / its norm.
    is_constant = torch.minimum(student.norm(dim=dim, keepdim=True), teacher.norm(dim=dim, keepdim=True)) < 1e-6
    return 1.0 - F.cosine_similarity(student.masked_fill(is_constant, 0.0), teacher, dim=dim)


def bernoulli_kl_divergence(student_logits: Tensor, teacher_logits: Tensor, temperature: float = 1.0) -> Tensor:
    r"""Forward KL divergence of independent binary labels, mean over the labels, times the squared temperature.

    $$\ell_b = \frac{\tau^2}{C} \sum_c \mathrm{KL}\big(\mathrm{Bernoulli}(\sigma(z^T_{bc} / \tau))
    \,\|\, \mathrm{Bernoulli}(\sigma(z^S_{bc} / \tau))\big)$$

    The mean over the labels matches [`binary_cross_entropy`].

    Args:
        student_logits: `(batch, num_labels)`, any float dtype.
        teacher_logits: `(batch, num_labels)`.
        temperature: Temperature of both distributions, > 0.

    Returns:
        `(batch,)`, in nats.

    Raises:
        ValueError: for a temperature that is not > 0, or unequal shapes.
    """
    check_shapes("bernoulli_kl", student_logits, teacher_logits)
    values = kl_divergence(_binary_logits(student_logits), _binary_logits(teacher_logits), temperature)
    return values.view(student_logits.shape).mean(dim=-1)


def _binary_logits(logits: Tensor) -> Tensor:
    """Return `(batch * num_labels, 2)`: a sigmoid is the softmax over (logit, 0)."""
    return torch.stack([logits, torch.zeros_like(logits)], dim=-1).flatten(0, -2)


def soft_loss(student_logits: Tensor, teacher_logits: Tensor, temperature: float = 1.0) -> Tensor:
    r"""The textbook soft loss: the tempered KL divergence, mean over the batch, without the factor $\tau^2$.

    This function is for reading and for checks; training uses [`kl_divergence`]. Hinton et al.'s full objective is
    `temperature**2 * soft_loss(student, teacher, temperature) + hard_label_weight * cross_entropy`.

    Args:
        student_logits: `(batch, num_labels)`, any float dtype.
        teacher_logits: `(batch, num_labels)`.
        temperature: Softmax temperature of both distributions, > 0.

    Returns:
        A scalar, in nats.

    Raises:
        ValueError: for a temperature that is not > 0, or unequal shapes.
    """
    return kl_divergence(student_logits, teacher_logits, temperature).mean() / temperature**2
