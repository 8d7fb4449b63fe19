"""The same student trained without its teacher: what its Trainer's arguments are."""

from pathlib import Path
from typing import Any

from transformers import TrainerState

from hf_distill.training_args import DistillationTrainingArguments


def baseline_arguments(args: DistillationTrainingArguments, state: TrainerState) -> DistillationTrainingArguments:
    """Return the arguments of a baseline that takes as many optimizer steps as the distilled student did.

    Args:
        args: The arguments of the distillation.
        state: The state of the Trainer after it.

    Raises:
        ValueError: if nothing was trained yet, or the loss has no hard term.
    """
    if state.global_step == 0 or not state.epoch:
        raise ValueError("Call `train` first: the baseline takes as many optimizer steps as the student did.")
    args.check_baseline()
    changes: dict[str, Any] = {"max_steps": state.global_step}
    steps_per_epoch = max(1, round(state.global_step / state.epoch))
    # The baseline's epochs are shorter. Evaluated as often as the student, it has as many checkpoints to choose from.
    for name, strategy in (("eval", args.eval_strategy), ("save", args.save_strategy)):
        if strategy == "epoch":
            changes |= {f"{name}_strategy": "steps", f"{name}_steps": steps_per_epoch}
    return args.without_teacher(str(Path(str(args.output_dir), "baseline")), **changes)
