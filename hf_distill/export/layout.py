"""The files of an export: the layout of a repository on the Hub, and `export.json`, which describes the variants.

    config.json, tokenizer.json, ...    for all variants
    export.json
    onnx/model.onnx                     float32
    onnx/model_fp16.onnx                float16
    onnx/model_quantized.onnx           int8

Transformers.js, Optimum and sentence-transformers look for these names.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

EXPORT_NAME = "export.json"
# Variant -> file. Transformers.js calls them fp32, fp16 and q8.
VARIANT_FILES = {
    "float32": "onnx/model.onnx",
    "float16": "onnx/model_fp16.onnx",
    "int8": "onnx/model_quantized.onnx",
}
TORCH_WEIGHTS = ("*.safetensors", "pytorch_model*.bin")


@dataclass(frozen=True)
class Export:
    """One variant in the folder of an export.

    Attributes:
        folder: The folder.
        variant: Name of the variant, e.g. `float32` or `int8`.
        record: What `export.json` says about all variants.
        about_variant: What it says about this variant, e.g. its `file` and `parity`.
    """

    folder: Path
    variant: str
    record: dict[str, Any]
    about_variant: dict[str, Any]

    @property
    def path(self) -> Path:
        """The file of the graph."""
        return self.folder / self.about_variant["file"]

    @property
    def files(self) -> list[Path]:
        """The file of the graph, and the file of its weights if it is larger than 2 GB."""
        return [self.path, *self.path.parent.glob(f"{self.path.name}?data")]


def read_record(folder: Path) -> dict[str, Any]:
    """Return the content of `export.json`. One of an earlier version describes a single variant, and is converted.

    Raises:
        FileNotFoundError: if the folder is not an export.
    """
    missing = [name for name in (EXPORT_NAME, "tokenizer.json") if not (folder / name).is_file()]
    if missing:
        raise FileNotFoundError(
            f"{folder} is not an export: it has no {', '.join(missing)}. Create an export with `hf-distill "
            "export` or `export_model`."
        )
    record = json.loads((folder / EXPORT_NAME).read_text(encoding="utf-8"))
    if "variants" not in record:
        quantize, parity = record.pop("quantize"), record.pop("parity", None)
        record["variants"] = {quantize or "float32": {"file": "model.onnx", "parity": parity}}
    return record


def open_export(folder: str | os.PathLike[str], variant: str | None = None) -> Export:
    """Return a variant of an export.

    Args:
        folder: Folder of the export.
        variant: Name of the variant. None for the only one.

    Raises:
        FileNotFoundError: if the folder is not an export, or the file of the variant is missing.
        ValueError: if there are several variants and `variant` is None, or if there is no such variant.
    """
    folder = Path(folder)
    record = read_record(folder)
    variants = record["variants"]
    if variant is None and len(variants) > 1:
        raise ValueError(
            f"{folder} has the variants {', '.join(variants)}. Choose one, e.g. variant={min(variants)!r}."
        )
    variant = next(iter(variants)) if variant is None else variant
    if variant not in variants:
        raise ValueError(f"{folder} has no variant {variant!r}, only {', '.join(variants)}.")
    return _variant_of(folder, record, variant)


def _variant_of(folder: Path, record: dict[str, Any], variant: str) -> Export:
    """Return a variant that the record of an export describes."""
    about_all = {name: value for name, value in record.items() if name != "variants"}
    export = Export(folder, variant, about_all, record["variants"][variant])
    if not export.path.is_file():
        raise FileNotFoundError(f"{folder} has no {export.about_variant['file']}, which its {EXPORT_NAME} names.")
    return export


def find_export(path: str | os.PathLike[str]) -> Export | None:
    """Return the export that a path means; None for any other path or name.

    A folder that also has weights for PyTorch, such as a repository with a model and its exports, means the model.

    Raises:
        ValueError: if the folder has several variants.
    """
    path = Path(path)
    is_file = path.suffix == ".onnx" and path.is_file()
    is_folder = (path / EXPORT_NAME).is_file() and not any(
        file for pattern in TORCH_WEIGHTS for file in path.glob(pattern)
    )
    return _export_of_file(path) if is_file else named_export(path) if is_folder else None


def named_export(path: str | os.PathLike[str]) -> Export:
    """Return the export in a folder, or the variant whose `.onnx` file this is.

    Raises:
        FileNotFoundError: if there is no export.
        ValueError: if the folder has several variants.
    """
    path = Path(path)
    if path.is_file() and (export := _export_of_file(path)) is not None:
        return export
    record = read_record(path)
    variants = record["variants"]
    if len(variants) > 1:
        files = ", ".join(str(path / about["file"]) for about in variants.values())
        raise ValueError(f"{path} has the variants {', '.join(variants)}. Pass the file of one of them: {files}.")
    return _variant_of(path, record, next(iter(variants)))


def _export_of_file(path: Path) -> Export | None:
    for folder in (path.parent, path.parent.parent):
        if (folder / EXPORT_NAME).is_file():
            record = read_record(folder)
            names = [name for name, about in record["variants"].items() if folder / about["file"] == path]
            return _variant_of(folder, record, names[0]) if names else None
    return None
