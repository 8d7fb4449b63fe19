"""Clear errors for arguments that are not one dataset."""

from typing import Any


def check_is_dataset(dataset: Any, function: str, *, can_be_streamed: bool = False) -> None:
    """Refuse anything but a `datasets.Dataset`.

    Args:
        dataset: What was passed.
        function: Name of the function that it was passed to.
        can_be_streamed: Whether a `datasets.IterableDataset` is allowed, too.

    Raises:
        TypeError: that says how to get a dataset.
    """
    import datasets  # slow to import

    is_stream = isinstance(dataset, datasets.IterableDataset)
    if isinstance(dataset, datasets.Dataset) or (is_stream and can_be_streamed):
        return
    if isinstance(dataset, dict):
        remedy = f"Call it for each split: `for split in dataset: dataset[split] = {function}(dataset[split], ...)`"
    elif is_stream:
        remedy = "Load the data without `streaming=True`"
    else:
        remedy = "Make one with `datasets.Dataset.from_list(rows)`"
    raise TypeError(f"`{function}` needs a `datasets.Dataset`, got a {type(dataset).__name__}. {remedy}.")
