"""Running a model so that it shows what objectives read: logits, hidden states, attention maps, queries and keys."""

import copy
import inspect
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.utils import logging

from hf_distill.classifiers.outputs import Batch, ClassifierOutputs

logger = logging.get_logger(__name__)

# How self-attention names its three projections: BERT, RoBERTa, ELECTRA, ALBERT; DistilBERT; MPNet.
_PROJECTIONS = (("query", "key", "value"), ("q_lin", "k_lin", "v_lin"), ("q", "k", "v"))


def read_outputs(model: nn.Module, inputs: Batch, reads: Collection[str]) -> ClassifierOutputs:
    """Run a model on `inputs` and return its logits and what else is read.

    Args:
        model: A classifier, wrapped or not.
        inputs: What its forward takes; `attention_mask` says where the first token is.
        reads: Names of fields of [`ClassifierOutputs`].

    Raises:
        RuntimeError: if attention is read of a model in training and has no gradient.
    """
    flags = {"output_hidden_states": {"hidden_states", "cls_states"}, "output_attentions": {"attentions"}}
    asked = {flag: True for flag, names in flags.items() if names & set(reads)}
    with _recorded_projections(model, "qkv" in reads) as calls:
        outputs = model(**inputs, **asked)
    hidden_states, attentions = outputs.get("hidden_states"), outputs.get("attentions") if asked else None
    qkv = tuple(zip(*calls, strict=True)) if calls else None
    _check_gradients(outputs.logits, attentions, qkv)
    return ClassifierOutputs(
        logits=outputs.logits,
        hidden_states=hidden_states if "hidden_states" in reads else None,
        cls_states=_first_tokens(hidden_states, inputs) if "cls_states" in reads else None,
        attentions=attentions,
        qkv=qkv,
    )


def _first_tokens(hidden_states: tuple[Tensor, ...], inputs: Batch) -> Tensor:
    if "attention_mask" not in inputs:
        return torch.stack([states[:, 0] for states in hidden_states], dim=1)
    first = inputs["attention_mask"].int().argmax(dim=1)  # padding may be on the left
    rows = torch.arange(len(first), device=first.device)
    return torch.stack([states[rows, first] for states in hidden_states], dim=1)


@contextmanager
def _recorded_projections(model: nn.Module, is_wanted: bool) -> Iterator[list[list[Tensor]]]:
    """Collect queries, keys and values in the order of the layers, which need not be modules of their own (ALBERT)."""
    calls: list[list[Tensor]] = [[], [], []] if is_wanted else []
    handles = [
        projection.register_forward_hook(lambda module, args, output, found=found: found.append(output))
        for attention in (_find_projections(model) if is_wanted else [])
        for projection, found in zip(attention, calls, strict=True)
    ]
    try:
        yield calls
    finally:  # gradient checkpointing runs layers again in the backward pass, which is not to be recorded
        for handle in handles:
            handle.remove()


def _find_projections(model: nn.Module) -> list[tuple[nn.Module, ...]]:
    children = [dict(module.named_children()) for module in model.modules()]
    return [
        tuple(of_module[name] for name in names)
        for of_module in children
        for names in _PROJECTIONS
        if of_module.keys() >= set(names)
    ]


def _check_gradients(logits: Tensor, attentions: Any, qkv: Any) -> None:
    inner = [*(attentions or ()), *(part for layer in qkv or () for part in layer)]
    if logits.requires_grad and inner and not any(part.requires_grad for part in inner):
        raise RuntimeError(
            "The student's attention has no gradient: reentrant gradient checkpointing drops it. Set "
            "`gradient_checkpointing_kwargs={'use_reentrant': False}`; or let the layers train, if they are frozen."
        )


def prepare_to_show(model: PreTrainedModel, reads: Collection[str], role: str) -> None:
    """Check that a model can show what is read of it, and switch it to eager attention if maps are.

    Args:
        model: The model, not wrapped.
        reads: Names of fields of [`ClassifierOutputs`].
        role: "student" or "teacher", for the messages.

    Raises:
        ValueError: if it cannot.
    """
    name = type(model).__name__
    # More of them than layers are those of an encoder and a decoder; fewer share their weights.
    if "qkv" in reads and not 0 < len(_find_projections(model)) <= model.config.num_hidden_layers:
        looked_for = ", ".join("/".join(names) for names in _PROJECTIONS)
        raise ValueError(
            f"Relations of self-attention need its queries, keys and values, and the {role}, a {name}, does not have "
            f"them once a layer as modules named {looked_for}. Use `hidden_mse` or `attention_mse`."
        )
    if "attentions" not in reads:
        return
    base: Any = model.base_model
    records: Mapping[str, Any] = getattr(base, "_can_record_outputs", None) or {}
    if "attentions" not in records and "output_attentions" not in inspect.signature(base.forward).parameters:
        raise ValueError(f"The {role}, a {name}, shows no attention maps. Use `hidden_mse` or `pkd`.")
    chosen = model.config._attn_implementation
    if chosen != "eager":
        model.set_attn_implementation("eager")
        maps = model.config.num_hidden_layers * model.config.num_attention_heads
        logger.warning(
            f"Attention maps are read of the {role}, which {chosen} attention does not show: it runs with eager "
            f"attention now. That stores {maps} maps a text ({maps * 128**2 * 4 / 2**20:.1f} MiB for 128 tokens in "
            f"float32, four times as much for twice as many) and is slower than {chosen} for long texts."
        )


def float32_on_cpu(model: PreTrainedModel) -> PreTrainedModel:
    """Return a copy of a model in float32, on the CPU, in evaluation mode."""
    model = copy.deepcopy(model)
    # accelerate leaves a `forward` on a model trained in mixed precision: it autocasts, and runs the original model.
    model.__dict__.pop("forward", None)
    return model.float().cpu().eval()
