"""Soft labels that a dataset has, from people or from a language model, in place of a teacher."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from datasets import Dataset, Features, List, Value
from transformers.utils import logging

from hf_distill.classifiers.label_order import name_teacher_logits
from hf_distill.classifiers.outputs import TEACHER_LOGITS
from hf_distill.data.model_answers import check_numbers, class_key, from_log_probabilities, from_votes
from hf_distill.data.table import name_some
from hf_distill.data.transfer import logits_column
from hf_distill.utils.dataset_types import check_is_dataset

logger = logging.get_logger(__name__)

KINDS = ("probabilities", "logits", "log_probabilities", "votes")
_TOLERANCE = 1e-2  # of the sum of a row: people and language models round


def soft_labels(
    dataset: Dataset,
    column: str | Mapping[str, str],
    label_names: Sequence[str],
    *,
    kind: str = "probabilities",
    source_names: Sequence[str] | None = None,
    is_multi_label: bool = False,
    floor: float = 1e-4,
    smoothing: float = 1.0,
) -> Dataset:
    r"""Turn soft labels into `teacher_logits`, which a `DistillationTrainer` without a teacher trains on.

    A row is a list with a number for each class, or a dict from class names to numbers, as language models return.
    What the numbers are, `kind` says:

    - "probabilities";
    - "logits";
    - "log_probabilities" of the tokens that stand for the classes, where the probability of other tokens is shared
      out; also a list of the most probable first tokens, `{"token": ..., "logprob": ...}` for each, as APIs return it
      (see [`~hf_distill.data.model_answers.from_log_probabilities`]);
    - "votes": a list of classes, the answers of a model that was asked several times, or a dict from classes to
      numbers of votes (see [`~hf_distill.data.model_answers.from_votes`]).

    Probabilities $p$ become the logits $\log \max(p, \mathrm{floor})$; in multi-label problems
    $\log p - \log(1 - p)$, with $p$ clipped to floor and 1 - floor. Without the floor, a probability of 0, which is
    often only a rounded answer, would ask for an infinite logit. A class that a dict leaves out has the probability 0.

    Args:
        dataset: Rows. Only `column` is read.
        column: The column with the soft labels; or a dict from each class to the column with its number.
        label_names: Classes of the student, in its order.
        kind: "probabilities", "logits", "log_probabilities" or "votes".
        source_names: Classes of the lists, in their order; None for `label_names`. Names are matched with
            `label_names` and need not have the same case. Dicts have their own names.
        is_multi_label: Whether each class has its own probability, so that a row need not sum to 1.
        floor: The smallest probability, > 0 and < 0.5.
        smoothing: With "votes", the number of votes that each class has from the start, >= 0: with 1, three votes of
            three for one of two classes are a probability of 0.8.

    Returns:
        The dataset with `teacher_logits`, `(len(label_names),)` in float32, in place of the columns that were read.

    Raises:
        ValueError: for a row that is not a distribution: an unknown or missing class, a number out of range, or a sum
            that is not 1 (to 0.01). The message contains the row.
        TypeError: for a stream, a dict of datasets, or a list of rows.
    """
    check_is_dataset(dataset, "soft_labels")
    if kind not in KINDS:
        raise ValueError(f"`kind` must be one of {', '.join(KINDS)}, got {kind!r}.")
    if not 0 < floor < 0.5:
        raise ValueError(f"`floor` must be > 0 and < 0.5, got {floor}.")
    if not 0 <= smoothing < math.inf:
        raise ValueError(f"`smoothing` must be a finite number >= 0, got {smoothing}.")
    if not isinstance(column, str | Mapping):
        raise TypeError(f"`column` must be the name of a column, or a dict from classes to columns, got {column!r}.")
    columns = [column] if isinstance(column, str) else list(column.values())
    if not isinstance(column, str):
        _places(list(column), label_names)  # each class once
        if kind == "votes":
            raise ValueError("Votes are in one column. Pass its name, not a dict.")
    if missing := [name for name in columns if name not in dataset.column_names]:
        raise ValueError(f"There is no column {missing[0]!r}, only {', '.join(dataset.column_names)}.")
    others = [name for name in dataset.column_names if name not in (*columns, TEACHER_LOGITS)]
    features = Features({name: dataset.features[name] for name in others})
    features[TEACHER_LOGITS] = List(Value("float32"), length=len(label_names))
    labelled = dataset.with_format(None).map(
        _to_logits,
        batched=True,
        with_indices=True,
        remove_columns=columns,
        features=features,
        fn_kwargs={
            "columns": columns,
            "classes": None if isinstance(column, str) else list(column),
            "places": _places(source_names or label_names, label_names),
            "names": {class_key(name): i for i, name in enumerate(label_names)},
            "kind": kind,
            "is_multi_label": is_multi_label,
            "floor": floor,
            "smoothing": smoothing,
        },
        desc="Reading soft labels",
    )
    if kind == "log_probabilities" and not is_multi_label and len(labelled):
        _warn_of_absent_classes(labelled, label_names, floor)
    return name_teacher_logits(labelled, label_names)


def _places(source: Sequence[str], target: Sequence[str]) -> list[int]:
    """Return the index in `target` of each class of `source`."""
    if alike := [name for name in target if sum(class_key(name) == class_key(other) for other in target) > 1]:
        raise ValueError(
            f"The label names {' and '.join(map(repr, alike))} differ only in upper and lower case, or in blanks "
            "around them, which soft labels do not tell apart. Rename one of them."
        )
    places = {class_key(name): i for i, name in enumerate(target)}
    if sorted(places) != sorted(map(class_key, source)):
        raise ValueError(f"The label names differ: {list(source)} against {list(target)}. Name each class once.")
    return [places[class_key(name)] for name in source]


def _warn_of_absent_classes(labelled: Dataset, label_names: Sequence[str], floor: float) -> None:
    """Warn of classes that no row has a token for: a class whose name is more than one token is never found."""
    highest = np.exp(logits_column(labelled).max(axis=0))
    absent = [name for name, value in zip(label_names, highest, strict=True) if value <= floor * 1.001]
    if absent:
        logger.warning(
            f"No row has a token for {name_some([*map(repr, absent)])}, so every row gives it the lowest probability. "
            "Only a class whose name is a whole token is found: let the model answer with a letter or a number for "
            "each class, and pass these as `label_names`."
        )


def _to_logits(
    rows: Mapping[str, list[Any]], indices: list[int], columns: list[str], classes: list[str] | None, **settings: Any
) -> dict[str, Any]:
    values: Any = rows[columns[0]]
    if classes is not None:
        by_row = zip(*(rows[column] for column in columns), strict=True)
        values = [dict(zip(classes, row, strict=True)) for row in by_row]
    return {TEACHER_LOGITS: [_row(index, soft, **settings) for index, soft in zip(indices, values, strict=True)]}


def _row(
    index: int,
    soft: Any,
    places: list[int],
    names: Mapping[str, int],
    kind: str,
    is_multi_label: bool,
    floor: float,
    smoothing: float,
) -> np.ndarray:
    def refuse(why: object) -> ValueError:
        return ValueError(f"The soft label of row {index} {why}: {soft!r}.")

    if kind in ("log_probabilities", "votes"):
        try:
            if kind == "votes":
                values = from_votes(soft, names, smoothing, is_multi_label)
            else:
                values = from_log_probabilities(soft, names, places, is_multi_label)
        except ValueError as error:
            raise refuse(error) from None
        return _as_logits(values, is_multi_label, floor)
    values = np.zeros(len(places))
    if isinstance(soft, Mapping):
        # Arrow gives every row the keys of all rows. A key that a row did not have is None.
        given_names = [name for name, value in soft.items() if value is not None]
        given = {class_key(name): soft[name] for name in given_names}
        if len(given) < len(given_names):
            raise refuse("has names that differ only in case or blanks around them")
        if unknown := given.keys() - names.keys():
            raise refuse(f"has the classes {sorted(unknown)}, which are not among {list(names)}")
        if kind == "logits" and len(given) < len(names):
            raise refuse(f"lacks logits of {sorted(names.keys() - given.keys())}")
        if odd := [value for value in given.values() if isinstance(value, str)]:
            raise refuse(f"has the text {odd[0]!r} in place of a number")
        for name, value in given.items():
            values[names[name]] = value
    else:
        try:
            check_numbers(soft, len(places))
        except ValueError as error:
            raise refuse(error) from None
        values[places] = soft
    if kind == "logits":
        if np.isnan(values).any() or not np.isfinite(values.max()):
            raise refuse("has NaN, +inf or no finite number")
        return values.astype(np.float32)
    if not ((values >= 0) & (values <= 1)).all():
        remedy = "divide percentages by 100" if (values >= 0).all() else "for logits set `kind='logits'`"
        raise refuse(f"has numbers that are not probabilities, from 0 to 1; {remedy}")
    if not is_multi_label and abs(values.sum() - 1) > _TOLERANCE:
        raise refuse(f"sums to {values.sum():.4g}, not to 1")
    return _as_logits(values, is_multi_label, floor)


def _as_logits(probabilities: np.ndarray, is_multi_label: bool, floor: float) -> np.ndarray:
    if is_multi_label:
        probabilities = probabilities.clip(floor, 1 - floor)
        return (np.log(probabilities) - np.log1p(-probabilities)).astype(np.float32)
    return np.log(probabilities.clip(floor)).astype(np.float32)
