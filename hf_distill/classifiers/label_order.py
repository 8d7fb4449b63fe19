"""The class names of dataset columns, which travel with the dataset.

A column of numbers cannot say which class each number belongs to. `datasets` keeps the description of a dataset
through `map`, `select`, `concatenate_datasets` and `save_to_disk`, so the names are a line of the description. Parquet
and JSON files and `to_iterable_dataset` lose the description, and with it the names.

The description also outlives the numbers: `map` can change them, and rows without names can be added. So the line for
`teacher_logits` contains a sketch of the rows that it is about. The rows of a stream cannot be read in advance, so its
names belong to this one stream object, and what `map` makes of the stream has no names.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar
from weakref import WeakKeyDictionary

import numpy as np

from hf_distill.classifiers.outputs import TEACHER_LOGITS
from hf_distill.classifiers.sketch import Sketch, hash_numbers
from hf_distill.utils.dataset_types import check_is_dataset

if TYPE_CHECKING:  # slow to import
    import datasets

    Rows = TypeVar("Rows", datasets.Dataset, datasets.IterableDataset)

LABELS = "labels"

_names_of_streams: WeakKeyDictionary[Any, list[str]] = WeakKeyDictionary()


def name_teacher_logits(dataset: Rows, label_names: Sequence[str]) -> Rows:
    """Note the class of each number of the column `teacher_logits`.

    `TeacherCache`, `soft_labels` and `hf-distill cache` do so. Call it for a column from elsewhere, for one that was
    read from a Parquet or JSON file, and for one that you have changed. Call it last for a stream (an
    `IterableDataset`), because every method that returns another stream loses the note: `map`, `filter`, `shuffle`.

    Args:
        dataset: Rows with `teacher_logits`.
        label_names: Names of the classes, in the order of the numbers.

    Returns:
        The same rows.

    Raises:
        ValueError: if there is no such column, if it has another number of classes, or if a name occurs twice.
        TypeError: for a dict of datasets, a list of rows, or names that are not a list of texts.
    """
    check_is_dataset(dataset, "name_teacher_logits", can_be_streamed=True)
    if isinstance(label_names, str | Mapping) or not all(isinstance(name, str) for name in label_names):
        raise TypeError(
            f"`label_names` must be a list of class names in the order of the numbers, got {label_names!r}."
        )
    if len(set(label_names)) < len(label_names):
        raise ValueError(f"`label_names` must be different names, got {list(label_names)}.")
    features = dataset.features
    if features is not None:  # None for a stream whose columns are not known
        if TEACHER_LOGITS not in features:
            raise ValueError(f"There is no column `{TEACHER_LOGITS}`, only {', '.join(features)}.")
        if not _holds_numbers(features[TEACHER_LOGITS]):
            raise ValueError(
                f"`{TEACHER_LOGITS}` must have a list of numbers in each row, one for each class, and has the type "
                f"{features[TEACHER_LOGITS]}. `hf_distill.data.soft_labels` makes such lists of dicts."
            )
        if (width := _width(dataset)) not in (-1, len(label_names)):
            raise ValueError(f"`{TEACHER_LOGITS}` has {width} numbers a row, and there are {len(label_names)} names.")
    if _is_stored(dataset):
        return note_class_names(dataset, TEACHER_LOGITS, label_names, Sketch.of(hash_numbers(dataset, TEACHER_LOGITS)))
    named = copy.copy(dataset)
    _names_of_streams[named] = list(label_names)
    return named


def _holds_numbers(feature: Any) -> bool:
    """Return whether the type of a column is lists of numbers, or lists of such lists."""
    if not hasattr(feature, "feature"):
        return False
    inner = feature.feature
    return _holds_numbers(inner) or str(getattr(inner, "dtype", "")).startswith(("float", "int", "uint", "double"))


def _width(dataset: datasets.Dataset | datasets.IterableDataset) -> int:
    """Return how many numbers each row, or each token of a row, has in `teacher_logits`; -1 if it is not known."""
    feature: Any = dataset.features[TEACHER_LOGITS]
    length = getattr(feature, "length", -1)
    if length != -1 or not _is_stored(dataset) or not len(dataset):
        return length
    numbers = dataset.with_format(None)[0][TEACHER_LOGITS]
    while numbers and isinstance(numbers[0], list):  # one list for each token
        numbers = numbers[0]
    return len(numbers)


def teacher_label_names(dataset: datasets.Dataset | datasets.IterableDataset) -> list[str] | None:
    """Return the class names of `teacher_logits`; None if the dataset does not have them.

    Raises:
        ValueError: if rows were concatenated whose logits have different orders, or if the logits were changed or rows
            were added after the names were noted.
    """
    if not _is_stored(dataset):
        return _names_of_streams.get(dataset)
    names = noted_class_names(dataset, TEACHER_LOGITS)
    sketches = [Sketch.parse(sketch) for _, sketch in _notes(dataset, TEACHER_LOGITS) if sketch]
    if names is None or not sketches:
        return None
    hashes = hash_numbers(dataset, TEACHER_LOGITS)
    is_known = np.any([sketch.fits(hashes) for sketch in sketches], axis=0)
    if not is_known.all():
        raise ValueError(
            f"Row {int(is_known.argmin())} of the column `{TEACHER_LOGITS}` has other numbers than the rows whose "
            f"classes were noted as {names}: the column was changed, or rows were added to it. If all rows are in "
            f"this order, note it again: `dataset = hf_distill.data.name_teacher_logits(dataset, {names})`."
        )
    return names


def dataset_label_names(dataset: datasets.Dataset | datasets.IterableDataset) -> list[str] | None:
    """Return the class names of the labels, from a note or from a `ClassLabel`; None if the dataset has neither.

    Raises:
        ValueError: if rows were concatenated whose labels have different orders.
    """
    features = dataset.features or {}  # None for a stream whose columns are not known
    noted = noted_class_names(dataset, LABELS) if LABELS in features else None
    return noted if noted is not None else _declared_class_names(features)


def _declared_class_names(features: Any) -> list[str] | None:
    """Return the names of the `ClassLabel` in `labels` or `label`, of a row or of each word; None without one."""
    for column in (LABELS, "label"):
        feature: Any = features.get(column)
        names = getattr(feature, "names", None) or getattr(getattr(feature, "feature", None), "names", None)
        if names:
            return list(names)
    return None


def note_class_names(
    dataset: datasets.Dataset, column: str, names: Sequence[str], sketch: Sketch | None = None
) -> datasets.Dataset:
    """Return the same rows with a note of the names of a column's classes, in the order of the ids.

    Args:
        dataset: The rows.
        column: Name of the column.
        names: Names of the classes.
        sketch: The rows that the note is about; None for all rows that have this description.
    """
    named = copy.copy(dataset)
    named._info = dataset.info.copy()
    other_lines = _line(column).sub("", dataset.info.description or "").strip()
    note = f"{column} are in the order of the classes {json.dumps(list(names), ensure_ascii=False)}"
    if sketch is not None:
        note += f" for rows {sketch}"
    named._info.description = f"{other_lines}\n{note}".strip()
    return named


def noted_class_names(dataset: datasets.Dataset | datasets.IterableDataset, column: str) -> list[str] | None:
    """Return the names that [`note_class_names`] noted for a column; None without a note.

    Raises:
        ValueError: if rows were concatenated whose notes differ.
    """
    orders = {names: json.loads(names) for names, _ in _notes(dataset, column)}
    if len(orders) > 1:
        raise ValueError(
            f"The rows of the column `{column}` have different orders of the classes: {' and '.join(orders)}. Bring "
            "all rows into one order before you concatenate the datasets: for labels with `task.for_model(model)`, "
            "for logits by running one teacher on all of them."
        )
    return next(iter(orders.values()), None)


def _is_stored(dataset: datasets.Dataset | datasets.IterableDataset) -> bool:
    """Return whether a dataset is not a stream, so that all its rows can be read at any time."""
    import datasets  # slow to import

    return isinstance(dataset, datasets.Dataset)


def _notes(dataset: datasets.Dataset | datasets.IterableDataset, column: str) -> list[tuple[str, str]]:
    """Return the notes on a column: names as JSON, and the sketch of the rows, which can be empty."""
    return _line(column).findall(dataset.info.description or "")


def _line(column: str) -> re.Pattern[str]:
    return re.compile(rf"^{column} are in the order of the classes (\[.*\])(?: for rows (\S*))?$", re.MULTILINE)
