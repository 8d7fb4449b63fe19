"""`hf-distill search`: find the smallest student that is good enough."""

import copy
import importlib.util
import sys
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel, set_seed

from hf_distill.classifiers.problem_types import PROBLEM_TYPES
from hf_distill.cli.arguments import DataArguments
from hf_distill.cli.commands import COMMANDS
from hf_distill.cli.model_arguments import ModelArguments
from hf_distill.cli.parsing import flag_words, parse, read_command_line
from hf_distill.cli.printing import delayed_bars, hide_noise, print_summary
from hf_distill.cli.search_arguments import SearchArguments
from hf_distill.cli.teacher_arguments import TeacherArguments
from hf_distill.data import Task, has_labels
from hf_distill.objectives import accepted_arguments
from hf_distill.pipeline.augmentation import Augmentation
from hf_distill.pipeline.best_metric import check_best_metric
from hf_distill.pipeline.inputs import DistillationInputs, load_inputs
from hf_distill.pipeline.loading import ModelReference
from hf_distill.pipeline.student import StudentOptions
from hf_distill.pipeline.teacher_head import read_head
from hf_distill.pipeline.teacher_rows import find_teacher_rows
from hf_distill.pipeline.transfer import TransferSet, load_transfer
from hf_distill.search.space import FLAGS, Space, default_dimensions, make_space, read_space
from hf_distill.students.feed_forward import FEED_FORWARDS
from hf_distill.training_args import DistillationTrainingArguments
from hf_distill.utils.loss_arguments import LOSS_ARGUMENTS

_TYPES = (TeacherArguments, DataArguments, SearchArguments, DistillationTrainingArguments)
# What a trial is trained with unless a flag says otherwise: evaluated after each quarter, without checkpoints.
_DEFAULTS = {"eval_strategy": "steps", "eval_steps": 0.25, "save_strategy": "no", "logging_strategy": "no"}
_REFUSED = {
    "resume_from_checkpoint": "a search resumes by itself: repeat the command",
    "push_to_hub": "a search does not push. Push the winner with `hf-distill push`",
    "hub_token": "a search does not push, and its flags are stored",
    "do_train": "a search always trains",
}


@delayed_bars()
def run(arguments: Sequence[str]) -> None:
    """Search as the flags say, and exit with status 3 if no student meets the requirements."""
    hide_noise()
    _check_installed()
    given = dict(read_command_line(COMMANDS["search"].classes, arguments).values)
    given = {**_DEFAULTS, **_save_with_evaluations(given), **given, "cache_teacher_outputs": True}
    teacher, data, search, args = parse(_TYPES, flag_words(given))
    _check(given, args)
    chosen = {} if search.space is None else read_space(Path(search.space))
    from hf_distill.search.run import SearchSettings, run_search  # imports Optuna
    from hf_distill.search.trainings import Trainings

    set_seed(args.seed)
    task, transfer = _load(teacher, data)
    search.need.check_task(task)
    check_best_metric(task, args)
    searching = {field.name for field in fields(SearchArguments)}
    flags = {name: value for name, value in given.items() if name not in searching}
    trainings = Trainings(_loader(task, transfer, teacher, data, args), _configurer(flags))
    settings = SearchSettings(
        need=search.need,
        space=_make_space(chosen, given, task, trainings.teacher, args),
        num_trials=search.num_trials,
        storage=search.storage or f"sqlite:///{Path(str(args.output_dir)) / 'study.db'}",
        study_name=search.study_name,
        output_dir=Path(str(args.output_dir)),
        seed=args.seed,
        flags=flags,
        halves=all(given[name] == _DEFAULTS[name] for name in ("eval_strategy", "eval_steps")),
        say=print,
        is_dry=search.dry_run,
    )
    if status := run_search(settings, trainings):
        sys.exit(status)


def _check_installed() -> None:
    packages = ("optuna", "jinja2", "matplotlib", "onnx", "onnxruntime", "onnxscript")
    if missing := [name for name in packages if importlib.util.find_spec(name) is None]:
        raise ValueError(f"A search needs {', '.join(missing)}: pip install {' '.join(missing)}.")


