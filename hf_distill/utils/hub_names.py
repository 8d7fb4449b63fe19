"""Names of models and datasets on the Hub, with or without a revision."""

import os
import re
from pathlib import Path

_WITH_REVISION = re.compile(r"((?!\.)[\w.-]+(?:/[\w.-]+)?)@([^@]+)")


def split_revision(name_or_path: str | os.PathLike, revision: str | None = None) -> tuple[str, str | None]:
    """Split a Hub id of the form `user/name@revision`. A path that exists is not split.

    Args:
        name_or_path: A path, or an id on the Hub with or without a revision.
        revision: The revision, if it was given beside the id.

    Returns:
        The path or the id, and the revision; None if there is none.

    Raises:
        ValueError: if there are two different revisions.
    """
    name = os.fspath(name_or_path)
    match = None if Path(name).expanduser().exists() else _WITH_REVISION.fullmatch(name)
    if match is None:
        return name, revision
    repo_id, of_name = match.groups()
    if revision not in (None, of_name):
        raise ValueError(f"{name!r} names the revision {of_name!r}, and {revision!r} was given as well. Pass one.")
    return repo_id, of_name
