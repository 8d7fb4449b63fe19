"""Where the exports of a student go in its repository: graphs in `onnx/`, one `export.json` at the root.

Transformers.js, Optimum and sentence-transformers look for them there, and so does [`~hf_distill.Predictor`] in a
download of the repository.
"""

import json
from pathlib import Path
from typing import Any, NamedTuple

from hf_distill.export.layout import EXPORT_NAME, VARIANT_FILES, read_record
from hf_distill.utils.redaction import publishable

_OF_ONE_FOLDER = ("variants", "source", "versions", "opset", "model_fingerprint", "tokenizer_fingerprint")


class PlacedExports(NamedTuple):
    """All exports of a student.

    Attributes:
        files: Path in the repository -> file.
        record: The content of `export.json` at the root of the repository; None without exports.
    """

    files: dict[str, Path]
    record: dict[str, Any] | None

    def texts(self) -> dict[str, bytes]:
        """Return path in the repository -> content, for the files that the folder does not have in this form."""
        if self.record is None:
            return {}
        return {EXPORT_NAME: (json.dumps(self.record, indent=2, ensure_ascii=False) + "\n").encode()}


def place_exports(folder: Path, names: list[str]) -> PlacedExports:
    """Place the exports in the folders with these names.

    Raises:
        FileNotFoundError: if an export has no graph or no tokenizer.
        ValueError: if two folders have the same variant, or cannot share an `export.json`.
    """
    files: dict[str, Path] = {}
    merged: dict[str, Any] | None = None
    sources: dict[str, str] = {}
    for name in names:
        record = publishable(read_record(folder / name))
        if merged is None:
            merged = {**record, "variants": {}}
        _check_same(merged, record, [*sources.values(), name])
        for variant, about in record["variants"].items():
            if variant in sources:
                raise ValueError(
                    f"{sources[variant]} and {name} in {folder} both have the variant {variant}. Remove one of them."
                )
            sources[variant] = name
            files |= _place(folder / name, variant, about["file"])
            merged["variants"][variant] = {**about, "file": VARIANT_FILES[variant]}
        for file in ("tokenizer.json", "tokenizer_config.json"):  # a student can have a slow tokenizer alone
            if not (folder / file).is_file() and (folder / name / file).is_file():
                files[file] = folder / name / file
    return PlacedExports(files, merged)


def _place(folder: Path, variant: str, file: str) -> dict[str, Path]:
    graph = folder / file
    if not graph.is_file():
        raise FileNotFoundError(f"{folder} has no {file}, which its {EXPORT_NAME} names. Export the student again.")
    # The graph names the file of its weights, so that file keeps its name.
    weights = {f"onnx/{path.name}": path for path in graph.parent.glob(f"{graph.name}?data")}
    return {VARIANT_FILES[variant]: graph, **weights}


def _check_same(first: dict[str, Any], record: dict[str, Any], names: list[str]) -> None:
    for key in (first.keys() & record.keys()) - set(_OF_ONE_FOLDER):
        if first[key] != record[key]:
            raise ValueError(
                f"{names[0]} and {names[-1]} differ in {key}, so they cannot share the {EXPORT_NAME} of a repository. "
                "Export both variants again, into one folder."
            )
