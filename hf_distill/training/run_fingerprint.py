"""What identifies a run: what must be the same when it is resumed, and what can change."""

import functools
import hashlib
import inspect
import json
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import datasets
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase
from transformers.trainer_pt_utils import AcceleratorConfig

from hf_distill.cache.fingerprint import adapter_config, forward_config
from hf_distill.objectives import DistillationLoss
from hf_distill.training.checks import label_column_of
from hf_distill.training.dataset_kinds import is_transformed
from hf_distill.training.row_hashes import hash_columns
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
_NOT_COMPARED = ("padding", "pad_to_multiple_of", "max_length", "return_tensors")  # of a collator
_ROWS, _EVALUATION_ROWS = "training rows", "evaluation rows, by which the best checkpoint is chosen"
_CHOICE = "choice of the best checkpoint"
_TEXTS = "texts as the teacher reads them"
_SET_BY_TRAINER = ("bos_token_id", "eos_token_id", "pad_token_id")  # to those of the tokenizer, when training starts
_BY_EVALUATIONS = ("reduce_lr_on_plateau", "greedy")  # schedules that do not depend on the step alone


@dataclass(frozen=True)
class RunFingerprint:
    """Identifies a run.

    Attributes:
        identity: The parts that every checkpoint of a run shares, by their names in messages. A part that is not known
            is None and is not compared.
        settings: The settings that can change when a run is resumed.
    """

    identity: dict[str, Any]
    settings: dict[str, Any]

    def differences(self, saved: Mapping[str, Any]) -> list[str]:
        """Return what differs between this run and the saved identity of another one, a phrase for each part."""
        pairs = {part: (saved.get(part), now) for part, now in self.identity.items()}
        phrases = (_difference(part, *pair) for part, pair in pairs.items() if None not in pair)
        return [phrase for phrase in phrases if phrase]

    def without_choice(self) -> "RunFingerprint":
        """Return the same without the rule for the best checkpoint, for a run that has not chosen one."""
        return replace(self, identity={**self.identity, _CHOICE: None, _EVALUATION_ROWS: None})

    def changes(self, saved: Mapping[str, Any]) -> dict[str, list[Any]]:
        """Return the settings that have changed since they were saved: name -> [before, now]."""
        now = self.settings
        return {name: [saved[name], now[name]] for name in now if name in saved and saved[name] != now[name]}


@dataclass(frozen=True)
class RunParts:
    """What a run is identified by, besides its arguments.

    Attributes:
        trainer_class: Name of the class of the Trainer.
        student: What [`describe_student`] returned.
        teaching: The teacher.
        loss: The objectives.
        problem_type: Name of the student's problem type.
        label_names: Names of the student's classes.
        optimizer: What [`describe_optimizer`] returned.
        collator: What [`describe_collator`] returned.
        padding_side: The side on which the student's tokenizer pads; None without a tokenizer.
        rows: What [`fingerprint_rows`] returned for the training rows.
        evaluation_rows: The same for each evaluation set by name; empty if no checkpoint is chosen by them.
    """

    trainer_class: str
    student: dict[str, Any]
    teaching: Teaching
    loss: DistillationLoss
    problem_type: str
    label_names: Sequence[str]
    optimizer: Any
    collator: dict[str, Any]
    padding_side: str | None
    rows: dict[str, Any] | None
    evaluation_rows: dict[str, Any]


