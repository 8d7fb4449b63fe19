"""Checks of a command line that need neither torch, transformers nor datasets, which take seconds to import."""

from collections.abc import Sequence
from importlib import import_module
from typing import Any

from hf_distill.cli.commands import COMMANDS
from hf_distill.cli.flags import FILES
from hf_distill.cli.parsing import CommandLine, read_command_line
from hf_distill.utils.loss_arguments import check_exclusions

_TRAINING = "DistillationTrainingArguments"  # whose other checks need transformers


def check_flags(command: str, arguments: Sequence[str]) -> None:
    """Check all that can be known of a command line without slow imports.

    Args:
        command: Name of the command.
        arguments: The command line after it.

    Raises:
        ValueError: for a flag that is unknown, missing, has a wrong value, or excludes another one.
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
    parts = {name: line.make(_load(name)) for name in class_names if name != _TRAINING}
    if _TRAINING in class_names:
        check_exclusions(line.values)
    _check_together(command, parts, line)


def count_files(arguments: Sequence[str]) -> int:
    """Return the number of words before the first flag, which are files for `hf-distill data`."""
    return next((place for place, word in enumerate(arguments) if word.startswith("--")), len(arguments))


def _load(class_name: str) -> type[Any]:
    module = FILES[class_name].removesuffix(".py").replace("/", ".")
    return getattr(import_module(f"hf_distill.{module}"), class_name)


def _check_together(command: str, parts: dict[str, Any], line: CommandLine) -> None:
    """Check flags of several dataclasses together."""
    if command == "train":
        caches_outputs = bool(line.values.get("cache_teacher_outputs"))
        parts["ModelArguments"].check(parts["DataArguments"], caches_outputs)
    if command == "search":
        if parts["TeacherArguments"].teacher_model_name_or_path is None:
            raise ValueError("A search needs a teacher. Pass --teacher_model_name_or_path.")
        parts["DataArguments"].check_has_labelled_rows()
    if command == "export":
        parts["ExportArguments"].check(parts["ReadingArguments"])
