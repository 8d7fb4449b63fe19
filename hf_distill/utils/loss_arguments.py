"""Training arguments that exclude each other; the command line checks them before it imports torch."""

from collections.abc import Mapping
from typing import Any

LOSS_ARGUMENTS = ("temperature", "soft_label_weight", "hard_label_weight", "soft_loss")  # `objectives` replaces them


def check_exclusions(arguments: Mapping[str, Any]) -> None:
    """Check that no two arguments exclude each other.

    Args:
        arguments: Name -> value; an argument that is not set is None or left out.

    Raises:
        ValueError: if two arguments exclude each other.
    """
    if arguments.get("objectives") is not None:
        check_no_loss_arguments(arguments, "`objectives`")
    if arguments.get("shard_teacher") and arguments.get("cache_teacher_outputs"):
        raise ValueError(
            "With `shard_teacher`, all processes must run the teacher together, but with `cache_teacher_outputs`, "
            "each process runs the teacher on different texts. Set only one of them."
        )
    if arguments.get("soft_label_weight") == 0 and arguments.get("hard_label_weight") == 0:
        raise ValueError(
            "`soft_label_weight` and `hard_label_weight` are both 0, so the student would not learn anything."
        )


def check_no_loss_arguments(arguments: Mapping[str, Any], replacement: str) -> None:
    """Check that none of the four loss arguments is set.

    Args:
        arguments: Name -> value; an argument that is not set is None or left out.
        replacement: What defines the loss instead of the four arguments, for the error message.

    Raises:
        ValueError: if one of the four arguments is set.
    """
    if set_arguments := [name for name in LOSS_ARGUMENTS if arguments.get(name) is not None]:
        raise ValueError(
            f"{replacement} defines the whole loss, but `{set_arguments[0]}` is also set. Set it inside "
            "`objectives`, or do not use `objectives`."
        )
