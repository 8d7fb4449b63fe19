"""The head that a pretrained classifier brings: it is used only for the same classes."""

from collections.abc import Collection

import torch
from torch import nn
from transformers import PreTrainedConfig, PreTrainedModel
from transformers.utils import logging

from hf_distill.classifiers.label_maps import align_labels, are_paired_by_order, class_names_of, id2label_of
from hf_distill.classifiers.sharding import check_not_partitioned

logger = logging.get_logger(__name__)


def fit_head(model: PreTrainedModel, saved: PreTrainedConfig, missing_weights: Collection[str], name: str) -> None:
    """Bring the outputs of a loaded head into the order of the model's class names; draw them anew for other classes.

    Placeholders (`LABEL_0`, ...) are paired by their order, with a warning. A single output stays as it is.

    Args:
        model: The model, whose head was loaded from a checkpoint with as many outputs.
        saved: The config of the checkpoint, with the names of the classes that the head was trained for.
        missing_weights: Names of the weights that the checkpoint does not have. Without a head, nothing changes.
        name: Folder or Hub id, for messages.

    Raises:
        ValueError: if the outputs must change, and DeepSpeed ZeRO-3 has shared out the weights.
    """
    names, names_before = class_names_of(model.config), class_names_of(saved)
    layer_name, layer = _output_layer(model)
    if len(names) == 1 or layer is None or f"{layer_name}.weight" in missing_weights:
        return
    if are_paired_by_order(names, names_before):
        outputs = ", ".join(names_before)
        logger.warning_once(f"{name} keeps its head: its outputs {outputs} stand for {', '.join(names)}.")
        return
    try:
        order = align_labels(id2label_of(saved), id2label_of(model.config))
    except ValueError:
        check_not_partitioned(model, "another head")
        others = ", ".join(names_before)
        logger.warning_once(f"{name} gets a new head, because its own is for other classes: {others}.")
        nn.init.normal_(layer.weight, std=getattr(model.config, "initializer_range", 0.02))
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
        return
    if order is not None:
        check_not_partitioned(model, "a head with classes in another order")
        with torch.no_grad():
            layer.weight.copy_(layer.weight[order])
            if layer.bias is not None:
                layer.bias.copy_(layer.bias[order])


def _output_layer(model: PreTrainedModel) -> tuple[str, nn.Linear | None]:
    """Return the layer with one output for each class, and its name; None if the model has another kind of head."""
    layers = {name: module for name, module in model.named_modules() if isinstance(module, nn.Linear)}
    is_output = {
        name: layer.out_features == model.config.num_labels and not name.startswith(f"{model.base_model_prefix}.")
        for name, layer in layers.items()
    }
    return next(((name, layer) for name, layer in reversed(layers.items()) if is_output[name]), ("", None))
