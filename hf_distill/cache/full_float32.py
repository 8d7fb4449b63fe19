"""Float32 arithmetic without shortcuts, so that what is stored does not depend on settings of the process."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

_GENERAL: Any = torch.backends  # torch's annotations do not know `fp32_precision`
# cudnn's setting is also that of all CUDA operations, so it comes before them.
_BACKENDS = (
    *(_GENERAL.cudnn, _GENERAL.cuda.matmul, _GENERAL.cudnn.conv, _GENERAL.cudnn.rnn),
    *(_GENERAL.mkldnn.matmul, _GENERAL.mkldnn.conv, _GENERAL.mkldnn.rnn),
)


@contextmanager
def full_float32() -> Iterator[None]:
    """Compute float32 products in full precision (IEEE 754) within a block, on a GPU and on a CPU.

    `--tf32`, `--torch_compile` and `torch.set_float32_matmul_precision` switch to TensorFloat-32 or bfloat16 for the
    whole process. TensorFloat-32 products have a relative error of about 1e-3. Other dtypes are not affected.
    """
    general = _GENERAL.fp32_precision
    changed = []
    _GENERAL.fp32_precision = "ieee"
    try:
        for backend in _BACKENDS:
            # Only what does not follow the general setting: torch cannot restore "follows" once a backend is set.
            if (precision := backend.fp32_precision) != "ieee":
                changed.append((backend, precision))
                backend.fp32_precision = "ieee"
        yield
    finally:
        for backend, precision in changed:
            backend.fp32_precision = precision
        _GENERAL.fp32_precision = general
