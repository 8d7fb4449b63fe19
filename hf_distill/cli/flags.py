"""The flags of the commands, read from the source of their dataclasses: training arguments take seconds to import.

`tests/cli/test_help.py` compares what is read here with the dataclasses.
"""

import ast
import functools
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

# Dataclass -> its file, in this package or in transformers.
FILES = {
    "TeacherArguments": "cli/teacher_arguments.py",
    "ModelArguments": "cli/model_arguments.py",
    "ReadingArguments": "cli/reading_arguments.py",
    "DataArguments": "cli/arguments.py",
    "CacheArguments": "cli/cache_arguments.py",
    "CompareArguments": "cli/compare_arguments.py",
    "ExportArguments": "cli/export_arguments.py",
    "PushArguments": "cli/push_arguments.py",
    "SearchArguments": "cli/search_arguments.py",
    "DistillationTrainingArguments": "training_args.py",
}
TRAINER = "TrainingArguments"
# Choices that transformers computes.
_COMPUTED_CHOICES = dict.fromkeys(
    ("log_level", "log_level_replica"), ("detail", "debug", "info", "warning", "error", "critical", "passive")
)
_UNKNOWN = object()


@dataclass(frozen=True)
class Flag:
    """A flag as the source of a dataclass defines it.

    Attributes:
        name: The name without `--`.
        type_name: Its type as the source has it, e.g. `int | None`.
        default: Its default; None also if the source computes it.
        help: The sentence that explains it.
        is_required: Whether it has no default.
        owner: The dataclass that defines it.
        choices: The values that it takes; empty if these cannot be listed.
        options: Other arguments of `argparse.ArgumentParser.add_argument` that the field names, such as `action`.
    """

    name: str
    type_name: str
    default: Any
    help: str
    is_required: bool
    owner: str
    choices: tuple[str, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def kind(self) -> str:
        """The type of one value: "bool", "int", "float", "str", or "" for an object that no word can stand for."""
        names = set(re.findall(r"\w+", self.type_name)) - {"None", "Optional", "Union"}
        if names in ({"bool"}, {"bool", "str"}):
            return "bool"
        for kind in ("int", "float"):
            if names == {kind}:
                return kind
        return "str" if names & {"str", "dict"} else ""

    @property
    def takes_several(self) -> bool:
        """Whether several words can follow the flag."""
        return self.type_name.startswith(("list[", "List["))


def flags_of(class_names: Iterable[str]) -> list[Flag]:
    """Return the flags of dataclasses, those of base classes first, without fields that take an object."""
    return [flag for class_name in class_names for flag in read_flags(class_name) if flag.kind]


@functools.cache
def read_flags(class_name: str) -> tuple[Flag, ...]:
    """Return the flags of a dataclass and of the classes that it inherits from."""
    path = _path_of(class_name)
    tree = _parse(path)
    constants = {
        node.targets[0].id: _evaluate(node.value, {})
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
    }
    (definition,) = (node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == class_name)
    bases = [base.id for base in definition.bases if isinstance(base, ast.Name)]
    inherited = [flag for base in bases if base in (*FILES, TRAINER) for flag in read_flags(base)]
    fields = [
        node for node in definition.body if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
    ]
    return (*inherited, *(_with_choices(_flag(field, constants, class_name), tree, path) for field in fields))


def _path_of(class_name: str) -> Path:
    if class_name != TRAINER:
        return Path(__file__).parents[1] / FILES[class_name]
    spec = find_spec("transformers")  # finds the package without importing it
    assert spec is not None
    assert spec.submodule_search_locations
    return Path(spec.submodule_search_locations[0]) / "training_args.py"


@functools.cache
def _parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def _flag(definition: ast.AnnAssign, constants: dict[str, Any], owner: str) -> Flag:
    assert isinstance(definition.target, ast.Name)
    keywords: dict[str, ast.expr] = {}
    if isinstance(definition.value, ast.Call):
        keywords = {keyword.arg or "": keyword.value for keyword in definition.value.keywords}
        default = keywords.get("default")
    else:
        default = definition.value
    value = None if default is None else _evaluate(default, constants)
    metadata = keywords.get("metadata")
    entries = zip(metadata.keys, metadata.values, strict=True) if isinstance(metadata, ast.Dict) else ()
    texts = {_evaluate(key, {}): _evaluate(text, constants) for key, text in entries if key is not None}
    choices = texts.get("choices")
    listed = tuple(choices) if isinstance(choices, list | tuple) else ()
    return Flag(
        name=definition.target.id,
        type_name=ast.unparse(definition.annotation),
        default=None if value is _UNKNOWN else value,
        help=" ".join(str(texts.get("help", "")).split()),
        is_required=default is None and "default_factory" not in keywords,
        owner=owner,
        choices=_COMPUTED_CHOICES.get(definition.target.id, listed),
        options={name: texts[name] for name in ("action", "nargs", "const") if name in texts},
    )


def _with_choices(flag: Flag, tree: ast.Module, path: Path) -> Flag:
    """Return the flag with the values of its enumeration, such as `IntervalStrategy | str`, if it has one."""
    name, _, rest = flag.type_name.partition(" | ")
    return replace(flag, choices=_values_of_enum(name, tree, path)) if rest == "str" and name.isidentifier() else flag


def _values_of_enum(name: str, tree: ast.Module, path: Path) -> tuple[str, ...]:
    """Return the values of an enumeration that a module of transformers defines or imports from one beside it."""
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and node.name == name:
            values = [item.value for item in node.body if isinstance(item, ast.Assign)]
            return tuple(_evaluate(value, {}) for value in values)
        if isinstance(node, ast.ImportFrom) and node.level == 1 and name in [alias.name for alias in node.names]:
            path = path.with_name(f"{node.module}.py")
            return _values_of_enum(name, _parse(path), path)
    return ()


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
