"""Where the exports of a student go in its repository: graphs in `onnx/`, one `export.json` at the root.

Transformers.js, Optimum and sentence-transformers look for them there, and so does [`~hf_distill.Predictor`] in a
download of the repository.
"""

import json
from pathlib import Path
from typing import Any, NamedTuple

from hf_distill.export.identity import difference, fingerprints
from hf_distill.export.layout import EXPORT_NAME, VARIANT_FILES, read_record
from hf_distill.export.loading import load_classifier, load_export_tokenizer
from hf_distill.record import read_json
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


def check_exports(folder: Path, names: list[str]) -> list[str]:
    """Check that the exports in the folders with these names were made from the student's weights and tokenizer.

    Returns:
        A sentence for the user if that cannot be checked: the export of an adapter is of the merged model, and loading
        a model that comes with its own code would run this code.

    Raises:
        ValueError: if an export is of another model or tokenizer.
    """
    records = {name: record for name in names if "model_fingerprint" in (record := read_record(folder / name))}
    if not records:
        return []
    reason = None
    if (folder / "adapter_config.json").is_file():
        reason = "the student is an adapter"
    elif "auto_map" in read_json(folder / "config.json"):
        reason = "the student comes with its own code"
    if reason is not None:
        return [f"The exports in {', '.join(records)} were not compared with the student's weights, because {reason}."]
    has_fast_tokenizer = (folder / "tokenizer.json").is_file()  # converting a slow one can change its content
    tokenizer = load_export_tokenizer(folder, None) if has_fast_tokenizer else None
    expected = fingerprints(load_classifier(folder), tokenizer)
    for name, record in records.items():
        if what := difference(record, expected):
            raise ValueError(f"{folder / name} is an export {what}, not of this student. Export the student again.")
    return []


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
