"""What each model costs: size, floating-point operations, memory, latency and throughput."""

from __future__ import annotations

import ctypes
import gc
import itertools
import re
import time
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from hf_distill.export.layout import TORCH_WEIGHTS
from hf_distill.reporting.comparison.contenders import Contender
from hf_distill.reporting.comparison.predict import Predicts, TagsWords, TorchPredictor, count_parameters, is_torch

SHORT, LONG, BATCH_SIZE = 16, 128, 32  # tokens, tokens, texts
CALLS_ON_ROWS = 5  # for each timed call with one made-up text
_FEWEST_FOR_P99 = 100  # calls
_WARMUP = 3


def describe_costs(contenders: Sequence[Contender], texts: Sequence[Any], rounds: int) -> dict[str, dict[str, Any]]:
    """Measure the first run of every model on `texts`, and on texts of two lengths that are made from their words.

    Args:
        contenders: The teacher first; its tokenizer determines the length of a text.
        texts: Texts, pairs or lists of words.
        rounds: Number of timed calls with one made-up text. Calls with one of `texts` are five times that, calls with
            a batch a tenth. 0 to measure no times.

    Returns:
        Name of a model -> cost, as `docs/report_figures.md` describes it.
    """
    samples = sample_texts(texts, contenders[0].first, BATCH_SIZE if rounds else 1)
    predictors = {contender.name: contender.first for contender in contenders}
    costs: dict[str, dict[str, Any]] = {
        contender.name: {
            **_size(contender),
            "flops_per_example": _flops(contender.first, samples[min(samples)][0]),
            "peak_memory_bytes": _peak_memory(contender, samples[max(samples)]) if rounds else None,
            "latency": [],
            "throughput": [],
            "speedup": None,
        }
        for contender in contenders
    }
    devices = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])] if rounds else []
    for device in devices:
        movable = _move(predictors, device)
        _time_rows(device, movable, draw_texts(texts, CALLS_ON_ROWS * rounds), CALLS_ON_ROWS * rounds, costs)
        _time_samples(device, movable, samples, rounds, costs)
    teacher_latency = costs[contenders[0].name]["latency"]
    for cost in costs.values():
        if cost["latency"]:
            cost["speedup"] = teacher_latency[0]["p50_ms"] / cost["latency"][0]["p50_ms"]
    return costs


def _move(predictors: Mapping[str, Predicts], device: str) -> dict[str, Predicts]:
    """Move the models to a device, and return those that are there. Some models run only on the CPU."""
    for predictor in predictors.values():
        if is_torch(predictor):
            predictor.to(device)  # type: ignore[attr-defined]
    return {name: predictor for name, predictor in predictors.items() if device == "cpu" or is_torch(predictor)}


def draw_texts(texts: Sequence[Any], number: int) -> list[Any]:
    """Draw texts at random, the same in every run; lists of words become strings."""
    rows = np.random.default_rng(0).permutation(len(texts))[:number]
    return [" ".join(texts[row]) if isinstance(texts[row], list) else texts[row] for row in rows]


def _time_rows(
    device: str,
    predictors: Mapping[str, Predicts],
    texts: Sequence[Any],
    rounds: int,
    costs: dict[str, dict[str, Any]],
) -> None:
    """Time texts of the dataset, one at a time; if there are fewer texts than rounds, they are repeated."""
    calls = {name: _take_turns([_call(predictor, [text]) for text in texts]) for name, predictor in predictors.items()}
    for name, seconds in interleaved(calls, rounds, _WARMUP).items():
        costs[name]["latency"].append(describe_latency(device, None, seconds))


def _take_turns(calls: Sequence[Callable[[], object]]) -> Callable[[], object]:
    order = itertools.cycle(calls)
    return lambda: next(order)()


def describe_latency(device: str, tokens: int | None, seconds: Sequence[float]) -> dict[str, Any]:
    """Return percentiles in milliseconds; the 99th is None below 100 calls."""
    p50, p95, p99 = (1000 * np.percentile(seconds, [50, 95, 99])).tolist()
    setting = {"device": device, "tokens": tokens, "batch_size": 1, "calls": len(seconds)}
    return {**setting, "p50_ms": p50, "p95_ms": p95, "p99_ms": p99 if len(seconds) >= _FEWEST_FOR_P99 else None}


