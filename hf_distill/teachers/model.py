"""A live model as a teacher."""

from collections.abc import Collection, Sequence
from dataclasses import fields, replace
from typing import Any

import torch
from accelerate.utils import extract_model_from_parallel
from torch import Tensor
from transformers import PreTrainedModel

from hf_distill.classifiers.forward import compute_outputs, prepare_outputs
from hf_distill.classifiers.outputs import STORABLE_OUTPUTS, Batch, ClassifierOutputs
from hf_distill.classifiers.placement import has_fixed_placement, move_to_device
from hf_distill.classifiers.sharding import gather_in_forward, is_partitioned, shard
from hf_distill.classifiers.signature import USUAL_INPUTS, input_names
from hf_distill.teachers.base import BaseTeacher


class Teacher(BaseTeacher):
    """A live teacher: a model that runs on every batch.

    The model is set to evaluation mode and its parameters no longer require gradients. It is not part of the
    optimizer, of checkpoints, or of the autograd graph.

    Args:
        model: A classifier, with or without a PEFT adapter. It is moved to `device`, unless its placement is fixed
            (see [`~hf_distill.classifiers.placement.has_fixed_placement`]); then its inputs are moved to the model.
        device: Device of the returned outputs.
        dtype: Precision of the forward pass: "float32", or "bfloat16" or "float16" with autocast.
        requested: Outputs to return in addition to the logits; see [`Teacher.request`].
        prefix: Prefix of the columns with the teacher's own token ids; empty if the teacher reads the student's
            columns. With a prefix, the column `<prefix>positions` contains for each token of the student the position
            of the teacher's token in the same word.
        is_sharded: Whether the processes share the weights. All processes must then run the teacher together.
        tokenizer_names: The columns that the teacher's tokenizer returns. The teacher reads these if its `forward`
            does not name its inputs.

    Raises:
        ValueError: if the weights have a lower precision than `dtype`, are not finite, or cannot be sharded, or if the
            model cannot return the requested outputs.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        device: torch.device,
        dtype: str = "float32",
        requested: Collection[str] = (),
        prefix: str = "",
        is_sharded: bool = False,
        tokenizer_names: frozenset[str] = USUAL_INPUTS,
    ) -> None:
        local_weights = [getattr(weight, "ds_tensor", weight) for weight in model.parameters() if not weight.is_meta]
        _check_weights(model, local_weights, dtype)
        # A model that was trained in mixed precision keeps autocast in its forward; only `dtype` decides here.
        model = extract_model_from_parallel(model, keep_fp32_wrapper=False)
        self.model = model.eval().requires_grad_(False)
        self.device = device
        if is_sharded:
            shard(self.model, device)
        elif is_partitioned(self.model):
            gather_in_forward(self.model)
        else:
            move_to_device(self.model, device)
        self._model_device = local_weights[0].device if has_fixed_placement(model) else device
        self.dtype: torch.dtype = getattr(torch, dtype)
        self._is_shared = is_sharded or is_partitioned(self.model)
        self._input_names = {prefix + name: name for name in input_names(model, tokenizer_names)}
        self._positions_column = f"{prefix}positions" if prefix else None
        self.columns = frozenset(self._input_names) | ({self._positions_column} if self._positions_column else set())
        self.required_columns = frozenset({f"{prefix}input_ids"})
        self.request(requested)

    def cast_weights(self) -> None:
        """Convert the weights to the precision of the forward pass, so that autocast need not do so in every step.

        For a model that nothing else uses. Weights that are quantized, spread over devices or shared between
        processes stay as they are.
        """
        if not (self._is_shared or has_fixed_placement(self.model)):
            self.model.to(self.dtype)

    def request(self, outputs: Collection[str]) -> None:
        """Choose the outputs that the teacher returns in addition to the logits.

        Args:
            outputs: Names of fields of [`ClassifierOutputs`].

        Raises:
            ValueError: if the model cannot return them, or if they belong to tokens that are not the student's.
        """
        if self._positions_column and (unavailable := sorted(set(outputs) - STORABLE_OUTPUTS.keys())):
            raise ValueError(
                f"The objectives read the teacher's {' and '.join(unavailable)}, which belong to the teacher's tokens "
                "and not to the student's. A teacher with a different tokenizer only returns "
                f"{' and '.join(STORABLE_OUTPUTS)}."
            )
        prepare_outputs(self.model, outputs, "teacher")
        self.requested = frozenset(outputs)

    def _outputs(self, batch: Batch) -> ClassifierOutputs:
        inputs = {
            self._input_names[column]: value.to(self._model_device)
            for column, value in batch.items()
            if column in self._input_names
        }
        if self.model.training:  # somebody who shares the model has switched dropout on
            self.model.eval()
        with torch.autocast(self._model_device.type, dtype=self.dtype, enabled=self.dtype != torch.float32):
            outputs = compute_outputs(self.model, inputs, self.requested)
        if self._model_device != self.device:
            values = {field.name: getattr(outputs, field.name) for field in fields(outputs)}
            outputs = ClassifierOutputs(**{name: _to_device(value, self.device) for name, value in values.items()})
        if self._positions_column and self._positions_column in batch:
            outputs = replace(outputs, logits=_gather_tokens(outputs.logits, batch[self._positions_column]))
        return outputs


def _check_weights(model: PreTrainedModel, local_weights: Sequence[Tensor], dtype: str) -> None:
    if dtype == "float32" and model.dtype != torch.float32:
        raise ValueError(
            f"The teacher's weights are {model.dtype}, but it must run in float32. Load it with "
            "`dtype=torch.float32`, or set `teacher_dtype` to 'bfloat16' or 'float16'."
        )
    if not all(weight.isfinite().all() for weight in local_weights):
        raise ValueError("The teacher has weights that are NaN or infinite. Load another checkpoint.")


def _to_device(value: Any, device: torch.device) -> Any:
    if isinstance(value, tuple):
        return tuple(_to_device(part, device) for part in value)
    return None if value is None else value.to(device)


def _gather_tokens(logits: Tensor, positions: Tensor) -> Tensor:
    """Return the logits at `positions`, `(batch, length)`. For the position -1 (no token) the result is arbitrary."""
    return logits.gather(1, positions.clamp(min=0)[..., None].expand(-1, -1, logits.shape[-1]))
