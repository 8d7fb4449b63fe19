"""`export_model`: a folder that predicts without torch."""

from __future__ import annotations

import copy
import json
import os
import tempfile
from collections.abc import Sequence
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import nn
from transformers import (
    AutoConfig,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from hf_distill.classifiers.label_maps import id2label_of
from hf_distill.classifiers.placement import copy_to_cpu_in_float32
from hf_distill.classifiers.problem_types import auto_model, problem_type_of_head, resolve_problem_type
from hf_distill.export.graph import OPSET, input_names_of, quantize_onnx, write_onnx
from hf_distill.export.metrics import scorer
from hf_distill.export.parity import check_parity, measure_parity
from hf_distill.export.predictor import EXPORT_NAME, Predictor, Text
from hf_distill.record import describe_versions
from hf_distill.utils.atomic import write_folder_atomically
from hf_distill.utils.redaction import publishable

if TYPE_CHECKING:
    from hf_distill.data.compute_metrics import ComputeMetrics

# In float32 of the relative difference of logits, in int8 of the share of unequal decisions.
DEFAULT_TOLERANCE = {None: 1e-3, "int8": 0.05}


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
) -> dict[str, Any]:
    """Write a classifier as an ONNX file with its tokenizer and its labels, for [`Predictor`], and check it.

    The folder gets `model.onnx`, `tokenizer.json`, `config.json` and `export.json`, which says what they are; whole or
    not at all. An earlier export there is replaced.

    Args:
        model: A sequence or token classifier, or its path or Hub id.
        folder: Where to.
        format: `"onnx"`, the only one.
        quantize: `"int8"` for weights of a quarter of the size; activations are quantised as they come. Fast on CPUs
            with instructions for it (VNNI, or ARM's dot product); others may saturate, so run the check where the
            model will run.
        processing_class: The model's tokenizer, a fast one. Unset: the one beside the model.
        texts: Texts, pairs or lists of words as [`Predictor`] takes them, on which the export is compared with the
            model. Unset: random token ids, which need a little luck in int8: the model was not trained on such.
        tolerance: How far apart they may be. In float32: max |Δlogit| / max(1, max |logit|), 1e-3 by default. In
            int8: the share of decisions that differ, 0.05 by default, or for a regression the same as in float32.
        max_length: Tokens after which a text is cut. Unset: as many as tokenizer and model can take.
        labels: What is right for each of the `texts`, in the model's order of classes: then the metrics of the model
            and of the export are said, too. See [`hf_distill.export.metrics.scorer`] for what a label is.
        compute_metrics: From logits and labels to these metrics, as `Trainer` takes it. Unset: those of the problem.

    Returns:
        What the comparison found: see [`hf_distill.export.parity.measure_parity`], and the `tolerance`.

    Raises:
        ValueError: for a model, a format or a tokenizer that cannot be exported; a [`ParityError`] if model and
            export differ by more than the tolerance.
        FileExistsError: if the folder holds something else than an export.
        ImportError: without onnx, onnxscript and onnxruntime.

    Example:
    ```python
    export_model("out", "onnx", quantize="int8", texts=validation["text"])
    Predictor("onnx")(["a fine film"])
    ```
    """
    _check_arguments(format, quantize, tolerance)
    _check_texts(texts, labels)
    _check_installed()
    tokenizer = _load_tokenizer(model, processing_class)
    model = copy_to_cpu_in_float32(load_classifier(model))
    model.config.use_cache = False  # a cache of a decoder would be another output
    tolerance = DEFAULT_TOLERANCE[quantize] if tolerance is None else tolerance
    record = _describe(model, tokenizer, quantize, max_length)
    names = list(record["id2label"].values())
    score = None if labels is None else scorer(labels, record["problem_type"], names, compute_metrics)

    def write(temporary: Path) -> None:
        _write_graph(model, record, temporary)
        tokenizer.save_pretrained(temporary)
        _write_config(model, record["problem_type"], temporary)
        _write_record(record, temporary)
        parity = measure_parity(model, Predictor(temporary), tokenizer, texts, score)
        record["parity"] = parity | {"tolerance": tolerance}
        check_parity(record["parity"], quantize, tolerance)
        _write_record(record, temporary)

    write_folder_atomically(Path(folder), write, marker=EXPORT_NAME)
    return record["parity"]


def _check_arguments(format: str, quantize: str | None, tolerance: float | None) -> None:
    if format != "onnx":
        raise ValueError(f"`format` must be 'onnx', got {format!r}.")
    if quantize not in DEFAULT_TOLERANCE:
        raise ValueError(f"`quantize` must be 'int8' or None, got {quantize!r}.")
    if tolerance is not None and not tolerance >= 0:
        raise ValueError(f"`tolerance` must be at least 0, got {tolerance}.")


def _check_texts(texts: Sequence[Text] | None, labels: Sequence[Any] | None) -> None:
    if texts is not None and not len(texts):
        raise ValueError("`texts` is empty. Pass at least one text, or None for random token ids.")
    if labels is not None and (texts is None or len(labels) != len(texts)):
        raise ValueError(
            f"`labels` are one for each of the `texts`, got {len(labels)} for {0 if texts is None else len(texts)}."
        )


