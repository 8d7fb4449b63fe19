"""The same student trained without its teacher: what its Trainer is given."""

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel, TrainerCallback, TrainerState

from hf_distill.classifiers.label_maps import are_placeholders, class_names_of, name_classes
from hf_distill.objectives import DistillationLoss
from hf_distill.training.run_identity import student_config
from hf_distill.training_args import DistillationTrainingArguments


def check_baseline_student(student: PreTrainedModel, distilled: PreTrainedModel) -> None:
    """Check that a baseline starts from a copy of the student, not from the distilled student or another model.

    A baseline without class names gets those that the distilled student has.

    Raises:
        ValueError: for a model that shares weights with the distilled student, or has other weights by name or shape,
            another config or other classes.
    """
    if {id(weight) for weight in student.parameters()} & {id(weight) for weight in distilled.parameters()}:
        raise ValueError(
            "The baseline shares weights with the distilled student, so it would start from what the teacher taught "
            "and overwrite it. Pass `copy.deepcopy(student)`, made before `train`."
        )
    shapes, distilled_shapes = (
        {name: tuple(weight.shape) for name, weight in model.named_parameters()} for model in (student, distilled)
    )
    if shapes != distilled_shapes:
        name = min(shapes.items() ^ distilled_shapes.items())[0]
        raise ValueError(
            f"The baseline is another model than the student: `{name}` has the shape {shapes.get(name)} in one and "
            f"{distilled_shapes.get(name)} in the other. Pass `copy.deepcopy(student)`, made before `train`."
        )
    trained, distilled_trained = (
        {name for name, weight in model.named_parameters() if weight.requires_grad} for model in (student, distilled)
    )
    if trained != distilled_trained:
        raise ValueError(
            f"`{min(trained ^ distilled_trained)}` is trained in one of student and baseline and frozen in the other, "
            "so they do not compare. Freeze the same weights, or pass `copy.deepcopy(student)`, made before `train`."
        )
    config, distilled_config = student_config(student), student_config(distilled)
    if names := [name for name in config.keys() | distilled_config.keys() if _differs(name, config, distilled_config)]:
        name = min(names)
        raise ValueError(
            f"`{name}` in the config of the baseline is {config.get(name)!r}, and {distilled_config.get(name)!r} in "
            "the config of the student, so they do not compare. Pass `copy.deepcopy(student)`, made before `train`."
        )
    _check_classes(student, class_names_of(distilled.config))


def _differs(name: str, config: Mapping[str, Any], other_config: Mapping[str, Any]) -> bool:
    return config.get(name) != other_config.get(name)


def _check_classes(student: PreTrainedModel, names: list[str]) -> None:
    baseline_names = class_names_of(student.config)
    if are_placeholders(dict(enumerate(baseline_names))):
        name_classes(student.config, names)
    elif baseline_names != names:
        raise ValueError(
            f"The classes of the baseline are {baseline_names}, the classes of the student {names}. The labels are in "
            "the student's order: set `id2label` and `label2id` of the baseline's config to the student's."
        )


def baseline_arguments(
    args: DistillationTrainingArguments, state: TrainerState, loss: DistillationLoss
) -> DistillationTrainingArguments:
    """Return the arguments of a baseline that takes as many optimizer steps as the distilled student did.

    Args:
        args: The arguments of the distillation.
        state: The state of the Trainer after it.
        loss: The loss of the distillation; label smoothing and class weights of its hard term are kept.

    Raises:
        ValueError: if nothing was trained yet, or the best checkpoint is chosen by what needs a teacher.
    """
    if state.global_step == 0 or not state.epoch:
        raise ValueError("Call `train` first: the baseline takes as many optimizer steps as the student did.")
    args.check_baseline()
    hard_term = {**loss.spec().get("ce", {"label_smoothing": args.label_smoothing_factor}), "weight": 1.0}
    changes: dict[str, Any] = {"max_steps": state.global_step, "objectives": {"ce": hard_term}}
    changes["label_smoothing_factor"] = 0.0  # the term has it
    steps_per_epoch = max(1, round(state.global_step / state.epoch))
    # The baseline's epochs are shorter. Evaluated as often as the student, it has as many checkpoints to choose from.
    for name, strategy in (("eval", args.eval_strategy), ("save", args.save_strategy)):
        if strategy == "epoch":
            changes |= {f"{name}_strategy": "steps", f"{name}_steps": steps_per_epoch}
    return args.without_teacher(str(Path(str(args.output_dir), "baseline")), **changes)


class BaselineParts:
    """The user's callbacks as they were before training, for a baseline that starts as the student did.

    Args:
        callbacks: The user's callbacks; classes stand for instances.
        optimizers: The user's `optimizers`, which a baseline cannot share.
        shared: Models, datasets and the like, which a callback can hold and its copy shares.
    """

    def __init__(
        self,
        callbacks: Sequence[TrainerCallback | type[TrainerCallback]],
        optimizers: Sequence[object],
        shared: Sequence[object] = (),
    ) -> None:
        self._has_given_optimizer, self._shared = any(optimizers), list(shared)
        self._copies: list[Any] = []
        self._uncopied: list[str] = []
        for callback in callbacks:
            try:
                self._copies.append(self._copy(callback))
            except Exception:  # of any kind: an open file or a connection, for instance
                self._uncopied.append(type(callback).__name__)

    def check_optimizer(self) -> None:
        """Refuse an optimizer that the user made.

        Raises:
            ValueError: if the user passed `optimizers`.
        """
        if self._has_given_optimizer:
            raise ValueError(
                "The baseline needs an optimizer of its own, and `optimizers` was passed. Pass "
                "`optimizer_cls_and_kwargs`, or set `optim` and `lr_scheduler_type`."
            )

    def copy_callbacks(self) -> list[Any]:
        """Return new copies of the callbacks.

        Raises:
            ValueError: if a callback cannot be copied.
        """
        if self._uncopied:
            raise ValueError(
                f"The baseline needs a copy of each callback, and {', '.join(self._uncopied)} cannot be copied. Give "
                "it a `__deepcopy__` method."
            )
        return [self._copy(callback) for callback in self._copies]

    def _copy(self, callback: Any) -> Any:
        return copy.deepcopy(callback, {id(value): value for value in self._shared})
