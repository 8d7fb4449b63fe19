"""The structures of a space, and what each one costs: measured once, on an untrained export, before any training."""

import math
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from hf_distill.export import Predictor, export_model
from hf_distill.reporting.comparison.cost import describe_latency, draw_texts, interleaved
from hf_distill.reporting.comparison.predict import TorchPredictor
from hf_distill.search.need import MINIMIZED, Need, Numbers, bound_of, key_of, signed_distance
from hf_distill.search.space import ALL_NEURONS, Space

_CALLS, _WARMUP = 100, 3
_SAME_LATENCY = 1.1  # times whose ratio is smaller count as equal, so that noise does not decide
_NO_PARITY = 1e9  # an untrained student can answer anything; only its cost is measured
_NEAREST = 5


@dataclass(frozen=True)
class Architecture:
    """The structure of a student, on which its cost depends.

    Attributes:
        variant: Variant of the export.
        depth: Number of layers copied from the teacher; None for a student that is not a copy.
        width: Number of feed-forward neurons in each copied layer; None for all.
        static_dim: Size of the token vectors of a student without layers.
        student: Path or Hub id of a pretrained student.
        is_trimmed: Whether it has only the word pieces of the training texts.
    """

    variant: str
    depth: int | None = None
    width: int | None = None
    static_dim: int | None = None
    student: str | None = None
    is_trimmed: bool = False

    @property
    def name(self) -> str:
        """A short name: `3 layers, 512 wide, int8`."""
        kind = self.student or (f"static {self.static_dim}" if self.static_dim else f"{self.depth} layers")
        parts = [f"{self.width} wide"] if self.width else []
        parts += ["trimmed vocabulary"] if self.is_trimmed else []
        return ", ".join([kind, *parts, self.variant])

    @property
    def flags(self) -> dict[str, Any]:
        """The flags of `hf-distill train` for this structure."""
        flags = {
            "student_num_hidden_layers": self.depth,
            "student_intermediate_size": self.width,
            "student_static_dim": self.static_dim,
            "student_model_name_or_path": self.student,
            "student_trim_vocabulary": self.is_trimmed or None,
        }
        return {name: value for name, value in flags.items() if value is not None}


def list_architectures(space: Space) -> list[Architecture]:
    """Return every structure of a space."""
    widths = [None if width == ALL_NEURONS else width for width in space.choices("width")]
    copies = [(depth, width, None) for depth in space.choices("depth") for width in widths]
    from_teacher = [*copies, *((None, None, size) for size in space.choices("static_dim"))]
    architectures = []
    for variant in space.choices("variant"):
        for vocabulary in space.choices("vocabulary"):
            is_trimmed = vocabulary == "trimmed"
            architectures += [
                Architecture(variant, depth, width, size, is_trimmed=is_trimmed) for depth, width, size in from_teacher
            ]
        architectures += [Architecture(variant, student=name) for name in space.choices("students")]
    return architectures


def measure_export(folder: Path, texts: Sequence[Any]) -> dict[str, float]:
    """Measure an export: the size of its graph, and the time from one text to its logits.

    Args:
        folder: Folder of the export.
        texts: Texts or pairs of texts, from which 100 are drawn, the same in every run.

    Returns:
        `size_mb` (10^6 bytes), and `latency_p50_ms`, `latency_p95_ms`, `latency_p99_ms`, which include the tokenizer.
    """
    predictor = Predictor(folder, num_threads=torch.get_num_threads())
    num_bytes = sum(path.stat().st_size for path in folder.rglob("*.onnx*"))
    return {"size_mb": num_bytes / 1e6, **_measure_latency(lambda text: predictor.logits([text]), texts)}


def measure_model(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, texts: Sequence[Any]
) -> dict[str, float]:
    """Measure the teacher as a torch model in float32: size of its weights, latency, parameters and operations."""
    predictor = TorchPredictor(model, tokenizer)
    num_parameters = sum(parameter.numel() for parameter in model.parameters())
    return {
        "size_mb": 4 * num_parameters / 1e6,
        "num_parameters": num_parameters,
        "flops": count_flops(model, tokenizer, texts),
        **_measure_latency(lambda text: predictor.logits([text]), texts),
    }


