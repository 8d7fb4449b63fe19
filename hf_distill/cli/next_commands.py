"""The commands that come after a training, with its paths and its data flags."""

import shlex
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from hf_distill.cli.arguments import DataArguments
from hf_distill.cli.model_arguments import TEACHER_FOLDER, ModelArguments
from hf_distill.cli.reading_arguments import ReadingArguments
from hf_distill.pipeline.loading import ModelReference

# Flags of rows that only a training reads.
_OF_TRAINING = ("transfer_", "max_transfer_samples", "max_train_samples")
_READING = {field.name for field in fields(ReadingArguments)}
_DATA = {field.name for field in fields(DataArguments)}


def next_commands(
    models: ModelArguments, given: Mapping[str, Any], output_dir: str, *, has_unseen_rows: bool = True
) -> list[str]:
    """Return commands to compare, export and publish a student, quoted for a shell.

    Args:
        models: The models of the training.
        given: The flags of the training that were given, by name.
        output_dir: Folder of the student.
        has_unseen_rows: False if `compare` would refuse the rows because they trained the teacher.

    Returns:
        The commands. Without a teacher for these classes, or without rows to compare on, there is nothing to compare.
    """
    data = {name: value for name, value in given.items() if name in _DATA and not name.startswith(_OF_TRAINING)}
    files = data.get("test_file") or data.get("validation_file")
    unused = ["train_file", "validation_split_percentage"] if files else []  # the rows to compare on are named
    unused += ["validation_file"] if data.get("test_file") else []
    data = {name: value for name, value in data.items() if name not in unused}
    commands = []
    teacher = f"{output_dir}/{TEACHER_FOLDER}" if models.fine_tune_teacher else _with_revision(models.teacher)
    if teacher is not None and models.labels is None and has_rows(data) and has_unseen_rows:
        baseline = {"baseline_model_name_or_path": f"{output_dir}/baseline"} if models.baseline else {}
        students = {"teacher_model_name_or_path": teacher, "student_model_name_or_path": output_dir, **baseline}
        trust = _trust(models.teacher_trust_remote_code or models.student_trust_remote_code)
        report = {"output_dir": f"{output_dir}/report"}
        commands.append(_command("compare", {**students, **trust, **data, **report}))
    text = {}
    if files and len(files) == 1 and Path(files[0]).expanduser().is_file():
        text = {"text_file": files[0], **{name: value for name, value in data.items() if name in _READING}}
    # A student with layers of the teacher has the teacher's code.
    is_copy = models.student_model_name_or_path is None
    trust = _trust(models.teacher_trust_remote_code if is_copy else models.student_trust_remote_code)
    graph = {"output_dir": f"{output_dir}/onnx-int8"}
    export = {"model_name_or_path": output_dir, "quantize": "int8", **trust, **text, **graph}
    commands.append(_command("export", export))
    commands.append(_command("push", {"folder": output_dir, "hub_model_id": "user/name"}))
    return commands


def has_rows(data: Mapping[str, Any]) -> bool:
    """Return whether flags name rows to compare models on."""
    names = ("test_file", "validation_file", "dataset_name", "task_name", "train_file")
    return any(data.get(name) for name in names)


def _with_revision(model: ModelReference | None) -> str | None:
    if model is None:
        return None
    is_folder = Path(model.name_or_path).exists()  # which has no revisions
    return model.name_or_path if model.revision is None or is_folder else f"{model.name_or_path}@{model.revision}"


def _trust(is_trusted: bool) -> dict[str, bool]:
    return {"trust_remote_code": True} if is_trusted else {}


def _command(name: str, flags: Mapping[str, Any]) -> str:
    return shlex.join(["hf-distill", name, *(word for flag, value in flags.items() for word in _words(flag, value))])


def _words(flag: str, value: Any) -> list[str]:
    values = [str(item) for item in (value if isinstance(value, list) else [value])]
    return [f"--{flag}={values[0]}"] if values[0].startswith("-") else [f"--{flag}", *values]