def fingerprint_run(args: DistillationTrainingArguments, parts: RunParts) -> RunFingerprint:
    """Identify the run of a Trainer.

    Args:
        args: The Trainer's.
        parts: What else identifies the run.
    """
    teaching, reads_teacher = parts.teaching, bool(parts.loss.teacher_reads)
    chooses_best = args.metric_for_best_model is not None
    best = {"metric": args.metric_for_best_model, "greater_is_better": args.greater_is_better}
    identity = {
        "teacher": teaching.identity if reads_teacher else {},
        "temperatures of the teacher": teaching.temperatures if reads_teacher else [],
        _TEXTS: teaching.training_texts if reads_teacher else [],
        "padding side of the teacher's tokenizer": teaching.padding_sides if reads_teacher else [],
        "padding side of the student's tokenizer": parts.padding_side,
        _ROWS: parts.rows,
        _EVALUATION_ROWS: parts.evaluation_rows,
        _CHOICE: best if chooses_best else {},
        "objectives": parts.loss.spec(),
        "problem type": parts.problem_type,
        "label names": list(parts.label_names),
        "student": parts.student,
        "optimizer": parts.optimizer,
        "data collator": parts.collator,
        "class of the Trainer": parts.trainer_class,
        "optimizer settings, which the checkpoint restores": _restored_settings(args),
    }
    names = [*_SETTINGS, *(_EVALUATION_SETTINGS if chooses_best else ())]
    settings = {name: getattr(args, name) for name in names}
    settings |= {"teacher_dtype": args.resolved_teacher_dtype()}
    settings |= {"accelerator_config": cast(AcceleratorConfig, args.accelerator_config).to_dict()}
    return RunFingerprint(_as_json(identity), _as_json(settings))


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


def _difference(part: str, saved: Any, now: Any) -> str | None:
    """Describe a difference in a few words; None if there is none."""
    if part == _ROWS:
        return _difference_of_rows(part, saved, now)
    if part == _EVALUATION_ROWS:
        pairs = {f"{part}, {name!r}": (saved.get(name), now.get(name)) for name in {**saved, **now}}
        phrases = (_difference_of_rows(name, *pair) for name, pair in pairs.items() if None not in pair)
        return next(filter(None, phrases), None)
    if saved == now or (part == "temperatures of the teacher" and _are_close(saved, now)):
        return None
    if part == "teacher":
        return _difference_of_teachers(saved, now)
    if part == _TEXTS:
        return f"the {part} (another text column, or another tokenizer or maximum length of the teacher)"
    if isinstance(saved, dict) and isinstance(now, dict):
        # None and a missing entry are equal: a collator has no generator before its first use.
        places = [f"{name}: {a} there, {b} now" for name, a, b in _unequal_places(saved, now)]
        return f"the {part} ({'; '.join(places[:3])})" if places else None
    return f"the {part} ({saved} there, {now} now)"


def _are_close(saved: Sequence[float], now: Sequence[float]) -> bool:
    """Return whether temperatures only differ by rounding, as those of a live teacher and its stored outputs do."""
    return len(saved) == len(now) and all(math.isclose(*pair, rel_tol=1e-3) for pair in zip(saved, now, strict=True))


def _difference_of_teachers(saved: Mapping[str, Any], now: Mapping[str, Any]) -> str | None:
    names = [side.get("name", "no teacher") for side in (saved, now)]
    if {**saved, "name": ""} == {**now, "name": ""}:  # the same weights in another folder
        return None
    if names[0] == names[1]:
        return f"the teacher (both are named {names[0]}, and their weights, configs or settings differ)"
    return f"the teacher ({names[0]} there, {names[1]} now)"


def _difference_of_rows(part: str, saved: Mapping[str, Any], now: Mapping[str, Any]) -> str | None:
    if saved["number"] != now["number"]:
        return f"the {part} ({saved['number']:,} there, {now['number']:,} now)"
    before, after = saved["columns"], now["columns"]
    # A column that only one side has counts if the training reads it there.
    one_sided = (set(before) ^ set(after)) & (set(saved["read"]) | set(now["read"]))
    unequal = {name for name in before.keys() & after.keys() if before[name] != after[name]} | one_sided
    return f"the {part} (columns {', '.join(sorted(unequal))})" if unequal else None


def _unequal_places(saved: Any, now: Any, place: str = "") -> list[tuple[str, Any, Any]]:
    """Return the places where two JSON values differ, with both values."""
    if isinstance(saved, dict) and isinstance(now, dict):
        return [
            unequal
            for name in sorted(saved.keys() | now.keys())
            for unequal in _unequal_places(saved.get(name), now.get(name), f"{place}.{name}" if place else name)
        ]
    return [] if saved == now else [(place, saved, now)]
