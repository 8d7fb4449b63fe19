"""The study of a search: where it is stored, which search it belongs to, and which of its trials are alive."""

import contextlib
import hashlib
import json
import os
import socket
import sys
import threading
import time
import uuid
import warnings
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend, JournalRedisBackend
from optuna.trial import TrialState
from sqlalchemy.exc import SQLAlchemyError

if sys.platform != "win32":  # which has no such locks; there a killed search leaves a trial that counts as running
    import fcntl

_FINGERPRINT, _WORKER = "fingerprint", "worker"
_HEARTBEAT, _GRACE = 60.0, 300.0  # seconds between signs of life, and without one until a process counts as dead
_SQLITE_TIMEOUT = 60  # seconds that a process waits for another one's write


def open_study(url: str, name: str, fingerprint: Mapping[str, Any]) -> optuna.Study:
    """Open a study, or create it.

    Args:
        url: A database (`sqlite:///study.db`), a journal file (`journal:///folder/study.log`), or `redis://...`.
        name: Name of the study.
        fingerprint: What the results depend on, by name; a study with another fingerprint is another search.

    Raises:
        ValueError: if the storage cannot be opened, or has another search under this name.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = _open_or_create(url, name)
    fingerprint = json.loads(json.dumps(fingerprint))
    stored = study.user_attrs.get(_FINGERPRINT)
    if stored is None:
        if study.get_trials(deepcopy=False):
            raise ValueError(f"The study {name!r} was not made by `hf-distill search`. Choose another --study_name.")
        study.set_user_attr(_FINGERPRINT, fingerprint)
    elif stored != fingerprint:
        raise ValueError(
            f"The storage has another search under the name {name!r}: {_differences(stored, fingerprint)}. Repeat the "
            "settings of that search to resume it, or choose another --output_dir or --study_name."
        )
    return study


def search_id(study: optuna.Study) -> str:
    """Return a hash of the fingerprint of a search."""
    text = json.dumps(study.user_attrs[_FINGERPRINT], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _open_or_create(url: str, name: str) -> optuna.Study:
    try:
        return optuna.create_study(
            storage=_open_storage(url),
            study_name=name,
            direction="maximize",
            load_if_exists=True,
        )
    except _opening_errors(url) as error:
        # The error can repeat the URL, which can contain a password.
        raise ValueError(
            f"The storage cannot be opened ({type(error).__name__}). Pass a database such as "
            "sqlite:///folder/study.db, or a journal file such as journal:///folder/study.log. Other databases need "
            "their driver, and redis://host the package redis."
        ) from None


def _opening_errors(url: str) -> tuple[type[Exception], ...]:
    errors = (SQLAlchemyError, ImportError, ValueError, OSError)
    if url.startswith("redis") and find_spec("redis") is not None:
        from redis.exceptions import RedisError  # not a dependency

        return *errors, RedisError
    return errors


def _open_storage(url: str) -> BaseStorage:
    if url.startswith("redis"):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            return JournalStorage(JournalRedisBackend(url))
    if url.startswith("journal://"):
        path = Path(url.removeprefix("journal://"))
        path.parent.mkdir(parents=True, exist_ok=True)
        return JournalStorage(JournalFileBackend(str(path)))
    if url.startswith("sqlite:///"):
        Path(url.removeprefix("sqlite:///")).parent.mkdir(parents=True, exist_ok=True)
    settings = {"connect_args": {"timeout": _SQLITE_TIMEOUT}} if url.startswith("sqlite") else {}
    return RDBStorage(url, engine_kwargs=settings)


def _differences(stored: Mapping[str, Any], given: Mapping[str, Any]) -> str:
    changed = [key for key in {**stored, **given} if stored.get(key) != given.get(key)]
    return "; ".join(f"{key} was {_short(stored.get(key))}, now {_short(given.get(key))}" for key in changed)


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) < 200 else f"{text[:200]} ..."


@contextlib.contextmanager
def alone(path: Path) -> Iterator[None]:
    """Wait until no other process is in this block with the same lock file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        if sys.platform != "win32":
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


class Worker:
    """A process that works on a study.

    Other processes on this machine know it by a lock file, and other machines by a sign of life every minute.

    Args:
        path: The lock file. The operating system drops the lock when the process ends, however it ends.
    """

    def __init__(self, path: Path) -> None:
        self._path = path.absolute()

    def claim(self, trial: optuna.Trial) -> None:
        """Note in a trial that this process runs it, and is alive now."""
        trial.set_user_attr(_WORKER, {"host": socket.gethostname(), "lock": str(self._path), "seen": time.time()})

    @contextlib.contextmanager
    def running(self, trial: optuna.Trial) -> Iterator[None]:
        """Claim a trial, and give signs of life in this block."""
        self.claim(trial)
        ended = threading.Event()
        thread = threading.Thread(target=self._give_signs_of_life, args=(trial, ended), daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    def _give_signs_of_life(self, trial: optuna.Trial, ended: threading.Event) -> None:
        while not ended.wait(_HEARTBEAT):
            # A storage that cannot be reached now can be back in a minute; a trial that another machine took for dead
            # is finished.
            errors = optuna.exceptions
            with contextlib.suppress(errors.StorageInternalError, errors.UpdateFinishedTrialError, OSError):
                self.claim(trial)


@contextlib.contextmanager
def working(output_dir: Path) -> Iterator[Worker]:
    """Hold the lock of a worker in the output folder of a search."""
    path = output_dir / ".workers" / f"{uuid.uuid4().hex}.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        if sys.platform != "win32":
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield Worker(path)
    finally:
        path.unlink(missing_ok=True)
        os.close(descriptor)


def fail_dead_trials(study: optuna.Study) -> int:
    """Mark the running trials of processes that have ended as failed, so that they are repeated.

    A process of this machine has ended if nobody holds its lock, a process of another machine if it has given no sign
    of life for five minutes.

    Returns:
        The number of trials that are still running.
    """
    running = study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
    dead = [trial for trial in running if not _is_alive(trial)]
    for trial in dead:
        with contextlib.suppress(optuna.exceptions.UpdateFinishedTrialError):  # another process was faster
            study.tell(trial.number, state=TrialState.FAIL, skip_if_finished=True)
    return len(running) - len(dead)


def _is_alive(trial: optuna.trial.FrozenTrial) -> bool:
    worker = trial.user_attrs.get(_WORKER)
    if worker is None:  # between the start of a trial and its claim; a process can die there
        return trial.datetime_start is None or datetime.now() - trial.datetime_start < timedelta(seconds=_GRACE)
    if worker["host"] != socket.gethostname():
        return time.time() - worker["seen"] < _GRACE
    return _is_held(Path(worker["lock"]))


def _is_held(path: Path) -> bool:
    if sys.platform == "win32":
        return path.exists()
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    path.unlink(missing_ok=True)
    return False
