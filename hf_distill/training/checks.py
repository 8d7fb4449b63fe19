"""What is wrong with arguments and tokenized datasets, said before training starts."""

from collections.abc import Iterable, Sequence
from typing import Any

import datasets
import numpy as np
import pyarrow.compute as pc
import torch
from torch import nn

from hf_distill.classifiers.outputs import TEACHER_LOGITS, WORD_STARTS
from hf_distill.classifiers.problem_types import ProblemType
from hf_distill.functional import IGNORE_INDEX
from hf_distill.objectives.class_weights import LabelCounts
from hf_distill.teachers import TeacherEnsemble
from hf_distill.training.dataset_kinds import columns_of, is_transformed
from hf_distill.training.label_checks import check_labels, warn_of_other_names
from hf_distill.training_args import DistillationTrainingArguments


def check_arguments(args: Any, objectives: Any, compute_loss_func: Any) -> None:
    """Refuse arguments of the Trainer that would be ignored or give wrong results.

    Raises:
        TypeError: for arguments that are not `DistillationTrainingArguments`.
        ValueError: for arguments that contradict each other.
    """
    if not isinstance(args, DistillationTrainingArguments):
        raise TypeError(f"`args` must be `DistillationTrainingArguments`, got {type(args).__name__}.")
    if args.n_gpu > 1:
        raise ValueError(
            f"{args.n_gpu} GPUs and one process: DataParallel would run the teacher on the first GPU only. Start "
            "with `accelerate launch`, or choose one GPU by CUDA_VISIBLE_DEVICES."
        )
    if args.label_names not in (None, ["labels"]):
        raise ValueError(f"`label_names` is {args.label_names}; the labels must be in a column `labels`. Rename it.")
    args.check_trackers()
    if compute_loss_func is not None:
        raise ValueError(
            "`compute_loss_func` would replace the distillation loss. Pass `objectives` instead, for class weights "
            'for instance `{"kl": 1.0, "ce": {"weight": 0.1, "class_weights": "balanced"}}`.'
        )
    if objectives is None:
        return
    args.check_no_loss_arguments("The Trainer's `objectives`")
    if args.objectives is not None:
        raise ValueError("`objectives` are given to the Trainer and in `args.objectives`. Remove one of them.")
    if args.label_smoothing_factor:
        raise ValueError(
            "`label_smoothing_factor` is set, and the Trainer's `objectives` define the hard loss. Set it there: "
            '`{"ce": {"label_smoothing": ...}}`.'
        )


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


def check_searched(names: Iterable[str], objectives: Any, args: DistillationTrainingArguments) -> None:
    """Refuse a search over arguments that `objectives` replaces.

    Args:
        names: Names of the searched arguments.
        objectives: The Trainer's `objectives`.
        args: The Trainer's.

    Raises:
        ValueError: for a searched argument that would change nothing.
    """
    ignored = sorted({"temperature", "soft_label_weight", "hard_label_weight", "soft_loss"} & set(names))
    if ignored and (objectives is not None or args.objectives is not None):
        raise ValueError(
            f"The search sets {', '.join(ignored)}, which `objectives` replaces, so every trial would be the same. "
            "Remove `objectives`, or search over the argument `objectives` itself."
        )


