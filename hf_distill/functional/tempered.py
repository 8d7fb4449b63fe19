"""Tempered log-probabilities of student and teacher, and the classes that a model forbids by a logit of -inf.

Suffixes of local names: B units, C classes.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

# Below it, logits divided by the temperature leave the range in which float32 keeps their differences.
LOWEST_TEMPERATURE = 1e-3


def check_temperature(temperature: float) -> None:
    """Refuse a temperature that is too low for float32, infinite or NaN.

    Raises:
        ValueError: for such a temperature.
    """
    if not LOWEST_TEMPERATURE <= temperature < math.inf:
        raise ValueError(
            f"`temperature` must be a finite number >= {LOWEST_TEMPERATURE}, got {temperature}. Use 1.0 for "
            "distributions that are not softened."
        )


def subtract_maximum(logits: Tensor) -> Tensor:
    """Subtract the maximum of each row, in float32. The losses do not depend on such an offset."""
    return logits.float() - logits.float().amax(dim=-1, keepdim=True).detach()


def log_softmax(logits: Tensor, temperature: float) -> Tensor:
    """Return the log-probabilities at a temperature, in float32."""
    # Subtract before dividing: dividing logits of 1e4 by the temperature would round away differences of 1e-3.
    return F.log_softmax(subtract_maximum(logits) / temperature, dim=-1)


def check_shapes(loss: str, student_logits: Tensor, teacher_logits: Tensor) -> None:
    """Refuse student and teacher logits of different shapes.

    Raises:
        ValueError: that names the loss and both shapes.
    """
    if student_logits.shape != teacher_logits.shape:
        raise ValueError(
            f"{loss} needs student and teacher logits of the same shape, got {tuple(student_logits.shape)} from the "
            f"student and {tuple(teacher_logits.shape)} from the teacher. Give both models the same classes."
        )


def forbidden_classes(logits: Tensor) -> Tensor:
    """Return which classes are forbidden, `(batch, num_labels)` bool; none in a row without any other class.

    Such a row has no distribution, and its loss must be NaN.
    """
    is_forbidden_BC = torch.isneginf(logits)
    return is_forbidden_BC & ~is_forbidden_BC.all(dim=-1, keepdim=True)


def log_probs(
    student_logits: Tensor, teacher_logits: Tensor, temperature: float, forbidden_BC: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the tempered log-probabilities of student and teacher; both are set to 0 where `forbidden_BC` is true."""
    check_temperature(temperature)
    student_BC, teacher_BC = log_softmax(student_logits, temperature), log_softmax(teacher_logits, temperature)
    # Equal values contribute 0, and their difference has a gradient of 0; -inf - -inf would be NaN.
    return student_BC.masked_fill(forbidden_BC, 0.0), teacher_BC.masked_fill(forbidden_BC, 0.0)
