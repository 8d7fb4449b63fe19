"""What every training of one command shares: the task, its token ids, the teacher, and the tokenizers."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from datasets import Dataset, DatasetDict, concatenate_datasets
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from hf_distill.classifiers.outputs import TEACHER_LOGITS
from hf_distill.data import Task
from hf_distill.pipeline.augmentation import Augmentation, add_variants
from hf_distill.pipeline.loading import ModelReference, load_teacher_for, load_tokenizers
from hf_distill.pipeline.pairing import Pairing, compare_with_labels, logits_on, pair_classes
from hf_distill.pipeline.teacher_rows import TeacherRows
from hf_distill.pipeline.transfer import TransferSet
from hf_distill.pipeline.vocabulary import trim_teacher
from hf_distill.teachers import ZeroShotTeacher
from hf_distill.training.source import TeacherContext
from hf_distill.training.sources import make_source
from hf_distill.training_args import DistillationTrainingArguments
from hf_distill.utils.stages import stage


@dataclass(frozen=True)
class DistillationInputs:
    """What every training of one command shares.

    Args:
        task: The task, with its rows as text, in the order of the teacher's classes.
        rows: The splits of the task as token ids of the student.
        train_dataset: The rows that the student is trained on: the labelled rows, then the transfer set.
        tokenizer: The tokenizer of `rows`.
        max_length: Number of tokens after which rows are cut.
        teacher: The teacher, a model or a zero-shot teacher; None if `rows` have a column `teacher_logits`.
        teacher_tokenizer: The teacher's tokenizer if its vocabulary is not the student's.
        transfer: The transfer set, if there is one.
        trimmed_teacher: A copy of the teacher with the pieces of `tokenizer`, if its vocabulary was trimmed.
        trimming: The report of [`~hf_distill.students.trim_vocabulary`], if the vocabulary was trimmed.
        pairing: How the teacher's outputs were paired with the task's classes, if not by the names in its config.
        student_base: A model with a head for the task to make a student from, if the teacher has no such head.
        teacher_rows: The evaluation splits with rows that trained the teacher, if this run does not fine-tune it.
    """

    task: Task
    rows: DatasetDict
    train_dataset: Dataset
    tokenizer: PreTrainedTokenizerBase
    max_length: int
    teacher: PreTrainedModel | ZeroShotTeacher | None = None
    teacher_tokenizer: PreTrainedTokenizerBase | None = None
    transfer: TransferSet | None = None
    pairing: Pairing | None = None
    trimmed_teacher: PreTrainedModel | None = None
    trimming: dict[str, Any] | None = None
    student_base: PreTrainedModel | None = None
    teacher_rows: Sequence[TeacherRows] = ()

    @property
    def teacher_model(self) -> PreTrainedModel | None:
        """The teacher if it is a model with a head for the task."""
        return None if isinstance(self.teacher, ZeroShotTeacher) else self.teacher

    @property
    def student_source(self) -> PreTrainedModel | None:
        """The model whose weights a student gets that is made from the teacher."""
        return self.trimmed_teacher or self.student_base or self.teacher_model

    @property
    def teacher_reads_texts(self) -> bool:
        """Whether the teacher reads the texts, not the student's token ids."""
        return self.teacher_tokenizer is not None or isinstance(self.teacher, ZeroShotTeacher)

    @property
    def eval_dataset(self) -> Dataset:
        """The first validation split, by which checkpoints are chosen and models are compared."""
        return self.rows[self.task.validation_splits[0]]


