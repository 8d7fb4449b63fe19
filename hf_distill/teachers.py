"""Teachers: from a batch to `ClassifierOutputs`; frozen, without a graph, on their own inputs."""

import inspect
import os
from collections.abc import Collection

import torch
from accelerate.utils import extract_model_from_parallel
from torch import Tensor
from transformers import AutoModelForSequenceClassification, PreTrainedModel
from transformers.utils import logging

from hf_distill.outputs import TEACHER_LOGITS, Batch, ClassifierOutputs

logger = logging.get_logger(__name__)


class Teacher:
    """A live teacher.

    Args:
        model: A classifier. It is put into evaluation mode, its parameters stop requiring gradients, and it moves to
            `device`; it stays outside of every optimiser, checkpoint and autograd graph.
        device: Where it runs.
        dtype: Precision of the forward pass: "float32", or "bfloat16" or "float16" by autocast.
        reads: What is read of its outputs beside the logits: "hidden_states".

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
        self.flags = {f"output_{name}": True for name in reads}
        self.label_order: list[int] | None = None

    @torch.no_grad()
    def __call__(self, batch: Batch) -> ClassifierOutputs:
        """Run the teacher on the columns of `batch` that it knows; logits in float32 and the student's label order."""
        inputs = {name: value for name, value in batch.items() if name in self.columns}
        with torch.autocast(self.device.type, dtype=self.dtype, enabled=self.dtype != torch.float32):
            outputs = self.model(**inputs, **self.flags)
        return ClassifierOutputs(_in_order(outputs.logits, self.label_order), outputs.get("hidden_states"))

    def covers(self, batch: Batch) -> bool:
        """Whether this batch is enough to know the teacher's outputs."""
        return True


class CachedTeacher:
    """A teacher whose logits are a column of the data set, `teacher_logits`; in the student's label order if unset."""

    columns = frozenset({TEACHER_LOGITS})
    label_order: list[int] | None = None

    def __call__(self, batch: Batch) -> ClassifierOutputs:
        """Return the logits that the batch carries, `(batch, num_labels)`."""
        if TEACHER_LOGITS not in batch:
            raise ValueError(
                f"There is no teacher: the data set has no column `{TEACHER_LOGITS}`. Pass `teacher_model`, or add "
                "its logits as that column."
            )
        return ClassifierOutputs(_in_order(batch[TEACHER_LOGITS], self.label_order))

    def covers(self, batch: Batch) -> bool:
        """Whether this batch is enough to know the teacher's outputs."""
        return TEACHER_LOGITS in batch


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
