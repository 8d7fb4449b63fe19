"""Export of classifiers to ONNX, and `Predictor`, which runs an export without torch."""

from importlib import import_module
from typing import Any

# Name -> module. Modules are imported on first use, because exporting needs torch and `Predictor` does not.
_PUBLIC = {
    "ParityError": "hf_distill.export.parity",
    "Predictor": "hf_distill.export.predictor",
    "export_model": "hf_distill.export.folder",
}

__all__ = list(_PUBLIC)


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'hf_distill.export' has no attribute {name!r}")
    return getattr(import_module(_PUBLIC[name]), name)