def load_inputs(
    task: Task,
    teacher: ModelReference | None,
    student: ModelReference | None,
    args: DistillationTrainingArguments,
    *,
    transfer: TransferSet | None = None,
    max_length: int = 128,
    with_new_head: bool = False,
    problem_type: str | None = None,
    class_names: Sequence[str] | None = None,
    loaded_teacher: PreTrainedModel | None = None,
    augmentation: Augmentation | None = None,
    trims_vocabulary: bool = False,
    allow_weak_teacher: bool = False,
) -> DistillationInputs:
    """Load teacher and tokenizers, and tokenize the rows of a task.

    Args:
        task: The task, with a validation split, and with a training split unless there is a transfer set.
        teacher: The teacher; None if the rows have a column `teacher_logits`.
        student: A pretrained student, whose tokenizer the rows are then made with; None if the student will be made
            from layers of the teacher.
        args: Training arguments, which say which process tokenizes first.
        transfer: Unlabelled text to train on as well.
        max_length: Number of tokens after which rows are cut.
        with_new_head: Whether the teacher will be fine-tuned, and therefore gets a head for the task.
        problem_type: What the teacher classifies, if its config does not say so.
        class_names: Names of the teacher's outputs in its order; None for the names in its config. A teacher that
            will be fine-tuned gets the task's names.
        loaded_teacher: The model that `teacher` names, if it is already loaded.
        augmentation: Variants of the labelled texts to train on as unlabelled text.
        trims_vocabulary: Whether a student from the teacher gets only the word pieces of the training texts.
        allow_weak_teacher: Whether a teacher without weights for its head is only warned about.

    Raises:
        OSError: if a model or a tokenizer cannot be loaded.
        ValueError: if there is neither a teacher nor its logits, if the teacher does not fit the task or has no
            weights for its head, if labelled rows contradict the order of the teacher's outputs, or if only the
            labelled rows or only the transfer set have the teacher's logits.
    """
    train_columns = task.datasets["train"].column_names if "train" in task.datasets else []
    if teacher is None and (student is None or TEACHER_LOGITS not in train_columns):
        raise ValueError(
            "There is no teacher. Name one with --teacher_model_name_or_path, or name data with a column "
            f"`{TEACHER_LOGITS}`, which `hf-distill cache` writes, with --dataset_name."
        )
    teacher_model, pairing = None, None
    if teacher is not None:
        teacher_model = loaded_teacher or load_teacher_for(
            task,
            teacher,
            with_new_head=with_new_head,
            problem_type=problem_type,
            allow_random_head=allow_weak_teacher,
        )
        task, pairing = pair_classes(task, teacher_model, None if with_new_head else class_names)
    tokenizer, teacher_tokenizer = load_tokenizers(task, teacher, student, max_length)
    if pairing is not None and teacher_model is not None:
        reader = teacher_tokenizer or tokenizer
        compare_with_labels(
            pairing,
            task,
            lambda sample: task.tokenize_dataset(sample, reader, max_length),
            logits_on(str(args.device), teacher_model, reader, max_length),
        )
    if augmentation is not None and teacher_model is not None:
        reader = teacher_tokenizer or tokenizer
        transfer = add_variants(
            transfer,
            task,
            teacher_model,
            reader,
            tokenizer,
            augmentation,
            max_length=max_length,
            device=args.device,
        )
    trimmed_teacher, trimming = None, None
    if trims_vocabulary and teacher_model is not None:
        teacher_tokenizer = tokenizer
        trimmed_teacher, tokenizer, trimming = trim_teacher(task, transfer, teacher_model, teacher_tokenizer)
        teacher_tokenizer.model_max_length = min(max_length, teacher_tokenizer.model_max_length)
    keep_text = teacher_tokenizer is not None
    with args.main_process_first(desc="tokenizing the data"):
        rows = task.tokenize(tokenizer, max_length, keep_text)
        if transfer is None:
            train_dataset = rows["train"]
        else:
            text = task.tokenize_dataset(transfer.text, tokenizer, max_length, keep_text)
            train_dataset = _append_unlabelled(rows["train"], text) if "train" in rows else text
    return DistillationInputs(
        task,
        rows,
        train_dataset,
        tokenizer,
        max_length,
        teacher_model,
        teacher_tokenizer,
        transfer,
        pairing,
        trimmed_teacher,
        trimming,
    )


def select_transfer_rows(inputs: DistillationInputs, args: DistillationTrainingArguments) -> DistillationInputs:
    """Drop the transfer rows on which the teacher's confidence is too low, and report how many are out of domain.

    For this the teacher labels all rows. Its logits go into the store from which the Trainer later reads them.

    Args:
        inputs: The inputs.
        args: Training arguments; only with `cache_teacher_outputs` the teacher labels rows before training.

    Returns:
        The inputs with fewer training rows; unchanged without a transfer set, a teacher or `cache_teacher_outputs`.

    Raises:
        ValueError: if no transfer row is left.
    """
    if inputs.transfer is None or inputs.teacher is None or not args.cache_teacher_outputs:
        return inputs
    context = TeacherContext(args, inputs.tokenizer, list(inputs.task.text_columns))
    source = make_source(inputs.teacher, inputs.teacher_tokenizer, "teacher_", context)
    with stage("labels"):
        rows = [source.prepare(dataset) for dataset in (inputs.train_dataset, inputs.eval_dataset)]
    selected = inputs.transfer.select(*rows)
    return replace(inputs, train_dataset=selected.remove_columns(TEACHER_LOGITS))


def _append_unlabelled(labelled: Dataset, unlabelled: Dataset) -> Dataset:
    if set(unlabelled.column_names) != set(labelled.column_names):
        raise ValueError(
            f"Only the rows to train on or only the unlabelled text have a column `{TEACHER_LOGITS}`. A student needs "
            "it in all rows: run `hf-distill cache` on both together, or leave out the unlabelled text."
        )
    return concatenate_datasets([labelled, unlabelled.cast(labelled.features)])