def _measure_latency(run: Any, texts: Sequence[Any]) -> dict[str, float]:
    drawn = draw_texts(texts, _CALLS)
    calls = iter([text for _ in range(_CALLS + _WARMUP) for text in drawn][: _CALLS + _WARMUP])
    seconds = interleaved({"model": lambda: run(next(calls))}, _CALLS, _WARMUP)["model"]
    latency = describe_latency("cpu", None, seconds)
    return {f"latency_{name}_ms": latency[f"{name}_ms"] for name in ("p50", "p95", "p99")}


def count_flops(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, texts: Sequence[Any]) -> int:
    """Return the floating-point operations of the matrix products for one text of median length."""
    predictor = TorchPredictor(model, tokenizer)
    by_length = sorted(predictor.encode(draw_texts(texts, _CALLS)), key=lambda row: len(row["input_ids"]))
    # The counter misses fused attention on a CPU, but not the plain implementation.
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        predictor.logits_of(by_length[len(by_length) // 2 :][:1])
    return counter.get_total_flops()


def measure_architecture(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    texts: Sequence[Any],
    variant: str,
    max_length: int,
) -> dict[str, float]:
    """Export an untrained student into a temporary folder, and measure what it costs.

    Returns:
        What [`measure_export`] returns, `num_parameters` and `flops`, and `seconds`, the time that this took.

    Raises:
        ValueError: if the student cannot be exported.
    """
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        export_student(model, tokenizer, Path(folder) / "export", variant, max_length)
        cost = measure_export(Path(folder) / "export", texts)
    cost["num_parameters"] = sum(parameter.numel() for parameter in model.parameters())
    cost["flops"] = count_flops(model, tokenizer, texts)
    return {**cost, "seconds": time.perf_counter() - start}


def export_student(
    model: PreTrainedModel | Path,
    tokenizer: PreTrainedTokenizerBase,
    folder: Path,
    variant: str,
    max_length: int,
    texts: Sequence[Any] | None = None,
) -> None:
    """Export a student; the search measures how well an int8 export answers, so a tolerance does not stop it."""
    export_model(
        model,
        folder,
        quantize=None if variant == "float32" else variant,
        processing_class=tokenizer,
        tolerance=None if variant == "float32" else _NO_PARITY,
        max_length=min(max_length, tokenizer.model_max_length),
        texts=texts,
    )


def rank_by_cost(costs: Mapping[str, Numbers], minimize: str) -> list[str]:
    """Return the names of architectures, the cheapest first.

    Latencies within 10 % count as equal; then operations and size decide, so that the noise of a clock does not.
    """
    name_of_cost = MINIMIZED[minimize]

    def order(name: str) -> tuple[float, ...]:
        value = costs[name][name_of_cost]
        value = round(math.log(value, _SAME_LATENCY)) if minimize == "latency" else value
        return (value, costs[name]["flops"], costs[name]["size_mb"])

    return sorted(costs, key=lambda name: (*order(name), name))


def split_by_cost(
    costs: Mapping[str, Numbers], need: Need, teacher: Numbers
) -> tuple[list[str], dict[str, list[str]]]:
    """Return the architectures that meet the requirements on cost, and for each other one what it misses."""
    misses = {
        name: [
            f"{requirement.text}: {cost[key_of(requirement)]:.4g}"
            for requirement in need.cost
            if signed_distance(requirement, cost, teacher) < 0
        ]
        for name, cost in costs.items()
    }
    return [name for name in costs if not misses[name]], {name: missed for name, missed in misses.items() if missed}


def describe_nearest(
    costs: Mapping[str, Numbers], misses: Mapping[str, list[str]], need: Need, teacher: Numbers
) -> str:
    """Return lines on the architectures that come closest to the requirements on cost."""

    def excess(name: str) -> float:
        ratios = []
        for requirement in need.cost:
            value, bound = costs[name][key_of(requirement)], bound_of(requirement, teacher)
            smaller, larger = (bound, value) if requirement.sign.startswith("<") else (value, bound)
            ratios.append(larger / smaller if smaller > 0 else math.inf)
        return max(ratios)

    nearest = sorted(misses, key=excess)[:_NEAREST]
    return "\n".join(f"  {name}: {'; '.join(misses[name])}" for name in nearest)
