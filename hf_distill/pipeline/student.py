"""Make the student of a run."""

from collections.abc import Sequence
from dataclasses import dataclass

from datasets import Dataset
from torch.utils.data import DataLoader
from transformers import DataCollatorWithPadding, PreTrainedModel, PreTrainedTokenizerBase

from hf_distill.classifiers.loading import read_config
from hf_distill.data import Task
from hf_distill.pipeline.loading import ModelReference, load_with_labels, load_with_new_head
from hf_distill.students import create_static_student, create_student
from hf_distill.students.create import layers_to_keep

_NUM_CALIBRATION_ROWS = 256


@dataclass(frozen=True)
class StudentOptions:
    """How to make a student: of the teacher or of a pretrained model, whole or with some of its layers.

    Args:
        pretrained: The pretrained model; None to copy layers of the teacher.
        num_hidden_layers: Number of layers to copy, see [`~hf_distill.create_student`].
        layers: Indices of the layers to copy, instead of their number; or which of them: "uniform", "first", "last".
        architecture: Architecture of the student, if the layers are converted to another one.
        intermediate_size: Number of feed-forward neurons to keep in each layer; None keeps all of them.
        static_dim: Size of the token vectors of a student without layers, see
            [`~hf_distill.create_static_student`]; None for a student with layers.
        freeze_embeddings: Whether to leave the word embeddings as they are.

    Raises:
        ValueError: for `pretrained` with `static_dim`: a static student is made from the teacher.
    """

    pretrained: ModelReference | None = None
    num_hidden_layers: int | None = None
    layers: Sequence[int] | str | None = None
    architecture: str | None = None
    intermediate_size: int | None = None
    static_dim: int | None = None
    freeze_embeddings: bool = False

    def __post_init__(self) -> None:
        if self.pretrained is not None and self.static_dim is not None:
            raise ValueError("A static student is made from the teacher. Leave out `pretrained` or `static_dim`.")

    @property
    def is_exact(self) -> bool:
        """Whether the same options make exactly the same student on other hardware, too: nothing is computed."""
        return self.static_dim is None and self.intermediate_size is None

    @property
    def keeps_whole_model(self) -> bool:
        """Whether the student is a pretrained model with all that it has."""
        changes = (self.num_hidden_layers, self.layers, self.architecture, self.intermediate_size)
        return self.pretrained is not None and all(change is None for change in changes)


def check_layers(options: StudentOptions, teacher: PreTrainedModel | None) -> None:
    """Refuse layers that teacher or pretrained student do not have, before the student is made.

    Raises:
        OSError: if there is no such pretrained student.
        ValueError: if the student is made from layers of a model that does not have them.
    """
    if options.keeps_whole_model or options.static_dim is not None:
        return
    config = None if teacher is None else teacher.config
    if (model := options.pretrained) is not None:
        config = read_config(model.name_or_path, model.revision, model.trust_remote_code)
    if config is not None:
        layers_to_keep(
            config, options.num_hidden_layers, options.layers, options.architecture, options.intermediate_size
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
        tokenizer: The tokenizer of `rows`, needed with `options.intermediate_size` and `options.static_dim`.

    Raises:
        OSError: if the pretrained student cannot be loaded.
        ValueError: if the student cannot be made from the model, see [`~hf_distill.create_student`] and
            [`~hf_distill.create_static_student`].
    """
    source = teacher if options.pretrained is None else _load_pretrained(options.pretrained, teacher, task)
    if source is None:
        raise ValueError("Without a teacher there are no layers to copy. Name a pretrained student.")
    if options.keeps_whole_model:
        student = source
    elif options.static_dim is not None:
        student = _make_static(source, options.static_dim, task, tokenizer)
    else:
        student = _copy_layers(source, options, rows, tokenizer)
    if options.freeze_embeddings:
        student.get_input_embeddings().requires_grad_(False)
    return student


def _load_pretrained(model: ModelReference, teacher: PreTrainedModel | None, task: Task) -> PreTrainedModel:
    if teacher is None:
        return load_with_new_head(model, task)
    labels = {"id2label": teacher.config.id2label, "label2id": teacher.config.label2id}
    return load_with_labels(model, task.problem_type, labels, teacher.config.problem_type)


def _make_static(
    teacher: PreTrainedModel, dim: int, task: Task, tokenizer: PreTrainedTokenizerBase | None
) -> PreTrainedModel:
    if len(task.text_columns) > 1:
        raise ValueError(
            "A static student is the mean of token vectors, so it cannot compare the two texts of a pair "
            f"({', '.join(task.text_columns)}). Choose a student with layers, or name one text column."
        )
    if tokenizer is None:
        raise ValueError("A static student needs the teacher's `tokenizer`.")
    return create_static_student(teacher, tokenizer, dim)


def _copy_layers(
    source: PreTrainedModel,
    options: StudentOptions,
    rows: Dataset | None,
    tokenizer: PreTrainedTokenizerBase | None,
) -> PreTrainedModel:
    calibration_batches = None
    if options.intermediate_size is not None and rows is not None and tokenizer is not None:
        calibration_batches = _calibration_batches(rows, tokenizer)
    return create_student(
        source,
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
