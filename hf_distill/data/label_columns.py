"""What a label column says: which kind of problem it is, which classes there are, and the label of each row."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from datasets import ClassLabel, Dataset, LargeList, List, Value

Found = Mapping[str, list[Any]]

# What a label is -> the problem types that it can be of; the first one, unless another is asked for.
_POSSIBLE = {
    "a list of tags": ("token_classification",),
    "a name": ("single_label_classification",),
    "an integer": ("single_label_classification", "regression"),
    "a number": ("regression", "single_label_classification"),
    "a list of names": ("multi_label_classification",),
    "a list of integers": ("multi_label_classification", "regression"),
    "a list of 0 or 1 for every class": ("multi_label_classification", "regression"),
    "a list of numbers": ("regression", "multi_label_classification"),
}


@dataclass(frozen=True)
class Labels:
    """The labels of a data set.

    Attributes:
        problem_type: What kind of problem they make.
        names: Of the classes by id; placeholders (`LABEL_0`, ...) where the data have numbers without names; None for
            a regression with one output.
        values: For each split the column `label` of a [`Task`].
        feature: The type of that column.
    """

    problem_type: str
    names: list[str] | None
    values: dict[str, list[Any]]
    feature: Any


def read_labels(
    splits: Mapping[str, Dataset], column: str, *, are_tags: bool = False, problem_type: str | None = None
) -> Labels:
    """Read the label column of all splits together.

    Args:
        splits: A split whose name starts with `test` may lack the column.
        column: Its name.
        are_tags: Whether rows are lists of words and the column has a tag for each.
        problem_type: What the labels are to be read as; None for what [`load_text_dataset`] says of their type.

    Raises:
        ValueError: for a column that is not there, labels of different kinds, or those that cannot be of the problem
            type that is asked for.
    """
    found = {name: _read(name, dataset, column) for name, dataset in splits.items()}
    kind = "a list of tags" if are_tags else _kind([v for split in found.values() for v in split], column)
    chosen = problem_type or _POSSIBLE[kind][0]
    if chosen not in _POSSIBLE[kind]:
        example = next((value for split in found.values() for value in split if value is not None), None)
        raise ValueError(
            f"`problem_type` is {chosen!r}, but the label column {column!r} holds {kind} a row, such as {example!r}, "
            f"which makes it {' or '.join(_POSSIBLE[kind])}. Leave the problem type out, or change the column."
        )
    declared = next((names for d in splits.values() if (names := _declared_names(d, column))), None)
    if "list" in kind and (chosen == "regression" or kind.endswith(("numbers", "every class"))):
        return _as_vectors(found, chosen, column)
    return _READERS[chosen](found, declared, column)


def is_list(feature: Any, of: Sequence[str] = ()) -> bool:
    """Whether a column holds lists; of values of these types, if any are named."""
    if not isinstance(feature, List | LargeList):
        return False
    return not of or (isinstance(feature.feature, Value) and feature.feature.dtype in of)


def _read(split: str, dataset: Dataset, column: str) -> list[Any]:
    """Labels as the data give them, a `ClassLabel`'s as names; None where there is none."""
    if column not in dataset.column_names:
        if split.startswith("test"):
            return [None] * len(dataset)
        raise ValueError(f"Split {split!r} has no label column {column!r}, only {', '.join(dataset.column_names)}.")
    feature = dataset.features[column]
    inner = feature.feature if is_list(feature) else feature
    if not isinstance(inner, Value | ClassLabel):
        raise ValueError(
            f"Label column {column!r} of split {split!r} is {feature}; wanted is a name, a number or a list of either."
        )
    names = inner.names if isinstance(inner, ClassLabel) else None

    def read(value: Any) -> Any:
        if names is not None:
            return None if value is None or value < 0 else names[value]
        return None if isinstance(value, float) and math.isnan(value) else value

    if not is_list(feature):
        return [read(value) for value in dataset[column]]
    return [None if row is None else [read(value) for value in row] for row in dataset[column]]


def _declared_names(dataset: Dataset, column: str) -> list[str] | None:
    """Return the names that a `ClassLabel`, or a list of them, declares."""
    feature = dataset.features.get(column)
    feature = getattr(feature, "feature", feature)
    return list(feature.names) if isinstance(feature, ClassLabel) else None


def _kind(values: Sequence[Any], column: str) -> str:
    """Say what a label is; those that are None say nothing."""
    present = [value for value in values if value is not None]
    lists = [value for value in present if isinstance(value, list)]
    if not lists:
        types = {type(value) for value in present}
        if float in types and not types <= {int, float}:
            raise ValueError(f"Label column {column!r} has numbers such as 0.5 in some files and names in others.")
        return "a number" if float in types else "an integer" if types == {int} else "a name"
    if len(lists) < len(present):
        raise ValueError(f"Label column {column!r} has lists in some files and single labels in others.")
    items = [item for row in lists for item in row]
    if None in items:
        raise ValueError(f"Label column {column!r} has lists with empty entries. Fill them in, or make the list null.")
    types = {type(item) for item in items}
    is_vector = len({len(row) for row in lists}) == 1 and len(lists[0]) > 1
    # A list of ids names a class once at most, so that one of 0 and 1 alone says yes or no to each.
    if types <= {int, float, bool} and set(items) <= {0, 1} and is_vector:
        return "a list of 0 or 1 for every class"
    return "a list of numbers" if float in types else "a list of integers" if types == {int} else "a list of names"


