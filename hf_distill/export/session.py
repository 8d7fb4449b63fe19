"""Opening a graph with onnxruntime."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def open_session(path: Path, num_threads: int | None, provider: str) -> Any:
    """Open a graph on an execution provider. onnxruntime alone would go on without the provider, on the CPU.

    Args:
        path: File of the graph.
        num_threads: Threads of a forward pass; None for the default of onnxruntime.
        provider: Name of the provider, e.g. "CPUExecutionProvider".

    Raises:
        ImportError: if onnxruntime is not installed.
        ValueError: if this onnxruntime does not have the provider.
        RuntimeError: if it has the provider, and the provider cannot start.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise ImportError("`Predictor` needs onnxruntime: pip install onnxruntime.") from error
    available = onnxruntime.get_available_providers()
    if provider not in available:
        raise ValueError(
            f"onnxruntime {onnxruntime.__version__} has the providers {', '.join(available)}, not {provider!r}. For "
            "an NVIDIA GPU, install onnxruntime-gpu in place of onnxruntime."
        )
    options = onnxruntime.SessionOptions()
    # Spinning threads would take CPU time from other processes while they wait.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.intra_op_num_threads = num_threads or 0  # 0 is onnxruntime's default
    session = onnxruntime.InferenceSession(str(path), options, providers=[provider])
    if session.get_providers()[0] != provider:
        raise RuntimeError(
            f"{provider} cannot start, and onnxruntime would run on {session.get_providers()[0]}. Its log names the "
            "library that is missing. Install it, or choose another `provider`."
        )
    return session
