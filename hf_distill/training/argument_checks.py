"""What is wrong with the arguments of a Trainer, said before a model is loaded."""

from collections.abc import Iterable
from dataclasses import fields
from typing import Any

from hf_distill.training_args import DistillationTrainingArguments

# Names of other libraries -> what they are called here.
_TRAINER_ARGUMENTS = {
    "config": "args",
    "loss": "objectives",
    "student": "model",
    "student_model": "model",
    "teacher": "teacher_model",
    "teacher_tokenizer": "teacher_processing_class",
    "tokenizer": "processing_class",
    "training_args": "args",
}
_TRAINING_ARGUMENTS: dict[str, tuple[str, ...]] = {
    "tau": ("temperature",),
    "alpha": ("hard_label_weight", "soft_label_weight"),
}


def check_keywords(names: Iterable[str]) -> None:
    """Refuse keyword arguments that the Trainer has under another name, or that are training arguments.

    Args:
        names: The names of the keyword arguments that only `transformers.Trainer` can know.

    Raises:
        TypeError: for the first such name.
    """
    training_arguments = _TRAINING_ARGUMENTS | {
        field.name: (field.name,) for field in fields(DistillationTrainingArguments)
    }
    for name in names:
        if name in _TRAINER_ARGUMENTS:
            raise TypeError(f"`DistillationTrainer` has no argument `{name}`. Pass `{_TRAINER_ARGUMENTS[name]}`.")
        if name in training_arguments:
            arguments = dict.fromkeys(("output_dir", *training_arguments[name]))
            right = ", ".join(f"{argument}=..." for argument in arguments)
            raise TypeError(
                f"`DistillationTrainer` has no argument `{name}`. Pass `args=DistillationTrainingArguments({right})`."
            )


def check_arguments(args: Any, objectives: Any, compute_loss_func: Any) -> None:
    """Refuse arguments of the Trainer that would be ignored or give wrong results.

    Raises:
        TypeError: for arguments that are not `DistillationTrainingArguments`.
        ValueError: for arguments that contradict each other.
    """
    if not isinstance(args, DistillationTrainingArguments):
        raise TypeError(f"`args` must be `DistillationTrainingArguments`, got {type(args).__name__}.")
    if args.n_gpu > 1:
        raise ValueError(
            f"{args.n_gpu} GPUs and one process: DataParallel would run the teacher on the first GPU only. Start "
            "with `accelerate launch`, or choose one GPU by CUDA_VISIBLE_DEVICES."
        )
    if args.label_names not in (None, ["labels"]):
        raise ValueError(f"`label_names` is {args.label_names}; the labels must be in a column `labels`. Rename it.")
    args.check_trackers()
    if compute_loss_func is not None:
        raise ValueError(
            "`compute_loss_func` would replace the distillation loss. Pass `objectives` instead, for class weights "
            'for instance `{"kl": 1.0, "ce": {"weight": 0.1, "class_weights": "balanced"}}`.'
        )
    if objectives is None:
        return
    args.check_no_loss_arguments("The Trainer's `objectives`")
    if args.objectives is not None:
        raise ValueError("`objectives` are given to the Trainer and in `args.objectives`. Remove one of them.")
    if args.label_smoothing_factor:
        raise ValueError(
            "`label_smoothing_factor` is set, and the Trainer's `objectives` define the hard loss. Set it there: "
            '`{"ce": {"label_smoothing": ...}}`.'
        )
