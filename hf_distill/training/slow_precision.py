"""A warning about 16-bit training on a processor without instructions for it."""

import time

import torch
from transformers import TrainingArguments
from transformers.utils import logging

logger = logging.get_logger(__name__)

_SIZE, _ROUNDS = 256, 3
_MUCH_SLOWER = 3.0  # with the instructions bfloat16 is as fast as float32 or faster; without them 60 times slower


def warn_of_slow_precision(args: TrainingArguments) -> None:
    """Warn if 16-bit products are much slower than float32 ones on the CPU that trains.

    PyTorch computes them on every CPU. Without instructions for them (AVX512-BF16 or AMX on x86) each step takes many
    times as long, and nothing else shows why.
    """
    if args.device.type != "cpu" or not (args.bf16 or args.bf16_full_eval):
        return
    ratio = product_seconds(torch.bfloat16) / product_seconds(torch.float32)
    if ratio > _MUCH_SLOWER:
        flags = " and ".join(name for name in ("bf16", "bf16_full_eval") if getattr(args, name))
        logger.warning(
            f"This CPU multiplies matrices {ratio:.0f} times slower in bfloat16 than in float32 (just measured): it "
            f"has no instructions for bfloat16. Leave out {flags}: training in float32 will be faster."
        )


def product_seconds(dtype: torch.dtype) -> float:
    """Return the seconds of a product of two square matrices on the CPU, the shortest of a few."""
    matrix = torch.ones(_SIZE, _SIZE, dtype=dtype)
    seconds = []
    for _ in range(_ROUNDS):
        start = time.perf_counter()
        torch.mm(matrix, matrix)
        seconds.append(time.perf_counter() - start)
    return min(seconds)
