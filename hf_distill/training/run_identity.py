"""What identifies the run of a Trainer, so that it resumes only from its own checkpoints."""

import functools
import hashlib
import inspect
import json
from collections.abc import Collection, Mapping
from typing import Any, cast

import datasets
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase
from transformers.trainer_pt_utils import AcceleratorConfig

from hf_distill.cache.fingerprint import adapter_config, forward_config
from hf_distill.training.bound_student import BoundStudent
from hf_distill.training.dataset_kinds import is_transformed
from hf_distill.training.labelled_rows import label_column_of
from hf_distill.training.row_hashes import hash_columns
from hf_distill.training.run_fingerprint import CHOICE, EVALUATION_ROWS, ROWS, TEXTS, RunFingerprint
from hf_distill.training.teaching import Teaching
from hf_distill.training_args import DistillationTrainingArguments

# A run can be resumed for more steps, on other hardware or at another learning rate, so these can change.
_SETTINGS = (
    "num_train_epochs max_steps learning_rate lr_scheduler_type lr_scheduler_kwargs warmup_steps weight_decay "
    "adam_beta1 adam_beta2 adam_epsilon max_grad_norm per_device_train_batch_size gradient_accumulation_steps "
    "world_size dataloader_drop_last train_sampling_strategy length_column_name seed data_seed ignore_data_skip bf16 "
    "fp16 tf32 neftune_noise_alpha"
).split()
# These decide which checkpoints the best one is chosen from.
_EVALUATION_SETTINGS = ("eval_strategy eval_steps eval_delay save_strategy save_steps load_best_model_at_end").split()
_OPTIMIZER_SETTINGS = (
    "learning_rate lr_scheduler_type lr_scheduler_kwargs warmup_steps weight_decay adam_beta1 adam_beta2 adam_epsilon"
).split()
INITIAL_STUDENT = "initial_student"  # among the settings
_NOT_COMPARED = ("padding", "pad_to_multiple_of", "max_length", "return_tensors")  # of a collator
_SET_BY_TRAINER = ("bos_token_id", "eos_token_id", "pad_token_id")  # to those of the tokenizer, when training starts
_BY_EVALUATIONS = ("reduce_lr_on_plateau", "greedy")  # schedules that do not depend on the step alone


class RunIdentity:
    """Notes what identifies a run while its Trainer is made, because training changes some of it.

    Args:
        trainer_class: Name of the class of the Trainer.
        teaching: The teachers.
        optimizer: What [`describe_optimizer`] returned.

    Attributes:
        student: What [`describe_student`] returned.
        collator: What [`describe_collator`] returned.
        initial_student: Hash of the student as the Trainer got it; None if it is unknown.
        is_student_reproducible: Whether whoever made the Trainer makes exactly the same student again to resume the
            run. A checkpoint of a student that began with other weights then belongs to another run. Otherwise the
            user may have drawn another head, or loaded the checkpoint, and the run is resumed with a warning.
    """

    def __init__(self, trainer_class: str, teaching: Teaching, optimizer: Any) -> None:
        self.trainer_class, self.teaching, self.optimizer = trainer_class, teaching, optimizer
        self.student: dict[str, Any] = {}
        self.collator: dict[str, Any] = {}
        self.initial_student: str | None = None
        self.is_student_reproducible = False

    def fingerprint(
        self,
        args: DistillationTrainingArguments,
        bound: BoundStudent,
        padding_side: str | None,
        train_dataset: Any,
        eval_datasets: Mapping[str, Any],
        signature: Collection[str],
    ) -> RunFingerprint:
        """Identify the run.

        Args:
            args: The Trainer's.
            bound: The student and the objectives.
            padding_side: The side on which the student's tokenizer pads; None without a tokenizer.
            train_dataset: The training rows.
            eval_datasets: The evaluation sets by name.
            signature: The columns that the training reads if a dataset has them.
        """
        loss, chooses_best = bound.loss_runner.loss, args.metric_for_best_model is not None
        best = {"metric": args.metric_for_best_model, "greater_is_better": args.greater_is_better}
        compared_datasets = eval_datasets if chooses_best else {}
        identity = {
            **self._identify_teacher(reads_teacher=bool(loss.teacher_reads)),
            "padding side of the student's tokenizer": padding_side,
            ROWS: fingerprint_rows(train_dataset, signature, self.teaching),
            EVALUATION_ROWS: {
                name: fingerprint_rows(rows, signature, self.teaching) for name, rows in compared_datasets.items()
            },
            CHOICE: best if chooses_best else {},
            "objectives": loss.spec(),
            "problem type": bound.problem_type.name,
            "label names": bound.class_names,
            "student": self.student,
            "initial weights of the student": self.initial_student if self.is_student_reproducible else None,
            "optimizer": self.optimizer,
            "data collator": self.collator,
            "class of the Trainer": self.trainer_class,
            "optimizer settings, which the checkpoint restores": _restored_settings(args),
        }
        settings = {**_changeable_settings(args, chooses_best), INITIAL_STUDENT: self.initial_student}
        return RunFingerprint(_as_json(identity), _as_json(settings))

    def _identify_teacher(self, reads_teacher: bool) -> dict[str, Any]:
        teaching = self.teaching
        return {
            "teacher": teaching.identity if reads_teacher else {},
            "temperatures of the teacher": teaching.temperatures if reads_teacher else [],
            TEXTS: teaching.training_texts if reads_teacher else [],
            "padding side of the teacher's tokenizer": teaching.padding_sides if reads_teacher else [],
        }


