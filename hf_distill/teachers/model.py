"""A live model as a teacher, and how one is loaded."""

import contextlib
import inspect
import os
from collections.abc import Collection
from dataclasses import fields, replace
from typing import Any

import torch
from accelerate.utils import extract_model_from_parallel
from torch import Tensor
from transformers import AutoConfig, PreTrainedModel
from transformers.utils import logging

from hf_distill.classifiers.forward import prepare_to_show, read_outputs
from hf_distill.classifiers.outputs import COLUMNS, Batch, ClassifierOutputs
from hf_distill.classifiers.placement import gather_in_forward, is_partitioned, is_placed, move, shard
from hf_distill.classifiers.problem_types import (
    PROBLEM_TYPES,
    auto_model,
    problem_type_of_head,
    without_adapter,
)
from hf_distill.teachers.base import BaseTeacher

logger = logging.get_logger(__name__)


class Teacher(BaseTeacher):
    """A live teacher.

    Args:
        model: A classifier, with or without a PEFT adapter. It is put into evaluation mode, its parameters stop
            requiring gradients, and it moves to `device` unless it must stay where it is (see
            [`~hf_distill.classifiers.placement.is_placed`]), in which case its inputs go there. It stays outside every
            optimizer, checkpoint and autograd graph.
        device: Where the outputs are wanted.
        dtype: Precision of the forward pass: "float32", or "bfloat16" or "float16" by autocast.
        reads: What is read of its outputs beside the logits; see [`Teacher.show`].
        prefix: What the names of its columns start with, if it does not read the student's: its own tokens. The
            column `<prefix>positions` then says for each token of the student which of its own has the same word.
        is_sharded: Whether the processes share out its weights; all of them must then run it together.

    Raises:
        ValueError: if the weights are of lower precision than `dtype`, not finite, or cannot be shared out.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        device: torch.device,
        dtype: str = "float32",
        reads: Collection[str] = (),
        prefix: str = "",
        is_sharded: bool = False,
    ) -> None:
        if dtype == "float32" and model.dtype != torch.float32:
            raise ValueError(
                f"The teacher's weights are {model.dtype}, but it is to run in float32. Load it with "
                "`dtype=torch.float32`, or set `teacher_dtype` to 'bfloat16' or 'float16'."
            )
        here = [getattr(weight, "ds_tensor", weight) for weight in model.parameters() if not weight.is_meta]
        if not all(parameter.isfinite().all() for parameter in here):
            raise ValueError("The teacher has weights that are NaN or infinite. Load a checkpoint that is whole.")
        # A model that was trained in mixed precision keeps an autocast in its forward; here `dtype` alone decides.
        model = extract_model_from_parallel(model, keep_fp32_wrapper=False)
        self.model = model.eval().requires_grad_(False)
        self.device = device
        if is_sharded:
            shard(self.model, device)
        elif is_partitioned(self.model):
            gather_in_forward(self.model)
        else:
            move(self.model, device)
        self._home = here[0].device if is_placed(model) else device
        self.dtype: torch.dtype = getattr(torch, dtype)
        inputs = frozenset(inspect.signature(without_adapter(model).forward).parameters) - {"labels"}
        self._inputs = {prefix + name: name for name in inputs}
        self._positions = f"{prefix}positions"
        self.columns = frozenset(self._inputs) | ({self._positions} if prefix else set())
        self.needs = frozenset({f"{prefix}input_ids"})
        self.show(reads)

    def show(self, reads: Collection[str]) -> None:
        """Choose what it shows: names of fields of [`ClassifierOutputs`].

        Raises:
            ValueError: if the model cannot show them, or they are of tokens that are not the student's.
        """
        if self._positions in self.columns and (missing := sorted(set(reads) - COLUMNS.keys())):
            raise ValueError(
                f"The objectives read the teacher's {' and '.join(missing)}, which are of its own tokens, not of the "
                f"student's. With a tokenizer of its own a teacher shows its {' and '.join(COLUMNS)}."
            )
        prepare_to_show(self.model, reads, "teacher")
        self.reads = frozenset(reads)

    def _outputs(self, batch: Batch) -> ClassifierOutputs:
        inputs = {self._inputs[name]: value.to(self._home) for name, value in batch.items() if name in self._inputs}
        with torch.autocast(self._home.type, dtype=self.dtype, enabled=self.dtype != torch.float32):
            outputs = read_outputs(self.model, inputs, self.reads)
        if self._home != self.device:
            found = {field.name: getattr(outputs, field.name) for field in fields(outputs)}
            outputs = ClassifierOutputs(**{name: _moved(value, self.device) for name, value in found.items()})
        if self._positions in self.columns and self._positions in batch:
            outputs = replace(outputs, logits=_at(batch[self._positions], outputs.logits))
        return outputs


def _moved(value: Any, device: torch.device) -> Any:
    if isinstance(value, tuple):
        return tuple(_moved(part, device) for part in value)
    return None if value is None else value.to(device)


def _at(positions: Tensor, logits: Tensor) -> Tensor:
    """Pick the logits of tokens by their positions, `(batch, length)`; -1 where there is none, whatever that gives."""
    return logits.gather(1, positions.clamp(min=0)[..., None].expand(-1, -1, logits.shape[-1]))


def load_teacher(
    name_or_path: str | os.PathLike,
    revision: str | None = None,
    trust_remote_code: bool = False,
    problem_type: str | None = None,
) -> PreTrainedModel:
    """Load a model in float32 with the head that it was saved with, and warn loudly if that is not there.

    Without a head for words among its weights it becomes a sequence classifier.

    Args:
        name_or_path: A folder, or an id on the Hub.
        revision: Branch, tag or commit; a commit alone says which weights these are.
        trust_remote_code: Whether Python files that come with the model are run.
        problem_type: What the classifier is for, if its config leaves it open.

    Raises:
        OSError: if there is no such model.
        ValueError: if the model needs code that comes with it, and that is not trusted.
    """
    revision = revision or "main"
    architectures: list[str] = []
    with contextlib.suppress(OSError):  # an adapter has no config of its own
        config = AutoConfig.from_pretrained(name_or_path, revision=revision, trust_remote_code=trust_remote_code)
        architectures = config.architectures or []
    of_head = next(filter(None, map(problem_type_of_head, architectures)), "")
    model, info = auto_model(of_head).from_pretrained(
        name_or_path,
        revision=revision,
        trust_remote_code=trust_remote_code,
        dtype=torch.float32,
        output_loading_info=True,
    )
    if info["missing_keys"]:
        logger.warning(
            f"THE TEACHER WAS NEVER FINE-TUNED: {name_or_path} has no weights for {sorted(info['missing_keys'])}, so "
            "its head is random and a student would learn noise. Fine-tune it on the task first."
        )
    is_open = model.config.problem_type is None and not of_head
    if is_open and problem_type is not None and not PROBLEM_TYPES[problem_type].is_token_level:
        model.config.problem_type = problem_type
    return model