def _save_with_evaluations(given: Mapping[str, Any]) -> dict[str, Any]:
    return {"save_strategy": "steps", "save_steps": 0.25} if given.get("load_best_model_at_end") else {}


def _check(given: Mapping[str, Any], args: DistillationTrainingArguments) -> None:
    for name, remedy in _REFUSED.items():
        if given.get(name):
            raise ValueError(f"--{name} has no place in a search: {remedy}.")
    if args.world_size > 1:
        raise ValueError("A search runs in one process. Start several searches with the same --storage instead.")
    args.check_trackers()


def _load(teacher: TeacherArguments, data: DataArguments) -> tuple[Task, TransferSet | None]:
    assert teacher.teacher is not None
    task = data.load(teacher=read_head(teacher.teacher))
    if task.has_words:
        raise ValueError(f"{task.name} has a label for each word. A search handles texts and pairs of texts only.")
    if not has_labels(task):
        raise ValueError(f"{task.name} has no labels, and a search compares students on labelled validation rows.")
    transfer = load_transfer(data.transfer, task.text_columns, PROBLEM_TYPES[task.problem_type], task.datasets)
    task.summary.warnings += map(str, find_teacher_rows(teacher.teacher.name_or_path, task))
    print_summary(task.summary if transfer is None else task.summary + transfer.data)
    return task, transfer


def _loader(
    task: Task,
    transfer: TransferSet | None,
    teacher: TeacherArguments,
    data: DataArguments,
    args: DistillationTrainingArguments,
) -> Any:
    def load(
        student: ModelReference | None,
        loaded_teacher: PreTrainedModel | None,
        num_variants: int,
        trims_vocabulary: bool,
    ) -> DistillationInputs:
        return load_inputs(
            task,
            teacher.teacher,
            student,
            args,
            # Variants are added to the transfer set that is passed.
            transfer=None if transfer is None else replace(transfer, report=copy.deepcopy(transfer.report)),
            max_length=data.max_seq_length,
            problem_type=data.problem_type,
            class_names=data.names_of_outputs,
            loaded_teacher=loaded_teacher,
            augmentation=Augmentation(num_variants) if num_variants else None,
            trims_vocabulary=trims_vocabulary,
            allow_weak_teacher=teacher.allow_weak_teacher,
        )

    return load


def _configurer(flags: Mapping[str, Any]) -> Any:
    def configure(changes: Mapping[str, Any]) -> tuple[StudentOptions, DistillationTrainingArguments]:
        types = (ModelArguments, DataArguments, DistillationTrainingArguments)
        models, _, args = parse(types, flag_words({**flags, **changes}))
        return models.student, args

    return configure


def _make_space(
    chosen: Mapping[str, Any],
    given: Mapping[str, Any],
    task: Task,
    teacher: PreTrainedModel,
    args: DistillationTrainingArguments,
) -> Space:
    fixed = {key: f"--{flag} sets it" for key, flag in FLAGS.items() if flag in given}
    if "max_steps" in given:
        fixed["num_train_epochs"] = "--max_steps sets the length of a training"
    if args.objectives is not None:
        fixed |= {key: "--objectives defines the loss" for key in LOSS_ARGUMENTS if key in FLAGS}
    elif not PROBLEM_TYPES[task.problem_type].has_temperature:
        fixed["temperature"] = "a regression has no temperature"
    elif "temperature" not in accepted_arguments(args.soft_loss or "kl"):
        fixed["temperature"] = f"the loss {args.soft_loss} has no temperature"
    config = teacher.config
    block = FEED_FORWARDS.get(config.model_type)
    size = None if block is None else getattr(config, block.size)
    has_static = len(task.text_columns) == 1 and task.problem_type != "regression"
    return make_space(default_dimensions(config.num_hidden_layers, size, has_static), chosen, fixed)
