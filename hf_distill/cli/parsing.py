"""Parse flags, and recipes: the names of flags with values, in YAML."""

import argparse
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn, get_type_hints

import yaml
from transformers import HfArgumentParser


class _Parser(HfArgumentParser):
    def error(self, message: str) -> NoReturn:
        # argparse would print the usage first: 135 lines, since every training argument is a flag.
        raise ValueError(f"{message} (`--help` lists the flags)")


def parse(types: Iterable[Any], arguments: Sequence[str], prog: str = "hf-distill") -> tuple[Any, ...]:
    """Parse flags and the recipe that `--config recipe.yaml` names; a flag wins over the recipe.

    Args:
        types: Dataclasses whose fields are the flags.
        arguments: The command line without the name of the command.
        prog: The command as the user typed it, for `--help`.

    Returns:
        One object of each type.

    Raises:
        ValueError: for a recipe that is not a mapping, an unknown flag, or a value that a type refuses.
    """
    config_parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    config_parser.add_argument("--config", type=Path)
    config, flags = config_parser.parse_known_args(arguments)
    # Not from `dataclasses.fields`: HfArgumentParser replaces the types there.
    type_names = {name: str(hint) for cls in types for name, hint in get_type_hints(cls).items()}
    recipe_flags = [] if config.config is None else _recipe_flags(config.config, type_names)
    parser = _Parser(
        types,
        prog=prog,
        description="`--config recipe.yaml` reads flags from a YAML file. A flag on the command line wins over it.",
        allow_abbrev=False,
    )
    # argparse lets the last flag win, so the recipe comes first.
    return parser.parse_args_into_dataclasses([*recipe_flags, *flags])


def _recipe_flags(path: Path, type_names: Mapping[str, str]) -> list[str]:
    """Return the flags in a recipe; `type_names` has the type of every known flag."""
    try:
        recipe = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise ValueError(f"The recipe {path.name} is not YAML: {error}") from None
    if not isinstance(recipe, dict):
        raise ValueError(f"The recipe {path.name} must map names of flags to values, got {type(recipe).__name__}.")
    for name, value in recipe.items():
        if name not in type_names:
            raise ValueError(f"The recipe {path.name} has {name!r}, which is not a flag (`--help` lists the flags).")
        if isinstance(value, dict) and "dict" not in type_names[name]:
            raise ValueError(f"The recipe {path.name} has a mapping for `{name}`, which takes one value.")
        if name.endswith("trust_remote_code") and value:
            raise ValueError(
                f"The recipe {path.name} sets `{name}`. A recipe can come from somebody else, so it cannot decide "
                f"whether code is run. Pass --{name} True on the command line if you trust the code."
            )
    return [
        word
        for name, value in recipe.items()
        if value is not None
        for word in _flag_words(name, value, type_names[name])
    ]


def _flag_words(name: str, value: Any, type_name: str) -> list[str]:
    if not type_name.startswith("list["):
        return [f"--{name}={_as_text(name, value)}"]  # one word, so that no value is read as another flag
    items = [str(item) for item in (value if isinstance(value, list) else [value])]
    if flag_like := [item for item in items if item.startswith("-")]:
        raise ValueError(f"The recipe has {flag_like[0]!r} in `{name}`, which would be read as a flag.")
    return [f"--{name}", *items] if items else []


def _as_text(name: str, value: Any) -> str:
    if value is False and name.endswith("_strategy"):
        return "no"  # YAML reads `no` as false
    if isinstance(value, list):
        return ",".join(map(str, value))
    return json.dumps(value) if isinstance(value, dict) else str(value)
