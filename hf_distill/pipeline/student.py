"""Make the student of a run."""

from collections.abc import Sequence
from dataclasses import dataclass

from datasets import Dataset
from torch.utils.data import DataLoader
from transformers import DataCollatorWithPadding, PreTrainedModel, PreTrainedTokenizerBase

from hf_distill.data import Task
from hf_distill.pipeline.loading import ModelReference, load_with_labels, load_with_new_head
from hf_distill.students import create_static_student, create_student
from hf_distill.students.create import layers_to_keep

_NUM_CALIBRATION_ROWS = 256


@dataclass(frozen=True)
class StudentOptions:
    """How to make a student: load a pretrained model, or copy layers of the teacher.

    Args:
        pretrained: The pretrained model; None to copy layers of the teacher.
        num_hidden_layers: Number of layers to copy, see [`~hf_distill.create_student`].
        layers: Indices of the layers to copy, instead of their number; or which of them: "uniform", "first", "last".
        architecture: Architecture of a student that is copied from the teacher.
        intermediate_size: Number of feed-forward neurons to keep in each layer; None keeps all of them.
        static_dim: Size of the token vectors of a student without layers, see
            [`~hf_distill.create_static_student`]; None for a student with layers.
        freeze_embeddings: Whether to leave the word embeddings as they are.
    """

    pretrained: ModelReference | None = None
    num_hidden_layers: int | None = None
    layers: Sequence[int] | str | None = None
    architecture: str | None = None
    intermediate_size: int | None = None
    static_dim: int | None = None
    freeze_embeddings: bool = False


def check_layers(options: StudentOptions, teacher: PreTrainedModel | None) -> None:
    """Refuse layers that the teacher does not have, before the student is made.

    Raises:
        ValueError: if the student is made from layers of the teacher, and the teacher does not have them.
    """
    if options.pretrained is None and options.static_dim is None and teacher is not None:
        layers_to_keep(
            teacher.config, options.num_hidden_layers, options.layers, options.architecture, options.intermediate_size
        )


def make_student(
    options: StudentOptions,
    teacher: PreTrainedModel | None,
    task: Task,
    rows: Dataset | None = None,
    tokenizer: PreTrainedTokenizerBase | None = None,
) -> PreTrainedModel:
    """Make a student with the teacher's label names, or with the task's if there is no teacher.

    Args:
        options: How to make the student.
        teacher: The teacher; None if the data have its logits, and `options.pretrained` names the student.
        task: The task.
        rows: Training rows as token ids, needed with `options.intermediate_size`: neurons are chosen on a few of them.
        tokenizer: The teacher's tokenizer, needed with `options.intermediate_size` and `options.static_dim`.

    Raises:
        OSError: if the pretrained student cannot be loaded.
        ValueError: if the student cannot be made from the teacher, see [`~hf_distill.create_student`] and
            [`~hf_distill.create_static_student`].
    """
    if options.pretrained is None:
        if teacher is None:
            raise ValueError("Without a teacher there are no layers to copy. Name a pretrained student.")
        student = _from_teacher(options, teacher, task, rows, tokenizer)
    elif teacher is None:
        student = load_with_new_head(options.pretrained, task)
    else:
        labels = {"id2label": teacher.config.id2label, "label2id": teacher.config.label2id}
        student = load_with_labels(options.pretrained, task.problem_type, labels, teacher.config.problem_type)
    if options.freeze_embeddings:
        student.get_input_embeddings().requires_grad_(False)
    return student


def _from_teacher(
    options: StudentOptions,
    teacher: PreTrainedModel,
    task: Task,
    rows: Dataset | None,
    tokenizer: PreTrainedTokenizerBase | None,
) -> PreTrainedModel:
    if options.static_dim is not None:
        if len(task.text_columns) > 1:
            raise ValueError(
                "A static student is the mean of token vectors, so it cannot compare the two texts of a pair "
                f"({', '.join(task.text_columns)}). Choose a student with layers, or name one text column."
            )
        if tokenizer is None:
            raise ValueError("A static student needs the teacher's `tokenizer`.")
        return create_static_student(teacher, tokenizer, options.static_dim)
    calibration_batches = None
    if options.intermediate_size is not None and rows is not None and tokenizer is not None:
        calibration_batches = _calibration_batches(rows, tokenizer)
    return create_student(
        teacher,
        options.num_hidden_layers,
        layers=options.layers,
        architecture=options.architecture,
        intermediate_size=options.intermediate_size,
        calibration_batches=calibration_batches,
    )


def _calibration_batches(rows: Dataset, tokenizer: PreTrainedTokenizerBase) -> DataLoader:
    """Return batches of a few random rows, the same in every run."""
    rows = rows.shuffle(seed=0).select(range(min(_NUM_CALIBRATION_ROWS, len(rows))))
    rows = rows.select_columns([name for name in tokenizer.model_input_names if name in rows.column_names])
    return DataLoader(rows, batch_size=32, collate_fn=DataCollatorWithPadding(tokenizer))
