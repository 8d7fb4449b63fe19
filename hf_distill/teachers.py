"""Teachers: from a batch to `ClassifierOutputs`; frozen, without a graph, on their own inputs."""

import inspect
import os
from collections.abc import Collection
from dataclasses import replace
from typing import Any, cast

import torch
from accelerate.utils import extract_model_from_parallel
from torch import Tensor
from transformers import AutoModelForSequenceClassification, PreTrainedModel
from transformers.utils import logging

from hf_distill.outputs import COLUMNS, TEACHER_LOGITS, Batch, ClassifierOutputs
from hf_distill.reading import prepare_to_show, read_outputs

logger = logging.get_logger(__name__)


class Teacher:
    """A live teacher.

    Args:
        model: A classifier. It is put into evaluation mode, its parameters stop requiring gradients, and it moves to
            `device`; it stays outside of every optimiser, checkpoint and autograd graph.
        device: Where it runs.
        dtype: Precision of the forward pass: "float32", or "bfloat16" or "float16" by autocast.
        reads: What is read of its outputs beside the logits; see [`Teacher.show`].

    Raises:
        ValueError: if the weights are of lower precision than `dtype`.
    """

    def __init__(
        self, model: PreTrainedModel, device: torch.device, dtype: str = "float32", reads: Collection[str] = ()
    ) -> None:
        if dtype == "float32" and model.dtype != torch.float32:
            raise ValueError(
                f"The teacher's weights are {model.dtype}, but it is to run in float32. Load it with "
                "`dtype=torch.float32`, or set `teacher_dtype` to 'bfloat16' or 'float16'."
            )
        if not all(parameter.isfinite().all() for parameter in model.parameters()):
            raise ValueError("The teacher has weights that are NaN or infinite. Load a checkpoint that is whole.")
        # A model that was trained in mixed precision keeps an autocast in its forward; here `dtype` alone decides.
        model = extract_model_from_parallel(model, keep_fp32_wrapper=False)
        self.model = model.eval().requires_grad_(False)
        self.model.to(device)
        self.device = device
        self.dtype: torch.dtype = getattr(torch, dtype)
        self.columns = frozenset(inspect.signature(model.forward).parameters) - {"labels"}
        self.label_order: list[int] | None = None
        self.show(reads)

    def show(self, reads: Collection[str]) -> None:
        """Choose what it shows: names of fields of [`ClassifierOutputs`].

        Raises:
            ValueError: if the model cannot show them.
        """
        prepare_to_show(self.model, reads, "teacher")
        self.reads = frozenset(reads)

    @torch.no_grad()
    def __call__(self, batch: Batch) -> ClassifierOutputs:
        """Run the teacher on the columns of `batch` that it knows; logits in float32 and the student's label order."""
        inputs = {name: value for name, value in batch.items() if name in self.columns}
        with torch.autocast(self.device.type, dtype=self.dtype, enabled=self.dtype != torch.float32):
            outputs = read_outputs(self.model, inputs, self.reads)
        return replace(outputs, logits=_in_order(outputs.logits, self.label_order))

    def covers(self, batch: Batch) -> bool:
        """Whether this batch is enough to know the teacher's outputs."""
        return True


class CachedTeacher:
    """A teacher whose outputs are columns of the data set: `teacher_logits`, in the student's label order if unset,
    and `teacher_cls_states`.
    """

    columns = frozenset(COLUMNS.values())
    label_order: list[int] | None = None
    reads: frozenset[str] = frozenset({"logits"})

    def show(self, reads: Collection[str]) -> None:
        """Choose what it shows: names of fields of [`ClassifierOutputs`].

        Raises:
            ValueError: for what no column holds.
        """
        if missing := sorted(set(reads) - COLUMNS.keys()):
            raise ValueError(
                f"The objectives read the teacher's {' and '.join(missing)}, and only its {' and '.join(COLUMNS)} can "
                "be stored. Pass `teacher_model` and leave `cache_teacher_outputs` out, or choose objectives that "
                "read only these, `kl` and `pkd` for instance."
            )
        self.reads = frozenset(reads) or frozenset({"logits"})  # for evaluation, if training reads nothing

    def __call__(self, batch: Batch) -> ClassifierOutputs:
        """Return the outputs that the batch carries."""
        if missing := [COLUMNS[name] for name in COLUMNS if name in self.reads and COLUMNS[name] not in batch]:
            raise ValueError(
                f"There is no teacher: the data set has no column `{missing[0]}`. Pass `teacher_model`, or add its "
                "outputs as that column."
            )
        known: dict[str, Any] = {name: batch[COLUMNS[name]] for name in self.reads}
        if (logits := known.pop("logits", None)) is not None:
            logits = _in_order(logits, self.label_order)
        return ClassifierOutputs(cast(Tensor, logits), **known)

    def covers(self, batch: Batch) -> bool:
        """Whether this batch is enough to know the teacher's outputs."""
        return all(COLUMNS[name] in batch for name in self.reads)


def _in_order(logits: Tensor, label_order: list[int] | None) -> Tensor:
    return logits.float() if label_order is None else logits.float()[..., label_order]


def load_teacher(name_or_path: str | os.PathLike, revision: str | None = None) -> PreTrainedModel:
    """Load a sequence classifier in float32, and warn loudly if its head is not among the weights.

    Raises:
        OSError: if there is no such model.
    """
    model, info = AutoModelForSequenceClassification.from_pretrained(
        name_or_path, revision=revision or "main", dtype=torch.float32, output_loading_info=True
    )
    if info["missing_keys"]:
        logger.warning(
            f"THE TEACHER WAS NEVER FINE-TUNED: {name_or_path} has no weights for {sorted(info['missing_keys'])}, so "
            "its head is random and a student would learn noise. Fine-tune it on the task first."
        )
    return model


def resolve_teacher(
    teacher_model: PreTrainedModel | str | os.PathLike | None, device: torch.device, dtype: str
) -> Teacher | CachedTeacher:
    """Make a teacher of a model, of a path or Hub id, or (None) of the column `teacher_logits`.

    Raises:
        TypeError: for anything else.
    """
    if teacher_model is None:
        return CachedTeacher()
    if isinstance(teacher_model, str | os.PathLike):
        teacher_model = load_teacher(teacher_model)
    if not isinstance(teacher_model, PreTrainedModel):
        raise TypeError(
            "`teacher_model` must be a transformers model, a path or a Hub id, or None with a column "
            f"`{TEACHER_LOGITS}`; got {type(teacher_model).__name__}. Of a PEFT "
            "model, pass what `merge_and_unload()` returns."
        )
    return Teacher(teacher_model, device, dtype)
