"""`export_model`: write a classifier to a folder that [`Predictor`] can run without torch."""

from __future__ import annotations

import copy
import json
import os
import shutil
from collections.abc import Sequence
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from hf_distill.classifiers.label_maps import id2label_of
from hf_distill.classifiers.placement import copy_to_cpu_in_float32
from hf_distill.classifiers.problem_types import resolve_problem_type
from hf_distill.export.deferral import read_certified
from hf_distill.export.graph import OPSET, graph_input_names, write_graph
from hf_distill.export.identity import FINGERPRINTS, fingerprints
from hf_distill.export.inputs import Text, read_texts
from hf_distill.export.layout import EXPORT_NAME, VARIANT_FILES, read_record
from hf_distill.export.loading import load_classifier, load_export_tokenizer
from hf_distill.export.metrics import scorer
from hf_distill.export.parity import check_parity, measure_parity
from hf_distill.export.predictor import Predictor
from hf_distill.record import describe_versions
from hf_distill.utils.atomic import write_folder_atomically
from hf_distill.utils.redaction import publishable

if TYPE_CHECKING:
    from hf_distill.data.compute_metrics import ComputeMetrics

# Float32 and float16: maximum relative difference of the logits. Int8: maximum share of different decisions.
DEFAULT_TOLERANCE = {"float32": 1e-3, "float16": 2e-2, "int8": 0.05}


