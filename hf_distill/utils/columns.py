"""Some columns of a dataset, in a format."""

import datasets


def select_formatted(dataset: datasets.Dataset, columns: str | list[str], format_type: str) -> datasets.Dataset:
    """Return what `dataset.select_columns(columns).with_format(format_type)` returns, which copies a dataset twice.

    Args:
        dataset: It is not changed.
        columns: Names of columns.
        format_type: "arrow" or "numpy".
    """
    selected = dataset.select_columns(columns)
    selected.set_format(format_type)
    return selected
