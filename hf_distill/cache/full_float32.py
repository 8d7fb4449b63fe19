"""Float32 arithmetic without shortcuts, so that what is stored does not depend on settings of the process."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

_GENERAL: Any = torch.backends  # torch's annotations do not know `fp32_precision`
_BACKENDS = (_GENERAL.cuda.matmul, _GENERAL.cudnn.conv, _GENERAL.cudnn.rnn)


@contextmanager
def full_float32() -> Iterator[None]:
    """Let a GPU compute float32 products in full precision (IEEE 754) within a block.

    `--tf32` and `--torch_compile` switch to TensorFloat-32 for the whole process, whose products have a relative error
    of about 1e-3. Other precisions are not affected.
    """
    before = [backend.fp32_precision for backend in _BACKENDS]
    for backend in _BACKENDS:
        backend.fp32_precision = "ieee"
    try:
        yield
    finally:
        general = _GENERAL.fp32_precision
        for backend, precision in zip(_BACKENDS, before, strict=True):
            # A backend that followed the general setting goes on following it.
            backend.fp32_precision = "none" if precision == general else precision
