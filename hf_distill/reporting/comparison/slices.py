"""Scores on slices of the rows: all rows with one value in a column, such as a language or a channel."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from datasets import ClassLabel, Dataset

from hf_distill.reporting.comparison.describe import Comparison
from hf_distill.reporting.comparison.quality import TEACHER, Quality
from hf_distill.reporting.statistics import holm
from hf_distill.reporting.text import PLAIN, equals_p_value, is_clearly_worse
from hf_distill.utils.near_misses import did_you_mean

MOST_SLICES = 20  # of a column, the slice of all smaller values included
FEWEST_ROWS = 20  # of a slice of its own
NO_VALUE, OTHER_VALUES = "no value", "other values"


def read_slice_columns(dataset: Dataset, names: Sequence[str]) -> dict[str, list[str | None]]:
    """Return the values of the columns as texts, None for a missing value.

    Raises:
        ValueError: if a column does not exist, or has no value in any row.
        TypeError: if `names` is a string.
    """
    if isinstance(names, str):
        raise TypeError(f"`slice_columns` must be a list of names, got the string {names!r}.")
    if unknown := [name for name in names if name not in dataset.column_names]:
        raise ValueError(
            f"There is no slice column {unknown[0]!r}.{did_you_mean(unknown[0], dataset.column_names)} The columns "
            f"are {', '.join(dataset.column_names)}."
        )
    columns = {}
    for name in names:
        feature, values = dataset.features[name], list(dataset[name])
        if isinstance(feature, ClassLabel):
            values = [None if value is None or value < 0 else feature.names[value] for value in values]
        # NaN is the only value that differs from itself.
        columns[name] = [None if value in (None, "") or value != value else str(value) for value in values]
        if not any(columns[name]):
            raise ValueError(f"The slice column {name!r} has no value in any row. Check its name.")
    return columns


def describe_slices(
    comparison: Comparison, columns: Mapping[str, Sequence[str | None]], names: Sequence[str]
) -> list[dict[str, Any]]:
    """Score the shipped run of every model on each slice, and test each difference to the teacher.

    Args:
        comparison: The models on all rows.
        columns: Name of a column -> the value of each row, see [`read_slice_columns`].
        names: The models whose differences are tested.

    Returns:
        For each slice the `column`, the `value`, the number of labelled `rows`, `num_values` (more than 1 where small
        slices are merged), and `models`: name -> `value`, `low`, `high`; for the models in `names` also `difference`
        to the teacher with `difference_low`, `difference_high` and `p_value`, which is corrected by Holm for the
        number of slices. An empty list without labels.
    """
    if comparison.quality is None:
        return []
    is_row_labelled = np.zeros(comparison.units.num_rows, dtype=bool)
    is_row_labelled[comparison.units.rows[comparison.units.is_labelled]] = True
    slices = [
        {"column": column, **merged, "models": _score(comparison, in_slice, names)}
        for column, values in columns.items()
        for merged, in_slice in _split(np.array(values, dtype=object)[is_row_labelled])
    ]
    for name in names:
        tested = [part["models"][name] for part in slices if part["models"][name].get("p_value") is not None]
        for entry, corrected in zip(tested, holm([entry["p_value"] for entry in tested]), strict=True):
            entry["p_value"] = corrected
    return slices


def _split(values: np.ndarray) -> Iterator[tuple[dict[str, Any], np.ndarray]]:
    """Yield the slices, the largest first, and then the rows of all values that are too rare for a slice."""
    counts = Counter(NO_VALUE if value is None else value for value in values)
    frequent = [value for value, count in counts.most_common() if count >= FEWEST_ROWS]
    is_complete = len(frequent) == len(counts) <= MOST_SLICES
    chosen = frequent if is_complete else frequent[: MOST_SLICES - 1]
    named = np.array([NO_VALUE if value is None else value for value in values], dtype=object)
    for value in chosen:
        yield {"value": value, "rows": counts[value], "num_values": 1}, named == value
    rare = ~np.isin(named.astype(str), chosen)
    if rare.any():
        yield {"value": OTHER_VALUES, "rows": int(rare.sum()), "num_values": len(counts) - len(chosen)}, rare


def _score(comparison: Comparison, in_slice: np.ndarray, names: Sequence[str]) -> dict[str, dict[str, Any]]:
    metric, is_chosen = comparison.metric, in_slice[comparison.labelled.rows]
    logits = {name: [run[is_chosen]] for name, run in comparison.shipped_logits.items()}
    quality = Quality(comparison.labelled.at(is_chosen), logits, [metric], comparison.how)
    scores = {}
    for name in logits:
        estimate = quality.estimates(name)[metric.name]
        scores[name] = {key: estimate[key] for key in ("value", "low", "high")}
        if name in names:
            versus = quality.versus(name, TEACHER, metric.name) or dict.fromkeys(
                ("difference", "low", "high", "p_value")
            )
            scores[name] |= {
                "difference": versus["difference"],
                "difference_low": versus["low"],
                "difference_high": versus["high"],
                "p_value": versus["p_value"],
            }
    return scores


def about_slices(slices: Sequence[Mapping[str, Any]], name: str, task: Mapping[str, Any]) -> Iterator[str]:
    """Yield a note for each slice on which a model is clearly worse than the teacher."""
    show = partial(PLAIN.difference, metric=task["metric_name"])
    for part in slices:
        entry = part["models"][name]
        if is_clearly_worse(entry, task["confidence_level"]):
            yield (
                f"On the {part['rows']:,} rows with {part['column']} = {part['value']!r} the {name} is clearly worse "
                f"than the teacher: {show(entry['difference'])} (p {equals_p_value(entry['p_value'])} after Holm's "
                f"correction for {len(slices):,} slices)."
            )
