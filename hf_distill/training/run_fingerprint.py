"""What says that two trainings are one run: what a resumed run must share, and what may change when it is resumed."""

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import datasets
from transformers import PreTrainedModel

from hf_distill.objectives import DistillationLoss
from hf_distill.training.row_hashes import hash_columns
from hf_distill.training.teaching import Teaching
from hf_distill.training_args import DistillationTrainingArguments

# Training longer, on other hardware or at another rate goes on with a run, so these may change.
_SETTINGS = (
    "num_train_epochs max_steps learning_rate lr_scheduler_type lr_scheduler_kwargs warmup_steps weight_decay "
    "adam_beta1 adam_beta2 adam_epsilon max_grad_norm per_device_train_batch_size gradient_accumulation_steps "
    "world_size dataloader_drop_last train_sampling_strategy seed data_seed bf16 fp16 neftune_noise_alpha"
).split()
_OPTIMIZER_SETTINGS = (
    "learning_rate lr_scheduler_type lr_scheduler_kwargs warmup_steps weight_decay adam_beta1 adam_beta2 adam_epsilon"
).split()
_BY_EVALUATIONS = ("reduce_lr_on_plateau", "greedy")  # schedules that do not depend on the step alone


@dataclass(frozen=True)
class RunFingerprint:
    """Names a run.

    Attributes:
        identity: The parts that every checkpoint of a run shares, by their names in messages; None for a part that is
            not known, which is not compared.
        settings: The settings that can change when a run is resumed.
    """

    identity: dict[str, Any]
    settings: dict[str, Any]

    def differences(self, saved: Mapping[str, Any]) -> list[str]:
        """Return what differs between this run and the saved identity of another one, a phrase for each part."""
        pairs = {part: (saved.get(part), now) for part, now in self.identity.items()}
        phrases = (_difference(part, *pair) for part, pair in pairs.items() if None not in pair)
        return [phrase for phrase in phrases if phrase]

    def changes(self, saved: Mapping[str, Any]) -> dict[str, list[Any]]:
        """Return the settings that have changed since they were saved: name -> [before, now]."""
        now = self.settings
        return {name: [saved[name], now[name]] for name in now if name in saved and saved[name] != now[name]}


def fingerprint_run(
    args: DistillationTrainingArguments,
    student: dict[str, Any],
    teaching: Teaching,
    loss: DistillationLoss,
    problem_type: str,
    label_names: Sequence[str],
    rows: dict[str, Any] | None,
) -> RunFingerprint:
    """Name the run of a Trainer.

    Args:
        args: The Trainer's.
        student: What [`describe_student`] returned.
        teaching: The teacher.
        loss: The objectives.
        problem_type: Name of the student's problem type.
        label_names: Names of the student's classes.
        rows: What [`fingerprint_rows`] returned.
    """
    identity = {
        "teacher": teaching.identity if loss.teacher_reads else {},
        "training rows": rows,
        "objectives": loss.spec(),
        "problem type": problem_type,
        "label names": list(label_names),
        "student": student,
        "optimizer": str(getattr(args.optim, "value", args.optim)).removesuffix("_fused"),
        "metric of the best checkpoint": args.metric_for_best_model,
        "optimizer settings, which the checkpoint restores": _restored_settings(args),
    }
    settings = {name: getattr(args, name) for name in _SETTINGS}
    settings |= {"teacher_dtype": args.resolved_teacher_dtype(), "teacher_temperatures": teaching.temperatures}
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
    }


def fingerprint_rows(dataset: Any, signature: Collection[str], teaching: Teaching) -> dict[str, Any] | None:
    """Name the rows of a training set by what they hold.

    A column counts if the training reads it or if it can be an input of the teacher: all but texts, and texts too if a
    teacher reads them. Columns of a teacher's outputs count only if nothing else identifies the teacher.

    Args:
        dataset: The training set.
        signature: The columns that the training reads if they are there.
        teaching: The teacher.

    Returns:
        The number of rows, a hash of each column and the columns that are read; None for streamed rows and for
        datasets of other types, whose rows are not known.
    """
    if not isinstance(dataset, datasets.Dataset):
        return None
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
    if part == "training rows":
        return _difference_of_rows(saved, now)
    if saved == now:
        return None
    if part == "teacher":
        return _difference_of_teachers(saved, now)
    if isinstance(saved, dict):
        places = [f"{name}: {a} there, {b} now" for name, a, b in _unequal_places(saved, now)]
        return f"the {part} ({'; '.join(places[:3])})"
    return f"the {part} ({saved} there, {now} now)"


def _difference_of_teachers(saved: Mapping[str, Any], now: Mapping[str, Any]) -> str | None:
    names = [side.get("name", "no teacher") for side in (saved, now)]
    if {**saved, "name": ""} == {**now, "name": ""}:  # the same weights in another folder
        return None
    if names[0] == names[1]:
        return f"the teacher (both are named {names[0]}, and their weights, configs or settings differ)"
    return f"the teacher ({names[0]} there, {names[1]} now)"


def _difference_of_rows(saved: Mapping[str, Any], now: Mapping[str, Any]) -> str | None:
    if saved["number"] != now["number"]:
        return f"the training rows ({saved['number']:,} there, {now['number']:,} now)"
    before, after = saved["columns"], now["columns"]
    # A column that only one side has counts if the training reads it there.
    one_sided = (set(before) ^ set(after)) & (set(saved["read"]) | set(now["read"]))
    unequal = {name for name in before.keys() & after.keys() if before[name] != after[name]} | one_sided
    return f"the training rows (columns {', '.join(sorted(unequal))})" if unequal else None


def _unequal_places(saved: Any, now: Any, place: str = "") -> list[tuple[str, Any, Any]]:
    """Return the places where two JSON values differ, with both values."""
    if isinstance(saved, dict) and isinstance(now, dict):
        return [
            found
            for name in sorted(saved.keys() | now.keys())
            for found in _unequal_places(saved.get(name), now.get(name), f"{place}.{name}" if place else name)
        ]
    return [] if saved == now else [(place, saved, now)]
