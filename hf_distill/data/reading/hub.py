"""Load datasets from the Hub."""

from __future__ import annotations

from datasets import Dataset, DatasetDict, load_dataset

from hf_distill.data.table import Source, Table


def read_hub(name: str, config_name: str | None, revision: str | None) -> dict[str, list[Table]]:
    """Load all splits of a dataset.

    Raises:
        OSError: if the dataset cannot be found or downloaded.
        ValueError: if `datasets` cannot read its files. The message is one line.
    """
    try:
        loaded = load_dataset(name, config_name, revision=revision)
    except Exception as error:  # no such dataset, no connection, files with different columns, ...
        reasons = [str(cause).strip().partition("\n")[0] for cause in (error.__cause__, error) if cause is not None]
        reason = next((text for text in reasons if text), type(error).__name__)
        hint = "Name a configuration with --dataset_config_name (`dataset_config_name`)." if "onfig" in reason else ""
        kind = OSError if isinstance(error, OSError) else ValueError
        raise kind(
            f"The dataset {name!r} cannot be loaded: {reason.rstrip('.')}. "
            + (hint or "There is no such folder on this machine, so it was searched on the Hub.")
        ) from None
    if not isinstance(loaded, DatasetDict):
        raise ValueError(f"The dataset {name!r} is streamed. Pass its id, not a stream.")
    return {split: [_table(name, split, dataset)] for split, dataset in loaded.items()}


def _table(name: str, split: str, dataset: Dataset) -> Table:
    return Table(Source(f"{name}, split {split!r}", f"{name}/{split}", "Hub dataset"), dataset)
