"""Checks of labels: their names and values in datasets before training, and their values in every batch."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import datasets
import numpy as np
import torch
from transformers import PreTrainedConfig
from transformers.utils import logging

from hf_distill.classifiers.label_maps import are_placeholders, class_names_of, match_labels, name_classes
from hf_distill.classifiers.label_order import LABELS, dataset_label_names, noted_class_names
from hf_distill.classifiers.problem_types import ProblemType
from hf_distill.data.roles import LIKELY_LABELS
from hf_distill.functional import IGNORE_INDEX
from hf_distill.training.dataset_kinds import Described, described_parts

logger = logging.get_logger(__name__)

LABEL_COLUMNS = (LABELS, "label", "label_ids")  # names that the collators of transformers rename to `labels`


def check_label_names(dataset: Any, role: str, config: PreTrainedConfig) -> None:
    """Refuse a dataset whose class ids have other names than the student's.

    Args:
        dataset: Rows of any kind. Lists of rows and datasets of torch have no class names, so they are not checked.
            For a stream whose columns are not known, a warning says so.
        role: "training", "evaluation" or "prediction", for the messages.
        config: The student's config.

    Raises:
        ValueError: if the names differ, or have another order. The message has the line that corrects it.
    """
    for part in described_parts(dataset):
        _check_label_names(part, role, class_names_of(config))


def _check_label_names(dataset: Described, role: str, student_names: list[str]) -> None:
    names = dataset_label_names(dataset)
    if _say_nothing(student_names):
        return
    if dataset.features is None:
        logger.warning(
            f"The columns of the {role} dataset are not known, because it is a stream and `map` has changed it. Class "
            f"ids in its labels are taken to be in the student's order: {dict(enumerate(student_names))}. If the "
            "labels have names, keep them with `map(..., features=...)`, and they will be checked."
        )
    if names is None or _say_nothing(names):
        return
    try:
        ids = match_labels(names, {name: i for i, name in enumerate(student_names)})
    except ValueError:
        raise ValueError(
            f"The {role} dataset has the classes {names}, the student has {student_names}. Use the same names: set "
            "`id2label` and `label2id` in the models' configs, or cast the label column to "
            f"`ClassLabel(names={student_names})` if its ids are in this order."
        ) from None
    if ids == list(range(len(ids))):
        return
    is_from_task = noted_class_names(dataset, LABELS) is not None
    line = "task = task.for_model(model)" if is_from_task else "dataset = reorder_labels(dataset, model)"
    where = "before `task.tokenize`" if is_from_task else "from `hf_distill.data`"
    raise ValueError(
        f"The {role} dataset has the classes in the order {names}, the student has {student_names}. Put them into the "
        f"student's order: `{line}` ({where}; `model` is the student or its teacher)."
    )


def match_first_student(config: PreTrainedConfig, first_names: list[str]) -> None:
    """Check that another student of `model_init` has the classes of the first one; name them if they have no names.

    The labels and stored logits of the datasets are in the order of the first student.

    Raises:
        ValueError: if the names or their order differ.
    """
    names = class_names_of(config)
    if are_placeholders(dict(enumerate(names))) and len(names) == len(first_names):
        name_classes(config, first_names)
    elif names != first_names:
        raise ValueError(
            f"`model_init` has returned a student with the classes {names}. The classes of the first student, in "
            f"whose order the datasets are, were {first_names}. Return models with the same `id2label` on every call."
        )


def name_by_dataset(config: PreTrainedConfig, dataset: Any) -> None:
    """Give a student without class names the names that a dataset has, in the dataset's order."""
    parts = described_parts(dataset)
    if not parts or not are_placeholders(dict(enumerate(class_names_of(config)))):
        return
    names = dataset_label_names(parts[0])
    if names is not None and len(names) == config.num_labels and not _say_nothing(names):
        name_classes(config, names)
        logger.warning(
            f"The student's classes have no names and get the names of the training dataset, in its order: {names}."
        )


def _say_nothing(names: Sequence[str]) -> bool:
    """Whether names are placeholders: LABEL_i, or the numbers that a `ClassLabel` without names gets."""
    return are_placeholders(dict(enumerate(names))) or list(names) == [str(i) for i in range(len(names))]


def check_labels(
    labels: np.ndarray, column: str, where: str, problem_type: ProblemType, label_names: Sequence[str]
) -> None:
    """Refuse labels that the hard loss cannot read.

    Args:
        labels: `(rows,)` class ids; `(rows, num_labels)` numbers; for tokens all labels in one array.
        column: Name of the column, for the messages.
        where: The dataset or batch, for the messages.
        problem_type: The student's.
        label_names: Names of the student's classes, by id.

    Raises:
        ValueError: for labels of another type, shape or range.
    """
    if not problem_type.has_label_names:  # the labels of a language model are token ids
        return
    if problem_type.is_exclusive:
        _check_class_ids(labels, column, where, problem_type, label_names)
    else:
        _check_targets(labels, column, where, problem_type, len(label_names))


