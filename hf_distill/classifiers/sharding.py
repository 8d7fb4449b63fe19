"""Teachers whose weights are split over the processes.

`shard_teacher` splits the weights with FSDP2. DeepSpeed ZeRO-3 partitions every model that is loaded while it is
active.
"""

import math

import torch
from accelerate import PartialState
from accelerate.utils import FullyShardedDataParallelPlugin, gather_object
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from transformers import PreTrainedModel

from hf_distill.classifiers.placement import has_fixed_placement


def is_partitioned(model: PreTrainedModel) -> bool:
    """Return whether DeepSpeed ZeRO-3 partitioned the weights of a model when it was loaded."""
    return any(hasattr(parameter, "ds_tensor") for parameter in model.parameters())


def check_not_partitioned(model: PreTrainedModel, feature: str) -> None:
    """Check that this process has the complete weights of a model.

    Args:
        model: The model.
        feature: What needs the complete weights, for the message.

    Raises:
        ValueError: if DeepSpeed ZeRO-3 partitioned the model.
    """
    if is_partitioned(model):
        raise ValueError(
            "DeepSpeed ZeRO-3 partitioned the teacher's weights over the processes when the teacher was loaded, but "
            f"{feature} needs the complete weights. Load the teacher before you create the training arguments, or run "
            "without DeepSpeed."
        )


def gather_in_forward(model: PreTrainedModel) -> None:
    """Let DeepSpeed gather the weights of a partitioned model during each forward pass, one layer at a time.

    From then on, all processes must run the model together and equally often.
    """
    if "deepspeed_engine" in vars(model):  # an earlier Trainer has called this function
        return
    import deepspeed
    from transformers.integrations.deepspeed import deepspeed_config

    user_config = (deepspeed_config() or {}).get("zero_optimization", {})
    zero = {name: value for name, value in user_config.items() if value != "auto" and name != "offload_optimizer"}
    config = {"train_micro_batch_size_per_gpu": 1, "zero_optimization": {**zero, "stage": 3}}
    # `setattr` would register the engine, which contains the model, as a submodule of the model.
    vars(model)["deepspeed_engine"] = deepspeed.initialize(model=model, config=config)[0]


def shard(model: PreTrainedModel, device: torch.device) -> None:
    """Split the weights of every layer over the processes; a forward pass gathers one layer at a time.

    From then on, all processes must run the model together and equally often, and its parameters are `DTensor`s. Uses
    `torch.distributed.fsdp.fully_shard`.

    Args:
        model: The model, on the CPU or on `device`, with equal weights on all processes.
        device: Where this process keeps its part of the weights.

    Raises:
        ValueError: if the placement of the model is fixed, or DeepSpeed ZeRO-3 partitioned it.
    """
    check_not_partitioned(model, "`shard_teacher`")
    if has_fixed_placement(model):
        raise ValueError(
            "`shard_teacher` is set, but the teacher is quantized or `device_map` spread it over devices, so its "
            "weights cannot be moved. Remove one of the two."
        )
    if isinstance(model, FSDPModule):  # an earlier Trainer has sharded it
        return
    mesh = init_device_mesh(device.type, (PartialState().num_processes,))
    layer_classes = set(model._no_split_modules or ())
    for module in list(model.modules()):
        if type(module).__name__ in layer_classes:
            fully_shard(module, mesh=mesh)
    fully_shard(model, mesh=mesh)


def check_equal_on_all_processes(model: PreTrainedModel) -> None:
    """Check that all processes have the same teacher. Different teachers would train without any error.

    Models with a fixed placement are not checked, because their weights can be on different devices in each process.
    Sharded and partitioned models are not checked either.

    Raises:
        ValueError: on every process, if the weights differ.
    """
    if PartialState().num_processes == 1 or has_fixed_placement(model):
        return
    if isinstance(model, FSDPModule) or is_partitioned(model):
        return
    sums = [parameter.detach().abs().sum(dtype=torch.float64).item() for parameter in model.parameters()]
    first_sums, *other_sums = gather_object([sums])
    for process, process_sums in enumerate(other_sums, start=1):
        is_equal = [math.isclose(a, b, rel_tol=1e-9) for a, b in zip(first_sums, process_sums, strict=True)]
        if not all(is_equal):
            raise ValueError(
                f"The teacher of process {process} differs from the teacher of process 0: {is_equal.count(False)} of "
                f"{len(is_equal)} weights are not equal. Load the same checkpoint on all processes. If you create the "
                "teacher in code, set the random seed first."
            )


def keep_embeddings_apart(plugin: FullyShardedDataParallelPlugin, model: PreTrainedModel) -> None:
    """Leave modules that contain the input embeddings out of the modules that FSDP2 shards one by one.

    accelerate shards the input embeddings by themselves, and by default also the modules that a model names as
    `_no_split_modules`. In BERT and its like these contain the embeddings, which cannot be sharded twice. ESM also
    names a class that no classifier has, which accelerate rejects. Modules that the user named are left as they are.
    """
    names = getattr(model, "_no_split_modules", None)
    if plugin.fsdp_version != 2 or plugin.transformer_cls_names_to_wrap is not None or not names:
        return
    embeddings = model.get_input_embeddings()
    parents = {type(module).__name__ for module in model.modules() if embeddings in list(module.modules())[1:]}
    others = {type(module).__name__ for module in model.modules()} - parents
    plugin.transformer_cls_names_to_wrap = [name for name in names if name in others]
