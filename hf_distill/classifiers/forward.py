"""Running a model so that it returns the outputs that objectives read."""

import inspect
from collections.abc import Collection, Mapping
from typing import Any

import torch
from accelerate.utils import extract_model_from_parallel
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.utils import logging

from hf_distill.classifiers.attention_projections import PROJECTION_NAMES, find_projections, recorded_projections
from hf_distill.classifiers.outputs import Batch, ClassifierOutputs
from hf_distill.classifiers.padding import last_token, reads_last_token

logger = logging.get_logger(__name__)

# Flags of a model's forward, with the requested outputs that need them.
_FLAGS = {"output_hidden_states": {"hidden_states", "cls_states"}, "output_attentions": {"attentions"}}


def compute_outputs(model: nn.Module, inputs: Batch, requested: Collection[str]) -> ClassifierOutputs:
    """Run a model and return its logits and the requested outputs.

    Args:
        model: A classifier, wrapped or not.
        inputs: Arguments of the model's forward. `attention_mask` says where the first token is, and `input_ids` where
            a decoder's last token is.
        requested: Names of fields of [`ClassifierOutputs`].

    Raises:
        RuntimeError: if attention is requested and has no gradient although the logits have one.
        TypeError: if the model does not return a mapping with `logits`.
    """
    flags = {flag: True for flag, names in _FLAGS.items() if names & set(requested)}
    with recorded_projections(model, "qkv" in requested) as recorded:
        outputs = model(**inputs, **flags)
    _check_outputs(model, outputs)
    hidden_states, attentions = outputs.get("hidden_states"), outputs.get("attentions") if flags else None
    qkv = tuple(zip(*recorded, strict=True)) if recorded else None
    logits = outputs["logits"]
    _check_gradients(logits, attentions, qkv)
    return ClassifierOutputs(
        logits=logits,
        hidden_states=hidden_states if "hidden_states" in requested else None,
        cls_states=_head_states(model, hidden_states, inputs) if "cls_states" in requested else None,
        attentions=attentions,
        qkv=qkv,
    )


def _check_outputs(model: nn.Module, outputs: Any) -> None:
    if isinstance(outputs, Mapping) and "logits" in outputs:
        return
    name = type(extract_model_from_parallel(model)).__name__
    if isinstance(outputs, Mapping):
        raise TypeError(
            f"{name} returned {', '.join(outputs) or 'nothing'}, but no `logits`: it is no classifier. Load the model "
            "with a classification head."
        )
    raise TypeError(
        f"{name} returned a {type(outputs).__name__}, but an output with `logits` is needed, as transformers models "
        "return it. Set `config.return_dict = True`, or return a dict with `logits` from `forward`."
    )


def _head_states(model: nn.Module, hidden_states: tuple[Tensor, ...], inputs: Batch) -> Tensor:
    """Return the states of the token that the head reads, `(batch, num_hidden_layers + 1, hidden_size)`.

    That is the first token, or the last one of a decoder, whose first token has not seen the others.
    """
    config = extract_model_from_parallel(model).config
    if reads_last_token(config):
        position = last_token(inputs["input_ids"], config)
    elif "attention_mask" in inputs:
        position = inputs["attention_mask"].int().argmax(dim=1)  # not always 0: padding can be on the left
    else:
        return torch.stack([states[:, 0] for states in hidden_states], dim=1)
    rows = torch.arange(len(position), device=position.device)
    return torch.stack([states[rows, position] for states in hidden_states], dim=1)


def _check_gradients(logits: Tensor, attentions: Any, qkv: Any) -> None:
    tensors = [*(attentions or ()), *(part for layer in qkv or () for part in layer)]
    if logits.requires_grad and tensors and not any(tensor.requires_grad for tensor in tensors):
        raise RuntimeError(
            "The student's attention has no gradient: reentrant gradient checkpointing drops it. Set "
            "`gradient_checkpointing_kwargs={'use_reentrant': False}`. If the attention layers are frozen, unfreeze "
            "them."
        )


def prepare_outputs(model: PreTrainedModel, requested: Collection[str], role: str) -> None:
    """Check that a model can return the requested outputs, and switch to eager attention if attention maps are needed.

    Args:
        model: The model, not wrapped.
        requested: Names of fields of [`ClassifierOutputs`].
        role: "student" or "teacher", for messages.

    Raises:
        ValueError: if the model cannot return them.
    """
    if model.config.is_encoder_decoder and {"hidden_states", "cls_states", "attentions", "qkv"} & set(requested):
        raise ValueError(
            f"The objectives compare layers, and the {role}, a {type(model).__name__}, has an encoder and a decoder, "
            "whose layers the library does not tell apart. Use `kl`, or another objective on logits."
        )
    if "qkv" in requested:
        _check_projections(model, role)
    if "attentions" in requested:
        _check_attention_maps(model, role)
        _use_eager_attention(model, role)


def _check_projections(model: PreTrainedModel, role: str) -> None:
    # There are more than layers if the model has an encoder and a decoder, and fewer if layers share their weights.
    if not 0 < len(find_projections(model)) <= model.config.num_hidden_layers:
        names = ", ".join("/".join(names) for names in PROJECTION_NAMES)
        raise ValueError(
            "The objectives read the queries, keys and values of self-attention, but the "
            f"{role}, a {type(model).__name__}, does not have one set of modules named {names} in each layer. Use "
            "`hidden_mse` or `attention_mse`."
        )


def _check_attention_maps(model: PreTrainedModel, role: str) -> None:
    base: Any = model.base_model
    recordable: Mapping[str, Any] = getattr(base, "_can_record_outputs", None) or {}
    if "attentions" not in recordable and "output_attentions" not in inspect.signature(base.forward).parameters:
        raise ValueError(
            f"The {role}, a {type(model).__name__}, does not return attention maps. Use `hidden_mse` or `pkd`."
        )


def _use_eager_attention(model: PreTrainedModel, role: str) -> None:
    implementation = model.config._attn_implementation
    if implementation == "eager":
        return
    model.set_attn_implementation("eager")
    num_maps = model.config.num_hidden_layers * model.config.num_attention_heads
    logger.warning(
        f"The {role} now runs with eager attention: the objectives read its attention maps, which {implementation} "
        f"attention does not return. Eager attention stores {num_maps} maps per text "
        f"({num_maps * 128**2 * 4 / 2**20:.1f} MiB for 128 tokens in float32, four times as much for twice as many "
        f"tokens) and is slower than {implementation} for long texts."
    )
