"""The student of a run: what makes it unfit for training, and how it is fitted to its teacher and its objectives."""

from typing import Any, cast

import torch
from accelerate import Accelerator
from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from hf_distill.classifiers.forward import prepare_outputs
from hf_distill.classifiers.padding import warn_about_left_padding
from hf_distill.classifiers.problem_types import ProblemType
from hf_distill.objectives import DistillationLoss
from hf_distill.teachers import TeacherEnsemble
from hf_distill.training.label_checks import name_by_dataset
from hf_distill.training.teaching import Teaching


def check_student(student: nn.Module, teacher_model: Any, is_sharded: bool) -> None:
    """Refuse a student that shares parameters with a teacher, or that would train in 16-bit weights.

    Args:
        student: The student.
        teacher_model: What was passed as `teacher_model`.
        is_sharded: Whether DeepSpeed or FSDP trains the student; they keep 32-bit copies of 16-bit weights.

    Raises:
        ValueError: in either case.
    """
    names = {id(parameter): name for name, parameter in student.named_parameters()}
    given = teacher_model.teachers if isinstance(teacher_model, TeacherEnsemble) else teacher_model
    for teacher in given if isinstance(given, list | tuple) else [given]:
        if not isinstance(teacher, nn.Module):
            continue
        if shared := [names[id(parameter)] for parameter in teacher.parameters() if id(parameter) in names]:
            raise ValueError(
                f"Student and teacher share {len(shared)} parameters, {shared[0]} for instance: training the student "
                "would change the teacher, and freezing the teacher would freeze the student. Copy one of them "
                "(`copy.deepcopy`), or make the student with `create_student`."
            )
    low = [name for name, parameter in student.named_parameters() if parameter.requires_grad and _is_16_bit(parameter)]
    if low and not is_sharded:
        raise ValueError(
            f"{len(low)} trainable weights of the student are 16-bit, {low[0]} for instance: most updates would be "
            "rounded away. Load the student with `dtype=torch.float32`, and set `bf16=True` for mixed precision."
        )


def _is_16_bit(parameter: nn.Parameter) -> bool:
    return parameter.dtype in (torch.bfloat16, torch.float16)


def fit_student(
    student: PreTrainedModel,
    loss: DistillationLoss,
    teaching: Teaching,
    train_dataset: Any,
    tokenizer: PreTrainedTokenizerBase | None,
) -> ProblemType:
    """Match a student with its teachers, and let the models return what the objectives read.

    Args:
        student: The student. If its classes have no names, they get the names of the training dataset.
        loss: The objectives.
        teaching: The teachers.
        train_dataset: The training rows.
        tokenizer: The tokenizer that pads the student's batches; None without one, or if the student is split.

    Returns:
        The student's problem type.

    Raises:
        ValueError: if student and teachers do not match, or a model cannot return what the objectives read.
    """
    problem_type = teaching.match(student)
    if problem_type.has_label_names:
        name_by_dataset(student.config, train_dataset)
    teaching.request(loss.teacher_reads)
    prepare_outputs(student, loss.student_reads, "student")
    if tokenizer is not None:
        warn_about_left_padding(student, tokenizer, "student")
    return problem_type


def without_preparation(student: PreTrainedModel, accelerator: Accelerator) -> PreTrainedModel:
    """Return a student that accelerate prepares for training, whatever was evaluated before.

    accelerate takes a model that `evaluate` or `predict` prepared for one that is ready, leaves out
    DistributedDataParallel, and the processes drift apart silently (measured with accelerate 1.15).
    """
    student = accelerator.unwrap_model(student, keep_fp32_wrapper=False, keep_torch_compile=False)
    cast(Any, student)._is_accelerate_prepared = False
    return student