def _ids(values: set[Any], declared: list[str] | None) -> dict[str, int]:
    """Return the classes' ids by name: in the declared order, or sorted."""
    kinds = {type(value) for value in values}
    names = declared or [str(value) for value in sorted(values, key=None if len(kinds) == 1 else str)]
    if "" in values and not declared:
        raise ValueError("A label is the empty string. Name the class, or make the labels of unlabelled rows null.")
    if unknown := sorted({str(value) for value in values} - set(names)):
        raise ValueError(f"Labels {unknown} are not among the classes that the data set declares: {names}.")
    return {name: i for i, name in enumerate(names)}


def _as_classes(found: Found, declared: list[str] | None, column: str) -> Labels:
    """Read one class a row; -1 where there is none."""
    # Whole numbers that came as 1.0 are the class 1.
    whole = {
        split: [int(v) if isinstance(v, float) and v.is_integer() else v for v in values]
        for split, values in found.items()
    }
    ids = _ids({value for split in whole.values() for value in split if value is not None}, declared)
    if len(ids) < 2:
        raise ValueError(f"Label column {column!r} holds the labels {list(ids)}; at least two classes are wanted.")
    values = {split: [-1 if v is None else ids[str(v)] for v in labels] for split, labels in whole.items()}
    return Labels("single_label_classification", list(ids), values, ClassLabel(names=list(ids)))


def _as_sets(found: Found, declared: list[str] | None, column: str) -> Labels:
    """Read a list of classes a row: 0 or 1 for each of them; NaN for a row without a list."""
    ids = _ids({value for split in found.values() for row in split for value in row or ()}, declared)
    if not ids:
        raise ValueError(f"Label column {column!r} holds only empty lists; at least one class is wanted.")

    def encode(row: list[Any] | None) -> list[float]:
        if row is None:
            return [np.nan] * len(ids)
        chosen = {str(value) for value in row}
        return [float(name in chosen) for name in ids]

    values = {split: [encode(row) for row in rows] for split, rows in found.items()}
    return Labels("multi_label_classification", list(ids), values, List(Value("float32"), length=len(ids)))


def _as_numbers(found: Found, declared: list[str] | None, column: str) -> Labels:
    """Read one number a row; NaN where there is none."""
    values = {split: [np.nan if v is None else float(v) for v in labels] for split, labels in found.items()}
    return Labels("regression", None, values, Value("float32"))


def _as_vectors(found: Found, problem_type: str, column: str) -> Labels:
    """Read as many numbers in each row, one for each output; NaN for a row without them."""
    lists = [row for split in found.values() for row in split if row is not None]
    length = len(lists[0])
    if odd := next((row for row in lists if len(row) != length), None):
        raise ValueError(
            f"Label column {column!r} holds lists of numbers, one for each output, that do not match: {lists[0]} and "
            f"{odd}. Give every row as many, or null."
        )
    is_regression = problem_type == "regression"
    if not is_regression and (odd := next((row for row in lists if not all(0 <= v <= 1 for v in row)), None)):
        raise ValueError(f"Label column {column!r} holds {odd}; {problem_type} wants numbers from 0 to 1.")
    none = [np.nan] * length
    values = {
        split: [none if row is None else [float(v) for v in row] for row in rows] for split, rows in found.items()
    }
    return Labels(problem_type, [f"LABEL_{i}" for i in range(length)], values, List(Value("float32"), length=length))


def _as_tags(found: Found, declared: list[str] | None, column: str) -> Labels:
    """Read a class for each word; None for a sentence without any, -1 for a word without one."""

    def is_tag(value: Any) -> bool:
        return value is not None and not (isinstance(value, int) and value < 0)

    ids = _ids({v for split in found.values() for row in split for v in row or () if is_tag(v)}, declared)
    if len(ids) < 2:
        raise ValueError(f"Label column {column!r} holds the tags {list(ids)}; at least two are wanted.")
    values = {
        split: [None if row is None else [ids[str(v)] if is_tag(v) else -1 for v in row] for row in rows]
        for split, rows in found.items()
    }
    return Labels("token_classification", list(ids), values, List(ClassLabel(names=list(ids))))


_READERS: dict[str, Callable[[Found, list[str] | None, str], Labels]] = {
    "single_label_classification": _as_classes,
    "multi_label_classification": _as_sets,
    "regression": _as_numbers,
    "token_classification": _as_tags,
}
