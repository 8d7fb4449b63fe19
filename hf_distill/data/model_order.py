"""Labels, and metrics of them, in the order of a model's outputs."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from datasets import ClassLabel, Dataset, List, Value

from hf_distill.classifiers.label_maps import class_names_of, label2id_of, match_labels
from hf_distill.classifiers.label_order import (
    LABELS,
    dataset_label_names,
    name_teacher_logits,
    note_class_names,
    noted_class_names,
    teacher_label_names,
)
from hf_distill.classifiers.outputs import TEACHER_LOGITS
from hf_distill.data.compute_metrics import logits_of, with_label_names

if TYPE_CHECKING:  # slow to import
    from transformers import EvalPrediction, PreTrainedModel

    from hf_distill.data.compute_metrics import ComputeMetrics


def reorder_labels(dataset: Dataset, model: PreTrainedModel) -> Dataset:
    """Return a dataset whose labels are in the order of a model's outputs.

    Unlike `Dataset.align_labels_with_mapping` it keeps unlabelled rows and words (-1, -100, null).

    Args:
        dataset: Rows with a column `labels` or `label` of class ids, or of one class id for each word, that is a
            `ClassLabel` or comes from [`Task.tokenize`].
        model: The model. Its class names are matched with the dataset's, upper or lower case.

    Returns:
        The same rows. The column is a `ClassLabel` with the model's names, or has a note of them as before.

    Raises:
        ValueError: if the dataset does not name its classes, or the model has other names.
    """
    names = dataset_label_names(dataset)
    column = LABELS if LABELS in dataset.column_names else "label"
    if names is None:
        raise ValueError(
            "The dataset does not name the classes of its labels. Cast the label column first: "
            "`dataset.cast_column('label', ClassLabel(names=[...]))`."
        )
    ids = match_labels(names, label2id_of(model.config))
    return put_in_order(dataset, column, names, ids, class_names_of(model.config))


def put_in_order(
    dataset: Dataset, column: str, old_names: Sequence[str], ids: Sequence[int], names: Sequence[str]
) -> Dataset:
    """Return a dataset with the labels of a column in another order of the classes.

    Args:
        dataset: Rows with `column`: a class id, a list of them, or a number for each class. Ids below 0, NaN and null
            mean no label, and stay.
        column: Name of the column.
        old_names: Names of the classes in the old order.
        ids: The new id of each class.
        names: Names of all classes in the new order, which can be more than `ids`.
    """
    logit_names = teacher_label_names(dataset) or old_names
    if TEACHER_LOGITS in dataset.column_names:
        dataset = name_teacher_logits(dataset, logit_names)  # they keep their order when that of the labels changes
    is_noted = noted_class_names(dataset, column) is not None
    feature: Any = dataset.features[column]
    values = dataset.with_format(None)[column][:]
    item: Any = getattr(feature, "feature", None)
    if item is None:
        values = _renumber(values, ids)
        feature = ClassLabel(names=list(names)) if isinstance(feature, ClassLabel) else feature
    elif item.dtype.startswith("float"):
        values = _widen(values, ids, len(names))
        feature = List(Value("float32"), length=len(names))
    else:
        values = [None if row is None else _renumber(row, ids) for row in values]
        feature = List(ClassLabel(names=list(names))) if isinstance(item, ClassLabel) else feature
    order = dataset.column_names
    dataset = dataset.remove_columns(column).add_column(column, values, feature=feature).select_columns(order)
    return note_class_names(dataset, column, names) if is_noted else dataset


def _renumber(labels: Sequence[int | None], ids: Sequence[int]) -> list[int | None]:
    return [label if label is None or label < 0 else ids[label] for label in labels]


def _widen(rows: Sequence[Sequence[float]], ids: Sequence[int], num_classes: int) -> list[list[float]]:
    """Put the numbers of each row at the places of their classes, with 0 for classes that only the model has."""
    given = np.array(rows, dtype=np.float32).reshape(len(rows), len(ids))
    widened = np.zeros((len(given), num_classes), dtype=np.float32)
    widened[:, list(ids)] = given
    widened[np.isnan(given).any(axis=1)] = np.nan
    return widened.tolist()


def metrics_in_order(compute_metrics: ComputeMetrics, ids: Sequence[int], names: Sequence[str]) -> ComputeMetrics:
    """Return metrics of logits and labels in a model's order, from metrics in the order of a task.

    The order matters to F1, which must know which class is the positive one, and to tags, which are scored by name.

    Args:
        compute_metrics: Metrics in the order of the task.
        ids: The model's id of each class of the task.
        names: Names of all classes of the model.
    """
    order = [*ids, *(i for i in range(len(names)) if i not in ids)]
    compute_metrics = with_label_names(compute_metrics, [names[i] for i in order])
    if order == sorted(order):
        return compute_metrics
    return functools.partial(_in_task_order, order=order, compute_metrics=compute_metrics)


def _in_task_order(
    prediction: EvalPrediction, *, order: Sequence[int], compute_metrics: ComputeMetrics
) -> dict[str, float]:
    from transformers import EvalPrediction

    logits, labels = logits_of(prediction), np.asarray(prediction.label_ids)
    if labels.ndim == logits.ndim:  # a number for every class, not the id of one
        return compute_metrics(EvalPrediction(predictions=logits[..., order], label_ids=labels[..., order]))
    task_ids = np.argsort(order)
    in_order = np.where(labels < 0, labels, task_ids[np.maximum(labels, 0)])
    return compute_metrics(EvalPrediction(predictions=logits[..., order], label_ids=in_order))
