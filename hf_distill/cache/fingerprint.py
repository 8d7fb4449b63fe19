"""What names a teacher's store: everything that its outputs depend on, and nothing else."""

import hashlib
import json
from typing import Any

import torch
from transformers import PreTrainedModel

from hf_distill.classifiers.sharding import check_not_partitioned

# These say nothing about the forward pass: names, bookkeeping, or (`problem_type`) what a labelled forward writes.
_NOT_HASHED = frozenset(
    "_name_or_path _commit_hash transformers_version problem_type id2label label2id architectures dtype torch_dtype "
    "use_cache task_specific_params finetuning_task base_model_name_or_path revision inference_mode auto_mapping "
    "peft_version".split()
)


def forward_config(model: PreTrainedModel) -> dict[str, Any]:
    """Return the part of a model's config that its forward pass uses."""
    return {name: value for name, value in model.config.to_dict().items() if name not in _NOT_HASHED}


def hash_weights(model: PreTrainedModel) -> str:
    """Return the SHA-256 of all weights and buffers by name, an adapter's too; equal for two loads of one model.

    Raises:
        ValueError: for weights that are not in memory, or in a form that cannot be read.
    """
    check_not_partitioned(model, "`cache_teacher_outputs`")
    digest = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):
        _hash(digest, name, value)
    return digest.hexdigest()


def _hash(digest: Any, name: str, value: Any) -> None:
    if isinstance(value, tuple):  # of a dynamically quantised layer: its weight and its bias
        for i, part in enumerate(value):
            _hash(digest, f"{name}.{i}", part)
    elif isinstance(value, torch.Tensor) and not value.is_meta:
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        value = value.dequantize() if value.is_quantized else value
        digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    elif value is None or isinstance(value, torch.dtype):
        digest.update(f"{name} {value}".encode())
    else:
        raise ValueError(
            f"The teacher cannot be named by its weights: `{name}` is "
            f"{'not in memory' if isinstance(value, torch.Tensor) else type(value).__name__}. Leave "
            "`cache_teacher_outputs` out, or load the teacher whole."
        )


def adapter_config(model: PreTrainedModel) -> dict[str, Any]:
    """Return what a PEFT adapter's forward pass depends on beside its weights, e.g. its scale; {} without one."""
    adapters = getattr(model, "peft_config", None) or {}
    found: dict[str, Any] = {
        name: {key: _in_order(value) for key, value in config.to_dict().items() if key not in _NOT_HASHED}
        for name, config in adapters.items()
    }
    if found:
        active = model.active_adapters
        found["active"] = active() if callable(active) else active
    return found


def _in_order(value: Any) -> Any:
    return sorted(value) if isinstance(value, set) else value


def fingerprint(model: PreTrainedModel, dtype: str, outputs: str = "logits") -> tuple[str, dict[str, Any]]:
    """Name a teacher.

    Args:
        model: The teacher.
        dtype: Precision of its forward pass.
        outputs: What is kept of it.

    Returns:
        32 hexadecimal digits, and what was hashed: weights, class, config, precision and outputs.
    """
    hashed = {
        "weights_sha256": hash_weights(model),
        "model_class": type(model).__name__,
        "config": forward_config(model),
        "dtype": dtype,
        "outputs": outputs,
    }
    if adapter := adapter_config(model):
        hashed["adapter"] = adapter
    text = json.dumps(hashed, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:32], hashed