def export_model(
    model: PreTrainedModel | str | os.PathLike[str],
    folder: str | os.PathLike[str],
    format: str = "onnx",
    quantize: str | None = None,
    processing_class: PreTrainedTokenizerBase | None = None,
    texts: Sequence[Text] | None = None,
    tolerance: float | None = None,
    max_length: int | None = None,
    labels: Sequence[Any] | None = None,
    compute_metrics: ComputeMetrics | None = None,
    report: str | os.PathLike[str] | None = None,
    dtype: str = "float32",
) -> dict[str, Any]:
    """Export a classifier to ONNX with its tokenizer and labels, and compare the export with the model.

    The folder has the layout of a repository on the Hub, see [`hf_distill.export.layout`]: the config, the tokenizer,
    `export.json`, which describes the export, and the graph in `onnx/`. It is written atomically. A second export of
    the same model into it adds a variant, or replaces the variant with the same name. [`Predictor`] runs it.

    Args:
        model: A sequence or token classifier, or its path or Hub id. Adapters of PEFT are merged into a copy of the
            model. To export a model that comes with its own code, load it with `trust_remote_code=True` and pass it
            with its tokenizer.
        folder: Destination folder.
        format: `"onnx"` is the only format.
        quantize: `"int8"` reduces the weights to a quarter of their size. Activations are quantized when the model
            runs, each token by itself, so that an answer does not depend on the other texts of the batch. This is
            fastest on CPUs with int8 instructions (VNNI, or ARM's dot product), and has the same result on others.
        processing_class: A fast tokenizer. Unset: the tokenizer in the model's folder or repository.
        texts: Texts, pairs or lists of words on which model and export are compared, in the formats that [`Predictor`]
            accepts. Unset: random token ids. Texts of the task are better for int8, because models are not trained on
            random token ids.
        tolerance: Maximum difference between model and export. In float32 and float16: max |Δlogit| / max(1, max
            |logit|), by default 1e-3 and 2e-2. In int8: the share of decisions that differ, by default 0.05; for
            regression as in float32.
        max_length: Longer texts are truncated to this number of tokens. Unset: the limit of tokenizer and model.
        labels: The correct label of each of the `texts`, with the model's class ids. If set, the metrics of model and
            export are computed. See [`hf_distill.export.metrics.scorer`] for the formats.
        compute_metrics: Computes the metrics from logits and labels, as in `Trainer`. Unset: the metrics of the
            problem type.
        report: Path of the `report.json` of `hf-distill compare`. The threshold that it certifies for this model goes
            into `export.json`, for `Predictor(folder, defer_below="certified")`. An int8 export is another model, so
            export it, compare it, and export it again with the report.
        dtype: Type of weights and activations: "float32", or "float16" for GPUs. CPUs run float16 no faster.

    Returns:
        The result of [`hf_distill.export.parity.measure_parity`], and the `tolerance`.

    Raises:
        ValueError: if the model or tokenizer cannot be exported, or for an invalid argument.
        ParityError: if model and export differ by more than the tolerance. The export is then deleted.
        FileExistsError: if the folder contains files but no export, or the export of another model, tokenizer or
            `max_length`.
        ImportError: if onnx, onnxscript or onnxruntime is not installed.

    Example:
    ```python
    export_model("out", "onnx", quantize="int8", texts=validation["text"])
    Predictor("onnx")(["a fine film"])
    ```
    """
    variant = _choose_variant(format, quantize, dtype)
    if tolerance is not None and not tolerance >= 0:
        raise ValueError(f"`tolerance` must be at least 0, got {tolerance}.")
    _check_texts(texts, labels)
    _check_installed()
    folder = Path(folder)
    tokenizer = load_export_tokenizer(model, processing_class)
    model = copy_to_cpu_in_float32(load_classifier(model))
    model.config.use_cache = False  # the key-value cache of a decoder would become an output of the graph
    tolerance = DEFAULT_TOLERANCE[variant] if tolerance is None else tolerance
    record = _describe(model, tokenizer, max_length)
    variants = _read_variants(folder, record)
    if texts is not None:
        texts = read_texts(texts, record["problem_type"] == "token_classification").rows
    names = list(record["id2label"].values())
    score = None if labels is None else scorer(labels, record["problem_type"], names, compute_metrics)
    deferral = {} if report is None else {"deferral": read_certified(report, variant, record["num_parameters"])}
    about: dict[str, Any] = {
        "file": VARIANT_FILES[variant],
        "opset": OPSET,
        "versions": _describe_versions(),
        **deferral,
    }

    def write(temporary: Path) -> None:
        if variants:
            shutil.copytree(folder, temporary, dirs_exist_ok=True)
        write_graph(model, record["input_names"], variant, temporary / about["file"])
        tokenizer.save_pretrained(temporary)
        _write_config(model, record["problem_type"], temporary)
        _write_record(record, {**variants, variant: about}, temporary)
        parity = measure_parity(model, Predictor(temporary, variant), tokenizer, texts, score)
        about["parity"] = parity | {"tolerance": tolerance}
        check_parity(about["parity"], quantize, tolerance)
        _write_record(record, {**variants, variant: about}, temporary)

    write_folder_atomically(folder, write, marker=EXPORT_NAME)
    return about["parity"]


def _choose_variant(format: str, quantize: str | None, dtype: str) -> str:
    if format != "onnx":
        raise ValueError(f"`format` must be 'onnx', got {format!r}.")
    if quantize not in (None, "int8"):
        raise ValueError(f"`quantize` must be 'int8' or None, got {quantize!r}.")
    if dtype not in ("float32", "float16"):
        raise ValueError(f"`dtype` must be 'float32' or 'float16', got {dtype!r}.")
    if quantize is not None and dtype != "float32":
        raise ValueError(f"An export is either {quantize} or {dtype}. Leave out `dtype`, or `quantize`.")
    return quantize or dtype


def _check_texts(texts: Sequence[Text] | None, labels: Sequence[Any] | None) -> None:
    if isinstance(texts, str):
        raise TypeError("`texts` must be a list of texts, got one string.")
    if texts is not None and not len(texts):
        raise ValueError("`texts` is empty. Pass at least one text, or None for random token ids.")
    if labels is not None and (texts is None or len(labels) != len(texts)):
        raise ValueError(
            f"`labels` must have one label for each of the `texts`, got {len(labels)} labels for "
            f"{0 if texts is None else len(texts)} texts."
        )


def _check_installed() -> None:
    if missing := [name for name in ("onnx", "onnxscript", "onnxruntime") if find_spec(name) is None]:
        raise ImportError(f"Exporting needs {' and '.join(missing)}: pip install {' '.join(missing)}.")


