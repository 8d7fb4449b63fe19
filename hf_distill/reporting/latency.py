"""Latency of one text on the CPU."""

import inspect
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel

from hf_distill.classifiers.placement import copy_to_cpu_in_float32


@torch.no_grad()
def measure_latency(
    models: Mapping[str, PreTrainedModel],
    inputs: Mapping[str, Any],
    rounds: int = 30,
    warmup: int = 3,
) -> dict[str, dict[str, float]]:
    """Time the forward passes of several models in float32 on the CPU.

    The models take turns, so other work on the machine slows all of them alike. Copies are measured: the models
    themselves keep their device, dtype and mode.

    Args:
        models: Name -> model.
        inputs: One tokenized text, `(1, length)` for each input; a model gets the inputs that its `forward` names. For
            models with different tokenizers: name of the model -> its inputs.
        rounds: Number of timed passes of each model, at least 1.
        warmup: Number of passes before that, which are not timed.

    Returns:
        Name -> {"p50_ms": median, "p95_ms": 95th percentile}, in milliseconds.

    Raises:
        ValueError: if `rounds` is below 1.
    """
    if rounds < 1:
        raise ValueError(f"`rounds` must be at least 1, got {rounds}. 30 rounds give a stable median.")
    copies = {name: copy_to_cpu_in_float32(model) for name, model in models.items()}
    is_by_model = models.keys() <= inputs.keys()
    arguments = {name: _arguments(model, inputs[name] if is_by_model else inputs) for name, model in copies.items()}
    seconds: dict[str, list[float]] = {name: [] for name in copies}
    for _ in range(warmup + rounds):
        for name, model in copies.items():
            start = time.perf_counter()
            model(**arguments[name])
            seconds[name].append(time.perf_counter() - start)
    percentiles = {name: np.percentile(values[warmup:], [50, 95]) * 1000 for name, values in seconds.items()}
    return {name: {"p50_ms": float(p50), "p95_ms": float(p95)} for name, (p50, p95) in percentiles.items()}


def _arguments(model: PreTrainedModel, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    parameters = inspect.signature(model.forward).parameters
    return {name: value.cpu() for name, value in inputs.items() if name in parameters}
