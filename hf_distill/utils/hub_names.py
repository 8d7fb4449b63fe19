"""Names of models and datasets on the Hub, with or without a revision."""

import os
import re
from pathlib import Path

_WITH_REVISION = re.compile(r"((?!\.)[\w.-]+(?:/[\w.-]+)?)@([^@]*)")


def split_revision(name_or_path: str | os.PathLike, revision: str | None = None) -> tuple[str, str | None]:
    """Split a Hub id of the form `user/name@revision`. What exists, or cannot be an id, is a path and is not split.

    Args:
        name_or_path: A path, or an id on the Hub with or without a revision.
        revision: The revision, if it was given beside the id.

    Returns:
        The path or the id, and the revision; None if there is none.

    Raises:
        ValueError: if there are two different revisions, if the revision is empty, or for a revision of a folder.
    """
    name = os.fspath(name_or_path)
    match = None if Path(name).expanduser().exists() else _WITH_REVISION.fullmatch(name)
    if match is None:
        return name, revision
    repo_id, of_name = match.groups()
    if not of_name:
        raise ValueError(f"{name!r} ends with @, but the revision is missing. Name one, or leave out the @.")
    if Path(repo_id).exists():
        raise ValueError(
            f"{name!r} names a revision of {repo_id!r}, which is a folder on this machine and has no revisions. Leave "
            f"out {'@' + of_name!r}."
        )
    if revision not in (None, of_name):
        raise ValueError(f"{name!r} names the revision {of_name!r}, and {revision!r} was given as well. Pass one.")
    return repo_id, of_name