def _describe(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, max_length: int | None) -> dict[str, Any]:
    """Return what `export.json` says about all variants."""
    problem_type = resolve_problem_type(model)
    if not problem_type.has_label_names:
        raise ValueError(f"{type(model).__name__} is not a classifier. Load the model with a classification head.")
    return {
        "format": "onnx",
        **fingerprints(model, tokenizer),
        "problem_type": problem_type.name,
        "id2label": {str(i): name for i, name in id2label_of(model.config).items()},
        "max_length": _choose_max_length(_find_limit(model, tokenizer), max_length),
        "longest_input": _find_limit(model, tokenizer),
        "input_names": graph_input_names(model, tokenizer),
        # Without a padding token, any id can be used for padding, because the attention mask hides it.
        "pad_token_id": 0 if tokenizer.pad_token_id is None else tokenizer.pad_token_id,
        "pad_token_type_id": tokenizer.pad_token_type_id,
        "padding_side": tokenizer.padding_side,
        "truncation_side": tokenizer.truncation_side,
        "source": publishable(model.config.name_or_path or None),
        "num_parameters": sum(parameter.numel() for parameter in model.parameters()),
    }


def _describe_versions() -> dict[str, str]:
    return {**describe_versions(), **{name: version(name) for name in ("onnx", "onnxruntime")}}


def _read_variants(folder: Path, record: dict[str, Any]) -> dict[str, Any]:
    """Return the variants that the folder already has; {} for a new folder.

    Raises:
        FileExistsError: if they are variants of another model.
    """
    if not (folder / EXPORT_NAME).is_file():
        return {}
    existing = read_record(folder)
    variants = existing.pop("variants")
    if "model_fingerprint" not in existing:
        raise FileExistsError(
            f"{folder} is an export of an earlier version of hf_distill, which cannot get another variant. Choose "
            "another folder, or delete this one."
        )
    for name in record:
        if name != "source" and existing.get(name) != record[name]:
            what = FINGERPRINTS.get(name, f"with {name} {existing.get(name)}, not {record[name]}")
            raise FileExistsError(f"{folder} has an export {what}. Choose another folder, or delete this one.")
    return variants


def _find_limit(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> int | None:
    """Return the largest number of tokens that tokenizer and model take; None if it is not known."""
    # RoBERTa and similar models count positions from the id of the padding token + 1.
    offsets = [
        module.padding_idx + 1
        for name, module in model.named_modules()
        if name.endswith("position_embeddings") and isinstance(module, nn.Embedding) and module.padding_idx is not None
    ]
    num_positions = getattr(model.config, "max_position_embeddings", None)  # some architectures have no limit
    limit = tokenizer.model_max_length
    if num_positions is not None:
        limit = min(limit, num_positions - max(offsets, default=0))
    return limit if limit <= 10**9 else None  # transformers sets 10**30 if the length is not known


def _choose_max_length(limit: int | None, chosen: int | None) -> int:
    if chosen is None and limit is None:
        raise ValueError("Neither the tokenizer nor the config has a maximum length of texts: pass `max_length`.")
    if chosen is not None and (chosen < 3 or (limit is not None and chosen > limit)):
        raise ValueError(f"`max_length` must be from 3 to {limit}, the limit of the model, got {chosen}.")
    return cast(int, limit if chosen is None else chosen)


def _write_config(model: PreTrainedModel, problem_type: str, folder: Path) -> None:
    config = copy.deepcopy(model.config)
    config.architectures = [type(model).__name__]
    if problem_type != "token_classification":  # not a value of this field; `architectures` defines it
        config.problem_type = cast(Any, problem_type)
    config.save_pretrained(folder)


def _write_record(record: dict[str, Any], variants: dict[str, Any], folder: Path) -> None:
    content = {**record, "variants": variants}
    text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    (folder / EXPORT_NAME).write_text(text, encoding="utf-8")
