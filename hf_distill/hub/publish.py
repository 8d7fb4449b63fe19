"""From a finished folder to the Hub: student, exports, report, record and card in one commit that can be repeated."""

import json
import os
import shlex
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from huggingface_hub import CommitInfo, HfApi, get_token
from huggingface_hub.errors import RepositoryNotFoundError

from hf_distill.hub.card.files import find_licence, read_report, write_card
from hf_distill.hub.upload import (
    EXPORT_NAME,
    REPORT_FOLDER,
    check_no_token,
    explain,
    files_to_push,
    find_exports,
    upload,
)
from hf_distill.record import RECORD_NAME, write_record
from hf_distill.utils.redaction import publishable

_WEIGHTS = ("model.safetensors", "model.safetensors.index.json", "adapter_model.safetensors")
_COPYING = 60.0  # seconds between files of one folder that was copied, in whatever order
COMMIT_MESSAGE = "Student, exports, report, record and card"


class Published(NamedTuple):
    """What a push did: the commit, whether it is new, the files, what stayed in the folder, whose the card is."""

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
    """Publish a student's folder; a second call sends only what has changed.

    The card is written anew from the record, and from `report/report.json` if it is there; a card whose text was
    edited by hand is published as it is.

    Args:
        folder: The `output_dir` of `hf-distill train`, with exports and the report inside if there are any.
        repo_id: `user/name` on the Hub.
        public: Whether everybody may see the repository if it is new; one that exists stays as visible as it was.
        revision: Branch, made if it is new; None for the main branch.
        commit_message: Of the one commit.

    Raises:
        ValueError: before anything is sent, for a folder that holds no student of ours, for a link that leads out of
            it, and for a file with a token in it.
        ConnectionError: if the Hub does not take it; the message says what is done and how to go on.
    """
    folder = Path(folder)
    if repo_id.count("/") != 1:
        raise ValueError(f"A model on the Hub is called user/name, got {repo_id!r}.")
    record = _read_student(folder)
    if (token := get_token()) is None:
        raise ConnectionError(
            "There is no token of the Hub, so nothing was pushed. Log in with `hf auth login`, or set HF_TOKEN to a "
            "token that may write, and run the same command again."
        )
    is_ours = _write_card(folder, record, repo_id)
    files = files_to_push(folder)
    check_no_token(files, token)
    state = "Nothing of it is on the Hub."
    try:
        is_private, head = _make_repository(repo_id, public, revision)
        state = f"The repository {repo_id} is there; what arrived of large files need not be sent again."
        commit = upload(repo_id, files, commit_message, revision=revision)
    except Exception as error:  # of many kinds: no connection, a refusal, a disk that is full
        raise ConnectionError(
            f"The push failed: {explain(error, token)}. {state} The files come in one commit, all or none of them. "
            f"Nothing is lost here. Go on with: {_command(folder, repo_id, public, revision, commit_message)}"
        ) from None  # the cause may quote a token
    top = {name.split("/")[0] for name in files}
    kept_back = sorted(path.name for path in folder.iterdir() if path.name not in top)
    return Published(commit, commit.oid != head, is_private, sorted(files), kept_back, not is_ours)


def _command(folder: Path, repo_id: str, public: bool, revision: str | None, commit_message: str) -> str:
    words = ["hf-distill", "push", "--folder", str(folder), "--hub_model_id", repo_id]
    words += ["--public"] if public else []
    words += ["--revision", revision] if revision else []
    words += ["--commit_message", commit_message] if commit_message != COMMIT_MESSAGE else []
    return shlex.join(words)


def _write_card(folder: Path, record: dict[str, Any], repo_id: str) -> bool:
    """Write the card with what stands in the folder now; False if it is one that was edited by hand."""
    report = read_report(folder / REPORT_FOLDER / "report.json", record)
    exports = {name: _read_json(folder / name / EXPORT_NAME) for name in find_exports(folder)}
    _check_age(folder, [*([REPORT_FOLDER] if report else []), *exports])
    record = {**record, "student": {**record["student"], "name": repo_id}}
    if record.get("teacher"):
        record["teacher"] = find_licence(record["teacher"])
    return write_card(folder, record, report, exports)


def _read_student(folder: Path) -> dict[str, Any]:
    """Return the record of a student's folder, without a token in it or in the file."""
    path = folder / RECORD_NAME
    if not path.is_file() or not any((folder / name).is_file() for name in _WEIGHTS):
        missing = RECORD_NAME if not path.is_file() else _WEIGHTS[0]
        raise ValueError(
            f"{folder} holds no student of hf_distill: there is no {missing}. Name the --output_dir of `hf-distill "
            "train`, or the folder that `DistillationTrainer.save_model` wrote."
        )
    record = _read_json(path)
    if not {"format", "student", "problem_type", "objectives", "training", "versions"} <= record.keys():
        raise ValueError(f"{path} is not the record of a student. Take it from the run again.")
    if (clean := publishable(record)) != record:
        write_record(clean, folder)
    return clean


def _read_json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} is not JSON ({error}). Make it again.") from None
    if not isinstance(value, dict):
        raise ValueError(f"{path} must hold a JSON object, got {type(value).__name__}. Make it again.")
    return value


def _check_age(folder: Path, names: Iterable[str]) -> None:
    """Refuse a report or an export that is older than the weights: it tells of an earlier student."""
    weights = max((folder / name).stat().st_mtime for name in _WEIGHTS if (folder / name).is_file())
    for name in names:
        newest = max(path.stat().st_mtime for path in (folder / name).rglob("*"))
        if newest < weights - _COPYING:
            raise ValueError(
                f"{folder / name} is older than the student's weights, so it is of an earlier student. Make it again, "
                f"or remove it; if it is of this one: touch {shlex.quote(str(folder / name))}/*.json"
            )


def _make_repository(repo_id: str, public: bool, revision: str | None) -> tuple[bool, str | None]:
    """Return whether the repository is private and the newest commit of the branch; made if it is not there."""
    api = HfApi()
    try:
        is_private = bool(api.model_info(repo_id).private)
    except RepositoryNotFoundError:  # or it is not for this token, which the next call is told
        api.create_repo(repo_id, private=not public, exist_ok=True)
        is_private = not public
    if revision is not None and not revision.startswith("refs/"):  # of a pull request, say
        api.create_branch(repo_id, branch=revision, exist_ok=True)
    return is_private, api.model_info(repo_id, revision=revision).sha