def _time_samples(
    device: str,
    predictors: Mapping[str, Predicts],
    samples: Mapping[int, Sequence[Any]],
    rounds: int,
    costs: dict[str, dict[str, Any]],
) -> None:
    for tokens, texts in sorted(samples.items()):
        calls = {name: _call(predictor, texts[:1]) for name, predictor in predictors.items()}
        for name, seconds in interleaved(calls, rounds, _WARMUP).items():
            costs[name]["latency"].append(describe_latency(device, tokens, seconds))
        calls = {name: _call(predictor, texts) for name, predictor in predictors.items()}
        for name, seconds in interleaved(calls, max(1, rounds // 10), 1).items():
            setting = {"device": device, "tokens": tokens, "batch_size": len(texts)}
            speed = len(texts) / float(np.median(seconds))
            costs[name]["throughput"].append({**setting, "examples_per_second": speed})


def _call(predictor: Predicts, texts: Sequence[Any]) -> Callable[[], object]:
    """Return a call from text to logits. It includes the tokenizer, because users wait for that too."""
    if isinstance(predictor, TorchPredictor):
        return lambda: predictor.logits_of(predictor.encode(texts), BATCH_SIZE)
    if isinstance(predictor, TagsWords) and predictor.problem_type == "token_classification":
        return lambda: predictor.word_logits(texts, BATCH_SIZE)
    return lambda: predictor.logits(texts, batch_size=BATCH_SIZE)


def interleaved(calls: Mapping[str, Callable[[], object]], rounds: int, warmup: int) -> dict[str, list[float]]:
    """Return the seconds of calls that take turns, so that other work on the machine slows all of them alike."""
    # The threads of a runtime spin for a while after a call, and would slow the next model down.
    pause = 0.005
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(warmup + rounds):
        for name, call in calls.items():
            time.sleep(pause)
            start = time.perf_counter()
            call()
            seconds[name].append(time.perf_counter() - start)
    return {name: values[warmup:] for name, values in seconds.items()}


def sample_texts(texts: Sequence[Any], teacher: Predicts, num_texts: int) -> dict[int, list[Any]]:
    """Make short texts and the same number of long texts from the words of a dataset.

    Returns:
        Number of the teacher's tokens -> texts, or pairs if the dataset has pairs. If the teacher has no transformers
        tokenizer, words are counted instead.
    """
    is_pair = isinstance(texts[0], tuple)
    words = [word for text in texts for part in ([text] if isinstance(text, str) else text) for word in part.split()]
    words = words or ["a"]  # all texts are empty
    samples = {}
    longest = min(LONG, teacher.max_length) if isinstance(teacher, TorchPredictor) else LONG
    for length in (SHORT, longest):
        made = []
        for i in range(num_texts):
            chosen = [words[(i * length + j) % len(words)] for j in range(length)]
            sizes = range(1, length + 1)
            fitting = bisect_right(sizes, length, key=lambda n, w=chosen: _length(teacher, w[:n], is_pair, length))
            made.append(_as_text(chosen[: max(1, fitting)], is_pair))
        samples[length] = made
    return samples


def _as_text(words: Sequence[str], is_pair: bool) -> Any:
    half = len(words) // 2
    return (" ".join(words[:half]), " ".join(words[half:])) if is_pair else " ".join(words)


def _length(teacher: Predicts, words: Sequence[str], is_pair: bool, limit: int) -> int:
    """Count tokens, but at most one more than the limit; without a tokenizer count words."""
    if not isinstance(teacher, TorchPredictor):
        return len(words)
    text = _as_text(words, is_pair)
    parts = text if is_pair else (text,)
    return len(teacher.tokenizer(*parts, truncation=True, max_length=limit + 1)["input_ids"])


def _size(contender: Contender) -> dict[str, int | None]:
    num_parameters = without_embeddings = None
    if isinstance(contender.first, TorchPredictor):
        num_parameters, without_embeddings = count_parameters(contender.first.model)
    elif contender.export is not None:
        num_parameters = contender.export.record.get("num_parameters")
        without_embeddings = contender.export.record.get("num_parameters_without_embeddings")
    on_disk = [path for name in TORCH_WEIGHTS for path in (contender.folder.glob(name) if contender.folder else ())]
    if contender.export is not None:
        on_disk = contender.export.files
    num_bytes = sum(path.stat().st_size for path in on_disk) or None
    if num_bytes is None and isinstance(contender.first, TorchPredictor):
        num_bytes = sum(value.numel() * value.element_size() for value in contender.first.model.parameters())
    return {
        "num_parameters": num_parameters,
        "num_parameters_without_embeddings": without_embeddings,
        "bytes_on_disk": num_bytes,
    }


def _flops(predictor: Predicts, text: Any) -> int | None:
    """Count the floating-point operations of one text's matrix products; None unless it is a transformers model."""
    if not isinstance(predictor, TorchPredictor):
        return None
    # The counter misses fused attention on a CPU, but not the plain implementation.
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        predictor.logits_of(predictor.encode([text]))
    return counter.get_total_flops()


def _peak_memory(contender: Contender, texts: Sequence[Any]) -> int | None:
    """Return the bytes that a new copy of a model and a batch of long texts add, on the GPU or in this process."""
    if contender.first is contender.values[0] or not (contender.export or is_torch(contender.first)):
        return None  # a user's object cannot be copied
    if contender.device == "cuda" and not contender.export:
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        _call(contender.make(0), texts)()
        return torch.cuda.max_memory_allocated() - before
    if not _return_memory():
        return None
    before = _status("VmRSS")
    _call(contender.make(0), texts)()
    return max(0, _status("VmHWM") - before)


def _return_memory() -> bool:
    """Return freed memory to the system and reset the recorded peak; False where that is impossible: not on Linux."""
    gc.collect()
    try:
        ctypes.CDLL("libc.so.6").malloc_trim(0)
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return False
    return True


def _status(name: str) -> int:
    match = re.search(rf"^{name}:\s*(\d+) kB", Path("/proc/self/status").read_text(), re.MULTILINE)
    assert match is not None
    return 1024 * int(match[1])
