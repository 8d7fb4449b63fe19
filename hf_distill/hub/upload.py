"""Which files of a student's folder are published, and their upload in one commit, which can be retried."""

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from huggingface_hub import CommitInfo, CommitOperationAdd, CommitOperationDelete, HfApi
from huggingface_hub.errors import HfHubHTTPError
from transformers.dynamic_module_utils import get_relative_import_files

from hf_distill.export.layout import EXPORT_NAME
from hf_distill.hub.card.files import CARD_NAME, SECOND_CARD_NAME, read_text
from hf_distill.hub.repository import MANIFEST_NAME, Branch, make_manifest
from hf_distill.hub.stale import stale_files
from hf_distill.record import read_json
from hf_distill.utils.redaction import has_token, without_secrets

REPORT_FOLDER = "report"

# Only files of these types are published, and the code that a config names. None of them is a pickle, which could run
# code when it is loaded.
_TEXTS = frozenset({".json", ".txt", ".md", ".jinja", ".html"})
_SUFFIXES = _TEXTS | {".safetensors", ".model", ".onnx", ".data", ".onnx_data", ".png"}


def files_to_push(folder: Path, whole: bool = True) -> dict[str, Path]:
    """Choose the files to publish: the student's files and `report/`; see `place_exports` for its exports.

    Checkpoints, teacher, baseline, logs and hidden files are not published, nor are files of unknown types. Of Python
    files, those are published that the model cannot be loaded without.

    Args:
        folder: Folder of the student.
        whole: Whether to include the report. During training it is about an earlier student.

    Returns:
        Path in the repository -> file.

    Raises:
        ValueError: if a file is a link that leads out of the folder, or if code of the model is missing.
    """
    paths = sorted([*folder.glob("*"), *((folder / REPORT_FOLDER).rglob("*") if whole else [])])
    code = _code_files(folder)
    return {path.relative_to(folder).as_posix(): path for path in paths if path in code or is_published(path, folder)}


def is_published(path: Path, folder: Path) -> bool:
    """Return whether a file in the folder of a student is of a kind that is published.

    Raises:
        ValueError: if the file is a link that leads out of the folder.
    """
    name, real = path.relative_to(folder).as_posix(), path.resolve()
    is_generated = name in (MANIFEST_NAME, EXPORT_NAME)  # in a download of a repository
    if not real.is_file() or not {path.suffix, real.suffix} <= _SUFFIXES or _is_kept_back(name) or is_generated:
        return False
    _check_is_inside(path, folder)
    return True


def _code_files(folder: Path) -> set[Path]:
    """Return the Python files that the configs of a model and its tokenizer name, and those that they import.

    Raises:
        ValueError: if such a file does not exist, or is a link that leads out of the folder.
    """
    files = set()
    for config in filter(Path.is_file, (folder / name for name in ("config.json", "tokenizer_config.json"))):
        for name in _own_classes(config):
            files |= _with_imports(folder / f"{name.partition('.')[0]}.py", config)
    for file in files:
        _check_is_inside(file, folder)
    return files


def _own_classes(config: Path) -> list[str]:
    """Return the classes, as `module.Class`, whose code is in the folder of a config and not in another repository."""
    content: dict[str, Any] = {}
    with contextlib.suppress(ValueError):  # a damaged file is reported when the student is loaded
        content = read_json(config)
    auto_map = content.get("auto_map") or {}
    values = auto_map.values() if isinstance(auto_map, dict) else [auto_map]
    lists = [value if isinstance(value, list) else [value] for value in values]  # a slow and a fast tokenizer
    return [name for names in lists for name in names if name and "--" not in name]


def _with_imports(file: Path, config: Path) -> set[Path]:
    try:
        return {file, *map(Path, get_relative_import_files(file))}
    except FileNotFoundError as error:
        raise ValueError(
            f"{config} names code in {file.name}, and {error.filename} does not exist, so nobody could load the "
            "model. Copy the file into the folder."
        ) from None


