"""PEFT adapters of a model, merged into its weights."""

import copy
from typing import Any

from torch import nn

from hf_distill.classifiers.problem_types import without_adapter


def merge_adapters(model: Any) -> Any:
    """Return a copy of a model with its active adapters merged into its weights; without adapters, the model itself.

    Args:
        model: A PEFT model, a model with adapters inside, or anything else, which is returned unchanged.

    Raises:
        ValueError: for adapters that are not in the weights, such as learned prompts, or that cannot be merged.
    """
    configs = getattr(model, "peft_config", None)
    if not configs:
        return model
    from peft.tuners.tuners_utils import BaseTunerLayer  # slow to import, and only models with an adapter need it
    from peft.utils.other import AuxiliaryTrainingWrapper

    if prompts := [config.peft_type for config in configs.values() if config.is_prompt_learning]:
        raise ValueError(
            f"The adapter of this {type(without_adapter(model)).__name__} is a learned prompt ({prompts[0]}), which "
            "cannot be merged into the weights, so that the layers alone do not answer as the model does."
        )
    merged: Any = copy.deepcopy(without_adapter(model))
    kinds = (BaseTunerLayer, AuxiliaryTrainingWrapper)
    wrapped = {name: module for name, module in merged.named_modules() if isinstance(module, kinds)}
    outermost = [name for name in wrapped if not any(name.startswith(f"{other}.") for other in wrapped)]
    for name in outermost:
        merged.set_submodule(name, _merge(wrapped[name]))
    del merged.peft_config
    merged._hf_peft_config_loaded = False
    return merged


def _merge(module: Any) -> nn.Module:
    """Return the module that answers as an adapted module does."""
    is_active = not module.disable_adapters
    if not is_active and hasattr(module, "original_module"):  # the adapter is a trained copy of it
        return module.original_module
    try:
        if hasattr(module, "unload_and_optionally_merge_module"):
            return module.unload_and_optionally_merge_module(merge=is_active, safe_merge=True, adapter_names=None)
        if is_active:
            module.merge(safe_merge=True)
        return module.get_base_layer()
    except NotImplementedError as error:
        raise ValueError(f"Adapters of the kind {type(module).__name__} cannot be merged: {error}") from error
