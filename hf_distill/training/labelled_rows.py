"""The labels of a tokenized dataset: their column, their values, which rows have one, and how many there are."""

import datasets
import numpy as np
import pyarrow.compute as pc
import torch

from hf_distill.classifiers.problem_types import ProblemType
from hf_distill.functional import IGNORE_INDEX
from hf_distill.objectives.class_weights import LabelCounts
from hf_distill.utils.columns import select_formatted


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


def are_labelled(dataset: datasets.Dataset, problem_type: ProblemType) -> list[bool]:
    """Return for each row whether it has a label."""
    column = label_column_of(dataset)
    if column is None:
        # The labels of a language model are made from the text, batch by batch.
        return [not problem_type.has_label_names] * len(dataset)
    if problem_type.is_token_level:
        return [any(label != IGNORE_INDEX for label in labels) for labels in dataset[column]]
    return problem_type.is_labelled(torch.tensor(values_of(dataset, column))).tolist()


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
        labels = token_labels_of(dataset, column, "training")
    else:
        labels = values_of(dataset, column)
    if problem_type.is_exclusive:
        labelled = labels[labels != IGNORE_INDEX]
        return LabelCounts(np.bincount(labelled, minlength=num_labels).tolist(), len(labelled))
    labelled = labels[~np.isnan(labels).any(axis=1)]
    return LabelCounts(labelled.sum(axis=0, dtype=np.float64).tolist(), len(labelled))


def label_column_of(dataset: datasets.Dataset) -> str | None:
    """Return `labels` or `label`, whichever the dataset has; None if it has neither."""
    return next((name for name in ("labels", "label") if name in dataset.column_names), None)


def values_of(dataset: datasets.Dataset, column: str) -> np.ndarray:
    """Return a column of numbers in one array.

    Raises:
        ValueError: if the rows do not hold numbers, equally many in each row. The message names the first such row.
    """
    values = select_formatted(dataset, column, "numpy")[:][column]
    if isinstance(values, np.ndarray) and values.dtype != object:
        return values
    raise ValueError(f"Column `{column}` must hold numbers, equally many in each row{_odd_row(dataset, column)}.")


def _odd_row(dataset: datasets.Dataset, column: str) -> str:
    """Return which row has no numbers, or another number of them than the row before; empty if none is found."""
    rows = dataset.with_format(None)[column][:]
    sizes = [len(row) if isinstance(row, list) and None not in row else None for row in rows]
    if all(size is None for size in sizes):
        return ""
    expected = max(set(sizes) - {None}, key=sizes.count)
    row = next((place for place, size in enumerate(sizes) if size != expected), None)
    return "" if row is None else f", and row {row} of the {len(rows):,} has {rows[row]!r:.80}"


def token_labels_of(dataset: datasets.Dataset, column: str, role: str) -> np.ndarray:
    """Return the labels of all tokens of all rows in one array.

    Raises:
        ValueError: for a row that does not have one label for each token.
    """
    rows = select_formatted(dataset, ["input_ids", column], "arrow")[:]
    lengths = [pc.list_value_length(rows[name]).to_numpy() for name in ("input_ids", column)]
    if (bad := lengths[0] != lengths[1]).any():
        row = int(bad.argmax())
        raise ValueError(
            f"Row {row} of the {role} dataset has {lengths[0][row]} tokens and {lengths[1][row]} labels. Each token "
            f"needs a label, {IGNORE_INDEX} where it is not the first of a word."
        )
    return pc.list_flatten(rows[column]).to_numpy()
