"""What is wrong with the arguments of a Trainer, said before a model is loaded."""

from typing import Any

from hf_distill.training_args import DistillationTrainingArguments


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