def check_dataset(
    dataset: object,
    role: str,
    problem_type: ProblemType,
    label_names: Sequence[str],
    *,
    teacher_columns: Sequence[str],
    needs_labels: Sequence[str],
) -> None:
    """Check columns and values of a dataset; of other types than `datasets.Dataset` only the teacher's columns.

    Args:
        dataset: Tokenized rows.
        role: "training" or "evaluation", for the messages.
        problem_type: The student's.
        label_names: Names of the student's classes, by id.
        teacher_columns: Columns that the dataset must have because nothing else gives the teacher's outputs.
        needs_labels: Names of objectives that need a label on every row.

    Raises:
        ValueError: for anything that cannot be trained on.
        TypeError: for a dict of datasets.
    """
    if isinstance(dataset, dict):
        raise TypeError(
            f"The {role} dataset is a {type(dataset).__name__} with the splits {', '.join(map(str, dataset))}. Pass "
            f"one of them, `dataset[{next(iter(dataset), 'train')!r}]` for instance."
        )
    if hasattr(dataset, "__len__") and len(dataset) == 0:
        raise ValueError(f"The {role} dataset is empty. Pass at least one row.")
    if missing := [column for column in teacher_columns if column not in columns_of(dataset)]:
        raise ValueError(
            f"There is no teacher: `teacher_model` is None and the {role} dataset has no column `{missing[0]}`. "
            "Pass one or the other."
        )
    if not isinstance(dataset, datasets.Dataset) or is_transformed(dataset):
        return
    names = dataset.column_names
    if "input_ids" not in names:
        raise ValueError(
            f"The {role} dataset has no column `input_ids`, only {', '.join(names)}. Tokenize it first: "
            "`dataset.map(lambda rows: tokenizer(rows['text'], truncation=True), batched=True)`."
        )
    if {"label", "labels"} <= set(names):
        raise ValueError(f"The {role} dataset has both `label` and `labels`. Remove one of them.")
    label_column = label_column_of(dataset)
    labels = None
    if label_column is None:
        warn_of_other_names(dataset, role)
    else:
        _refuse_nulls(dataset, label_column, role, problem_type)
        if problem_type.is_token_level:
            labels = _token_labels(dataset, label_column, role)
        else:
            labels = _values(dataset, label_column)
        check_labels(labels, label_column, f"the {role} dataset", problem_type, label_names)
    if problem_type.is_token_level and problem_type.has_label_names:
        _check_unlabelled_sentences(dataset, label_column, role)
    if needs_labels and not problem_type.is_token_level and (labels is None or (labels == IGNORE_INDEX).any()):
        raise ValueError(
            f"`{needs_labels[0]}` needs the label of every row, and the {role} dataset has rows without one. Use "
            "`kl`, which learns from unlabelled text."
        )
    if TEACHER_LOGITS in names and not problem_type.is_token_level:
        check_teacher_logits(_values(dataset, TEACHER_LOGITS), role, len(label_names))


def labelled_rows(dataset: object, problem_type: ProblemType) -> datasets.Dataset:
    """Return the rows that have a label.

    Raises:
        TypeError: if the dataset is not a `datasets.Dataset`.
        ValueError: if no row has a label.
    """
    if not isinstance(dataset, datasets.Dataset):
        raise TypeError(f"Labelled rows can only be selected from a `datasets.Dataset`, got {type(dataset).__name__}.")
    keep = [row for row, has_label in enumerate(are_labelled(dataset, problem_type)) if has_label]
    if not keep:
        raise ValueError("No row has a label, so a student cannot be trained without its teacher.")
    return dataset if len(keep) == len(dataset) else dataset.select(keep)


def check_can_learn(dataset: object, problem_type: ProblemType) -> None:
    """Check that a loss on labels alone has a label to learn from.

    Raises:
        ValueError: if no row has a label.
    """
    if not isinstance(dataset, datasets.Dataset) or is_transformed(dataset):
        return
    if not any(are_labelled(dataset, problem_type)):
        raise ValueError(
            "The loss learns from labels alone, and no row of the training dataset has one, so the student would "
            "learn nothing. Add labels, or an objective that reads a teacher, such as `kl`."
        )


def are_labelled(dataset: datasets.Dataset, problem_type: ProblemType) -> list[bool]:
    """Return for each row whether it has a label."""
    column = label_column_of(dataset)
    if column is None:
        # The labels of a language model are made from the text, batch by batch.
        return [not problem_type.has_label_names] * len(dataset)
    if problem_type.is_token_level:
        return [any(label != IGNORE_INDEX for label in labels) for labels in dataset[column]]
    return problem_type.is_labelled(torch.tensor(_values(dataset, column))).tolist()


