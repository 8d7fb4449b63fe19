"""Graphs of exports that tests share: exporting a model with one layer takes five seconds."""

import os
import shutil
from pathlib import Path

import pytest

from hf_distill.cache.fingerprint import hash_json
from hf_distill.export import graph
from hf_distill.export.identity import fingerprints


def reuse_graphs(patch: pytest.MonkeyPatch, folder: Path) -> None:
    """Let torch export each model once; after that, its graph is copied.

    Args:
        patch: Restores the export of each model.
        folder: Where the graphs are kept. Processes can share it.
    """
    write = graph._write_exported
    folder.mkdir(exist_ok=True)

    def write_once(model, input_names, path):
        parts = {**fingerprints(model, None), "dtype": str(model.dtype), "inputs": list(input_names)}
        known = folder / f"{hash_json(parts)}.onnx"
        if known.exists():
            shutil.copy(known, path)
            return
        write(model, input_names, path)
        unfinished = known.with_suffix(f".{os.getpid()}")
        shutil.copy(path, unfinished)
        unfinished.rename(known)

    patch.setattr(graph, "_write_exported", write_once)
