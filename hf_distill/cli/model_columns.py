"""The models of `hf-distill compare`, from flags: each name is a column of the report."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hf_distill.export.layout import named_export

RESERVED = ("teacher", "baseline")


def read_models(
    teacher: str, students: Sequence[str] | None, exports: str | None, baseline: str | None
) -> dict[str, Any]:
    """Return the models by name, in the order of the columns.

    Args:
        teacher: Path or Hub id.
        students: Words of the form `path` or `name=path`, see [`read_students`].
        exports: `name=folder` for each export, or the `.onnx` file of a variant, separated by commas.
        baseline: Path or Hub id; several runs are separated by commas.

    Raises:
        FileNotFoundError: for a folder that is not an export.
        ValueError: for a word of another form, a name that is not allowed or occurs twice, or an export with several
            variants.
    """
    models: dict[str, Any] = {"teacher": teacher, **read_students(students or [])}
    for word in exports.split(",") if exports else []:
        name, _, folder = word.partition("=")
        if not name or not folder or name in (*RESERVED, "student") or name in models:
            raise ValueError(
                f"--export_folder takes a new name and a folder for each export, name=folder,..., got {exports!r}."
            )
        models[name] = str(named_export(Path(folder).expanduser()).path)
    if baseline is not None:
        models["baseline"] = _split_runs(baseline)
        if not all(models["baseline"]):
            raise ValueError(f"--baseline_model_name_or_path takes a path or several with commas, got {baseline!r}.")
    return models


def read_students(words: Sequence[str]) -> dict[str, list[str]]:
    """Return the runs of each student by name.

    A word is `path` or `name=path`. Paths with the same name, or without a name, are runs of one student with
    different seeds; the student without a name is `student`. Several runs can also stand in one word: `a,b`. If the
    whole word is an existing path, it is not split.

    Raises:
        ValueError: for a word without a name or a path, or a name that is reserved.
    """
    students: dict[str, list[str]] = {}
    for word in words:
        name, paths = _split(word)
        students.setdefault(name, []).extend(paths)
    return students


def _split(word: str) -> tuple[str, list[str]]:
    if word and Path(word).exists():
        return "student", [word]
    start, sign, end = word.partition("=")
    name, value = (start.strip(), end) if sign else ("student", word)
    paths = _split_runs(value)
    if not name or not all(paths):
        raise ValueError(f"--student_model_name_or_path takes [name=]path ..., got {word!r}.")
    if name in RESERVED:
        raise ValueError(
            f"--student_model_name_or_path names a student {name!r}, which is the name of another column. Use another "
            f"name, or --{name}_model_name_or_path."
        )
    return name, paths


def _split_runs(value: str) -> list[str]:
    """Return the paths between commas. An existing path is not split, and a shell leaves the ~ of name=~/folder."""
    paths = [value] if value and Path(value).exists() else value.split(",")
    return [os.path.expanduser(path) for path in paths]