def _check_installed() -> None:
    if missing := [name for name in ("onnx", "onnxscript", "onnxruntime") if find_spec(name) is None]:
        raise ImportError(f"To export, {' and '.join(missing)} must be installed: pip install 'hf_distill[export]'.")


def _load_tokenizer(
    model: PreTrainedModel | str | os.PathLike[str], processing_class: PreTrainedTokenizerBase | None
) -> PreTrainedTokenizerBase:
    if processing_class is None:
        source = model.config.name_or_path if isinstance(model, PreTrainedModel) else model
        if not source:
            raise ValueError("The model was not loaded from anywhere, so pass its tokenizer as `processing_class`.")
        processing_class = AutoTokenizer.from_pretrained(source)
    if not processing_class.is_fast:
        raise ValueError(
            f"{type(processing_class).__name__} is a slow tokenizer, which has no tokenizer.json to run without "
            "transformers. Load the fast one of the model, if it has one."
        )
    return processing_class


def load_classifier(model: PreTrainedModel | str | os.PathLike[str]) -> PreTrainedModel:
    """Load a sequence or token classifier, as its config says, that can be exported."""
    if isinstance(model, PreTrainedModel):
        if "quantization_config" in vars(model.config):
            raise ValueError("The model is quantised. Export the one that it was made of, with `quantize='int8'`.")
        return model
    if not isinstance(model, str | os.PathLike):
        raise TypeError(
            f"`model` must be a transformers PreTrainedModel, a path or a Hub id, got {type(model).__name__}. Merge a "
            "PEFT model first (`model.merge_and_unload()`), and unwrap a compiled or parallel one."
        )
    heads = AutoConfig.from_pretrained(model).architectures or [""]
    is_tagger = problem_type_of_head(heads[0]) == "token_classification"
    loader = auto_model("token_classification" if is_tagger else "single_label_classification")
    loaded, info = loader.from_pretrained(model, dtype=torch.float32, output_loading_info=True)
    if info["missing_keys"]:
        raise ValueError(
            f"{model} has no weights for {sorted(info['missing_keys'])}: its head would be random. Fine-tune it first."
        )
    return loaded


def _describe(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, quantize: str | None, max_length: int | None
) -> dict[str, Any]:
    """Return what `export.json` says, the parity aside."""
    problem_type = resolve_problem_type(model)
    if not problem_type.has_label_names:
        raise ValueError(f"A {type(model).__name__} is no classifier; load the model with a classification head.")
    return {
        "format": "onnx",
        "quantize": quantize,
        "problem_type": problem_type.name,
        "id2label": {str(i): name for i, name in id2label_of(model.config).items()},
        "max_length": _max_length(model, tokenizer, max_length),
        "input_names": input_names_of(model, tokenizer),
        # Without a padding token any other will do: the mask hides it.
        "pad_token_id": 0 if tokenizer.pad_token_id is None else tokenizer.pad_token_id,
        "pad_token_type_id": tokenizer.pad_token_type_id,
        "padding_side": tokenizer.padding_side,
        "truncation_side": tokenizer.truncation_side,
        "opset": OPSET,
        "source": publishable(model.config.name_or_path or None),
        "num_parameters": sum(parameter.numel() for parameter in model.parameters()),
        "versions": {**describe_versions(), **{name: version(name) for name in ("onnx", "onnxruntime")}},
    }


def _max_length(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, wanted: int | None) -> int:
    # RoBERTa and its like begin to count positions behind the id of the padding token.
    offsets = [
        module.padding_idx + 1
        for name, module in model.named_modules()
        if name.endswith("position_embeddings") and isinstance(module, nn.Embedding) and module.padding_idx is not None
    ]
    positions = getattr(model.config, "max_position_embeddings", None)  # not every architecture has a limit
    limits = [tokenizer.model_max_length] + ([] if positions is None else [positions - max(offsets, default=0)])
    longest = min(limits)
    if wanted is None and longest > 10**9:  # what transformers says for "unknown"
        raise ValueError("Neither the tokenizer nor the config says how long a text may be: pass `max_length`.")
    if wanted is not None and not 3 <= wanted <= longest:
        raise ValueError(f"`max_length` must be from 3 to {longest}, as the model has it, got {wanted}.")
    return longest if wanted is None else wanted


def _write_graph(model: PreTrainedModel, record: dict[str, Any], folder: Path) -> None:
    if record["quantize"] is None:
        write_onnx(model, record["input_names"], folder / "model.onnx")
        return
    with tempfile.TemporaryDirectory(dir=folder) as temporary:
        in_float32 = Path(temporary) / "model.onnx"
        write_onnx(model, record["input_names"], in_float32)
        quantize_onnx(in_float32, folder / "model.onnx")


def _write_config(model: PreTrainedModel, problem_type: str, folder: Path) -> None:
    config = copy.deepcopy(model.config)
    config.architectures = [type(model).__name__]
    if problem_type != "token_classification":  # which is no value of the field: the head says it
        config.problem_type = cast(Any, problem_type)
    config.save_pretrained(folder)


def _write_record(record: dict[str, Any], folder: Path) -> None:
    text = json.dumps(record, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    (folder / EXPORT_NAME).write_text(text, encoding="utf-8")
