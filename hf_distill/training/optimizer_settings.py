"""What an optimizer trains, and with which settings: a resumed run uses its own, not those of the checkpoint."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn
from torch.optim.lr_scheduler import LambdaLR

# Settings in an optimizer's groups; what else is there can be state.
_SETTINGS = ("initial_lr", "weight_decay", "betas", "eps")


def check_has_trained_weights(student: nn.Module) -> None:
    """Refuse to train a student whose weights are all frozen; it can be evaluated.

    Raises:
        ValueError: if no weight is trained.
    """
    if not any(weight.requires_grad for weight in student.parameters()):
        raise ValueError(
            "All weights of the student are frozen (`requires_grad` is False), so it would learn nothing. Unfreeze "
            "the weights to train: `student.requires_grad_(True)` for all of them."
        )


@contextmanager
def given_settings(optimizer: Any, scheduler: Any, has_changed: bool) -> Iterator[None]:
    """Keep the settings of a new optimizer and its schedule while their states are restored from a checkpoint.

    The states that torch restores contain the learning rate, the weight decay and the like, so that changed arguments
    would have no effect.

    Args:
        optimizer: The optimizer of the resumed run.
        scheduler: Its schedule.
        has_changed: Whether a setting has changed; if not, nothing is done.
    """
    groups_before = [{name: group[name] for name in _SETTINGS if name in group} for group in optimizer.param_groups]
    yield
    if not has_changed:
        return
    for group, settings in zip(optimizer.param_groups, groups_before, strict=True):
        group.update(settings)
    if isinstance(scheduler, LambdaLR):  # all that depend on the step alone
        scheduler.base_lrs = [group["initial_lr"] for group in optimizer.param_groups]
        shares = [share(scheduler.last_epoch) for share in scheduler.lr_lambdas]
        rates = [rate * share for rate, share in zip(scheduler.base_lrs, shares, strict=True)]
        scheduler._last_lr = rates
        for group, rate in zip(optimizer.param_groups, rates, strict=True):
            group["lr"] = rate