def _check_is_inside(path: Path, folder: Path) -> None:
    if not path.resolve().is_relative_to(folder.resolve()):
        raise ValueError(f"{path} is a link that leads out of {folder}. Replace it by a copy, or remove it.")


def find_exports(folder: Path) -> list[str]:
    """Return the names of the folders with finished exports of the student.

    In a download of a repository, the folder itself has the exports; its name is ".".
    """
    names = sorted(path.parent.name for path in folder.glob(f"*/{EXPORT_NAME}"))
    names = [name for name in names if not _is_kept_back(f"{name}/{EXPORT_NAME}")]
    return [*(["."] if (folder / EXPORT_NAME).is_file() else []), *names]


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
        if path.suffix in {".py", *_TEXTS}:
            text = path.read_text(encoding="utf-8", errors="replace")
            if has_token(text) or (token and token in text):
                raise ValueError(
                    f"{name} contains what looks like a Hub token, so nothing was pushed. Remove the token. If others "
                    "have seen the file, revoke the token at https://huggingface.co/settings/tokens."
                )


class Uploaded(NamedTuple):
    """A commit and the files that it removed."""

    commit: CommitInfo
    removed: list[str]


def upload(
    api: HfApi,
    repo_id: str,
    files: Mapping[str, Path | bytes],
    branch: Branch,
    *,
    commit_message: str,
    revision: str | None = None,
    is_whole: bool = True,
    create_pr: bool = False,
) -> Uploaded:
    """Upload files to an existing branch in one commit, which also removes files of an earlier student.

    Files that the branch already has are not uploaded again. If the branch has changed since it was looked at, the Hub
    refuses the commit.

    Args:
        api: The client, which has the token.
        repo_id: `user/name` on the Hub.
        files: Path in the repository -> file or content.
        branch: The branch, from [`~hf_distill.hub.repository.look`].
        commit_message: Message of the commit.
        revision: Branch; None for the main branch.
        is_whole: Whether the report and the exports are among the files.
        create_pr: Whether to open a pull request with the commit.
    """
    # `upload_folder` with hf_xet makes several commits, and a failure would leave some of them.
    added = [CommitOperationAdd(path_in_repo=name, path_or_fileobj=path) for name, path in files.items()]
    digests = {operation.path_in_repo: operation.upload_info.sha256.hex() for operation in added}
    removed = stale_files(branch, digests, is_whole)
    written = {*files, *branch.written_files().difference(removed)}
    cards = {name: branch.texts[name] for name in (CARD_NAME, SECOND_CARD_NAME) if branch.is_card_as_pushed(name)}
    for name in (CARD_NAME, SECOND_CARD_NAME):
        if isinstance(path := files.get(name), Path):
            cards[name] = read_text(path)
    commit = api.create_commit(
        repo_id,
        [
            *added,
            CommitOperationAdd(path_in_repo=MANIFEST_NAME, path_or_fileobj=make_manifest(written, cards)),
            *(CommitOperationDelete(path_in_repo=name, is_folder=False) for name in removed),
        ],
        commit_message=commit_message,
        revision=revision,
        create_pr=create_pr,
        parent_commit=branch.head,
    )
    return Uploaded(commit, removed)


def explain(error: Exception, token: str | None) -> str:
    """Return a one-line explanation of an error of the Hub or the connection, without a token."""
    status = error.response.status_code if isinstance(error, HfHubHTTPError) else None
    text = " ".join(without_secrets(f"{type(error).__name__}: {error}", token).split())
    if status in (401, 403):
        return (
            f"the Hub does not accept this token for this repository. Check the token with `hf auth whoami` ({text})"
        )
    if status == 412:
        return (
            "somebody else changed the repository while this push was prepared, so the Hub refused the commit. Push "
            f"again to start from the changed repository ({text})"
        )
    if status is not None and status >= 500:
        return f"the Hub has a server error, which often passes within minutes ({text})"
    return text
