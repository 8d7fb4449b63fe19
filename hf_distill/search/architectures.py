"""The structures of a space, and what each one costs: measured once, on an untrained export, before any training."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from hf_distill.data.table import counted
from hf_distill.export import export_model
from hf_distill.reporting.comparison.cost import describe_latency, draw_texts, interleaved
from hf_distill.reporting.comparison.predict import TorchPredictor
from hf_distill.search.need import MINIMIZED, Need, Numbers, bound_of, key_of, signed_distance
from hf_distill.search.space import ALL_NEURONS, Space

_CALLS, _CALLS_IN_A_ROUND, _WARMUP = 100, 20, 3
_SAME_LATENCY = 1.1  # times whose ratio is smaller count as equal, so that noise does not decide
_NO_PARITY = 1e9  # an untrained student can answer anything; only its cost is measured
_NEAREST = 5

Run = Callable[[Any], object]


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
        copied = "" if self.depth is None else counted(self.depth, "layer")
        kind = self.student or (f"static {self.static_dim}" if self.static_dim else copied)
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


def describe_model(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, texts: Sequence[Any]
) -> dict[str, float]:
    """Return what a torch model in float32 costs apart from time.

    Returns:
        `size_mb` (10^6 bytes of its weights), `num_parameters`, and `flops` as [`count_flops`] returns them.
    """
    num_parameters = sum(parameter.numel() for parameter in model.parameters())
    return {
        "size_mb": 4 * num_parameters / 1e6,
        "num_parameters": num_parameters,
        "flops": count_flops(model, tokenizer, texts),
    }


def measure_latencies(loaders: Mapping[str, Callable[[], Run]], texts: Sequence[Any]) -> dict[str, dict[str, float]]:
    """Measure the time from one text to its logits, tokenizer included, of models that take turns.

    The calls are divided into rounds. In each round every model is loaded, answers the same texts one at a time and is
    freed. So other work on the machine slows all models alike, and only one of them is in memory.

    Args:
        loaders: Name of a model -> function that loads it and returns a function from one text to logits.
        texts: Texts or pairs of texts, from which 100 are drawn, the same in every run; fewer are repeated.

    Returns:
        Name of a model -> `latency_p50_ms`, `latency_p95_ms` and `latency_p99_ms`.
    """
    drawn = draw_texts(texts, _CALLS)
    calls = [drawn[i % len(drawn)] for i in range(_CALLS)]
    seconds: dict[str, list[float]] = {name: [] for name in loaders}
    for start in range(0, _CALLS, _CALLS_IN_A_ROUND):
        for name, load in loaders.items():
            seconds[name] += _time_calls(load(), calls[start : start + _CALLS_IN_A_ROUND])
    latencies = {name: describe_latency("cpu", None, values) for name, values in seconds.items()}
    return {
        name: {f"latency_{quantile}_ms": latency[f"{quantile}_ms"] for quantile in ("p50", "p95", "p99")}
        for name, latency in latencies.items()
    }


def _time_calls(run: Run, texts: Sequence[Any]) -> list[float]:
    calls = iter([*[texts[0]] * _WARMUP, *texts])
    return interleaved({"model": lambda: run(next(calls))}, len(texts), _WARMUP)["model"]


def count_flops(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, texts: Sequence[Any]) -> int:
    """Return the floating-point operations of the matrix products for one text of median length."""
    predictor = TorchPredictor(model, tokenizer)
    by_length = sorted(predictor.encode(draw_texts(texts, _CALLS)), key=lambda row: len(row["input_ids"]))
    # The counter misses fused attention on a CPU, but not the plain implementation.
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        predictor.logits_of(by_length[len(by_length) // 2 :][:1])
    return counter.get_total_flops()


def describe_export(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    texts: Sequence[Any],
    variant: str,
    max_length: int,
    folder: Path,
) -> dict[str, float]:
    """Export an untrained student into a folder, and return what it costs apart from time.

    Returns:
        As [`describe_model`]; `size_mb` is the size of the exported graph.

    Raises:
        ValueError: if the student cannot be exported.
    """
    export_student(model, tokenizer, folder, variant, max_length)
    num_bytes = sum(path.stat().st_size for path in folder.rglob("*.onnx*"))
    return {**describe_model(model, tokenizer, texts), "size_mb": num_bytes / 1e6}


def export_student(
    model: PreTrainedModel,
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
