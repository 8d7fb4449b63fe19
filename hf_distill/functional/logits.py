r"""Losses between the logits of student and teacher: pure functions, one value per unit (an example or a token).

Every loss computes in float32, takes `student_logits` and `teacher_logits` of shape `(batch, num_labels)` and returns
`(batch,)`. Nothing is averaged over the batch, so that one place, the Trainer, normalises all terms alike.

A class whose logit is -inf is forbidden. If both sides forbid it, it contributes 0 to the divergences between whole
distributions ([`kl_divergence`], [`reverse_kl_divergence`], [`jensen_shannon_divergence`]), and the other losses
refuse it. If only one side does, every loss raises a [`ForbiddenClassError`] that names the class.

Suffixes of local names: B units, C classes, O outputs of a regression.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from hf_distill.functional.supervised import IGNORE_INDEX


class ForbiddenClassError(ValueError):
    """A class has the logit -inf where a loss cannot have it; `unit` says in which unit of the batch."""

    def __init__(self, message: str, unit: int) -> None:
        super().__init__(message)
        self.unit = unit


def _check_temperature(temperature: float) -> None:
    if not 0 < temperature < math.inf:
        raise ValueError(f"`temperature` must be a finite number > 0, got {temperature}. Use 1.0 to soften nothing.")


def _forbidden(loss: str, student_logits: Tensor, teacher_logits: Tensor, *, allowed: bool) -> Tensor | None:
    """Return which classes both sides forbid, `(batch, num_labels)` bool; None if, as nearly always, none is.

    Raises where this loss cannot have them.
    """
    if student_logits.shape != teacher_logits.shape:
        raise ValueError(
            f"{loss} compares logits of one shape, got {tuple(student_logits.shape)} from the student and "
            f"{tuple(teacher_logits.shape)} from the teacher. Both need the same classes."
        )
    student_BC, teacher_BC = torch.isneginf(student_logits), torch.isneginf(teacher_logits)
    if not (student_BC | teacher_BC).any():
        return None
    refused_BC = student_BC ^ teacher_BC if allowed else student_BC | teacher_BC
    if refused_BC.any():
        unit, label = (int(i) for i in refused_BC.nonzero()[0])
        sides = [name for name, side in (("student", student_BC), ("teacher", teacher_BC)) if side[unit, label]]
        raise ForbiddenClassError(
            f"{loss}: class {label} of row {unit} has the logit -inf for the {' and the '.join(sides)}. "
            + ("Forbid a class on both sides or on neither." if allowed else "This loss needs finite logits."),
            unit,
        )
    return student_BC & teacher_BC


def _below_maximum(logits: Tensor) -> Tensor:
    """Subtract each row's maximum, in float32; no loss here is changed by it."""
    return logits.float() - logits.float().amax(dim=-1, keepdim=True).detach()


def _log_softmax(logits: Tensor, temperature: float) -> Tensor:
    # The maximum goes first: dividing logits of 1e4 by the temperature would round away differences of 1e-3.
    return F.log_softmax(_below_maximum(logits) / temperature, dim=-1)


