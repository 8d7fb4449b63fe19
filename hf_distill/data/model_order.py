"""Labels, and metrics of them, in the order of a model's outputs."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from datasets import ClassLabel, Dataset, Features, IterableDataset, List, Value

from hf_distill.classifiers.label_maps import class_names_of, label2id_of, match_labels
from hf_distill.classifiers.label_order import (
    LABELS,
    dataset_label_names,
    name_teacher_logits,
    note_class_names,
    noted_class_names,
    teacher_label_names,
)
from hf_distill.data.compute_metrics import logits_of, with_label_names
from hf_distill.utils.dataset_types import check_is_dataset

if TYPE_CHECKING:  # slow to import
    from transformers import EvalPrediction, PreTrainedModel

    from hf_distill.data.compute_metrics import ComputeMetrics

_NEW_COLUMN = "hf_distill_labels"  # while it is made

Rows = TypeVar("Rows", Dataset, IterableDataset)


def reorder_labels(dataset: Rows, model: PreTrainedModel) -> Rows:
    """Return a dataset whose labels are in the order of a model's outputs.

    Unlike `Dataset.align_labels_with_mapping` it keeps unlabelled rows and words (-1, -100, null).

    Args:
        dataset: Rows, which can be streamed, with a column `labels` or `label` of class ids, or of one class id for
            each word, that is a `ClassLabel` or comes from [`Task.tokenize`].
        model: The model. Its class names are matched with the dataset's, upper or lower case.

    Returns:
        The same rows. The column is a `ClassLabel` with the model's names, or has a note of them as before.

    Raises:
        ValueError: if the dataset does not name its classes, or the model has other names.
        TypeError: for a dict of datasets, or a list of rows.
    """
    check_is_dataset(dataset, "reorder_labels", can_be_streamed=True)
    names = dataset_label_names(dataset)
    if names is None:
        raise ValueError(
            "The dataset does not name the classes of its labels. Cast the label column first: "
            "`dataset.cast_column('label', ClassLabel(names=[...]))`."
        )
    column = LABELS if LABELS in dataset.features else "label"
    return put_in_order(dataset, column, match_labels(names, label2id_of(model.config)), class_names_of(model.config))


def put_in_order(dataset: Rows, column: str, ids: Sequence[int], names: Sequence[str]) -> Rows:
    """Return a dataset with the labels of a column in another order of the classes. Logits keep their order.

    Args:
        dataset: Rows with `column`: a class id, a list of them, or a number for each class. Ids below 0, NaN and null
            mean no label, and stay.
        column: Name of the column.
        ids: The new id of each class.
        names: Names of all classes in the new order, which can be more than `ids`.
    """
    old_feature: Any = dataset.features[column]
    feature = _renamed(old_feature, names)
    settings = {"feature": old_feature, "ids": list(ids), "num_classes": len(names)}
    if not isinstance(dataset, Dataset):
        logit_names = teacher_label_names(dataset)
        features = Features({**dataset.features, column: feature})
        arguments = {"column": column, **settings}
        stream = dataset.map(_reorder_batch, batched=True, fn_kwargs=arguments, features=features)
        return stream if logit_names is None else name_teacher_logits(stream, logit_names)
    is_noted = noted_class_names(dataset, column) is not None
    values = _reorder(dataset.with_format(None)[column][:], **settings)
    order = dataset.column_names
    # Not the other way round: without its only column a dataset has no rows.
    dataset = dataset.add_column(_NEW_COLUMN, values, feature=feature).remove_columns(column)
    dataset = dataset.rename_column(_NEW_COLUMN, column).select_columns(order)
    return note_class_names(dataset, column, names) if is_noted else dataset


def _renamed(feature: Any, names: Sequence[str]) -> Any:
    """Return the type of a label column for other classes."""
    item: Any = getattr(feature, "feature", None)
    if isinstance(feature, ClassLabel):
        return ClassLabel(names=list(names))
    if isinstance(item, ClassLabel):
        return List(ClassLabel(names=list(names)))
    if item is not None and item.dtype.startswith("float"):
        return List(Value("float32"), length=len(names))
    return feature


def _reorder_batch(rows: dict[str, list[Any]], column: str, **settings: Any) -> dict[str, Any]:
    return {column: _reorder(rows[column], **settings)}


def _reorder(values: list[Any], feature: Any, ids: Sequence[int], num_classes: int) -> list[Any]:
    item: Any = getattr(feature, "feature", None)
    if item is None:
        return _renumber(values, ids)
    if item.dtype.startswith("float"):
        return _widen(values, ids, num_classes)
    return [None if row is None else _renumber(row, ids) for row in values]


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
