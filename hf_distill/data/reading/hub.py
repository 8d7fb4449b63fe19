"""Datasets on the Hub."""

from __future__ import annotations

from datasets import Dataset, DatasetDict, load_dataset

from hf_distill.data.table import Source, Table


def read_hub(name: str, config_name: str | None, revision: str | None) -> dict[str, list[Table]]:
    """Load all splits of a dataset.

    Raises:
        OSError: if it cannot be found or fetched.
        ValueError: if `datasets` cannot read its files; one line, instead of its traceback.
    """
    try:
        loaded = load_dataset(name, config_name, revision=revision)
    except Exception as error:  # of many kinds: no such dataset, no connection, files that do not fit together
        reasons = [str(cause).strip().partition("\n")[0] for cause in (error.__cause__, error) if cause is not None]
        reason = next((text for text in reasons if text), type(error).__name__)
        hint = "Name a configuration by --dataset_config_name (`dataset_config_name`)." if "onfig" in reason else ""
        kind = OSError if isinstance(error, OSError) else ValueError
        raise kind(
            f"The dataset {name!r} cannot be loaded: {reason.rstrip('.')}. "
            + (hint or "It is no folder on this machine, so it was looked for on the Hub.")
        ) from None
    if not isinstance(loaded, DatasetDict):
        raise ValueError(f"The dataset {name!r} is streamed. Pass its id, not a stream.")
    return {split: [_table(name, split, dataset)] for split, dataset in loaded.items()}


def _table(name: str, split: str, dataset: Dataset) -> Table:
    return Table(Source(f"{name}, split {split!r}", f"{name}/{split}", "Hub dataset"), dataset)
