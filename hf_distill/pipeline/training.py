"""Train the student of a run."""

import dataclasses
import tempfile
from pathlib import Path
from typing import cast

import numpy as np
from datasets import Dataset
from transformers import PreTrainedModel
from transformers.utils import logging

from hf_distill.classifiers.loading import origin_of
from hf_distill.data.seen_rows import RowHashes, hash_rows_of, read_row_hashes
from hf_distill.pipeline.inputs import DistillationInputs
from hf_distill.pipeline.student import StudentOptions, make_student
from hf_distill.pipeline.zero_shot_fit import describe_weakness, measure_zero_shot
from hf_distill.record import RECORD_NAME, read_record
from hf_distill.teachers import ZeroShotTeacher
from hf_distill.trainer import DistillationTrainer
from hf_distill.training_args import DistillationTrainingArguments
from hf_distill.utils.stages import stage

logger = logging.get_logger(__name__)


def train(
    student: PreTrainedModel,
    inputs: DistillationInputs,
    args: DistillationTrainingArguments,
    *,
    is_student_reproducible: bool = False,
) -> DistillationTrainer:
    """Train a student, from a checkpoint if `args.resume_from_checkpoint` says so.

    Args:
        student: The student, which is changed in place.
        inputs: Teacher, tokenizers and rows.
        args: Training arguments.
        is_student_reproducible: Whether you make exactly the same student again to resume the training. A checkpoint
            of a student that began with other weights is then refused.

    Returns:
        The Trainer, after training.

    Raises:
        ValueError: before training starts, as [`~hf_distill.DistillationTrainer`] does.
        FloatingPointError: if the loss becomes NaN or infinite.
    """
    with stage("labels"):
        trainer = make_trainer(student, inputs, args)
    trainer.identity.is_student_reproducible = is_student_reproducible
    if trainer.is_world_process_zero():
        trainer.recorder.row_hashes = row_hashes_of(student, inputs)
        if isinstance(inputs.teacher, ZeroShotTeacher):
            _check_zero_shot(trainer, inputs)
    with stage("student"):
        trainer.train(resume_from_checkpoint=args.resume_from_checkpoint)
    return trainer


def _check_zero_shot(trainer: DistillationTrainer, inputs: DistillationInputs) -> None:
    """Warn about a zero-shot teacher that knows no more than a constant answer, and record the comparison."""
    fit = measure_zero_shot(cast(Dataset, trainer.eval_dataset), inputs.task)
    if fit is None:
        return
    trainer.record["teacher_check"] = {"zero_shot": fit}
    if warning := describe_weakness(fit):
        logger.warning(warning)


def row_hashes_of(student: PreTrainedModel, inputs: DistillationInputs) -> RowHashes:
    """Return the hashes of the rows of this run and of the run that made the student's initial model."""
    transfer = {} if inputs.transfer is None else {"transfer": inputs.transfer.text}
    hashes = hash_rows_of({**inputs.task.datasets, **transfer}, inputs.task.text_columns)
    origin, earlier = origin_of(student)[0], None
    if origin and Path(origin, RECORD_NAME).is_file():
        earlier = read_row_hashes(Path(origin), read_record(origin).get("row_hashes"))
    trained = [values for split, values in (earlier or {}).items() if split.startswith(("train", "transfer"))]
    return {**hashes, "train_before": np.unique(np.concatenate(trained))} if trained else hashes


def check_training(options: StudentOptions, inputs: DistillationInputs, args: DistillationTrainingArguments) -> None:
    """Raise errors of student, loss or rows before the teacher is fine-tuned, which can take long; write nothing.

    Args:
        options: How to make the student.
        inputs: Teacher, tokenizers and rows.
        args: The student's training arguments.

    Raises:
        ValueError: as [`train`] would.
    """
    student = make_student(options, inputs.student_source, inputs.task, inputs.train_dataset, inputs.tokenizer)
    # The teacher can still be fine-tuned: its outputs must not be stored. A Trainer makes its output folder.
    with tempfile.TemporaryDirectory() as folder:
        validation_args = dataclasses.replace(
            args, output_dir=folder, cache_teacher_outputs=False, calibrate_teacher=False, push_to_hub=False
        )
        make_trainer(student, inputs, validation_args)


def make_trainer(
    student: PreTrainedModel, inputs: DistillationInputs, args: DistillationTrainingArguments
) -> DistillationTrainer:
    """Return the Trainer that [`train`] trains with; the arguments and errors are the same."""
    return DistillationTrainer(
        student,
        inputs.teacher,
        args,
        train_dataset=inputs.train_dataset,
        eval_dataset=inputs.eval_dataset,
        processing_class=inputs.tokenizer,
        compute_metrics=inputs.task.compute_metrics,
        teacher_processing_class=inputs.teacher_tokenizer,
        teacher_text_columns=inputs.task.text_columns if inputs.teacher_reads_texts else None,
    )