def _changeable_settings(args: DistillationTrainingArguments, chooses_best: bool) -> dict[str, Any]:
    names = [*_SETTINGS, *(_EVALUATION_SETTINGS if chooses_best else ())]
    settings = {name: getattr(args, name) for name in names}
    settings |= {"teacher_dtype": args.resolved_teacher_dtype()}
    return settings | {"accelerator_config": cast(AcceleratorConfig, args.accelerator_config).to_dict()}


def _restored_settings(args: DistillationTrainingArguments) -> dict[str, Any]:
    """Return the settings that cannot change because the checkpoint restores them; empty if all can change."""
    schedule = str(getattr(args.lr_scheduler_type, "value", args.lr_scheduler_type))
    if args.deepspeed_plugin is None and schedule not in _BY_EVALUATIONS:
        return {}
    return {name: getattr(args, name) for name in _OPTIMIZER_SETTINGS}


def describe_student(student: PreTrainedModel) -> dict[str, Any]:
    """Return what identifies a student that is not wrapped yet: not the weights, which every checkpoint has."""
    weights = dict(student.named_parameters())
    # DeepSpeed keeps the shape of a weight that is shared out beside it.
    shapes = {
        name: [*getattr(weight, "ds_shape", weight.shape), weight.requires_grad] for name, weight in weights.items()
    }
    return {
        "class": type(student).__name__,
        "weights": len(weights),
        "trained weights": sum(weight.requires_grad for weight in weights.values()),
        "hash of names and shapes": hashlib.sha256(json.dumps(shapes).encode()).hexdigest()[:32],
        "config": student_config(student),
        "adapter": adapter_config(student),
    }


def student_config(student: PreTrainedModel) -> dict[str, Any]:
    """Return the config fields of a student that its outputs and its training depend on, dropout for instance."""
    return {name: value for name, value in forward_config(student).items() if name not in _SET_BY_TRAINER}


def describe_optimizer(
    args: DistillationTrainingArguments,
    given: torch.optim.Optimizer | None,
    class_and_arguments: tuple[type[torch.optim.Optimizer], dict[str, Any]] | None,
) -> Any:
    """Return what identifies an optimizer, except for settings that can change.

    Args:
        args: The Trainer's.
        given: The optimizer that was passed in `optimizers`.
        class_and_arguments: What was passed as `optimizer_cls_and_kwargs`.
    """
    if given is not None:
        return {"class": type(given).__name__, "arguments": given.defaults}
    if class_and_arguments is not None:
        return {"class": class_and_arguments[0].__name__, "arguments": class_and_arguments[1]}
    name = str(getattr(args.optim, "value", args.optim)).removesuffix("_fused")
    extra = {"optim_args": args.optim_args, "optim_target_modules": args.optim_target_modules}
    extra = {argument: value for argument, value in extra.items() if value}
    return {"name": name, **extra} if extra else name


def describe_collator(collator: Any) -> dict[str, Any]:
    """Return what identifies a data collator: its class, or the name of a function, and its settings.

    Settings are the numbers, words and flags that it holds, and the collators. How far it pads does not count.
    """
    if inspect.isroutine(collator):
        return {"name": collator.__qualname__}
    if isinstance(collator, functools.partial):
        return {**describe_collator(collator.func), **_simple_values(collator.keywords)}
    attributes: dict[str, Any] = getattr(collator, "__dict__", {})
    others = (PreTrainedTokenizerBase, torch.nn.Module, type)
    inner = {name: part for name, part in attributes.items() if callable(part) and not isinstance(part, others)}
    parts = {name: describe_collator(part) for name, part in inner.items()}
    return {"name": type(collator).__qualname__, **_simple_values(attributes), **parts}


def _simple_values(values: Mapping[str, Any]) -> dict[str, Any]:
    is_simple = {name: value is None or isinstance(value, bool | int | float | str) for name, value in values.items()}
    return {name: value for name, value in values.items() if is_simple[name] and name not in _NOT_COMPARED}


def fingerprint_rows(dataset: Any, signature: Collection[str], teaching: Teaching) -> dict[str, Any] | None:
    """Identify the rows of a dataset by what they contain.

    A column counts if the training reads it or if it can be an input of the teacher: all but texts, and texts too if a
    teacher reads them. Columns of a teacher's outputs count only if nothing else identifies the teacher. A column
    `label` is the same as `labels`.

    Args:
        dataset: The training set or an evaluation set.
        signature: The columns that the training reads if the dataset has them.
        teaching: The teacher.

    Returns:
        The number of rows, a hash of each column and the columns that are read; None for rows that are streamed or
        made by `set_transform`, and for datasets of other types: these rows are not known.
    """
    if not isinstance(dataset, datasets.Dataset) or is_transformed(dataset):
        return None
    if label_column_of(dataset) == "label":
        dataset = dataset.rename_column("label", "labels")
    names = [name for name in dataset.column_names if not name.startswith("teacher_")]
    inputs = {name for name in names if teaching.reads_texts or not _is_text(dataset.features[name])}
    read = set(signature) & set(names if teaching.sources else dataset.column_names)
    read |= teaching.unidentified_columns & set(dataset.column_names)
    columns = hash_columns(dataset.select_columns(sorted(read | inputs)))
    return {"number": len(dataset), "columns": columns, "read": sorted(read)}


def _is_text(feature: Any) -> bool:
    while isinstance(feature, datasets.List):
        feature = feature.feature
    return isinstance(feature, datasets.Value) and feature.dtype in ("string", "large_string")


def _as_json(value: Any) -> Any:
    """Return a value as it comes back from JSON; an object of another kind becomes the name of its type."""
    return json.loads(json.dumps(value, default=lambda other: f"a {type(other).__name__}"))
