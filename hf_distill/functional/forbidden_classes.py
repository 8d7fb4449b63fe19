"""Classes that a model forbids with the logit -inf, and the check that a loss can handle them."""

import torch
from torch import Tensor


class ForbiddenClassError(ValueError):
    """A class has the logit -inf and the loss cannot handle it.

    Attributes:
        unit: Index of the unit in the batch.
    """

    def __init__(self, message: str, unit: int) -> None:
        super().__init__(message)
        self.unit = unit


def find_forbidden_classes(
    loss: str, student_logits: Tensor, teacher_logits: Tensor, *, allowed: bool
) -> Tensor | None:
    """Find the classes that both student and teacher forbid.

    Args:
        loss: Name of the loss, for error messages.
        student_logits: `(batch, num_labels)`.
        teacher_logits: `(batch, num_labels)`.
        allowed: Whether the loss accepts a class that both sides forbid.

    Returns:
        `(batch, num_labels)` bool, or None in the common case that no class is forbidden.

    Raises:
        ValueError: for unequal shapes.
        ForbiddenClassError: if only one side forbids a class, or if any side does and `allowed` is False.
    """
    if student_logits.shape != teacher_logits.shape:
        raise ValueError(
            f"{loss} needs student and teacher logits of the same shape, got {tuple(student_logits.shape)} from the "
            f"student and {tuple(teacher_logits.shape)} from the teacher. Give both models the same classes."
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