def _check_targets(labels: np.ndarray, column: str, where: str, problem_type: ProblemType, num_labels: int) -> None:
    outputs = labels.reshape(len(labels), -1)
    if outputs.shape[1] != num_labels or not np.issubdtype(labels.dtype, np.floating):
        raise ValueError(
            f"`{column}` of {where} is {labels.dtype} of shape {labels.shape}; {problem_type.name} with {num_labels} "
            f"outputs needs floats of shape ({len(labels)}, {num_labels})."
        )
    partly = np.isnan(outputs)
    if (bad := partly.any(axis=1) & ~partly.all(axis=1)).any():
        raise ValueError(f"Row {bad.argmax()} of {where} has some targets and lacks others (NaN).")
    if problem_type.has_temperature and (bad := ((outputs < 0) | (outputs > 1)).any(axis=1)).any():
        raise ValueError(
            f"Row {bad.argmax()} of {where} has the labels {outputs[bad.argmax()].tolist()}; {problem_type.name} "
            "needs numbers from 0 to 1, one for every class."
        )


def _check_class_ids(
    labels: np.ndarray, column: str, where: str, problem_type: ProblemType, label_names: Sequence[str]
) -> None:
    if not np.issubdtype(labels.dtype, np.integer) or labels.ndim != 1:
        raise ValueError(
            f"`{column}` of {where} is {labels.dtype} of shape {labels.shape}; {problem_type.name} needs one integer "
            f"per {'token' if problem_type.is_token_level else 'row'}{_remedy(labels)}. For targets that are numbers, "
            "set `problem_type='regression'` in the config; for several labels a row, 'multi_label_classification'."
        )
    bad = (labels != IGNORE_INDEX) & ((labels < 0) | (labels >= len(label_names)))
    if bad.any():
        row = int(bad.argmax())
        raise ValueError(
            f"Label {labels[row]} in {'token' if problem_type.is_token_level else 'row'} {row} of {where} is out of "
            f"range: the student has the classes 0 to {len(label_names) - 1} ({', '.join(list(label_names)[:10])}), "
            f"and {IGNORE_INDEX} means no label."
            + (" The Hub's GLUE marks rows without a label by -1: replace it." if labels[row] == -1 else "")
        )


def _remedy(labels: np.ndarray) -> str:
    if labels.dtype == bool:
        return ": convert True and False to class ids, `int(label)`"
    if labels.ndim == 2 and (labels.sum(axis=1) == 1).all():
        return ": convert one-hot rows to class ids with `argmax`"
    return ""


class LabelCheckingCollator:
    """Checks the labels of each batch on the CPU, before the batch moves to the device of the model.

    On an accelerator a class id out of range would end the process with an assertion that names no row.

    Args:
        collate: The collator of the Trainer.
        problem_type: The student's.
        label_names: Names of the student's classes, by id.
    """

    def __init__(
        self,
        collate: Callable[[list[Any]], dict[str, Any]],
        problem_type: ProblemType,
        label_names: Sequence[str],
    ) -> None:
        self.collate, self.problem_type, self.label_names = collate, problem_type, list(label_names)

    def __call__(self, rows: list[Any]) -> dict[str, Any]:
        """Collate rows of one dataset.

        Raises:
            ValueError: for a row whose label is null or a text, labels that the loss cannot read, or a batch without
                the labels that its rows have.
        """
        column = self._label_column(rows)
        batch = self.collate(rows)
        if LABELS in batch:
            labels = torch.as_tensor(batch[LABELS]).numpy(force=True)
            labels = labels.reshape(-1) if self.problem_type.is_token_level else labels
            check_labels(labels, LABELS, "the batch", self.problem_type, self.label_names)
            return batch
        column = column or next((name for name in LABEL_COLUMNS if name in batch), None)
        if column is not None:
            raise ValueError(
                f"The rows have a column `{column}`, but the batch has no `{LABELS}`, only {', '.join(batch)}, so the "
                f"hard loss would be 0. Let `data_collator` return the labels as `{LABELS}`, or remove the column "
                f"`{column}` from the dataset."
            )
        return batch

    def _label_column(self, rows: list[Any]) -> str | None:
        """Return the label column of the rows, and refuse rows in which it is null or a text."""
        if not isinstance(rows[0], Mapping):
            return None
        column = next((name for name in LABEL_COLUMNS if name in rows[0]), None)
        for number, row in enumerate(rows):
            if column is not None and row.get(column, IGNORE_INDEX) is None:
                raise ValueError(
                    f"Row {number} of the batch has no label: `{column}` is None. Use {self.problem_type.unlabelled} "
                    "for a row without a label."
                )
            if column is not None and isinstance(row.get(column), str):
                raise ValueError(
                    f"Row {number} of the batch has the text {row[column]!r} as `{column}`. Convert names to ids: "
                    "`model.config.label2id[name]`."
                )
        return column


def warn_of_other_names(dataset: datasets.Dataset, role: str) -> None:
    """Warn about a column that seems to have the labels, and is not read because of its name."""
    names = [
        name
        for name, feature in dataset.features.items()
        if isinstance(feature, datasets.ClassLabel) or name in LIKELY_LABELS
    ]
    if names:
        logger.warning(
            f"The {role} dataset has no column `labels` or `label`, so none of its rows has a label. If `{names[0]}` "
            f"has the labels, rename it: `dataset.rename_column({names[0]!r}, 'labels')`."
        )
