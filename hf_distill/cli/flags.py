"""The flags of the commands, read from the source of their dataclasses: importing these takes seconds.

`tests/cli/test_help.py` compares what is read here with the dataclasses.
"""

import ast
import functools
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

# Dataclass -> its file, in this package or in transformers.
_FILES = {
    "TeacherArguments": "cli/model_arguments.py",
    "ModelArguments": "cli/model_arguments.py",
    "ReadingArguments": "cli/reading_arguments.py",
    "DataArguments": "cli/arguments.py",
    "CacheArguments": "cli/cache.py",
    "CompareArguments": "cli/compare.py",
    "ExportArguments": "cli/export.py",
    "PushArguments": "cli/push.py",
    "SearchArguments": "cli/search_arguments.py",
    "DistillationTrainingArguments": "training_args.py",
}
# Command -> the dataclasses of its flags.
CLASSES = {
    "train": ("ModelArguments", "DataArguments", "DistillationTrainingArguments"),
    "search": ("TeacherArguments", "DataArguments", "SearchArguments", "DistillationTrainingArguments"),
    "cache": ("CacheArguments", "DataArguments"),
    "compare": ("CompareArguments", "DataArguments"),
    "export": ("ExportArguments", "ReadingArguments"),
    "data": ("DataArguments",),
    "push": ("PushArguments",),
}
TRAINER = "TrainingArguments"
_UNKNOWN = object()


@dataclass(frozen=True)
class Flag:
    """A flag as `--help` shows it.

    Attributes:
        name: The name without `--`.
        type_name: Its type as the source has it, e.g. `int | None`.
        default: Its default; None also if the source computes it.
        help: The sentence that explains it.
        is_required: Whether it has no default.
        owner: The dataclass that defines it.
    """

    name: str
    type_name: str
    default: Any
    help: str
    is_required: bool
    owner: str


def command_flags(command: str) -> list[Flag]:
    """Return the flags of a command, those of base classes first."""
    return [flag for class_name in CLASSES[command] for flag in read_flags(class_name)]


@functools.cache
def read_flags(class_name: str) -> tuple[Flag, ...]:
    """Return the flags of a dataclass and of the classes that it inherits from."""
    tree = ast.parse(_path_of(class_name).read_text(encoding="utf-8"))
    constants = {
        node.targets[0].id: _evaluate(node.value, {})
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
    }
    (definition,) = (node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == class_name)
    bases = [base.id for base in definition.bases if isinstance(base, ast.Name)]
    inherited = [flag for base in bases if base in (*_FILES, TRAINER) for flag in read_flags(base)]
    fields = [
        node for node in definition.body if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
    ]
    return (*inherited, *(_flag(field, constants, class_name) for field in fields))


def _path_of(class_name: str) -> Path:
    if class_name != TRAINER:
        return Path(__file__).parents[1] / _FILES[class_name]
    spec = find_spec("transformers")  # finds the package without importing it
    assert spec is not None
    assert spec.submodule_search_locations
    return Path(spec.submodule_search_locations[0]) / "training_args.py"


def _flag(field: ast.AnnAssign, constants: dict[str, Any], owner: str) -> Flag:
    assert isinstance(field.target, ast.Name)
    keywords: dict[str, ast.expr] = {}
    if isinstance(field.value, ast.Call):
        keywords = {keyword.arg or "": keyword.value for keyword in field.value.keywords}
        default = keywords.get("default")
    else:
        default = field.value
    value = None if default is None else _evaluate(default, constants)
    metadata = keywords.get("metadata")
    entries = zip(metadata.keys, metadata.values, strict=True) if isinstance(metadata, ast.Dict) else ()
    texts = {_evaluate(key, {}): _evaluate(text, constants) for key, text in entries if key is not None}
    return Flag(
        name=field.target.id,
        type_name=ast.unparse(field.annotation),
        default=None if value is _UNKNOWN else value,
        help=" ".join(str(texts.get("help", "")).split()),
        is_required=default is None and "default_factory" not in keywords,
        owner=owner,
    )


def _evaluate(node: ast.expr, constants: dict[str, Any]) -> Any:
    """Return the value of a literal, a constant of the module, an f-string or a sum of these."""
    if isinstance(node, ast.Name):
        return constants.get(node.id, _UNKNOWN)
    if isinstance(node, ast.JoinedStr):
        parts = [part.value if isinstance(part, ast.FormattedValue) else part for part in node.values]
        return "".join(str(_evaluate(part, constants)) for part in parts)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return _evaluate(node.left, constants) + _evaluate(node.right, constants)
    try:
        return ast.literal_eval(node)
    except ValueError:
        return _UNKNOWN
