"""Classifiers as ONNX files, and the class that runs them without torch."""

from importlib import import_module
from typing import Any

# Name -> module. Imported on first use: who predicts need not have torch, which exporting needs.
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
