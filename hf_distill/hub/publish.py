"""Publish a finished folder: student, exports, report, record and card in one commit, which can be retried."""

import os
import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from huggingface_hub import CommitInfo, HfApi, get_token

from hf_distill.hub.card.files import (
    CARD_NAME,
    SECOND_CARD_NAME,
    find_licenses,
    read_report,
    read_text,
    save_text,
    write_card,
)
from hf_distill.hub.card.front_matter import read_metadata, split_card
from hf_distill.hub.card.hub_edits import choose_card
from hf_distill.hub.exports import PlacedExports, check_exports, place_exports
from hf_distill.hub.repository import MANIFEST_NAME, Branch, look
from hf_distill.hub.upload import (
    REPORT_FOLDER,
    check_no_token,
    explain,
    files_to_push,
    find_exports,
    is_published,
    upload,
)
from hf_distill.record import RECORD_NAME, read_json, read_record
from hf_distill.reporting.text import one_line

_WEIGHTS, _INDEX = "model.safetensors", "model.safetensors.index.json"
_STUDENTS = (_WEIGHTS, _INDEX, "adapter_model.safetensors")  # a student has one of these files
_COPY_SECONDS = 60.0  # files of one folder that was copied can differ in age by this much
COMMIT_MESSAGE = "Student, exports, report, record and card"


class Published(NamedTuple):
    """The result of a push.

    Attributes:
        commit: The newest commit of the branch, or the commit of the pull request.
        is_new: Whether the push made this commit. It makes none if nothing has changed.
        is_private: Whether the repository is private.
        files: Paths of the files in the repository.
        removed: Paths of the files of an earlier student that the push removed from the repository.
        kept_back: Names of files and folders that were not published.
        notes: Sentences about text and metadata of the card that were kept as the user wrote them, about exports
            that could not be compared with the weights, and the report's verdict if it is not yes.
    """

    commit: CommitInfo
    is_new: bool
    is_private: bool
    files: list[str]
    removed: list[str]
    kept_back: list[str]
    notes: list[str]


class _Student(NamedTuple):
    """What the folder of a student has, apart from its files."""

    record: dict[str, Any]
    report: dict[str, Any] | None
    exports: PlacedExports
    notes: list[str]


class _Target(NamedTuple):
    """Where and how to push."""

    repo_id: str
    public: bool
    revision: str | None
    commit_message: str
    create_pr: bool


def publish(
    folder: str | os.PathLike,
    repo_id: str,
    *,
    public: bool = False,
    revision: str | None = None,
    commit_message: str = COMMIT_MESSAGE,
    create_pr: bool = False,
    license: str | None = None,
    language: str | Sequence[str] | None = None,
    tags: Sequence[str] = (),
) -> Published:
    """Publish a student's folder. A second call uploads only what has changed.

    The same commit removes what an earlier push wrote and the folder no longer has. If the weights change, it also
    removes older weights, exports and tokenizer files of the usual names.

    The sections of the card are written again from the record, and from `report/report.json` if it exists. What the
    user wrote stays: text and metadata, in the folder and on the Hub. The folder then has the card that was published.

    Args:
        folder: The `output_dir` of `hf-distill train`, which can contain exports and the report.
        repo_id: `user/name` on the Hub.
        public: Whether a new repository is public. The visibility of an existing repository does not change.
        revision: Branch, which is created if it does not exist; None for the main branch.
        commit_message: Message of the commit.
        create_pr: Whether to open a pull request instead of a commit to the branch.
        license: License of the student, as an identifier of the Hub, e.g. "apache-2.0".
        language: Language of the texts as an ISO 639-1 code, e.g. "en", or several.
        tags: Tags in addition to those of the card.

    Raises:
        ValueError: if the folder has no student of hf_distill, an export of another model, a link that leads out of
            it, or a file with a token; if a card was edited in the folder and on the Hub. Nothing has been uploaded by
            then.
        ConnectionError: if the Hub does not accept the push. The message says what was done and how to continue.
    """
    folder, target = Path(folder), _Target(repo_id, public, revision, commit_message, create_pr)
    if repo_id.count("/") != 1:
        raise ValueError(f"The name of a model on the Hub must be user/name, got {repo_id!r}.")
    metadata = {"license": license, "language": language, "tags": list(tags)}
    given = {key: value for key, value in metadata.items() if value}
    student, token, api = _read_student(folder), _find_token(), HfApi()
    state = "Nothing was uploaded."
    try:
        branch = look(api, repo_id, revision)
        _check_pull_request(target, branch)
        update_cards(folder, branch)
        record = find_licenses({**student.record, "student": {**student.record["student"], "name": repo_id}})
        notes = student.notes + write_card(folder, record, student.report, student.exports.record, given)
        files, texts = _choose_files(folder, student.exports, token), student.exports.texts()
        branch = _make_branch(api, target, branch)
        state = f"The repository {repo_id} exists; large files that have arrived are not uploaded again."
        uploaded = upload(
            api, repo_id, {**files, **texts}, branch, commit_message=commit_message, revision=revision,
            create_pr=create_pr,
        )  # fmt: skip
    except ValueError:
        raise
    except Exception as error:  # many causes: no connection, no permission, a full disk
        raise ConnectionError(
            f"The push failed: {explain(error, token)}. {state} All files are published in one commit, or none. To "
            f"continue, run: {_command(folder, target, given)}"
        ) from None  # the cause can contain a token
    published = {path.relative_to(folder).parts[0] for path in files.values()} | {MANIFEST_NAME, *texts}
    kept_back = sorted(path.name for path in folder.iterdir() if path.name not in published)
    is_new = uploaded.commit.oid != branch.head
    return Published(
        uploaded.commit, is_new, branch.is_private, sorted({*files, *texts}), uploaded.removed, kept_back, notes
    )


