"""Checks of a command line that need neither torch, transformers nor datasets, which take seconds to import."""

from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from hf_distill.cli.commands import COMMANDS
from hf_distill.cli.flags import FILES, flags_of
from hf_distill.cli.model_arguments import LAYER_CHOICES, PART_FLAGS
from hf_distill.cli.output_folders import (
    EXPORT_NAME,
    TEACHER_FILE,
    check_can_be_written,
    check_has_marker,
    check_has_no_foreign_weights,
    check_is_no_finished_run,
    check_is_no_source,
)
from hf_distill.cli.parsing import CommandLine, read_command_line
from hf_distill.utils.loss_arguments import check_exclusions

_TRAINING = "DistillationTrainingArguments"  # whose other checks need transformers


def check_flags(command: str, arguments: Sequence[str]) -> None:
    """Check all that can be known of a command line without slow imports.

    Args:
        command: Name of the command.
        arguments: The command line after it.

    Raises:
        ValueError: for a flag that is unknown, missing, has a wrong value, or excludes another one; and for an output
            folder that cannot be written, or with files that the command must not overwrite.
    """
    class_names = COMMANDS[command].classes
    if not class_names:
        return
    num_files = count_files(arguments) if command == "data" else 0
    try:
        line = read_command_line(class_names, arguments[num_files:])
    except ValueError as error:
        if command != "data" or num_files:
            raise
        raise ValueError(f"{error} Files come before flags: hf-distill data rows.csv --encoding cp1252.") from None
    _check_recipe_fits_student(line)
    parts = {name: line.make(_load(name)) for name in class_names if name != _TRAINING}
    if _TRAINING in class_names:
        check_exclusions(line.values)
    if command in _CHECKS:
        _CHECKS[command](parts, line.values)


def flags_of_recipe(command: str, arguments: Sequence[str]) -> dict[str, str]:
    """Return the flags that only the recipe of a command line sets, with the kinds of their values.

    There are none if the command line cannot be read.
    """
    class_names = COMMANDS[command].classes
    num_files = count_files(arguments) if command == "data" else 0
    try:
        names = read_command_line(class_names, arguments[num_files:]).set_by_recipe if class_names else frozenset()
    except (ValueError, OSError):
        return {}
    return {flag.name: flag.kind for flag in flags_of(class_names) if flag.name in names}


def count_files(arguments: Sequence[str]) -> int:
    """Return the number of words before the first flag, which are files for `hf-distill data`."""
    return next((place for place, word in enumerate(arguments) if word.startswith("--")), len(arguments))


def _load(class_name: str) -> type[Any]:
    module = FILES[class_name].removesuffix(".py").replace("/", ".")
    return getattr(import_module(f"hf_distill.{module}"), class_name)


def _check_recipe_fits_student(line: CommandLine) -> None:
    """Refuse to cut a pretrained student because of a recipe that was perhaps written for layers of the teacher."""
    given = line.values.keys() - line.set_by_recipe
    has_indices = "student_layers" in given and line.values["student_layers"] not in LAYER_CHOICES
    if "student_model_name_or_path" not in given or has_indices:  # indices are for the model that is named
        return
    if names := [name for name in PART_FLAGS if name in line.set_by_recipe]:
        settings = ", ".join(f"{name}: {line.values[name]}" for name in names)
        raise ValueError(
            f"The recipe sets `{settings}`, perhaps for another model than --student_model_name_or_path names. To use "
            f"only a part of that model, pass --{' and --'.join(names)} too. To use all of it, remove them from the "
            "recipe."
        )


Parts = Mapping[str, Any]  # name of a dataclass -> the object that is made of its flags


def _check_train(parts: Parts, given: Mapping[str, Any]) -> None:
    models, data = parts["ModelArguments"], parts["DataArguments"]
    models.check(data, caches_outputs=bool(given.get("cache_teacher_outputs")))
    written, resume_from = models.written_folders(_output_folder(given)), given.get("resume_from_checkpoint")
    sources = {
        "--teacher_model_name_or_path": [models.teacher_model_name_or_path],
        "--student_model_name_or_path": [models.student_model_name_or_path],
        "--augment_masked_lm": [models.augment_masked_lm],
        **data.folders,
    }
    check_is_no_source(written, sources)
    if models.overwrite_output_dir and str(resume_from or False).lower() != "false":
        raise ValueError("--overwrite_output_dir starts anew, --resume_from_checkpoint does not. Pass one of them.")
    for path in written:
        check_has_no_foreign_weights(path)
    check_is_no_finished_run(written[0], resume_from, models.overwrite_output_dir)


def _check_search(parts: Parts, given: Mapping[str, Any]) -> None:
    teacher, data = parts["TeacherArguments"].teacher_model_name_or_path, parts["DataArguments"]
    if teacher is None:
        raise ValueError("A search needs a teacher. Pass --teacher_model_name_or_path.")
    data.check_has_labelled_rows()
    check_is_no_source([_output_folder(given)], {"--teacher_model_name_or_path": [teacher], **data.folders})


def _check_cache(parts: Parts, given: Mapping[str, Any]) -> None:
    args = parts["CacheArguments"]
    if args.output_dir is not None:
        folder = _output_folder({"output_dir": args.output_dir})
        sources = {"--teacher_model_name_or_path": [args.teacher_model_name_or_path]}
        check_is_no_source([folder], {**sources, **parts["DataArguments"].folders})
        check_has_marker(folder, TEACHER_FILE, "README.md")


def _check_compare(parts: Parts, given: Mapping[str, Any]) -> None:
    check_can_be_written(Path(parts["CompareArguments"].output_dir))


def _check_export(parts: Parts, given: Mapping[str, Any]) -> None:
    args = parts["ExportArguments"]
    args.check(parts["ReadingArguments"])
    folder = Path(args.output_dir)
    check_can_be_written(folder)
    check_has_marker(folder, EXPORT_NAME)


# Command -> checks of several of its flags together, and of its output folder.
_CHECKS = {
    "train": _check_train,
    "search": _check_search,
    "cache": _check_cache,
    "compare": _check_compare,
    "export": _check_export,
}


def _output_folder(given: Mapping[str, Any]) -> Path:
    """Return the folder that is given; without one, `TrainingArguments` would write into `trainer_output`."""
    if not given.get("output_dir"):
        raise ValueError("No output folder given. Pass --output_dir.")
    folder = Path(given["output_dir"]).expanduser()
    check_can_be_written(folder)
    return folder
