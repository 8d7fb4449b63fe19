"""Which files of a student's folder are published, and their upload in one commit, which can be retried."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from huggingface_hub import CommitOperationAdd, HfApi
from huggingface_hub.errors import HfHubHTTPError

from hf_distill.utils.redaction import has_token, without_secrets

REPORT_FOLDER = "report"
EXPORT_NAME = "export.json"  # every folder that `hf-distill export` wrote has this file

# Only files of these types are published. None of them is a pickle, which could run code when it is loaded.
_TEXTS = frozenset({".json", ".txt", ".md", ".jinja", ".html"})
_SUFFIXES = _TEXTS | {".safetensors", ".model", ".onnx", ".data", ".png"}


def files_to_push(folder: Path, whole: bool = True) -> dict[str, Path]:
    """Choose the files to publish: the student's files, `report/`, and the folders of its exports.

    Checkpoints, teacher, baseline, logs and hidden files are not published, nor are files of unknown types.

    Args:
        folder: Folder of the student.
        whole: Whether to include report and exports. During training they are about an earlier student.

    Returns:
        Path in the repository -> file.

    Raises:
        ValueError: if a file is a link that leads out of the folder.
    """
    root = folder.resolve()
    others = [REPORT_FOLDER, *find_exports(folder)] if whole else []
    paths = [*folder.glob("*"), *(path for name in others for path in (folder / name).rglob("*"))]
    chosen = {}
    for path in sorted(paths):
        name, real = path.relative_to(folder).as_posix(), path.resolve()
        if not real.is_file() or not {path.suffix, real.suffix} <= _SUFFIXES or _is_kept_back(name):
            continue
        if not real.is_relative_to(root):
            raise ValueError(f"{path} is a link that leads out of {folder}. Replace it by a copy, or remove it.")
        chosen[name] = path
    return chosen


def find_exports(folder: Path) -> list[str]:
    """Return the names of the folders with finished exports of the student."""
    names = sorted(path.parent.name for path in folder.glob(f"*/{EXPORT_NAME}"))
    return [name for name in names if not _is_kept_back(f"{name}/{EXPORT_NAME}")]


def _is_kept_back(name: str) -> bool:
    parts = name.split("/")
    is_hidden = any(part.startswith((".", "_", "checkpoint-")) or part.endswith(".tmp") for part in parts)
    return is_hidden or (len(parts) > 1 and parts[0] in ("teacher", "baseline"))


def check_no_token(files: Mapping[str, Path], token: str | None) -> None:
    """Refuse to publish a Hub token.

    Args:
        files: Path in the repository -> file.
        token: The token that is used, which can be of any form.

    Raises:
        ValueError: if a file contains a token. The message names the file, not the token.
    """
    for name, path in files.items():
        if path.suffix in _TEXTS:
            text = path.read_text(encoding="utf-8", errors="replace")
            if has_token(text) or (token and token in text):
                raise ValueError(
                    f"{name} contains what looks like a Hub token, so nothing was pushed. Remove the token. If others "
                    "have seen the file, revoke the token at https://huggingface.co/settings/tokens."
                )


def upload(
    repo_id: str,
    files: Mapping[str, Path],
    commit_message: str | None,
    token: str | None = None,
    revision: str | None = None,
    in_background: bool = False,
) -> Any:
    """Upload files to an existing repository in one commit. Files that it already has are not uploaded again.

    Args:
        repo_id: `user/name` on the Hub.
        files: Path in the repository -> file.
        commit_message: Message of the commit.
        token: Hub token; None for the token that the user is logged in with.
        revision: Branch; None for the main branch.
        in_background: Whether to return before the upload is finished.

    Returns:
        A `CommitInfo`, or a future of one if `in_background`.
    """
    # `upload_folder` with hf_xet makes several commits, and a failure would leave some of them.
    operations = [CommitOperationAdd(path_in_repo=name, path_or_fileobj=path) for name, path in files.items()]
    create_commit: Any = HfApi().create_commit  # its overloads need a literal for `run_as_future`
    return create_commit(
        repo_id,
        operations,
        commit_message=commit_message or "Upload student",
        token=token,
        revision=revision,
        run_as_future=in_background,
    )


def explain(error: Exception, token: str | None) -> str:
    """Return a one-line explanation of an error of the Hub or the connection, without a token."""
    status = error.response.status_code if isinstance(error, HfHubHTTPError) else None
    text = " ".join(without_secrets(f"{type(error).__name__}: {error}", token).split())
    if status in (401, 403):
        return (
            f"the Hub does not accept this token for this repository. Check the token with `hf auth whoami` ({text})"
        )
    if status is not None and status >= 500:
        return f"the Hub has a server error, which often passes within minutes ({text})"
    return text
