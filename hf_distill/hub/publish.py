"""Publish a finished folder: student, exports, report, record and card in one commit, which can be retried."""

import os
import shlex
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from huggingface_hub import CommitInfo, HfApi, get_token
from huggingface_hub.errors import RepositoryNotFoundError

from hf_distill.hub.card.files import find_license, read_report, write_card
from hf_distill.hub.upload import (
    EXPORT_NAME,
    REPORT_FOLDER,
    check_no_token,
    explain,
    files_to_push,
    find_exports,
    upload,
)
from hf_distill.record import RECORD_NAME, read_json, read_record

_WEIGHTS = ("model.safetensors", "model.safetensors.index.json", "adapter_model.safetensors")
_COPY_SECONDS = 60.0  # files of one folder that was copied can differ in age by this much
COMMIT_MESSAGE = "Student, exports, report, record and card"


class Published(NamedTuple):
    """The result of a push.

    Attributes:
        commit: The newest commit of the branch.
        is_new: Whether the push made this commit. It makes none if nothing has changed.
        is_private: Whether the repository is private.
        files: Paths of the files in the repository.
        kept_back: Names of files and folders that were not published.
        has_own_card: Whether the card was edited by hand and published unchanged.
    """

    commit: CommitInfo
    is_new: bool
    is_private: bool
    files: list[str]
    kept_back: list[str]
    has_own_card: bool


def publish(
    folder: str | os.PathLike,
    repo_id: str,
    *,
    public: bool = False,
    revision: str | None = None,
    commit_message: str = COMMIT_MESSAGE,
) -> Published:
    """Publish a student's folder. A second call uploads only what has changed.

    The card is written again from the record, and from `report/report.json` if it exists. A card whose text was edited
    by hand is published unchanged.

    Args:
        folder: The `output_dir` of `hf-distill train`, which can contain exports and the report.
        repo_id: `user/name` on the Hub.
        public: Whether a new repository is public. The visibility of an existing repository does not change.
        revision: Branch, which is created if it does not exist; None for the main branch.
        commit_message: Message of the commit.

    Raises:
        ValueError: if the folder has no student of hf_distill, a link that leads out of it, or a file with a token.
            Nothing has been uploaded by then.
        ConnectionError: if the Hub does not accept the push. The message says what was done and how to continue.
    """
    folder = Path(folder)
    if repo_id.count("/") != 1:
        raise ValueError(f"The name of a model on the Hub must be user/name, got {repo_id!r}.")
    record = _read_student(folder)
    if (token := get_token()) is None:
        raise ConnectionError(
            "There is no Hub token, so nothing was pushed. Log in with `hf auth login`, or set HF_TOKEN to a token "
            "with write access, and run the same command again."
        )
    is_card_written = _write_card(folder, record, repo_id)
    files = files_to_push(folder)
    check_no_token(files, token)
    state = "Nothing was uploaded."
    try:
        is_private, head = _make_repository(repo_id, public, revision)
        state = f"The repository {repo_id} exists; large files that have arrived are not uploaded again."
        commit = upload(repo_id, files, commit_message, revision=revision)
    except Exception as error:  # many causes: no connection, no permission, a full disk
        raise ConnectionError(
            f"The push failed: {explain(error, token)}. {state} All files are published in one commit, or none; the "
            "local files are unchanged. To continue, run: "
            f"{_command(folder, repo_id, public, revision, commit_message)}"
        ) from None  # the cause can contain a token
    top = {name.split("/")[0] for name in files}
    kept_back = sorted(path.name for path in folder.iterdir() if path.name not in top)
    return Published(commit, commit.oid != head, is_private, sorted(files), kept_back, not is_card_written)


def _command(folder: Path, repo_id: str, public: bool, revision: str | None, commit_message: str) -> str:
    words = ["hf-distill", "push", "--folder", str(folder), "--hub_model_id", repo_id]
    words += ["--public"] if public else []
    words += ["--revision", revision] if revision else []
    words += ["--commit_message", commit_message] if commit_message != COMMIT_MESSAGE else []
    return shlex.join(words)


def _write_card(folder: Path, record: dict[str, Any], repo_id: str) -> bool:
    """Write the card from the files in the folder; return False if it was edited by hand and stays."""
    report = read_report(folder / REPORT_FOLDER / "report.json", record)
    exports = {name: read_json(folder / name / EXPORT_NAME) for name in find_exports(folder)}
    _check_age(folder, [*([REPORT_FOLDER] if report else []), *exports])
    record = {**record, "student": {**record["student"], "name": repo_id}}
    if record.get("teacher"):
        record["teacher"] = find_license(record["teacher"])
    return write_card(folder, record, report, exports)


def _read_student(folder: Path) -> dict[str, Any]:
    """Return the record of a student's folder. The file is published too, so a token in it is removed first."""
    if not (folder / RECORD_NAME).is_file() or not any((folder / name).is_file() for name in _WEIGHTS):
        missing = RECORD_NAME if not (folder / RECORD_NAME).is_file() else _WEIGHTS[0]
        raise ValueError(
            f"{folder} has no student of hf_distill: there is no {missing}. Pass the --output_dir of `hf-distill "
            "train`, or the folder that `DistillationTrainer.save_model` wrote."
        )
    return read_record(folder)


def _check_age(folder: Path, names: Iterable[str]) -> None:
    """Refuse a report or an export that is older than the weights, because it is about an earlier student."""
    weights = max((folder / name).stat().st_mtime for name in _WEIGHTS if (folder / name).is_file())
    for name in names:
        newest = max(path.stat().st_mtime for path in (folder / name).rglob("*"))
        if newest < weights - _COPY_SECONDS:
            raise ValueError(
                f"{folder / name} is older than the student's weights, so it is about an earlier student. Create it "
                f"again or remove it. If it is about this student, run: touch {shlex.quote(str(folder / name))}/*.json"
            )


def _make_repository(repo_id: str, public: bool, revision: str | None) -> tuple[bool, str | None]:
    """Create repository and branch if they do not exist; return whether it is private, and the newest commit."""
    api = HfApi()
    try:
        is_private = bool(api.model_info(repo_id).private)
    except RepositoryNotFoundError:  # or this token must not see it; then the next call fails
        api.create_repo(repo_id, private=not public, exist_ok=True)
        is_private = not public
    if revision is not None and not revision.startswith("refs/"):  # e.g. a pull request, which exists
        api.create_branch(repo_id, branch=revision, exist_ok=True)
    return is_private, api.model_info(repo_id, revision=revision).sha
