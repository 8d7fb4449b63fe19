"""Soft labels that a dataset has, from people or from a language model, in place of a teacher."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from datasets import Dataset, Features, List, Value

from hf_distill.classifiers.label_order import name_teacher_logits
from hf_distill.classifiers.outputs import TEACHER_LOGITS
from hf_distill.utils.dataset_types import check_is_dataset

KINDS = ("probabilities", "logits")
_TOLERANCE = 1e-2  # of the sum of a row: people and language models round


def soft_labels(
    dataset: Dataset,
    column: str,
    label_names: Sequence[str],
    *,
    kind: str = "probabilities",
    source_names: Sequence[str] | None = None,
    is_multi_label: bool = False,
    floor: float = 1e-4,
) -> Dataset:
    r"""Turn a column of soft labels into `teacher_logits`, which a `DistillationTrainer` without a teacher trains on.

    A row is a list with a number for each class, or a dict from class names to numbers, as language models return.
    Probabilities $p$ become the logits $\log \max(p, \mathrm{floor})$; in multi-label problems
    $\log p - \log(1 - p)$, with $p$ clipped to floor and 1 - floor. Without the floor, a probability of 0, which is
    often only a rounded answer, would ask for an infinite logit. A class that a dict leaves out has the probability 0.

    Args:
        dataset: Rows. Only `column` is read.
        column: The column with the soft labels.
        label_names: Classes of the student, in its order.
        kind: "probabilities" or "logits".
        source_names: Classes of the lists, in their order; None for `label_names`. Names are matched with
            `label_names` and need not have the same case. Dicts have their own names.
        is_multi_label: Whether each class has its own probability, so that a row need not sum to 1.
        floor: The smallest probability, > 0 and < 0.5.

    Returns:
        The dataset with `teacher_logits`, `(len(label_names),)` in float32, in place of `column`.

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
    if column not in dataset.column_names:
        raise ValueError(f"There is no column {column!r}, only {', '.join(dataset.column_names)}.")
    others = [name for name in dataset.column_names if name not in (column, TEACHER_LOGITS)]
    features = Features({name: dataset.features[name] for name in others})
    features[TEACHER_LOGITS] = List(Value("float32"), length=len(label_names))
    labelled = dataset.with_format(None).map(
        _to_logits,
        batched=True,
        with_indices=True,
        remove_columns=[column],
        features=features,
        fn_kwargs={
            "column": column,
            "places": _places(source_names or label_names, label_names),
            "names": {name.casefold(): i for i, name in enumerate(label_names)},
            "kind": kind,
            "is_multi_label": is_multi_label,
            "floor": floor,
        },
        desc="Reading soft labels",
    )
    return name_teacher_logits(labelled, label_names)


def _places(source: Sequence[str], target: Sequence[str]) -> list[int]:
    """Return the index in `target` of each class of `source`."""
    places = {name.casefold(): i for i, name in enumerate(target)}
    if len(places) < len(target) or sorted(places) != sorted(name.casefold() for name in source):
        raise ValueError(f"The label names differ: {list(source)} against {list(target)}. Name each class once.")
    return [places[name.casefold()] for name in source]


def _to_logits(rows: Mapping[str, list[Any]], indices: list[int], column: str, **settings: Any) -> dict[str, Any]:
    return {TEACHER_LOGITS: [_row(index, soft, **settings) for index, soft in zip(indices, rows[column], strict=True)]}


def _row(
    index: int,
    soft: Any,
    places: list[int],
    names: Mapping[str, int],
    kind: str,
    is_multi_label: bool,
    floor: float,
) -> np.ndarray:
    def refuse(why: str) -> ValueError:
        return ValueError(f"The soft label of row {index} {why}: {soft!r}.")

    values = np.zeros(len(places))
    if isinstance(soft, Mapping):
        # Arrow gives every row the keys of all rows. A key that a row did not have is None.
        given = {name.casefold(): value for name, value in soft.items() if value is not None}
        if unknown := given.keys() - names.keys():
            raise refuse(f"has the classes {sorted(unknown)}, which are not among {list(names)}")
        if kind == "logits" and len(given) < len(names):
            raise refuse(f"lacks logits of {sorted(names.keys() - given.keys())}")
        for name, value in given.items():
            values[names[name]] = value
    else:
        if soft is None or len(soft) != len(places):
            raise refuse(f"does not have {len(places)} numbers, one for each class")
        values[places] = soft
    if kind == "logits":
        if np.isnan(values).any() or not np.isfinite(values.max()):
            raise refuse("has NaN, +inf or no finite number")
        return values.astype(np.float32)
    if not ((values >= 0) & (values <= 1)).all():
        raise refuse("has numbers that are not probabilities, from 0 to 1; for logits set `kind='logits'`")
    if is_multi_label:
        values = values.clip(floor, 1 - floor)
        return (np.log(values) - np.log1p(-values)).astype(np.float32)
    if abs(values.sum() - 1) > _TOLERANCE:
        raise refuse(f"sums to {values.sum():.4g}, not to 1")
    return np.log(values.clip(floor)).astype(np.float32)
