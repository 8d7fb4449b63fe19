"""Parse flags, and the recipe that `--config` names."""

import argparse
import difflib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn, get_type_hints

from transformers import HfArgumentParser

from hf_distill.cli.recipe import recipe_flags
from hf_distill.utils.redaction import without_values


class _Parser(HfArgumentParser):
    def error(self, message: str) -> NoReturn:
        # argparse would print the usage first: 135 lines, since every training argument is a flag.
        raise ValueError(f"{message} (`--help` lists the flags)")


class _ConfigParser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise ValueError(message)


def parse(types: Iterable[Any], arguments: Sequence[str]) -> tuple[Any, ...]:
    """Parse flags and the recipe that `--config recipe.yaml` names; a flag wins over the recipe.

    Args:
        types: Dataclasses whose fields are the flags.
        arguments: The command line without the name of the command.

    Returns:
        One object of each type.

    Raises:
        ValueError: for a recipe that is not a mapping, an unknown flag, or a value that a type refuses. The message
            does not repeat a value that can be a token.
    """
    parser, words, type_names = _prepare(types, arguments)
    try:
        _check_known(parser.parse_known_args(words)[1], type_names)
        # Without `look_for_args_file`, a file beside the program could set flags.
        return parser.parse_args_into_dataclasses(words, look_for_args_file=False)
    except (ValueError, TypeError) as error:
        raise type(error)(without_values(str(error), words)) from None


def given_flags(types: Iterable[Any], arguments: Sequence[str]) -> dict[str, Any]:
    """Return only the flags that the command line or its recipe sets, by name, with values of their types.

    The values of several flags together are not checked: [`parse`] does that. Arguments and errors are the same.
    """
    parser, words, type_names = _prepare(types, arguments)
    for action in parser._actions:
        action.default = argparse.SUPPRESS
    try:
        flags, remaining = parser.parse_known_args(words)
        _check_known(remaining, type_names)
    except (ValueError, TypeError) as error:
        raise type(error)(without_values(str(error), words)) from None
    return vars(flags)


def flag_words(flags: Mapping[str, Any]) -> list[str]:
    """Return a command line that sets flags to values; a list is several words."""
    return [
        word
        for name, value in flags.items()
        for word in ([f"--{name}", *map(str, value)] if isinstance(value, list) else [f"--{name}={value}"])
    ]


def _prepare(types: Iterable[Any], arguments: Sequence[str]) -> tuple[_Parser, list[str], dict[str, str]]:
    """Return a parser, all words of recipe and command line, and the type of every flag."""
    config_parser = _ConfigParser(add_help=False, allow_abbrev=False)
    config_parser.add_argument("--config", type=Path)
    config, flags = config_parser.parse_known_args(arguments)
    # Not from `dataclasses.fields`: HfArgumentParser replaces the types there.
    type_names = {name: str(hint) for cls in types for name, hint in get_type_hints(cls).items()}
    parser = _Parser(types, add_help=False, allow_abbrev=False)
    _check_not_repeated(parser, flags)
    # argparse lets the last flag win, so the recipe comes first.
    return parser, [*([] if config.config is None else recipe_flags(config.config, type_names)), *flags], type_names


def _check_not_repeated(parser: argparse.ArgumentParser, flags: Sequence[str]) -> None:
    """Refuse a flag with several values that is given twice: the values of the first one would be lost."""
    given = [word.partition("=")[0] for word in flags if word.startswith("--")]
    for action in parser._actions:
        takes_several = action.nargs in ("+", "*") and not isinstance(action, argparse._ExtendAction)
        for flag in action.option_strings:
            if takes_several and given.count(flag) > 1:
                raise ValueError(f"{flag} is given twice, and only the last would count. Put all values after one.")


def _check_known(remaining: Sequence[str], type_names: Mapping[str, str]) -> None:
    """Refuse flags that do not exist; their values can be tokens, and are not repeated."""
    if not remaining:
        return
    unknown = [word.split("=")[0] for word in remaining if word.startswith("--")]
    if not unknown:
        raise ValueError(f"{len(remaining)} values belong to no flag (`--help` lists the flags)")
    similar = difflib.get_close_matches(unknown[0].removeprefix("--"), type_names, n=1)
    remedy = f"Did you mean --{similar[0]}?" if similar else "`--help` lists the flags."
    raise ValueError(f"Unknown flag: {', '.join(unknown)}. {remedy}")
