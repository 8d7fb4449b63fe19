"""`hf-distill`: one command for each step from a large classifier to a small one."""

import difflib
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.metadata import version

from hf_distill.cli.commands import COMMANDS
from hf_distill.cli.early_checks import check_flags, flags_of_recipe
from hf_distill.cli.flags import flags_of
from hf_distill.cli.help import help_text
from hf_distill.cli.recipe_hints import advise_about_recipe
from hf_distill.utils.redaction import secret_values, without_secrets


def main(arguments: Sequence[str] | None = None) -> None:
    """Run `hf-distill COMMAND ...`. An error of the user ends it with one message and status 2, Ctrl-C with 130."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    try:
        try:
            _run(arguments)
        finally:
            sys.stdout.flush()
    except BrokenPipeError:  # the reader of the output has closed it, as `| head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
    except KeyboardInterrupt:
        sys.exit(130)


def _run(arguments: list[str]) -> None:
    usage = "usage: hf-distill COMMAND [flags]; `hf-distill COMMAND --help` lists the flags\n\n" + "\n".join(
        f"  {name:10}{command.description}" for name, command in COMMANDS.items()
    )
    if not arguments or arguments[0] in ("-h", "--help"):
        print(usage)
        sys.exit(0 if arguments else 2)
    if arguments[0] == "--version":
        print(f"hf_distill {version('hf_distill')}")
        return
    if arguments[0] not in COMMANDS:
        similar = difflib.get_close_matches(arguments[0], COMMANDS, n=1)
        remedy = f" Did you mean {similar[0]}?" if similar else ""
        print(f"hf-distill: unknown command {arguments[0]!r}.{remedy}\n\n{usage}", file=sys.stderr)
        sys.exit(2)
    if asked := {"-h", "--help", "--help-all"} & set(arguments[1:]):
        print(help_text(arguments[0], "--help-all" in asked))
        sys.exit(0)
    try:
        check_flags(arguments[0], arguments[1:])
        import_module(f"hf_distill.cli.{arguments[0]}").run(arguments[1:])
    except BrokenPipeError:
        raise
    except (ValueError, TypeError, OSError, FloatingPointError) as error:
        message = advise_about_recipe(str(error), flags_of_recipe(arguments[0], arguments[1:]))
        message = _naming_flags_of_trust(message, arguments[0])
        message = without_secrets(message, *secret_values(arguments))
        print(f"hf-distill {arguments[0]}: {message}", file=sys.stderr)
        sys.exit(2)


def _naming_flags_of_trust(message: str, command: str) -> str:
    """Add the flags to a message of transformers that names the argument `trust_remote_code`."""
    if "`trust_remote_code=True`" not in message:
        return message
    names = [flag.name for flag in flags_of(COMMANDS[command].classes) if flag.name.endswith("trust_remote_code")]
    return f"{message}\nOn the command line: {' or '.join(f'--{name} True' for name in names)}."
