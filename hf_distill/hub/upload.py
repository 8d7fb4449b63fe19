"""What of a student's folder goes to the Hub, and how: in one commit, so that a push that failed can be repeated."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from huggingface_hub import CommitOperationAdd, HfApi
from huggingface_hub.errors import HfHubHTTPError

from hf_distill.utils.redaction import has_token, without_secrets

REPORT_FOLDER = "report"
EXPORT_NAME = "export.json"  # in every folder that `hf-distill export` made

# The kinds of files that are published. None is a pickle, which could run code where it is loaded.
_TEXTS = frozenset({".json", ".txt", ".md", ".jinja", ".html"})
_SUFFIXES = _TEXTS | {".safetensors", ".model", ".onnx", ".data", ".png"}


def files_to_push(folder: Path, whole: bool = True) -> dict[str, Path]:
    """Choose what is published of a student's folder: its own files, `report/`, and the folders of its exports.

    Checkpoints, teacher, baseline and logs stay, as do hidden files and kinds of files that are not known to be safe.

    Args:
        folder: Of the student.
        whole: Whether report and exports go too, which are of an earlier student while one is trained.

    Returns:
        Path in the repository -> file.

    Raises:
        ValueError: if one of these files is a link that leads out of the folder.
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
            raise ValueError(f"{path} is a link that leads out of {folder}. Put a copy in its place, or remove it.")
        chosen[name] = path
    return chosen


def find_exports(folder: Path) -> list[str]:
    """Name the folders of a student's exports, without those of its teacher and those that were not finished."""
    names = sorted(path.parent.name for path in folder.glob(f"*/{EXPORT_NAME}"))
    return [name for name in names if not _is_kept_back(f"{name}/{EXPORT_NAME}")]


def _is_kept_back(name: str) -> bool:
    parts = name.split("/")
    is_hidden = any(part.startswith((".", "_", "checkpoint-")) or part.endswith(".tmp") for part in parts)
    return is_hidden or (len(parts) > 1 and parts[0] in ("teacher", "baseline"))


def check_no_token(files: Mapping[str, Path], token: str | None) -> None:
    """Refuse to publish a token of the Hub.

    Raises:
        ValueError: names the file, not the token.
    """
    for name, path in files.items():
        if path.suffix in _TEXTS:
            text = path.read_text(encoding="utf-8", errors="replace")
            if has_token(text) or (token and token in text):
                raise ValueError(
                    f"{name} holds what looks like a token of the Hub, so nothing was pushed. Take it out; if others "
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
    """Put files into a repository that exists, in one commit; what is there already is not sent again.

    Returns:
        A `CommitInfo`, in the background a future of one.
    """
    # Not `upload_folder`: with hf_xet it makes several commits, and a failure leaves some of them.
    operations = [CommitOperationAdd(path_in_repo=name, path_or_fileobj=path) for name, path in files.items()]
    create_commit: Any = HfApi().create_commit  # typed by overloads that need a literal for `run_as_future`
    return create_commit(
        repo_id,
        operations,
        commit_message=commit_message or "Upload of a student",
        token=token,
        revision=revision,
        run_as_future=in_background,
    )


def explain(error: Exception, token: str | None) -> str:
    """Say in one paragraph what the Hub or the way to it answered, without a token."""
    status = error.response.status_code if isinstance(error, HfHubHTTPError) else None
    text = " ".join(without_secrets(f"{type(error).__name__}: {error}", token).split())
    if status in (401, 403):
        return f"the Hub does not take this token for this repository. Check it with `hf auth whoami` ({text})"
    if status is not None and status >= 500:
        return f"the Hub has trouble of its own, which often passes in minutes ({text})"
    return text
