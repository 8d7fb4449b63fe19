"""What names a teacher's store: everything that its outputs depend on, and nothing else."""

import hashlib
import json
from typing import Any

import torch
from transformers import PreTrainedModel

# These say nothing about the forward pass: names, bookkeeping, or (`problem_type`) what a labelled forward writes.
_NOT_HASHED = frozenset(
    "_name_or_path _commit_hash transformers_version problem_type id2label label2id architectures dtype torch_dtype "
    "use_cache task_specific_params finetuning_task".split()
)


def forward_config(model: PreTrainedModel) -> dict[str, Any]:
    """Return the part of a model's config that its forward pass uses."""
    return {name: value for name, value in model.config.to_dict().items() if name not in _NOT_HASHED}


def hash_weights(model: PreTrainedModel) -> str:
    """Return the SHA-256 of all weights and buffers by name; equal for two loads of one checkpoint."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


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
    text = json.dumps(hashed, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:32], hashed
