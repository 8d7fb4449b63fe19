"""What is known of a dataset before its rows are read, whatever kind it is.

Only `datasets.Dataset` and `datasets.IterableDataset` describe their columns, and a stream only until it is mapped.
"""

from collections.abc import Mapping
from typing import Any, TypeAlias

import datasets
from torch.utils.data import ChainDataset, ConcatDataset, Subset

Described: TypeAlias = datasets.Dataset | datasets.IterableDataset


def parts_of(dataset: Any) -> list[Any]:
    """Return the datasets that a dataset of torch wraps; any other dataset has one part, itself."""
    if isinstance(dataset, Subset):  # `torch.utils.data.random_split` returns these
        return parts_of(dataset.dataset)
    if isinstance(dataset, ConcatDataset | ChainDataset):
        return [part for member in dataset.datasets for part in parts_of(member)]
    return [dataset]


def described_parts(dataset: Any) -> list[Described]:
    """Return the parts that are datasets of the `datasets` library. Lists of rows have none."""
    return [part for part in parts_of(dataset) if isinstance(part, Described)]


def is_transformed(dataset: Any) -> bool:
    """Return whether `set_transform` makes the rows when they are read, so that its columns can be others."""
    return isinstance(dataset, datasets.Dataset) and dataset.format["type"] == "custom"


def columns_of(dataset: Any) -> frozenset[str]:
    """Return the columns of a dataset. If it does not describe them, the first row is read."""
    if isinstance(dataset, Described) and dataset.features is not None and not is_transformed(dataset):
        return frozenset(dataset.features)
    first_row = next(iter(dataset), None)
    return frozenset(first_row) if isinstance(first_row, Mapping) else frozenset()
