"""Adapt the advice of an error message to flags that a recipe set, and not the user."""

import re
from collections.abc import Mapping


def advise_about_recipe(message: str, set_by_recipe: Mapping[str, str]) -> str:
    """Return an error message whose advice to leave out a flag also works if a recipe sets the flag.

    Args:
        message: The message.
        set_by_recipe: Name of each flag that the recipe sets and the command line does not -> kind of its value, as
            [`~hf_distill.cli.flags.Flag.kind`].
    """

    def replacement(match: re.Match[str]) -> str:
        name = match["name"]
        if name not in set_by_recipe:
            return match[0]
        is_switch = set_by_recipe[name] == "bool"
        advice = f"pass --{name} False (the recipe sets it)" if is_switch else f"remove `{name}` from the recipe"
        return advice[0].upper() + advice[1:] if match[0][0].isupper() else advice

    changed = re.sub(r"\bleave out --(?P<name>\w+)", replacement, message, flags=re.IGNORECASE)
    if changed != message or not re.search(r"\bleave (it|one of them) out\b", message, re.IGNORECASE):
        return changed
    names = [name for name in dict.fromkeys(re.findall(r"--(\w+)", message)) if name in set_by_recipe]
    hints = [
        f" The recipe sets `{name}`: {f'pass --{name} False' if set_by_recipe[name] == 'bool' else 'remove it there'}."
        for name in names
    ]
    return message + "".join(hints)
