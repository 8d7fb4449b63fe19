"""The name that a person most likely meant by a name that does not exist."""

import difflib
from collections.abc import Iterable


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """Return " Did you mean 'label'?" with the most similar name, in upper or lower case; empty if none is similar."""
    by_folded = {other.casefold(): other for other in names}
    similar = difflib.get_close_matches(name.casefold(), by_folded, n=1)
    return f" Did you mean {by_folded[similar[0]]!r}?" if similar else ""
