"""On which device the weights of a model are, and whether they can be moved."""

import copy

import torch
from transformers import PreTrainedModel


def has_fixed_placement(model: PreTrainedModel) -> bool:
    """Return whether a model cannot be moved, because it is quantized or `device_map` spread it over devices."""
    if getattr(model, "hf_device_map", None) or getattr(model, "hf_quantizer", None):
        return True
    # `torch.ao.quantization.quantize_dynamic` makes modules whose kernels only exist on the CPU.
    return any(type(module).__module__.startswith("torch.ao.nn.quantized") for module in model.modules())


def move_to_device(model: PreTrainedModel, device: torch.device) -> None:
    """Move a model to a device, unless its placement is fixed."""
    if not has_fixed_placement(model):
        torch.nn.Module.to(model, device)


def copy_to_cpu_in_float32(model: PreTrainedModel) -> PreTrainedModel:
    """Return a copy of a model on the CPU, in float32 and in evaluation mode."""
    model = copy.deepcopy(model)
    # After mixed-precision training, accelerate leaves a `forward` that autocasts and runs the original model.
    model.__dict__.pop("forward", None)
    return model.float().cpu().eval()
