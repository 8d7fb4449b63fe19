"""Loading a classifier and its tokenizer for export."""

from __future__ import annotations

import os

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from hf_distill.classifiers.adapters import merge_adapters
from hf_distill.classifiers.loading import load_pretrained, load_pretrained_tokenizer, read_config, tokenizer_source
from hf_distill.classifiers.problem_types import auto_model, problem_type_of_head
from hf_distill.utils.hub_names import split_revision


def load_classifier(
    model: PreTrainedModel | str | os.PathLike[str], trust_remote_code: bool = False
) -> PreTrainedModel:
    """Load a sequence or token classifier in float32; its config defines which of the two.

    A model is returned unchanged. One with adapters is returned as a copy with the adapters in its weights.

    Args:
        model: A model or PEFT model, or its path or Hub id; `user/name@revision` is an id with its revision.
        trust_remote_code: Whether to run Python files that come with the model.

    Raises:
        ValueError: if the model is quantized, the checkpoint has no weights for the head, or the model needs code that
            comes with it and is not trusted.
        TypeError: for an object that is not a transformers model, a path or a Hub id.
    """
    if not isinstance(model, str | os.PathLike):
        model = merge_adapters(model)
        if not isinstance(model, PreTrainedModel):
            raise TypeError(
                f"`model` must be a transformers PreTrainedModel, a path or a Hub id, got {type(model).__name__}. "
                "Unwrap a compiled or parallel model."
            )
        if "quantization_config" in vars(model.config):
            raise ValueError("The model is quantized. Export the original model with `quantize='int8'`.")
        return model
    model, revision = split_revision(model)
    revision = revision or "main"
    config = read_config(model, revision, trust_remote_code)
    class_names = (None if config is None else config.architectures) or [""]
    is_token_classifier = problem_type_of_head(class_names[0]) == "token_classification"
    auto_class = auto_model("token_classification" if is_token_classifier else "single_label_classification")
    arguments = {"revision": revision, "dtype": torch.float32}
    loaded, missing_weights = load_pretrained(auto_class, model, arguments, trust_remote_code=trust_remote_code)
    if missing_weights:
        raise ValueError(
            f"{model} has no weights for {missing_weights}: its head would be random. Fine-tune it first."
        )
    return merge_adapters(loaded)


def load_export_tokenizer(
    model: PreTrainedModel | str | os.PathLike[str], processing_class: PreTrainedTokenizerBase | None
) -> PreTrainedTokenizerBase:
    """Return `processing_class`, or load the tokenizer of the model; it must be a fast tokenizer.

    Raises:
        ValueError: if the tokenizer is not fast, or its location is not known.
    """
    if processing_class is None:
        source, revision = split_revision(model) if isinstance(model, str | os.PathLike) else tokenizer_source(model)
        if not source:
            raise ValueError(
                "The model was not loaded from a folder or the Hub, so its tokenizer is not known: pass its tokenizer "
                "as `processing_class`."
            )
        processing_class = load_pretrained_tokenizer(source, revision)
    if not processing_class.is_fast:
        raise ValueError(
            f"{type(processing_class).__name__} is a slow tokenizer and has no tokenizer.json. `Predictor` needs this "
            "file to run without transformers. Load the fast tokenizer of the model."
        )
    return processing_class
