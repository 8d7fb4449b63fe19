"""The fingerprint of a teacher: a hash of everything that its outputs depend on. It names the teacher's store."""

import contextlib
import hashlib
import json
from collections.abc import Iterator
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch.distributed.fsdp import FSDPModule
from transformers import PreTrainedModel

from hf_distill.classifiers.sharding import check_not_partitioned

# Config fields that do not affect the forward pass: names, bookkeeping, and `problem_type`, which a forward pass with
# labels changes.
_NOT_HASHED = frozenset(
    "_name_or_path _commit_hash transformers_version problem_type id2label label2id architectures dtype torch_dtype "
    "use_cache task_specific_params finetuning_task base_model_name_or_path revision inference_mode auto_mapping "
    "peft_version".split()
)

_constant_hashes: WeakKeyDictionary[PreTrainedModel, str] = WeakKeyDictionary()


@contextlib.contextmanager
def constant_weights(model: PreTrainedModel) -> Iterator[None]:
    """Hash the weights of a model only once in this block, in which nothing must change them.

    Many Trainers with the same teacher would otherwise each read all its weights several times.

    Args:
        model: The model.

    Raises:
        ValueError: as [`hash_weights`] does.
    """
    _constant_hashes[model] = hash_weights(model)
    try:
        yield
    finally:
        _constant_hashes.pop(model, None)


def forward_config(model: PreTrainedModel) -> dict[str, Any]:
    """Return the config fields that affect the forward pass of a model."""
    return {name: value for name, value in model.config.to_dict().items() if name not in _NOT_HASHED}


def hash_weights(model: PreTrainedModel) -> str:
    """Return the SHA-256 of all weights and buffers by name, including those of an adapter.

    Loading the same model twice gives the same hash.

    Raises:
        ValueError: if weights are not in memory, or have a type that cannot be read.
    """
    if model in _constant_hashes:
        return _constant_hashes[model]
    check_not_partitioned(model, "`cache_teacher_outputs`")
    digest = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):
        _hash_value(digest, name, value)
    return digest.hexdigest()


def _hash_value(digest: Any, name: str, value: Any) -> None:
    if isinstance(value, tuple):  # weight and bias of a dynamically quantized layer
        for i, part in enumerate(value):
            _hash_value(digest, f"{name}.{i}", part)
    elif isinstance(value, torch.Tensor) and not value.is_meta:
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        value = value.dequantize() if value.is_quantized else value
        digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    elif value is None or isinstance(value, torch.dtype):
        digest.update(f"{name} {value}".encode())
    else:
        raise ValueError(
            f"The weights of the teacher cannot be hashed: `{name}` is "
            f"{'not in memory' if isinstance(value, torch.Tensor) else type(value).__name__}. Do not set "
            "`cache_teacher_outputs`, or load the whole teacher into memory."
        )


def adapter_config(model: PreTrainedModel) -> dict[str, Any]:
    """Return the PEFT settings that affect the forward pass; {} without an adapter.

    They include the state of every adapted layer, which can differ from the settings: whether its adapters are
    disabled or merged, which are active, and their scales.
    """
    peft_configs = getattr(model, "peft_config", None) or {}
    settings: dict[str, Any] = {
        name: {key: _sort_sets(value) for key, value in config.to_dict().items() if key not in _NOT_HASHED}
        for name, config in peft_configs.items()
    }
    return {**settings, "layers": _adapted_layers(model)} if settings else {}


def _adapted_layers(model: PreTrainedModel) -> dict[str, Any]:
    from peft.tuners.tuners_utils import BaseTunerLayer  # slow to import, and only models with an adapter need it

    return {
        name: {
            "active": list(layer.active_adapters),
            "is_disabled": layer.disable_adapters,
            "merged": list(layer.merged_adapters),
            "scaling": vars(layer).get("scaling"),  # some kinds of adapters have none
        }
        for name, layer in model.named_modules()
        if isinstance(layer, BaseTunerLayer)
    }


def _sort_sets(value: Any) -> Any:
    return sorted(value) if isinstance(value, set) else value


def fingerprint(model: PreTrainedModel, dtype: str, outputs: str = "logits") -> tuple[str, dict[str, Any]]:
    """Compute the fingerprint of a teacher.

    Args:
        model: The teacher.
        dtype: Precision of the forward pass.
        outputs: The outputs that are stored.

    Returns:
        32 hexadecimal digits, and what was hashed: weights, class, config, precision and outputs.
    """
    hashed = {**hashed_parts(model), "dtype": dtype, "outputs": outputs}
    return hash_json(hashed), hashed


def hashed_parts(model: PreTrainedModel) -> dict[str, Any]:
    """Return what makes a teacher this teacher, at whatever precision it runs: its weights, class and config.

    Raises:
        ValueError: for weights that are not in memory, or in a form that cannot be read.
    """
    hashed = {
        "weights_sha256": hash_weights(model),
        "model_class": type(model).__name__,
        "config": forward_config(model),
    }
    if adapter := adapter_config(model):
        hashed["adapter"] = adapter
    return hashed


def identify(model: PreTrainedModel) -> str:
    """Return a hash of a model's weights, class and config; of its name and config if the weights cannot be read."""
    if not isinstance(model, FSDPModule):  # whose weights an earlier Trainer has shared out
        with contextlib.suppress(ValueError):  # weights that are not in memory, or that DeepSpeed has shared out
            return hash_json(hashed_parts(model))
    return hash_json({"name": model.config.name_or_path, "class": type(model).__name__, **forward_config(model)})


def hash_json(value: dict[str, Any]) -> str:
    """Return the start of the SHA-256 of a dict of JSON values, 32 hexadecimal digits."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()[:32]