def count_labels(dataset: object, problem_type: ProblemType, num_labels: int) -> LabelCounts:
    """Count the labels of the training rows.

    Raises:
        ValueError: for rows that cannot be counted: none, or a streamed dataset.
    """
    column = label_column_of(dataset) if isinstance(dataset, datasets.Dataset) else None
    if not isinstance(dataset, datasets.Dataset) or column is None:
        raise ValueError(
            "`class_weights` are 'balanced', which counts the labels of the training rows, and "
            + ("they have no labels." if isinstance(dataset, datasets.Dataset) else "there is no `datasets.Dataset`.")
            + " Give the weights by name, for instance `{'positive': 3.0}`."
        )
    if problem_type.is_token_level:
        labels = _token_labels(dataset, column, "training")
    else:
        labels = _values(dataset, column)
    if problem_type.is_exclusive:
        labelled = labels[labels != IGNORE_INDEX]
        return LabelCounts(np.bincount(labelled, minlength=num_labels).tolist(), len(labelled))
    labelled = labels[~np.isnan(labels).any(axis=1)]
    return LabelCounts(labelled.sum(axis=0, dtype=np.float64).tolist(), len(labelled))


def label_column_of(dataset: datasets.Dataset) -> str | None:
    """Return `labels` or `label`, whichever the dataset has; None if it has neither."""
    return next((name for name in ("labels", "label") if name in dataset.column_names), None)


def _values(dataset: datasets.Dataset, column: str) -> np.ndarray:
    values = dataset.select_columns(column).with_format("numpy")[:][column]
    if isinstance(values, np.ndarray) and values.dtype != object:
        return values
    raise ValueError(f"Column `{column}` must hold numbers, equally many in each row.")


def _refuse_nulls(dataset: datasets.Dataset, column: str, role: str, problem_type: ProblemType) -> None:
    labels = dataset.select_columns(column).with_format("arrow")[:][column]
    if labels.null_count:
        row = int(pc.index(pc.is_null(labels), True).as_py())
        raise ValueError(
            f"Row {row} of the {role} dataset has no label: `{column}` is null in {labels.null_count:,} of "
            f"{len(labels):,} rows. Use {problem_type.unlabelled} for a row without a label, and for each token or "
            "output of such a row if there are several."
        )


def _token_labels(dataset: datasets.Dataset, column: str, role: str) -> np.ndarray:
    """Return the labels of all tokens of all rows in one array."""
    rows = dataset.select_columns(["input_ids", column]).with_format("arrow")[:]
    lengths = [pc.list_value_length(rows[name]).to_numpy() for name in ("input_ids", column)]
    if (bad := lengths[0] != lengths[1]).any():
        row = int(bad.argmax())
        raise ValueError(
            f"Row {row} of the {role} dataset has {lengths[0][row]} tokens and {lengths[1][row]} labels. Each token "
            f"needs a label, {IGNORE_INDEX} where it is not the first of a word."
        )
    return pc.list_flatten(rows[column]).to_numpy()


def _check_unlabelled_sentences(dataset: datasets.Dataset, label_column: str | None, role: str) -> None:
    if WORD_STARTS in dataset.column_names:
        return
    is_labelled = (
        [] if label_column is None else [any(y != IGNORE_INDEX for y in row) for row in dataset[label_column]]
    )
    if not is_labelled or not all(is_labelled):
        raise ValueError(
            f"The {role} dataset has sentences without labels, and no column `{WORD_STARTS}` that says which tokens "
            "count: 1 for the first token of each word, 0 elsewhere. `hf_distill.data.tokenize_words` adds it."
        )


def check_teacher_logits(logits: np.ndarray, role: str, num_labels: int) -> None:
    """Refuse a column `teacher_logits` of another width, or with a row that says nothing.

    Args:
        logits: `(num_rows, num_labels)`.
        role: "training" or "evaluation", for the messages.
        num_labels: Number of classes of the student.

    Raises:
        ValueError: that names the shape or the first such row.
    """
    if logits.ndim != 2 or logits.shape[1] != num_labels:
        raise ValueError(
            f"`{TEACHER_LOGITS}` of the {role} dataset has the shape {logits.shape}; the student has {num_labels} "
            f"classes, so ({len(logits)}, {num_labels}) was expected."
        )
    bad = np.isnan(logits).any(axis=1) | np.isposinf(logits).any(axis=1) | np.isneginf(logits).all(axis=1)
    if bad.any():
        row = int(bad.argmax())
        raise ValueError(
            f"`{TEACHER_LOGITS}` has no usable value in row {row} of the {role} dataset: {logits[row].tolist()}. "
            "Label this row again."
        )
