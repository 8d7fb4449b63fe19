"""Where a teacher's weights are: on one device, where they must stay, or shared out over the processes.

By `shard_teacher` they are shared out with FSDP2. DeepSpeed ZeRO-3 shares out whatever is loaded under it.
"""

import math

import torch
from accelerate import PartialState
from accelerate.utils import gather_object
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from transformers import PreTrainedModel


def is_placed(model: PreTrainedModel) -> bool:
    """Whether a model must stay where it is: quantised, or spread over devices by `device_map`."""
    if getattr(model, "hf_device_map", None) or getattr(model, "hf_quantizer", None):
        return True
    # Of `torch.ao.quantization.quantize_dynamic`, whose kernels exist on the CPU alone.
    return any(type(module).__module__.startswith("torch.ao.nn.quantized") for module in model.modules())


def move(model: PreTrainedModel, device: torch.device) -> None:
    """Move a model that may be moved."""
    if not is_placed(model):
        torch.nn.Module.to(model, device)


def is_partitioned(model: PreTrainedModel) -> bool:
    """Whether DeepSpeed ZeRO-3 has shared a model's weights out as it was loaded."""
    return any(hasattr(parameter, "ds_tensor") for parameter in model.parameters())


def check_whole(model: PreTrainedModel, what: str) -> None:
    """Refuse a partitioned model where its weights are read.

    Raises:
        ValueError: that says what needs them.
    """
    if is_partitioned(model):
        raise ValueError(
            f"DeepSpeed ZeRO-3 has shared the teacher's weights out over the processes as it was loaded, and {what} "
            "reads them whole. Load it before the training arguments are made, or do this without DeepSpeed."
        )


def gather_in_forward(model: PreTrainedModel) -> None:
    """Let a partitioned model gather its weights, a layer at a time, when it is run; DeepSpeed calls it a preparation.

    All processes must then run it together, as often as each other.
    """
    if "deepspeed_engine" in vars(model):  # by an earlier Trainer
        return
    import deepspeed
    from transformers.integrations.deepspeed import deepspeed_config

    given = (deepspeed_config() or {}).get("zero_optimization", {})
    zero = {name: value for name, value in given.items() if value != "auto" and name != "offload_optimizer"}
    config = {"train_micro_batch_size_per_gpu": 1, "zero_optimization": {**zero, "stage": 3}}
    # Not by `setattr`, which would make the engine, and in it the model, a part of the model.
    vars(model)["deepspeed_engine"] = deepspeed.initialize(model=model, config=config)[0]


def shard(model: PreTrainedModel, device: torch.device) -> None:
    """Give each process an equal part of every layer's weights; a forward pass gathers one layer at a time.

    From then on all processes must run the model together, as often as each other, and its parameters are `DTensor`s.
    Uses `torch.distributed.fsdp.fully_shard`.

    Args:
        model: On the CPU or on `device`; its weights are equal on all processes.
        device: Where this process keeps its part.

    Raises:
        ValueError: if the model must stay where it is.
    """
    check_whole(model, "`shard_teacher`")
    if is_placed(model):
        raise ValueError(
            "`shard_teacher` is set, and the teacher is quantised or spread over devices by `device_map`, so its "
            "weights must stay where they are. Leave one out."
        )
    if isinstance(model, FSDPModule):  # by an earlier Trainer
        return
    mesh = init_device_mesh(device.type, (PartialState().num_processes,))
    layers = set(model._no_split_modules or ())
    for module in list(model.modules()):
        if type(module).__name__ in layers:
            fully_shard(module, mesh=mesh)
    fully_shard(model, mesh=mesh)


def check_equal_everywhere(model: PreTrainedModel) -> None:
    """Refuse a teacher whose weights differ between the processes; nothing else would ever tell.

    One that `device_map` has placed is left alone, as its weights may lie elsewhere on every process, and so is one
    that is shared out already.

    Raises:
        ValueError: on every process.
    """
    if PartialState().num_processes == 1 or is_placed(model) or isinstance(model, FSDPModule) or is_partitioned(model):
        return
    sizes = [parameter.detach().abs().sum(dtype=torch.float64).item() for parameter in model.parameters()]
    first, *others = gather_object([sizes])
    for process, of_process in enumerate(others, start=1):
        is_equal = [math.isclose(a, b, rel_tol=1e-9) for a, b in zip(first, of_process, strict=True)]
        if not all(is_equal):
            raise ValueError(
                f"The teacher of process {process} is not that of process 0: {is_equal.count(False)} of its "
                f"{len(is_equal)} weights differ. Give all of them the same checkpoint; of one that is made in code, "
                "seed it first."
            )