def update_cards(folder: Path, branch: Branch) -> None:
    """Copy the edits that were made to the cards on the Hub into the folder.

    Raises:
        ValueError: if a card was edited in both places, or its metadata cannot be read.
    """
    for name in (CARD_NAME, SECOND_CARD_NAME):
        path = folder / name
        local = read_text(path) if path.is_file() else None
        try:
            card = choose_card(local, branch.texts.get(name), branch.is_card_as_pushed(name))
        except ValueError as error:
            raise ValueError(
                f"{path} cannot be combined with {name} on the Hub: {error}. Nothing was pushed. Put what you want to "
                f"keep into {name} on the Hub, delete {path}, and push again."
            ) from None
        if card is not None and card != local:
            save_text(folder, name, card)


def _choose_files(folder: Path, exports: PlacedExports, token: str) -> dict[str, Path]:
    """Return the files to push, after the checks that the Hub would make, and those that it would not make."""
    files = files_to_push(folder) | {name: path for name, path in exports.files.items() if is_published(path, folder)}
    check_no_token(files, token)
    try:
        read_metadata(split_card(read_text(folder / CARD_NAME)))
    except ValueError as error:
        raise ValueError(
            f"{folder / CARD_NAME}: {error}. The Hub accepts no such card: correct or delete it."
        ) from None
    return files


def _check_pull_request(target: _Target, branch: Branch) -> None:
    if target.create_pr and not (branch.head and branch.exists):
        missing = f"branch {target.revision}" if branch.head else f"repository {target.repo_id}"
        raise ValueError(
            f"A pull request needs a branch that exists, and there is no {missing} that this token can see. Push "
            "without --create_pr to create it."
        )


def _command(folder: Path, target: _Target, given: Mapping[str, Any]) -> str:
    words = ["hf-distill", "push", "--folder", str(folder), "--hub_model_id", target.repo_id]
    words += ["--public"] if target.public else []
    words += ["--revision", target.revision] if target.revision else []
    words += ["--commit_message", target.commit_message] if target.commit_message != COMMIT_MESSAGE else []
    words += ["--create_pr"] if target.create_pr else []
    for name, value in given.items():
        words += [f"--{name}", value if isinstance(value, str) else ",".join(value)]
    return shlex.join(words)


def _find_token() -> str:
    if (token := get_token()) is None:
        raise ConnectionError(
            "There is no Hub token, so nothing was pushed. Log in with `hf auth login`, or set HF_TOKEN to a token "
            "with write access, and run the same command again."
        )
    return token


def _read_student(folder: Path) -> _Student:
    """Read and check a student's folder. The record is published too, so a token in it is removed first."""
    if not (folder / RECORD_NAME).is_file() or not any((folder / name).is_file() for name in _STUDENTS):
        missing = RECORD_NAME if not (folder / RECORD_NAME).is_file() else _WEIGHTS
        raise ValueError(
            f"{folder} has no student of hf_distill: there is no {missing}. Pass the --output_dir of `hf-distill "
            "train`, or the folder that `DistillationTrainer.save_model` wrote."
        )
    _check_weights(folder)
    record = read_record(folder)
    report = read_report(folder / REPORT_FOLDER / "report.json", record)
    names = find_exports(folder)
    _check_age(folder, [*([REPORT_FOLDER] if report else []), *("onnx" if name == "." else name for name in names)])
    notes = _about_verdict(report) + check_exports(folder, names)
    return _Student(record, report, place_exports(folder, names), notes)


def _about_verdict(report: Mapping[str, Any] | None) -> list[str]:
    """Return the first sentence of the report's verdict, if the verdict is not yes."""
    if report is None or report["verdict"]["replace"]:
        return []
    first = one_line(report["verdict"]["sentence"]).partition(". ")[0].removesuffix(".")
    return [f"The report in this folder says: {first}."]


def _check_weights(folder: Path) -> None:
    """Refuse a folder in which two sets of weights are mixed: `from_pretrained` could load the older one."""
    index = folder / _INDEX
    if not index.is_file():
        return
    if (folder / _WEIGHTS).is_file():
        raise ValueError(
            f"{folder} has both {_WEIGHTS} and {_INDEX}, which are two students. Remove the files of the older one."
        )
    named = set(read_json(index)["weight_map"].values())
    present = {path.name for path in folder.glob("model-*-of-*.safetensors")}
    if missing := sorted(named - present):
        raise ValueError(f"{folder} has no {missing[0]}, which {_INDEX} names. Save the student again.")
    if left_over := sorted(present - named):
        raise ValueError(f"{folder} has {left_over[0]}, which {_INDEX} does not name. Remove this file.")


def _check_age(folder: Path, names: Iterable[str]) -> None:
    """Refuse a report or an export that is older than the weights, because it is about an earlier student."""
    weights = max((folder / name).stat().st_mtime for name in _STUDENTS if (folder / name).is_file())
    for name in names:
        newest = max((path.stat().st_mtime for path in (folder / name).rglob("*")), default=weights)
        if newest < weights - _COPY_SECONDS:
            raise ValueError(
                f"{folder / name} is older than the student's weights, so it is about an earlier student. Create it "
                f"again or remove it. If it is about this student, run: touch {shlex.quote(str(folder / name))}/*.json"
            )


def _make_branch(api: HfApi, target: _Target, branch: Branch) -> Branch:
    """Create repository and branch if they do not exist; return the branch with its newest commit."""
    if branch.head is None:
        api.create_repo(target.repo_id, private=not target.public, exist_ok=True)
        branch = branch._replace(head=api.model_info(target.repo_id).sha, is_private=not target.public)
    if not branch.exists and target.revision is not None:
        api.create_branch(target.repo_id, branch=target.revision, exist_ok=True)
    return branch
