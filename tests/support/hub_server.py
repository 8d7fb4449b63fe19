"""A stand-in for the Hub on the loopback interface, with enough of its HTTP API to push and load models and datasets.

The client libraries read their environment when they are imported, so clients run in separate processes, which change
what was read; see `run_against`.
"""

import base64
import hashlib
import json
import os
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from subprocess import CompletedProcess
from urllib.parse import parse_qs, unquote, urlsplit

import yaml
from forked import run_forked
from huggingface_hub import HfApi, constants, hf_api

USER = "tester"
TOKEN = "hf_test_token_of_nobody"
# Packages that keep settings of the environment in constants.
_CLIENTS = ("huggingface_hub", "datasets", "evaluate", "transformers", "accelerate")
LFS_SUFFIXES = (".safetensors", ".bin", ".parquet", ".onnx")


@dataclass
class Repo:
    files: dict[str, bytes] = field(default_factory=dict)
    commits: list[str] = field(default_factory=list)  # their messages
    sha: str = "0" * 40
    is_private: bool = False
    is_gated: bool = False  # its files need a permission that nobody has
    branches: dict[str, "Repo"] = field(default_factory=dict)

    def at(self, revision: str) -> "Repo":
        """The files and commits of a branch, by its name or its newest commit."""
        if revision in ("main", self.sha):
            return self
        for name, branch in self.branches.items():
            if revision in (name, branch.sha):
                return branch
        raise Refused(404, "RevisionNotFound")


class Refused(Exception):
    """An answer other than 200. The client turns its status code into an exception class."""

    def __init__(self, status: int, code: str = "", **answer: str):
        super().__init__(f"{status} {code}")
        self.status, self.code, self.answer = status, code, {"error": str(self), **answer}


