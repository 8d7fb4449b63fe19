"""Parse flags, and the recipe that `--config` names, without slow imports."""

import argparse
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from hf_distill.cli.flags import Flag, flags_of
from hf_distill.cli.recipe import recipe_flags
from hf_distill.cli.suggestions import similar_flags
from hf_distill.utils.redaction import without_values

_TRUE, _FALSE = ("yes", "true", "t", "y", "1"), ("no", "false", "f", "n", "0")


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        # argparse would print the usage first: 135 lines, since every training argument is a flag. It also names both
        # spellings: --learning_rate/--learning-rate.
        message = re.sub(r"/--[\w-]+", "", message)
        raise ValueError(f"{message}. `--help` lists the flags.")


class _ConfigParser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise ValueError(message)


@dataclass(frozen=True)
class CommandLine:
    """The flags that a command line and its recipe set.

    Attributes:
        values: Name of a flag -> value of its type; only for flags that are given.
        words: All words of recipe and command line. They can contain tokens.
        set_by_recipe: Names of the flags that only the recipe sets.
    """

    values: Mapping[str, Any]
    words: Sequence[str]
    set_by_recipe: frozenset[str] = frozenset()

    def make(self, dataclass_type: type[Any]) -> Any:
        """Return an object of a dataclass with the values of its flags.

        Raises:
            ValueError: for a value that the dataclass refuses. The message repeats no value that can be a token.
            TypeError: the same.
        """
        names = [flag.name for flag in flags_of([dataclass_type.__name__])]
        try:
            return dataclass_type(**{name: self.values[name] for name in names if name in self.values})
        except (ValueError, TypeError) as error:
            raise type(error)(without_values(str(error), self.words)) from None


def read_command_line(class_names: Iterable[str], arguments: Sequence[str]) -> CommandLine:
    """Read flags and the recipe that `--config recipe.yaml` names; a flag wins over the recipe.

    Args:
        class_names: Names of the dataclasses whose fields are the flags.
        arguments: The command line without the name of the command.

    Raises:
        ValueError: for a recipe that is not a mapping, an unknown or missing flag, or a value of another type. The
            message does not repeat a value that can be a token.
    """
    config_parser = _ConfigParser(add_help=False, allow_abbrev=False)
    config_parser.add_argument("--config", type=Path)
    config, words = config_parser.parse_known_args(arguments)
    flags = flags_of(class_names)
    type_names = {flag.name: flag.type_name for flag in flags}
    parser = _make_parser(flags)
    _check_not_repeated(parser, words)
    if "label_names" in _flag_names(words) and "class_names" in type_names:
        raise ValueError("--label_names is a Trainer setting for columns. Names of classes go to --class_names.")
    recipe_words = [] if config.config is None else recipe_flags(config.config, type_names)
    set_by_recipe = frozenset(_flag_names(recipe_words) - _flag_names(words))
    words = [*recipe_words, *words]  # argparse lets the last flag win, so the recipe comes first
    try:
        _check_known(words, type_names, parser)
        values, remaining = parser.parse_known_args(words)
    except ValueError as error:
        raise ValueError(without_values(str(error), words)) from None
    if remaining:  # they can be tokens, and are not repeated
        raise ValueError(f"{len(remaining)} values belong to no flag. `--help` lists the flags.")
    return CommandLine(vars(values), words, set_by_recipe)


def parse(types: Sequence[type[Any]], arguments: Sequence[str]) -> tuple[Any, ...]:
    """Return one object of each dataclass, with the values that [`read_command_line`] reads; errors are the same."""
    line = read_command_line([cls.__name__ for cls in types], arguments)
    return tuple(line.make(cls) for cls in types)


def flag_words(flags: Mapping[str, Any]) -> list[str]:
    """Return a command line that sets flags to values; a list is several words."""
    return [
        word
        for name, value in flags.items()
        for word in ([f"--{name}", *map(str, value)] if isinstance(value, list) else [f"--{name}={value}"])
    ]


def _make_parser(flags: Iterable[Flag]) -> _Parser:
    parser = _Parser(add_help=False, allow_abbrev=False, argument_default=argparse.SUPPRESS)
    types = {"bool": _to_bool, "int": int, "float": float, "str": str}
    for flag in flags:
        options: dict[str, Any] = {"type": types[flag.kind], "required": flag.is_required}
        if flag.kind == "bool":
            options |= {"nargs": "?", "const": True}
        if flag.takes_several:
            options["nargs"] = "+"
        if flag.choices:
            options["choices"] = flag.choices
        parser.add_argument(*_spellings(flag.name), **{**options, **flag.options})
        if flag.kind == "bool" and flag.default is True:
            parser.add_argument(*_spellings(f"no_{flag.name}"), action="store_false", dest=flag.name)
    return parser


def _spellings(name: str) -> list[str]:
    return list(dict.fromkeys([f"--{name}", f"--{name.replace('_', '-')}"]))


def _flag_names(words: Iterable[str]) -> set[str]:
    """Return the names of the flags among words; `--no_x` sets `x`."""
    names = [word.partition("=")[0][2:].replace("-", "_") for word in words if word.startswith("--")]
    return {*names, *(name.removeprefix("no_") for name in names)}


def _to_bool(word: str) -> bool:
    if word.lower() in _TRUE + _FALSE:
        return word.lower() in _TRUE
    raise argparse.ArgumentTypeError(f"expected True or False, got {word!r}")


def _check_not_repeated(parser: argparse.ArgumentParser, flags: Sequence[str]) -> None:
    """Refuse a flag with several values that is given twice: the values of the first one would be lost."""
    given = [word.partition("=")[0] for word in flags if word.startswith("--")]
    for action in parser._actions:
        takes_several = action.nargs in ("+", "*") and not isinstance(action, argparse._ExtendAction)
        for flag in action.option_strings:
            if takes_several and given.count(flag) > 1:
                raise ValueError(f"{flag} is given twice, and only the last would count. Put all values after one.")


def _check_known(words: Sequence[str], type_names: Mapping[str, str], parser: argparse.ArgumentParser) -> None:
    """Refuse flags that do not exist; their values can be tokens, and are not repeated."""
    known = [spelling for action in parser._actions for spelling in action.option_strings]
    unknown = [word.partition("=")[0] for word in words if word.startswith("--")]
    unknown = [name for name in dict.fromkeys(unknown) if name not in known]
    if unknown:
        similar = similar_flags(unknown[0].removeprefix("--"), type_names)
        remedy = f"Did you mean --{' or --'.join(similar)}?" if similar else "`--help` lists the flags."
        raise ValueError(f"Unknown flag: {', '.join(unknown)}. {remedy}")
