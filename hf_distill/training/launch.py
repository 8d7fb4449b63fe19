"""Launches that accelerate would silently turn into something else."""

import os

from accelerate import DistributedType, PartialState
from accelerate.utils import str_to_bool
from transformers import TrainingArguments


def check_launch(args: TrainingArguments, has_teacher: bool) -> None:
    """Refuse a launch that accelerate would silently change, or that leaves the teacher without weights.

    Args:
        args: The Trainer's.
        has_teacher: Whether a teacher is loaded, rather than read from columns.

    Raises:
        ValueError: for processes that do not form a group, sharding on a CPU, or missing weights of the teacher.
    """
    _check_number_of_processes(args.world_size)
    fsdp = bool(args.fsdp) or _is_set("ACCELERATE_USE_FSDP")
    fsdp_config = args.fsdp_config if isinstance(args.fsdp_config, dict) else {}
    names = ("cpu_ram_efficient_loading", "fsdp_cpu_ram_efficient_loading")
    in_config = any(str_to_bool(str(fsdp_config.get(name, False))) for name in names)
    if has_teacher and fsdp and (in_config or _is_set("FSDP_CPU_RAM_EFFICIENT_LOADING")):
        raise ValueError(
            "With FSDP's `cpu_ram_efficient_loading` only the first process loads weights, and the other processes "
            "would run a teacher without weights. Set it to false."
        )
    deepspeed = _is_set("ACCELERATE_USE_DEEPSPEED") and PartialState().distributed_type != DistributedType.DEEPSPEED
    if args.device.type == "cpu" and (fsdp or deepspeed):
        raise ValueError(
            f"{'FSDP' if fsdp else 'DeepSpeed'} needs GPUs: on a CPU accelerate would train with plain "
            "DistributedDataParallel, without a message. Remove the setting; `shard_teacher` works on CPUs too."
        )


def _check_number_of_processes(world_size: int) -> None:
    if world_size > 1:
        return
    asked = int(os.environ.get("WORLD_SIZE", "1"))
    if asked > 1:
        raise ValueError(
            f"WORLD_SIZE is {asked}, but this process would train alone, and so would every other one. On a machine "
            "without a GPU set `use_cpu=True`; to train in one process, unset WORLD_SIZE."
        )
    # `accelerate launch` sets these, the address only if several processes are asked for. torchrun and MPI, which it
    # uses to start them, set the number of processes.
    is_launched = {"ACCELERATE_DYNAMO_BACKEND", "MASTER_ADDR"} <= os.environ.keys()
    sizes = {"WORLD_SIZE", "PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "MV2_COMM_WORLD_SIZE"}
    if is_launched and not sizes & os.environ.keys():
        raise ValueError(
            "`accelerate launch` was asked for several processes and started one, as it does on a CPU. Start with "
            "`ACCELERATE_USE_CPU=1 accelerate launch --multi_gpu --num_processes ...`, which runs on CPUs whatever "
            "its name says, or with `torchrun` and `use_cpu=True`; to train in one process, unset MASTER_ADDR."
        )


def _is_set(name: str) -> bool:
    return bool(str_to_bool(os.environ.get(name) or "false"))
