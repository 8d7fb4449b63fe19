"""What a branch of a repository on the Hub has before a push."""

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from huggingface_hub import HfApi
from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError
from huggingface_hub.hf_api import RepoFile

from hf_distill.export.layout import EXPORT_NAME
from hf_distill.hub.card.files import CARD_NAME, SECOND_CARD_NAME
from hf_distill.hub.card.markers import digest
from hf_distill.record import RECORD_NAME

MANIFEST_NAME = "hf_distill_files.json"  # in the repository: the files that hf_distill has pushed
_TEXTS = (CARD_NAME, SECOND_CARD_NAME, MANIFEST_NAME)


class Branch(NamedTuple):
    """A branch of a repository.

    Attributes:
        head: Hash of its newest commit; None if the repository does not exist, or this token cannot see it.
        is_private: Whether the repository is private.
        exists: Whether the branch exists. If it does not, the other attributes are about the main branch, from which
            it is created.
        files: Path -> SHA-256 of the content of a large file, or None for a small one.
        texts: The content of the cards and of the manifest.
    """

    head: str | None
    is_private: bool
    exists: bool
    files: dict[str, str | None]
    texts: dict[str, str]

    def written_files(self) -> set[str]:
        """Return the files that earlier pushes of hf_distill wrote, as the manifest says.

        Without a manifest, these are the report and the folders with an `export.json` next to a `distillation.json`.

        Raises:
            ValueError: if the manifest was damaged.
        """
        if MANIFEST_NAME in self.texts:
            return set(self._manifest()["files"]) & self.files.keys()
        if RECORD_NAME not in self.files:
            return set()
        folders = {"report", *(path.split("/")[0] for path in self.files if path.endswith(f"/{EXPORT_NAME}"))}
        return {path for path in self.files if "/" in path and path.split("/")[0] in folders}

    def is_card_as_pushed(self, name: str) -> bool:
        """Return whether nobody has edited a card since it was pushed."""
        cards = self._manifest()["cards"] if MANIFEST_NAME in self.texts else {}
        return name in self.texts and cards.get(name) == digest(self.texts[name])

    def _manifest(self) -> dict[str, Any]:
        try:
            manifest = json.loads(self.texts[MANIFEST_NAME])
            return {"files": list(manifest["files"]), "cards": dict(manifest["cards"])}
        except (json.JSONDecodeError, KeyError, TypeError, ValueError):
            raise ValueError(
                f"{MANIFEST_NAME} in the repository is damaged. It lists the files that hf_distill pushed. Delete it "
                "on the Hub, remove files of an earlier student by hand, and push again."
            ) from None


def make_manifest(files: set[str], cards: dict[str, str]) -> bytes:
    """Return the manifest.

    Args:
        files: Paths in the repository.
        cards: Name -> content of the cards that are pushed.
    """
    digests = {name: digest(content) for name, content in sorted(cards.items())}
    return (json.dumps({"format": 1, "files": sorted(files), "cards": digests}, indent=2) + "\n").encode()


def look(api: HfApi, repo_id: str, revision: str | None) -> Branch:
    """Return what a branch has; nothing is changed."""
    try:
        info = api.model_info(repo_id)
    except GatedRepoError:
        raise
    except RepositoryNotFoundError:  # or the token cannot see it; then creating it fails
        return Branch(None, True, revision is None, {}, {})
    is_private, exists = bool(info.private), True
    if revision is not None:
        try:
            info = api.model_info(repo_id, revision=revision)
        except RevisionNotFoundError:
            exists = False
    head = str(info.sha)
    entries = api.list_repo_tree(repo_id, recursive=True, revision=head)
    files = {e.path: e.lfs.sha256 if e.lfs else None for e in entries if isinstance(e, RepoFile)}
    with TemporaryDirectory() as folder:  # the shared cache would keep a copy of every version
        texts = {
            name: Path(api.hf_hub_download(repo_id, name, revision=head, local_dir=folder))
            .read_bytes()
            .decode("utf-8", errors="surrogateescape")
            for name in _TEXTS
            if name in files
        }
    return Branch(head, is_private, exists, files, texts)