class HubServer:
    """`with HubServer() as server:` answers at `server.url`, and notes every request in `server.calls`.

    `server.fail_with = {"commit": 503}` refuses commits from then on, `{"upload": 403}` the content of large files:
    any part of a path will do. To a 5xx for an upload the client gives in only after six tries and half a minute.
    `server.before_commit = function` is called once when a commit arrives: somebody else was faster.
    `server.dies_at = "commit"` makes it hang up there without an answer, and on all that comes after. Whoever sends a
    wrong token is refused, as is who sends none and wants to change something or to see what is private. `fail_saying`
    is what a refusal says.
    """

    def __init__(self) -> None:
        self.repos: dict[str, Repo] = {}
        self.blobs: dict[str, bytes] = {}
        self.calls: list[str] = []
        self.fail_with: dict[str, int] = {}
        self.tokens = {TOKEN}
        self.fail_saying: dict[str, str] = {}
        self.dies_at: str | None = None
        self.before_commit: Callable[[], object] | None = None
        self.is_dead = False
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": self}))
        self.url = f"http://127.0.0.1:{self._http.server_port}"

    def __enter__(self) -> "HubServer":
        threading.Thread(target=self._http.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._http.shutdown()
        self._http.server_close()

    def repo(self, repo_id: str) -> Repo:
        if repo_id not in self.repos:
            raise Refused(404, "RepoNotFound")
        return self.repos[repo_id]

    def answer(self, path: str, body: bytes, query: str = ""):
        """Return JSON for a path of the API, or raise `Refused`."""
        match path.split("/"):
            case ["api", "whoami-v2"]:
                return {"type": "user", "name": USER, "orgs": []}
            case ["api", "validate-yaml"]:
                return self._validate_card(json.loads(body)["content"])
            case ["api", "repos", "create"]:
                return self._create(json.loads(body))
            case ["api", "models", user, name, *rest]:
                return self._answer_repo(f"{user}/{name}", rest, body, query)
            case ["api", "datasets", user, name, *rest]:
                return self._answer_repo(f"datasets/{user}/{name}", rest, body)
            case [*_, "info", "lfs", "objects", "batch"]:
                objects = json.loads(body)["objects"]
                return {"objects": [self._lfs_actions(each) for each in objects]}
            case ["upload", oid] if hashlib.sha256(body).hexdigest() == oid:
                self.blobs[oid] = body
                return {}
        raise Refused(404, "EntryNotFound")

    def _lfs_actions(self, wanted: dict) -> dict:
        """Return the address to send a file to; nothing for a file that has arrived before."""
        if wanted["oid"] in self.blobs:
            return wanted
        return {**wanted, "actions": {"upload": {"href": f"{self.url}/upload/{wanted['oid']}"}}}

    def _validate_card(self, content: str):
        head, *rest = content.replace("\r\n", "\n").split("---\n")
        try:
            for model in yaml.safe_load(rest[0]).get("model-index", []) if not head and rest else []:
                _ = [(r["task"]["type"], r["dataset"]["type"], r["metrics"][0]["value"]) for r in model["results"]]
        except (IndexError, KeyError, AttributeError, yaml.YAMLError) as error:
            raise Refused(400, "BadCard") from error
        return {"errors": [], "warnings": []}

    def _create(self, wanted: dict):
        kind = "datasets/" if wanted.get("type") == "dataset" else ""
        repo_id = f"{kind}{wanted.get('organization') or USER}/{wanted['name']}"
        if repo_id in self.repos:
            raise Refused(409, url=f"{self.url}/{repo_id}")  # the client ignores this error if `exist_ok` was passed
        self.repos[repo_id] = Repo(is_private=wanted.get("visibility") == "private")
        return {"url": f"{self.url}/{repo_id}"}

    def _answer_repo(self, repo_id: str, rest: list[str], body: bytes, query: str = ""):
        repo = self.repo(repo_id)
        match rest:
            case []:
                return _describe_repo(repo_id, repo)
            case ["revision", revision]:
                return _describe_repo(repo_id, repo.at(revision))
            case ["branch", branch] if branch in repo.branches:
                raise Refused(409)
            case ["branch", branch]:
                repo.branches[branch] = Repo(dict(repo.files), list(repo.commits), repo.sha)
                return {}
            case ["preupload", revision]:
                files = repo.at(revision).files
                return {"files": [_upload_mode(file["path"], files) for file in json.loads(body)["files"]]}
            case ["commit", revision]:
                if self.before_commit is not None:
                    action, self.before_commit = self.before_commit, None
                    action()
                return self._commit(repo_id, repo, revision, body, "create_pr=1" in query)
            case ["tree", revision, *folder]:
                prefix, files = "/".join([*folder, ""]), repo.at(revision).files
                return [_describe(path, content) for path, content in files.items() if path.startswith(prefix)]
            case ["paths-info", revision]:
                paths, files = parse_qs(body.decode())["paths"], repo.at(revision).files
                return [_describe(path, files[path]) for path in paths if path in files]
        raise Refused(404, "EntryNotFound")

    def _commit(self, repo_id: str, parent: Repo, revision: str, body: bytes, is_pull_request: bool):
        branch, answer = parent.at(revision), {}
        operations = [json.loads(line) for line in body.splitlines()]
        if operations[0]["value"].get("parentCommit", branch.sha) != branch.sha:
            raise Refused(412, error="A commit has happened since. Please refresh and try again.")
        if is_pull_request:
            number = 1 + sum(name.startswith("refs/pr/") for name in parent.branches)
            branch = parent.branches[f"refs/pr/{number}"] = Repo(dict(branch.files), list(branch.commits), branch.sha)
            answer = {"pullRequestUrl": f"{self.url}/{repo_id}/discussions/{number}"}
        for operation in operations:
            value = operation["value"]
            match operation["key"]:
                case "header":
                    branch.commits.append(value["summary"])
                case "file":
                    branch.files[value["path"]] = base64.b64decode(value["content"])
                case "lfsFile":
                    branch.files[value["path"]] = self.blobs[value["oid"]]
                case "deletedFile":
                    del branch.files[value["path"]]
        branch.sha = hashlib.sha1(branch.sha.encode() + body).hexdigest()
        return {"commitOid": branch.sha, "commitUrl": f"{self.url}/{repo_id}/commit/{branch.sha}", **answer}


def _describe_repo(repo_id: str, repo: Repo) -> dict:
    described = {"id": repo_id, "sha": repo.sha, "private": repo.is_private}
    head, *rest = repo.files.get("README.md", b"").decode().replace("\r\n", "\n").split("---\n")
    if not head and rest:
        try:
            described["cardData"] = yaml.safe_load(rest[0])
        except yaml.YAMLError:
            described["cardData"] = None
    return {**described, "siblings": [{"rfilename": path} for path in repo.files]}


def _upload_mode(path: str, files: dict[str, bytes]) -> dict:
    """Return how to send a file, and the `oid` of the stored file: the client does not send an equal one."""
    mode = {"path": path, "uploadMode": "lfs" if path.endswith(LFS_SUFFIXES) else "regular", "shouldIgnore": False}
    if path in files:
        described = _describe(path, files[path])
        mode["oid"] = described.get("lfs", described)["oid"]
    return mode


def _describe(path: str, content: bytes) -> dict:
    blob = f"blob {len(content)}\0".encode() + content  # the bytes that git hashes
    described = {"type": "file", "path": path, "size": len(content), "oid": hashlib.sha1(blob).hexdigest()}
    if path.endswith(LFS_SUFFIXES):
        described["lfs"] = {"oid": hashlib.sha256(content).hexdigest(), "size": len(content), "pointerSize": 130}
    return described


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: HubServer

    def handle_request(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        path, query = unquote(urlsplit(self.path).path).strip("/"), urlsplit(self.path).query
        self.hub.calls.append(f"{self.command} /{path}")
        self.hub.is_dead |= self.hub.dies_at in path.split("/")
        if self.hub.is_dead:
            self.close_connection = True
            return
        try:
            for part in self.hub.fail_with.keys() & path.split("/"):
                raise Refused(self.hub.fail_with[part], **self.hub.fail_saying)
            self._check_token(path)
            match path.split("/"):
                case [user, name, "resolve", revision, *parts]:
                    self._send_file(self.hub.repo(f"{user}/{name}").at(revision), "/".join(parts))
                case ["datasets", user, name, "resolve", revision, *parts]:
                    self._send_file(self.hub.repo(f"datasets/{user}/{name}").at(revision), "/".join(parts))
                case _:
                    answer = self.hub.answer(path.replace(".git/", "/"), body, query)
                    self._reply(200, json.dumps(answer).encode(), {})
        except Refused as refused:
            self._reply(refused.status, json.dumps(refused.answer).encode(), {"X-Error-Code": refused.code})

    do_GET = do_HEAD = do_POST = do_PUT = handle_request

    def _check_token(self, path: str) -> None:
        given = self.headers.get("Authorization")
        repo = self.hub.repos.get("/".join(path.removeprefix("api/models/").split("/")[:2]))
        is_public = path.startswith("upload/") or path == "api/validate-yaml"  # the upload link is itself a secret
        is_public |= self.command in ("GET", "HEAD") and not (repo and repo.is_private)
        is_known = given is not None and given.removeprefix("Bearer ") in self.hub.tokens
        if not is_known and not (given is None and is_public):
            raise Refused(401, error="Invalid username or password.")

    def log_message(self, *args: object) -> None:
        """Print nothing."""

    def _send_file(self, repo: Repo, path: str) -> None:
        if repo.is_gated:
            raise Refused(403, "GatedRepo")
        if path not in repo.files:
            raise Refused(404, "EntryNotFound")
        etag = hashlib.sha256(repo.files[path]).hexdigest()
        self._reply(200, repo.files[path], {"ETag": etag, "X-Repo-Commit": repo.sha})

    def _reply(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


def run_against(server: HubServer, script: str, tmp_path: Path, token: str | None = TOKEN) -> CompletedProcess:
    """Run Python code in `tmp_path` with this server for its Hub, a token and an empty cache; it can import `tiny`."""

    def run() -> None:
        _use_hub(server.url, tmp_path / "hf_home", token)
        os.chdir(tmp_path)
        exec(compile(script, "<script>", "exec"), {"__name__": "__main__"})

    return run_forked(run)


def _use_hub(url: str, home: Path, token: str | None) -> None:
    """Let this process use another Hub, as if the variables had been set before the imports."""
    # Offline switches of the test session must not reach the client, and a proxy cannot reach the loopback interface.
    unwanted = ("HF_", "HUGGING", "TRANSFORMERS_", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
    for name in [name for name in os.environ if name.upper().startswith(unwanted)]:
        del os.environ[name]
    os.environ |= {"HF_ENDPOINT": url, "HF_HOME": str(home), **({"HF_TOKEN": token} if token else {})}
    changed = {constants.ENDPOINT: url, constants.HF_HOME: str(home)}
    for module in [module for name, module in sys.modules.items() if name.partition(".")[0] in _CLIENTS]:
        for name, value in list(vars(module).items()):
            for before, after in changed.items():
                if isinstance(value, str | Path) and str(value).startswith(before):
                    setattr(module, name, type(value)(str(value).replace(before, after, 1)))
            if name.endswith("_OFFLINE") and value is True:
                setattr(module, name, False)
            if isinstance(value, HfApi):  # transformers keeps one of these
                value.endpoint = url
    constants.HF_HUB_DISABLE_XET = True  # otherwise large files go through Xet instead of LFS
    constants.HF_HUB_DISABLE_TELEMETRY = True
    hf_api.api.endpoint = url
