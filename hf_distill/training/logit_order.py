"""Logits in the student's order of the classes: those of a teacher, and those of a column `teacher_logits`."""

from collections.abc import Mapping
from typing import Any

import datasets
import numpy as np
from transformers import PreTrainedConfig
from transformers.utils import logging

from hf_distill.classifiers.label_maps import align_labels, are_placeholders, class_names_of, id2label_of, name_classes
from hf_distill.classifiers.label_order import name_teacher_logits, teacher_label_names
from hf_distill.classifiers.outputs import TEACHER_LOGITS
from hf_distill.training.dataset_kinds import Described, columns_of, is_transformed, parts_of
from hf_distill.training.source import with_column
from hf_distill.utils.columns import select_formatted

logger = logging.get_logger(__name__)

_ROWS_PER_BATCH = 32  # of a stream, whose first row must not wait for many others


def align_with_student(teacher_labels: Mapping[int, str], config: PreTrainedConfig) -> list[int] | None:
    """Return a teacher's class for each class of the student, and name the student's classes if they have no names.

    Args:
        teacher_labels: The teacher's class names by id.
        config: The student's config.

    Returns:
        As [`~hf_distill.classifiers.label_maps.align_labels`].

    Raises:
        ValueError: if the classes differ.
    """
    student_labels = id2label_of(config)
    order = align_labels(dict(teacher_labels), student_labels)
    if order is not None:
        logger.warning_once(f"The teacher's classes are reordered by name to the student's: {student_labels}.")
    elif are_placeholders(student_labels) and not are_placeholders(teacher_labels):
        name_classes(config, [teacher_labels[i] for i in range(len(teacher_labels))])
        logger.warning_once(
            f"The student's labels have no names and get the teacher's, in its order: {dict(teacher_labels)}."
        )
    elif are_placeholders(teacher_labels) and not are_placeholders(student_labels):
        logger.warning_once(f"The teacher's labels have no names; the student's order is assumed: {student_labels}.")
    return order


def put_logits_in_student_order(dataset: Any, config: PreTrainedConfig, role: str) -> Any:
    """Return a dataset with its column `teacher_logits` in the student's order of the classes.

    Args:
        dataset: Rows of any kind. Without the column they are returned as they are.
        config: The student's config. If the student has no class names, it gets the names of the column; if neither
            has names, the order is taken to be the same.
        role: "training", "evaluation" or "prediction", for the messages.

    Raises:
        ValueError: if the order of the column is not known, if the column has other classes, or if it has another
            order in a dataset that cannot be changed here.
    """
    if config.num_labels == 1:  # one score has no order
        return dataset
    names = _logit_names(dataset)
    if names is None:
        if not are_placeholders(id2label_of(config)) and TEACHER_LOGITS in columns_of(dataset):
            raise ValueError(_unknown_order(dataset, class_names_of(config), role))
        return dataset
    order = align_with_student(dict(enumerate(names)), config)
    if order is None:
        return dataset
    if not isinstance(dataset, Described) or is_transformed(dataset):
        how = "`map` instead of `set_transform`" if is_transformed(dataset) else "`select` and `concatenate_datasets`"
        raise ValueError(
            f"`{TEACHER_LOGITS}` of the {role} dataset is in the order {names}, the student has "
            f"{class_names_of(config)}, and a {type(dataset).__name__} that makes its rows when they are read cannot "
            f"be put into this order. Pass a `datasets.Dataset`: use {how} of the `datasets` library."
        )
    return name_teacher_logits(_reorder(dataset, order), [names[i] for i in order])


def _logit_names(dataset: Any) -> list[str] | None:
    """Return the class names of `teacher_logits`; None if the dataset does not have them, or not for all rows."""
    all_names = [_names_of_part(part) for part in parts_of(dataset)]
    return all_names[0] if all(names == all_names[0] for names in all_names) else None


def _names_of_part(part: Any) -> list[str] | None:
    if not isinstance(part, Described) or (part.features is not None and TEACHER_LOGITS not in part.features):
        return None
    return teacher_label_names(part)


def _unknown_order(dataset: Any, names: list[str], role: str) -> str:
    message = (
        f"The column `{TEACHER_LOGITS}` of the {role} dataset does not say which class each of its numbers belongs "
        "to. Name the classes in the order of the numbers"
    )
    if isinstance(dataset, Described) and not is_transformed(dataset):
        when = " after the last `map`, `filter` or `shuffle`" if isinstance(dataset, datasets.IterableDataset) else ""
        rows, flag = "dataset", f", or on the command line `--class_names {','.join(names)}`"
    else:
        when, rows, flag = " in a `datasets.Dataset`", "datasets.Dataset.from_list(list(dataset))", ""
    line = f"`dataset = hf_distill.data.name_teacher_logits({rows}, {names})`"
    return f"{message}{when}. If they are in the student's order: {line}{flag}."


def _reorder(dataset: Described, order: list[int]) -> Described:
    arguments = {"order": order}
    if isinstance(dataset, datasets.IterableDataset):
        return dataset.map(
            _reorder_rows, batched=True, batch_size=_ROWS_PER_BATCH, fn_kwargs=arguments, features=dataset.features
        )
    logits = select_formatted(dataset, [TEACHER_LOGITS], "numpy")
    reordered = logits.map(_reorder_rows, batched=True, fn_kwargs=arguments).with_format(None)
    return with_column(dataset, reordered, TEACHER_LOGITS)


def _reorder_rows(rows: dict[str, Any], order: list[int]) -> dict[str, Any]:
    return {TEACHER_LOGITS: [np.asarray(logits)[..., order] for logits in rows[TEACHER_LOGITS]]}