def _log_probs(loss: str, student_logits: Tensor, teacher_logits: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """Return tempered log-probabilities of student and teacher, with 0 on both sides of a forbidden class."""
    _check_temperature(temperature)
    forbidden_BC = _forbidden(loss, student_logits, teacher_logits, allowed=True)
    # Equal values contribute 0, and their difference has a gradient of 0; -inf - -inf would be NaN.
    student_BC, teacher_BC = _log_softmax(student_logits, temperature), _log_softmax(teacher_logits, temperature)
    if forbidden_BC is None:
        return student_BC, teacher_BC
    return student_BC.masked_fill(forbidden_BC, 0.0), teacher_BC.masked_fill(forbidden_BC, 0.0)


def kl_divergence(student_logits: Tensor, teacher_logits: Tensor, temperature: float = 1.0) -> Tensor:
    r"""Forward KL divergence between softened class distributions, times the squared temperature.

    $$\ell_b = \tau^2 \sum_c p^T_{bc} \log \frac{p^T_{bc}}{p^S_{bc}}, \qquad p = \mathrm{softmax}(z / \tau)$$

    The factor keeps the gradient's size when $\tau$ changes: Hinton et al. (2015), section 2.1,
    https://huggingface.co/papers/1503.02531.

    Args:
        student_logits: `(batch, num_labels)`, any float dtype.
        teacher_logits: `(batch, num_labels)`.
        temperature: Softmax temperature of both distributions, > 0.

    Returns:
        `(batch,)`, in nats.

    Raises:
        ValueError: for a temperature that is not > 0, unequal shapes, or a class that only one side forbids.
    """
    student_BC, teacher_BC = _log_probs("kl", student_logits, teacher_logits, temperature)
    return temperature**2 * (teacher_BC.exp() * (teacher_BC - student_BC)).sum(dim=-1)


def reverse_kl_divergence(student_logits: Tensor, teacher_logits: Tensor, temperature: float = 1.0) -> Tensor:
    r"""Reverse KL divergence, which seeks the teacher's mode, times the squared temperature.

    $$\ell_b = \tau^2 \sum_c p^S_{bc} \log \frac{p^S_{bc}}{p^T_{bc}}$$

    Gu et al. (2024), MiniLLM, https://huggingface.co/papers/2306.08543. Arguments, result and errors are those of
    [`kl_divergence`].
    """
    student_BC, teacher_BC = _log_probs("reverse_kl", student_logits, teacher_logits, temperature)
    return temperature**2 * (student_BC.exp() * (student_BC - teacher_BC)).sum(dim=-1)


def jensen_shannon_divergence(
    student_logits: Tensor, teacher_logits: Tensor, temperature: float = 1.0, beta: float = 0.5
) -> Tensor:
    r"""Generalised Jensen-Shannon divergence, bounded, times the squared temperature.

    $$\ell_b = \tau^2 \big(\beta\, \mathrm{KL}(p^T \| m) + (1 - \beta)\, \mathrm{KL}(p^S \| m)\big), \qquad
    m = \beta p^T + (1 - \beta) p^S$$

    Agarwal et al. (2024), equation 1, https://huggingface.co/papers/2306.13649; $\beta = 1/2$ is Lin's symmetric form.

    Args:
        student_logits: `(batch, num_labels)`, any float dtype.
        teacher_logits: `(batch, num_labels)`.
        temperature: Softmax temperature of both distributions, > 0.
        beta: The teacher's share of the mixture, between 0 and 1, both excluded.

    Returns:
        `(batch,)`, in nats.

    Raises:
        ValueError: as [`kl_divergence`], and for `beta` outside of its range.
    """
    if not 0 < beta < 1:
        raise ValueError(f"`beta` must be > 0 and < 1, got {beta}. Use `kl` or `reverse_kl` for the limits.")
    student_BC, teacher_BC = _log_probs("jsd", student_logits, teacher_logits, temperature)
    mixture_BC = torch.logaddexp(teacher_BC + math.log(beta), student_BC + math.log(1 - beta))
    teacher_part_BC = beta * teacher_BC.exp() * (teacher_BC - mixture_BC)
    student_part_BC = (1 - beta) * student_BC.exp() * (student_BC - mixture_BC)
    return temperature**2 * (teacher_part_BC + student_part_BC).sum(dim=-1)


def logit_mse(student_logits: Tensor, teacher_logits: Tensor) -> Tensor:
    r"""Half the mean over the classes of the squared difference of logits that are centred over the classes.

    $$\ell_b = \frac{1}{2C} \sum_c (d_{bc} - \bar d_b)^2, \qquad d = z^S - z^T$$

    This is the limit of [`kl_divergence`] for $\tau \to \infty$ (Hinton et al., 2015, section 2.1, whose derivation
    needs the centring). Matching logits is due to Ba & Caruana (2014), https://huggingface.co/papers/1312.6184.

    Args:
        student_logits: `(batch, num_labels)`, any float dtype.
        teacher_logits: `(batch, num_labels)`.

    Returns:
        `(batch,)`, in squared logits.

    Raises:
        ValueError: for unequal shapes or a forbidden class.
    """
    _forbidden("logit_mse", student_logits, teacher_logits, allowed=False)
    # Each side's maximum goes first: an offset of 1e4 of one side alone would round away the difference.
    difference_BC = _below_maximum(student_logits) - _below_maximum(teacher_logits)
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

    with $b = (p_y, 1 - p_y)$, the label against the rest, and $\hat p$ the distribution over the rest alone. The KL
    divergence is the case $\alpha = 1$, $\beta = 1 - p^T_y$. Zhao et al. (2022), equation 7,
    https://huggingface.co/papers/2203.08679.

    Args:
        student_logits: `(batch, num_labels)`, any float dtype.
        teacher_logits: `(batch, num_labels)`.
        labels: `(batch,)`, class ids; every row needs one.
        temperature: Softmax temperature of both distributions, > 0.
        alpha: Weight of the label against the rest.
        beta: Weight of the distribution over the rest.

    Returns:
        `(batch,)`, in nats.

    Raises:
        ValueError: as [`kl_divergence`], for any forbidden class, and for a row without a label.
    """
    _check_temperature(temperature)
    _forbidden("dkd", student_logits, teacher_logits, allowed=False)
    if (labels == IGNORE_INDEX).any():
        raise ValueError("dkd needs the label of every row, and some rows have none (-100). Use `kl` for these.")

    def split(logits: Tensor) -> tuple[Tensor, Tensor]:
        """Log-probabilities of (label, rest), `(batch, 2)`, and of the rest alone, `(batch, num_labels - 1)`."""
        log_probs_BC = _log_softmax(logits, temperature)
        is_label_BC = F.one_hot(labels, log_probs_BC.shape[-1]).bool()
        # logsumexp of the rest, not log(1 - p): the latter is -inf as soon as p rounds to 1.
        rest_mass_B1 = log_probs_BC[~is_label_BC].view(len(labels), -1).logsumexp(dim=-1, keepdim=True)
        # From the logits: far behind the label, log_probs_BC have lost the digits that tell the rest apart.
        rest_BR = _log_softmax(logits[~is_label_BC].view(len(labels), -1), temperature)
        return torch.cat([log_probs_BC[is_label_BC][:, None], rest_mass_B1], dim=-1), rest_BR

    student_binary_B2, student_rest_BR = split(student_logits)
    teacher_binary_B2, teacher_rest_BR = split(teacher_logits)
    label_part_B = (teacher_binary_B2.exp() * (teacher_binary_B2 - student_binary_B2)).sum(dim=-1)
    rest_part_B = (teacher_rest_BR.exp() * (teacher_rest_BR - student_rest_BR)).sum(dim=-1)
    return temperature**2 * (alpha * label_part_B + beta * rest_part_B)


def dist_loss(
    student_logits: Tensor, teacher_logits: Tensor, temperature: float = 1.0, beta: float = 1.0, gamma: float = 1.0
) -> Tensor:
    r"""DIST: one minus Pearson's correlation of the probabilities, within rows and within classes.

    $$\ell_b = \tau^2 \Big(\beta\, \big(1 - \rho(p^S_{b\cdot}, p^T_{b\cdot})\big)
    + \frac{\gamma}{C} \sum_c \big(1 - \rho(p^S_{\cdot c}, p^T_{\cdot c})\big)\Big)$$

    The second term correlates over the rows of the batch: it is the same for all of them, it changes with how rows are
    split into batches, and it is 0 for a batch of one row. A constant row or column correlates with nothing
    ($\rho = 0$). Huang et al. (2022), equations 8 to 10, https://huggingface.co/papers/2205.10536. The squared
    temperature follows the authors' program; a correlation has no scale, so the loss grows with it.

    Args:
        student_logits: `(batch, num_labels)`, any float dtype.
        teacher_logits: `(batch, num_labels)`.
        temperature: Softmax temperature of both distributions, > 0.
        beta: Weight of the correlation within rows.
        gamma: Weight of the correlation within classes.

    Returns:
        `(batch,)`, without a unit.

    Raises:
        ValueError: for a temperature that is not > 0, unequal shapes, or a forbidden class.
    """
    _check_temperature(temperature)
    _forbidden("dist", student_logits, teacher_logits, allowed=False)
    student_BC = _log_softmax(student_logits, temperature).exp()
    teacher_BC = _log_softmax(teacher_logits, temperature).exp()

    def one_minus_correlation(dim: int) -> Tensor:
        student = student_BC - student_BC.mean(dim=dim, keepdim=True)
        teacher = teacher_BC - teacher_BC.mean(dim=dim, keepdim=True)
        # What is left of a constant is rounding: its direction is noise, and its gradient would be 1 / its norm.
        is_constant = torch.minimum(student.norm(dim=dim, keepdim=True), teacher.norm(dim=dim, keepdim=True)) < 1e-6
        return 1.0 - F.cosine_similarity(student.masked_fill(is_constant, 0.0), teacher, dim=dim)

    within_rows_B = one_minus_correlation(dim=-1)
    within_classes = one_minus_correlation(dim=0).mean() if len(student_BC) > 1 else 0.0
    return temperature**2 * (beta * within_rows_B + gamma * within_classes)


def bernoulli_kl_divergence(student_logits: Tensor, teacher_logits: Tensor, temperature: float = 1.0) -> Tensor:
    r"""Forward KL divergence of independent yes-or-no labels, mean over the labels, times the squared temperature.

    $$\ell_b = \frac{\tau^2}{C} \sum_c \mathrm{KL}\big(\mathrm{Bernoulli}(\sigma(z^T_{bc} / \tau))
    \,\|\, \mathrm{Bernoulli}(\sigma(z^S_{bc} / \tau))\big)$$

    The mean over the labels is that of [`binary_cross_entropy`].

    Args:
        student_logits: `(batch, num_labels)`, any float dtype.
        teacher_logits: `(batch, num_labels)`.
        temperature: Of both distributions, > 0.

    Returns:
        `(batch,)`, in nats.

    Raises:
        ValueError: for a temperature that is not > 0, unequal shapes, or a label that only one side forbids.
    """
    _forbidden("bernoulli_kl", student_logits, teacher_logits, allowed=True)

    def yes_and_no(logits: Tensor) -> Tensor:
        """A sigmoid is the softmax over (logit, 0): `(batch * num_labels, 2)`."""
        return torch.stack([logits, torch.zeros_like(logits)], dim=-1).flatten(0, -2)

    values = kl_divergence(yes_and_no(student_logits), yes_and_no(teacher_logits), temperature)
    return values.view(student_logits.shape).mean(dim=-1)


def soft_loss(student_logits: Tensor, teacher_logits: Tensor, temperature: float = 1.0) -> Tensor:
    r"""The textbook's soft loss: the tempered KL divergence, mean over the batch, without the factor $\tau^2$.

    For reading and for checks; training uses [`kl_divergence`]. The whole of Hinton et al.'s objective is
    `temperature**2 * soft_loss(student, teacher, temperature) + hard_label_weight * cross_entropy`.

    Args:
        student_logits: `(batch, num_labels)`, any float dtype.
        teacher_logits: `(batch, num_labels)`.
        temperature: Softmax temperature of both distributions, > 0.

    Returns:
        A scalar, in nats.
    """
    return kl_divergence(student_logits, teacher_logits, temperature).mean() / temperature**2
