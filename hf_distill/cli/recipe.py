"""Read a recipe: a YAML file that maps names of flags to values, which can come from somebody else."""

import json
from collections.abc import Collection, Hashable, Mapping
from pathlib import Path
from typing import Any

import yaml

from hf_distill.cli.suggestions import similar_flags

_MAX_DEPTH = 10  # of nested mappings and lists; objectives with schedules have 4


class _Loader(yaml.SafeLoader):
    """Reads plain YAML, and refuses what can make a small file large or deep, and names that occur twice.

    Names in mappings are kept as they are written: `{no: 2.0}` is about a class `no`, not about false.
    """

    depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise _error("has an alias (*name); write the value out", self.peek_event())
        self.depth += 1
        if self.depth > _MAX_DEPTH:
            raise _error(f"is nested more than {_MAX_DEPTH} levels deep", self.peek_event())
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Hashable, Any]:
        mapping: dict[Hashable, Any] = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.tag == "tag:yaml.org,2002:merge":
                raise _error("has a name that is not a text", key)
            if key.value in mapping:
                raise _error("has a name for the second time", key)
            mapping[key.value] = self.construct_object(value, deep)
        return mapping


def _error(problem: str, place: Any) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=problem, problem_mark=place.start_mark)


def recipe_flags(path: Path, type_names: Mapping[str, str]) -> list[str]:
    """Return the flags in a recipe.

    Args:
        path: The file.
        type_names: The type of every known flag.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: for a folder, for a file that is not YAML or not a mapping, and for names and values that are not
            flags. The message does not repeat values, which can be tokens.
    """
    if path.is_dir():
        raise ValueError(f"--config names the folder {path.name}. Name a recipe, a YAML file.")
    if not path.exists():
        raise FileNotFoundError(
            f"There is no recipe {path} (--config). The recipes of hf_distill are in the folder recipes/ of its "
            "repository."
        )
    recipe = _read(path, {name for name, type_name in type_names.items() if _is_text(type_name)})
    for name, value in recipe.items():
        if name not in type_names:
            similar = similar_flags(str(name), type_names)
            remedy = f"Did you mean {' or '.join(similar)}?" if similar else "`--help` lists the flags."
            raise ValueError(f"The recipe {path.name} has {name!r}, which is not a flag. {remedy}")
        if isinstance(value, dict) and "dict" not in type_names[name]:
            raise ValueError(f"The recipe {path.name} has a mapping for `{name}`, which takes one value.")
        if (name.endswith("trust_remote_code") or name == "metric_module") and value:
            word = "True" if name.endswith("trust_remote_code") else "FOLDER"
            raise ValueError(
                f"The recipe {path.name} sets `{name}`. A recipe can come from somebody else, so it cannot decide "
                f"whether code is run. Pass --{name} {word} on the command line if you trust the code."
            )
    return [
        word
        for name, value in recipe.items()
        if value is not None
        for word in _flag_words(name, value, type_names[name])
    ]


def _is_text(type_name: str) -> bool:
    """Whether the values of a flag are texts: names, paths, or a mapping of names."""
    return type_name.removesuffix(" | None") in ("str", "list[str]", "dict[str, str | None] | str")


def _as_written(node: yaml.Node) -> Any:
    """Return a value with all scalars as text, apart from null."""
    if isinstance(node, yaml.SequenceNode):
        return [_as_written(item) for item in node.value]
    if isinstance(node, yaml.MappingNode):
        return {key.value: _as_written(value) for key, value in node.value}
    return None if node.tag == "tag:yaml.org,2002:null" else node.value


def _read(path: Path, texts: Collection[str]) -> dict[Any, Any]:
    """Read the file; the values of the flags in `texts` are kept as they are written: `no` is a class, not false."""
    try:
        loader = _Loader(path.read_text(encoding="utf-8"))
        root = loader.get_single_node()
        recipe = None if root is None else loader.construct_document(root)
        if isinstance(root, yaml.MappingNode) and isinstance(recipe, dict):
            recipe |= {key.value: _as_written(value) for key, value in root.value if key.value in texts}
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        place = "" if mark is None else f", line {mark.line + 1}, column {mark.column + 1}"
        # The problem of a constructor repeats what was written.
        is_kind = isinstance(error, yaml.constructor.ConstructorError)
        problem = "has a tag" if is_kind else error.problem
        raise ValueError(f"The recipe {path.name}{place} is not YAML as recipes need it: {problem}.") from None
    except (yaml.YAMLError, ValueError) as error:  # characters that are not text
        raise ValueError(f"The recipe {path.name} is not YAML: {type(error).__name__}.") from None
    if not isinstance(recipe, dict):
        raise ValueError(f"The recipe {path.name} must map names of flags to values, got {type(recipe).__name__}.")
    return recipe


def _flag_words(name: str, value: Any, type_name: str) -> list[str]:
    if not type_name.startswith("list[") or not isinstance(value, list):
        return [f"--{name}={_as_text(name, value)}"]  # one word, so that no value is read as another flag
    items = [str(item) for item in value]
    if any(item.startswith("-") for item in items):
        raise ValueError(f"The recipe has a value in `{name}` that starts with '-' and would be read as a flag.")
    return [f"--{name}", *items] if items else []


def _as_text(name: str, value: Any) -> str:
    if value is False and name.endswith("_strategy"):
        return "no"  # YAML reads `no` as false
    if isinstance(value, list):
        return ",".join(map(str, value))
    return json.dumps(value) if isinstance(value, dict) else str(value)
