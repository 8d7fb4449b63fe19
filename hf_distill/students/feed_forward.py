"""Students with fewer feed-forward neurons in each layer."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedConfig, PreTrainedModel

from hf_distill.classifiers.signature import input_names
from hf_distill.students.layers import build_student, find_stack


@dataclass(frozen=True)
class FeedForward:
    """Where the layers of a model family have their feed-forward block.

    Args:
        up: Name, inside a layer, of the linear layers that produce the neurons.
        down: Name of the linear layer that reads the neurons.
        size: Name of the number of neurons in the config.
        up_blocks: How many blocks of neurons the output of one `up` layer has, one after the other; 2 if it also
            has the gates.
    """

    up: tuple[str, ...] = ("intermediate.dense",)
    down: str = "output.dense"
    size: str = "intermediate_size"
    up_blocks: int = 1


_BERT = FeedForward()
_GATED = FeedForward(up=("mlp.gate_proj", "mlp.up_proj"), down="mlp.down_proj")
# `model_type` -> where its feed-forward blocks are.
FEED_FORWARDS = {
    "bert": _BERT,
    "roberta": _BERT,
    "xlm-roberta": _BERT,
    "electra": _BERT,
    "mpnet": _BERT,
    "deberta-v2": _BERT,
    "distilbert": FeedForward(up=("ffn.lin1",), down="ffn.lin2", size="hidden_dim"),
    "modernbert": FeedForward(up=("mlp.Wi",), down="mlp.Wo", up_blocks=2),
    "qwen2": _GATED,
    "smollm3": _GATED,
}


def check_intermediate_size(config: PreTrainedConfig, intermediate_size: int) -> None:
    """Raise what is wrong with a number of neurons before weights are loaded.

    Args:
        config: The teacher's config.
        intermediate_size: Number of neurons of each feed-forward block of the student.

    Raises:
        ValueError: if the family is unknown, or if the number is not from 1 to the teacher's.
    """
    if config.model_type not in FEED_FORWARDS:
        raise ValueError(
            f"`intermediate_size` is not possible for a {config.model_type!r} model, whose feed-forward blocks are "
            f"not known; possible: {', '.join(FEED_FORWARDS)}. Leave it out."
        )
    num_neurons = getattr(config, FEED_FORWARDS[config.model_type].size)
    if not 1 <= intermediate_size <= num_neurons:
        raise ValueError(
            f"`intermediate_size` must be from 1 to {num_neurons}, the model's number of neurons, got "
            f"{intermediate_size}."
        )


def keep_neurons(
    model: PreTrainedModel, intermediate_size: int, calibration_batches: Iterable[Mapping[str, Any]]
) -> PreTrainedModel:
    r"""Copy a model with only the most important neurons of each feed-forward block, in their old order.

    The importance of neuron $j$ in a layer is its mean absolute activation over the tokens of the calibration text,
    times the norm of the weights that read it:

    $$I_j = \lVert W^{down}_{:,j} \rVert_2 \cdot \frac{1}{N} \sum_{t=1}^{N} |h_{tj}|$$

    Minitron (Muralidharan et al., 2024, section 2.2, https://huggingface.co/papers/2407.14679) ranks neurons by
    their activations alone; the norm also counts how much of an activation the layer adds to the hidden states. With
    all neurons kept, the copy has the logits of the model exactly.

    Args:
        model: A classifier of one of the families in `FEED_FORWARDS`.
        intermediate_size: Number of neurons to keep in each layer.
        calibration_batches: Batches of model inputs as tensors, e.g. a DataLoader over tokenized rows without labels;
            a few hundred rows suffice. Padding is not counted.

    Returns:
        The narrower model, with float32 weights, on the device of `model` and in eval mode.

    Raises:
        ValueError: as [`check_intermediate_size`] does, or if the calibration batches have no token.
    """
    check_intermediate_size(model.config, intermediate_size)
    feed_forward = FEED_FORWARDS[model.config.model_type]
    stack_name, stack = find_stack(model)
    activations = _mean_activations(
        model, [layer.get_submodule(feed_forward.down) for layer in stack], calibration_batches
    )
    weights = dict(model.state_dict())
    for index, activation_F in enumerate(activations):
        down_HF = weights[f"{stack_name}.{index}.{feed_forward.down}.weight"]
        importance_F = activation_F * down_HF.float().norm(dim=0)
        kept = importance_F.topk(intermediate_size).indices.sort().values
        _keep(weights, f"{stack_name}.{index}", feed_forward, kept, len(importance_F))
    config = copy.deepcopy(model.config)
    setattr(config, feed_forward.size, intermediate_size)
    return build_student(type(model), config, weights, model)


def _keep(weights: dict[str, Tensor], layer: str, feed_forward: FeedForward, kept: Tensor, num_neurons: int) -> None:
    down = f"{layer}.{feed_forward.down}.weight"
    weights[down] = weights[down][:, kept]
    rows = torch.cat([kept + block * num_neurons for block in range(feed_forward.up_blocks)])
    for up in feed_forward.up:
        for name in (f"{layer}.{up}.weight", f"{layer}.{up}.bias"):
            if name in weights:
                weights[name] = weights[name][rows]


def _mean_activations(
    model: PreTrainedModel, down_layers: Sequence[nn.Module], batches: Iterable[Mapping[str, Any]]
) -> list[Tensor]:
    """Return the mean absolute activation of each neuron, `(num_neurons,)` for each layer."""
    names = input_names(model)
    sums: list[Tensor | float] = [0.0] * len(down_layers)
    num_tokens = 0
    was_training = model.training
    model.eval()
    with torch.no_grad(), _recorded_inputs(down_layers) as recorded:
        for batch in batches:
            inputs = {name: value.to(model.device) for name, value in batch.items() if name in names}
            is_token_BT = inputs.get("attention_mask", torch.ones_like(inputs["input_ids"])).bool()
            recorded.clear()
            model(**inputs)
            for index, activation_BTF in enumerate(recorded):
                sums[index] = sums[index] + activation_BTF[is_token_BT].float().abs().sum(dim=0)
            num_tokens += int(is_token_BT.sum())
    model.train(was_training)
    if not num_tokens:
        raise ValueError("`calibration_batches` has no token. Pass batches with at least one text.")
    return [total / num_tokens for total in sums]  # type: ignore[misc]  # tensors, since there was a batch


@contextlib.contextmanager
def _recorded_inputs(modules: Sequence[nn.Module]) -> Iterator[list[Tensor]]:
    """Yield a list to which each module appends its input when it runs; the modules run in the given order."""
    recorded: list[Tensor] = []
    hooks = [module.register_forward_pre_hook(lambda _, inputs: recorded.append(inputs[0])) for module in modules]
    try:
        yield recorded
    finally:
        for hook in hooks:
            hook.remove()
