"""Measure time, memory and disk space of the store and the cache by number of rows, each size in a new process."""

import ctypes
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import datasets
import numpy as np
from random_models import VOCABULARY, make_model, make_tokenizer, prepare_process
from tables import Row
from transformers import PreTrainedTokenizerFast

from hf_distill import TeacherCache
from hf_distill.cache import output_cache, teacher_cache
from hf_distill.cache.cached_output import CachedOutput
from hf_distill.cache.store import KEY, Store
from hf_distill.teachers import Teacher

CHUNK = 10_000  # number of rows in one lookup


def in_new_process(function: Callable[..., Any], *args: Any) -> Any:
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(function, *args).result()


def clock(function: Callable[[], Any], now: Callable[[], float] = time.process_time) -> float:
    """Return the CPU seconds of a call in this process, which has one thread."""
    start = now()
    function()
    return now() - start


class Memory:
    """Measures the memory that a block adds to this process, in MB: `held` at its end, and `peak`."""

    def __enter__(self) -> "Memory":
        ctypes.CDLL(None).malloc_trim(0)  # memory freed before the block would hide new allocations
        Path("/proc/self/clear_refs").write_text("5")  # resets the peak
        self._held, self._resident = _status("RssAnon"), _status("VmRSS")
        return self

    def __exit__(self, *_: object) -> None:
        self.peak = _status("VmHWM") - self._resident
        ctypes.CDLL(None).malloc_trim(0)
        self.held = _status("RssAnon") - self._held


def _status(name: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(name + ":"))


def store_growth(num_rows: int, num_labels: int) -> Row:
    with tempfile.TemporaryDirectory() as folder:
        keys = np.frombuffer(np.random.default_rng(0).bytes(16 * num_rows), KEY)
        rows = list(np.random.default_rng(1).standard_normal((output_cache.ROWS_PER_SHARD, num_labels), np.float32))
        store, parts = Store(Path(folder)), np.split(keys, range(len(rows), num_rows, len(rows)))
        seconds = clock(lambda: [store.append(part, rows[: len(part)]) for part in parts], time.perf_counter)
        size = sum(path.stat().st_size for path in Path(folder).iterdir())
        written = {
            "rows": num_rows,
            "classes": num_labels,
            "shards": len(parts),
            "insert us/row": 1e6 * seconds / num_rows,
            "disk B/row": size / num_rows,
        }
        return written | in_new_process(_read_store, folder, keys)


def _read_store(folder: str, keys: np.ndarray) -> Row:
    with Memory() as opened:
        start = time.process_time()
        store = Store(Path(folder))
        seconds = time.process_time() - start
    chunks = np.array_split(np.random.default_rng(2).permutation(keys), max(1, len(keys) // CHUNK))
    with Memory() as read:
        finding = sum(clock(partial(store.find, chunk)) for chunk in chunks)
        finding_and_reading = sum(clock(lambda chunk=chunk: store.rows(store.find(chunk))) for chunk in chunks)
    return {
        "open s": seconds,
        "open us/row": 1e6 * seconds / len(keys),
        "find us/row": 1e6 * finding / len(keys),
        "read us/row": 1e6 * (finding_and_reading - finding) / len(keys),
        "find one us": 1e6 * statistics.median(clock(lambda: store.find(keys[:1])) for _ in range(9)),
        "held by open MB": opened.held,
        "peak of open MB": opened.peak,
        "held by reading MB": read.held,
    }


def cache_growth(num_rows: int) -> tuple[list[Row], list[Row]]:
    with tempfile.TemporaryDirectory() as folder:
        lengths = np.random.default_rng(0).integers(4, 12, num_rows)
        token_ids = np.random.default_rng(1).integers(1, VOCABULARY, (num_rows, 12))
        token_ids[:, :3] = 1 + np.arange(num_rows)[:, None] // 900 ** np.arange(3) % 900  # no two rows are equal
        rows = [ids[:length].tolist() for ids, length in zip(token_ids, lengths, strict=True)]
        datasets.Dataset.from_dict({"input_ids": rows}).save_to_disk(f"{folder}/rows")
        datasets.Dataset.from_dict({"input_ids": rows[::-1]}).save_to_disk(f"{folder}/in another order")
        return in_new_process(_label, folder, num_rows)


def _label(folder: str, num_rows: int) -> tuple[list[Row], list[Row]]:
    prepare_process()
    calls, parts = [], []
    cases = [("nothing is stored", "rows"), ("all is stored, new order of rows", "in another order")]
    cases += [("all is stored, known order of rows", "rows")]
    _label_once(f"{folder}/warm-up", datasets.load_from_disk(f"{folder}/rows").select(range(100)), {})
    for name, rows in cases:
        dataset = datasets.load_from_disk(f"{folder}/{rows}")
        seconds: dict[str, float] = {}
        with Memory() as memory:
            total = clock(partial(_label_once, f"{folder}/cache", dataset, seconds))
        calls.append(
            {
                "call": name,
                "rows": num_rows,
                "s": total,
                "us/row": 1e6 * total / num_rows,
                "held MB": memory.held,
                "peak MB": memory.peak,
            }
        )
        us = {part: 1e6 * value / num_rows for part, value in seconds.items()}
        parts.append({"call": name, "rows": num_rows, **us, "rest": calls[-1]["us/row"] - sum(us.values())})
    return calls, parts


def _label_once(folder: str, dataset: datasets.Dataset, seconds: dict[str, float]) -> None:
    with measured(
        seconds,
        {
            "keys": (teacher_cache, "hash_rows"),
            "open": (Store, "refresh"),
            "find": (Store, "find"),
            "teacher": (Teacher, "__call__"),
            "padding": (PreTrainedTokenizerFast, "pad"),
            "to rows": (CachedOutput, "flat_rows"),
            "append": (Store, "append"),
            "read": (Store, "rows"),
            "check column": (output_cache, "checksum"),
        },
    ):
        TeacherCache(folder, make_model(2, 32, 2, seed=0), make_tokenizer()).label(dataset)


@contextmanager
def measured(seconds: dict[str, float], functions: dict[str, tuple[Any, str]]) -> Iterator[None]:
    """Add up the CPU seconds that each function takes, by name."""
    originals = {name: getattr(owner, attribute) for name, (owner, attribute) in functions.items()}

    def timed(name: str, *args: Any, **kwargs: Any) -> Any:
        start = time.process_time()
        result = originals[name](*args, **kwargs)
        seconds[name] += time.process_time() - start
        return result

    for name, (owner, attribute) in functions.items():
        seconds[name] = 0.0
        setattr(owner, attribute, lambda *args, _name=name, **kwargs: timed(_name, *args, **kwargs))
    try:
        yield
    finally:
        for name, (owner, attribute) in functions.items():
            setattr(owner, attribute, originals[name])
