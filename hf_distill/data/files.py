"""Any data set with named text and label columns, from files or the Hub, and unlabelled text to distil on."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from datasets import ClassLabel, Dataset, DatasetDict, List, Value, load_dataset
from datasets.config import HF_DATASETS_CACHE

from hf_distill.data.metrics import METRICS, as_compute_metrics
from hf_distill.data.readers import PathLike, read_file
from hf_distill.data.task import Task
from hf_distill.outputs import TEACHER_LOGITS

LABEL_COLUMNS = ("label", "labels")


def load_text_dataset(
    *,
    dataset_name: str | None = None,
    dataset_config_name: str | None = None,
    train_file: PathLike | None = None,
    validation_file: PathLike | None = None,
    test_file: PathLike | None = None,
    text_column_names: Sequence[str] | None = None,
    label_column_name: str | None = None,
    metric_name: str | None = None,
    revision: str | None = None,
    needs_validation: bool = True,
) -> Task:
    """Load a data set of texts or pairs of texts with one label a row; a column `teacher_logits` is kept.

    A label column of floating-point numbers makes a regression. Otherwise labels are names: a `ClassLabel` stays as it
    is; strings and integers become one, sorted, over all splits together. Lists of names, of which each row has any
    number, make a multi-label classification. A row whose label is null (an empty cell in CSV and TSV) is unlabelled.
    Nothing is ever split off for validation.

    Args:
        dataset_name: An id on the Hub or a folder; its splits `train`, `validation*` and `test*` are used.
        dataset_config_name: Configuration of that data set.
        train_file: CSV, TSV (in which quotes are plain characters), JSON (lines, or a list), or Parquet file.
        validation_file: As above. Each file takes the place of the split of `dataset_name` with the same name.
        test_file: As above; may lack the label column.
        text_column_names: One column or the two of a pair; by default the string columns, if there are one or two.
        label_column_name: By default `label`, else `labels`.
        metric_name: The number to compare models by; by default `accuracy`, or `pearson` for regression.
        revision: Branch, tag or commit of `dataset_name`.
        needs_validation: Whether a data set without a validation split is an error.
    """
    files = {"train": train_file, "validation": validation_file, "test": test_file}
    splits = _load_splits(dataset_name, dataset_config_name, revision, files, needs_validation)
    label_column = label_column_name or _default_label_column(next(iter(splits.values())))
    found = {name: _read_labels(name, dataset, label_column) for name, dataset in splits.items()}
    declared = next((names for d in splits.values() if (names := _declared_names(d, label_column))), None)
    feature: Any
    label_names: list[str] | None
    if any(isinstance(value, list) for split in found.values() for value in split):
        problem_type = "multi_label_classification"
        label_names, labels = _encode_lists(found, declared, label_column)
        feature = List(Value("float32"), length=len(label_names or []))
    else:
        label_names, labels = _encode_labels(found, declared, label_column)
        problem_type = "regression" if label_names is None else "single_label_classification"
        feature = Value("float32") if label_names is None else ClassLabel(names=label_names)
    text_columns = _text_columns(splits, text_column_names, label_column)
    metric_names = list(METRICS[problem_type])
    if metric_name is not None:
        metric_names = [metric_name, *(name for name in metric_names if name != metric_name)]
    source = Path(dataset_name or train_file or validation_file or "").absolute()
    return Task(
        name=source.stem if source.is_file() else source.name,
        datasets=DatasetDict(
            {
                name: _text_only(name, dataset, text_columns).add_column("label", labels[name], feature=feature)
                for name, dataset in splits.items()
            }
        ),
        text_columns=text_columns,
        problem_type=problem_type,
        label_names=label_names,
        metric_name=metric_names[0],
        compute_metrics=as_compute_metrics(metric_names, problem_type),
        dataset_id=source.name if source.exists() else str(dataset_name),
        config_name=dataset_config_name,
    )


def load_transfer_text(
    file: PathLike | None = None,
    dataset_name: str | None = None,
    text_column_names: Sequence[str] | None = ("text",),
    *,
    dataset_config_name: str | None = None,
    split: str = "train",
) -> Dataset:
    """Load text for the teacher to label: only soft targets are taken from it, and a label column is ignored.

    Args:
        file: A `.txt` file with one text a line (blank lines are skipped), or a file as for [`load_text_dataset`].
        dataset_name: An id on the Hub or a folder, instead of a file.
        text_column_names: Text columns of the task. Columns of these names are taken; without them, the string
            columns other than `label` and `labels`, renamed, if they are as many. None for whatever these are.
        dataset_config_name: Configuration of `dataset_name`.
        split: Split of `dataset_name`.

    Returns:
        Rows with the text columns, and `teacher_logits` if it is there.
    """
    if (file is None) == (dataset_name is None):
        raise ValueError(f"Pass either a file or the name of a data set, got {file!r} and {dataset_name!r}.")
    if file is not None:
        dataset = read_file(file)
    else:
        dataset = load_dataset(dataset_name, dataset_config_name, split=split, cache_dir=_cache_dir(dataset_name))
    source = str(file or dataset_name)
    if not len(dataset):
        raise ValueError(f"{source} holds no text.")
    if text_column_names is None:
        return _text_only(source, dataset, _text_columns({split: dataset}, None, *LABEL_COLUMNS))
    wanted = tuple(text_column_names)
    if set(wanted) <= set(dataset.column_names):
        return _text_only(source, dataset, wanted)
    found = tuple(_string_columns(dataset, LABEL_COLUMNS))
    if len(found) != len(wanted) or set(found) & set(wanted):
        raise ValueError(
            f"{source} has the text columns {', '.join(found)}; the task has {', '.join(wanted)}. Give the columns "
            "the names of the task's."
        )
    return _text_only(source, dataset, found).rename_columns(dict(zip(found, wanted, strict=True)))


def unlabelled_task(text: Dataset, problem_type: str, label_names: list[str] | None) -> Task:
    """Make a task of text alone, split `train`, for a teacher of this problem type and these classes."""
    metric_names = list(METRICS[problem_type])
    return Task(
        name="text",
        datasets=DatasetDict({"train": text}),
        text_columns=tuple(name for name in text.column_names if name != TEACHER_LOGITS),
        problem_type=problem_type,
        label_names=label_names,
        metric_name=metric_names[0],
        compute_metrics=as_compute_metrics(metric_names, problem_type),
        dataset_id="text",
    )


def _cache_dir(dataset_name: str | None) -> str | None:
    """Return where `load_dataset` may keep a folder's rows: a place for this state of these files alone.

    Its own place is named after the last part of the path alone where a card lists the files (datasets 5.2), so that
    the rows of another folder, or older ones, would come back without a word.
    """
    folder = Path(dataset_name or "").resolve()
    if not dataset_name or not folder.is_dir():
        return None
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    state = [(str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in files]
    return str(Path(HF_DATASETS_CACHE, "folders", hashlib.sha256(repr(state).encode()).hexdigest()[:16]))


def _load_splits(
    dataset_name: str | None,
    config_name: str | None,
    revision: str | None,
    files: dict[str, PathLike | None],
    needs_validation: bool,
) -> dict[str, Dataset]:
    if dataset_name is None and (config_name is not None or revision is not None):
        raise ValueError("`dataset_config_name` and `revision` are of a data set, but `dataset_name` is not set.")
    splits: dict[str, Dataset] = {}
    if dataset_name is not None:
        splits.update(load_dataset(dataset_name, config_name, revision=revision, cache_dir=_cache_dir(dataset_name)))
    splits.update({name: read_file(file) for name, file in files.items() if file is not None})
    if needs_validation and not any(name.startswith("validation") for name in splits):
        raise ValueError(
            f"There is no validation split, only {', '.join(splits) or 'no data at all'}. Pass --validation_file "
            "(`validation_file`); rows are never split off the training data."
        )
    splits = {
        name: splits[name] for kind in ("train", "validation", "test") for name in splits if name.startswith(kind)
    }
    for name, dataset in splits.items():
        if not len(dataset):
            raise ValueError(f"The split {name!r} is empty. Pass at least one row.")
    return splits


def _default_label_column(dataset: Dataset) -> str:
    if found := [column for column in LABEL_COLUMNS if column in dataset.column_names]:
        return found[0]
    raise ValueError(
        f"There is no column `label` or `labels`, only {', '.join(dataset.column_names)}. Name the label's by "
        "--label_column_name (`label_column_name`)."
    )


def _string_columns(dataset: Dataset, excluded: Sequence[str]) -> list[str]:
    return [
        name
        for name, feature in dataset.features.items()
        if name not in excluded and isinstance(feature, Value) and feature.dtype in ("string", "large_string")
    ]


def _text_columns(splits: dict[str, Dataset], names: Sequence[str] | None, *label_columns: str) -> tuple[str, ...]:
    first = next(iter(splits.values()))
    if isinstance(names, str):
        raise TypeError(f"`text_column_names` must be a list of one or two names, got the string {names!r}.")
    columns = tuple(_string_columns(first, label_columns) if names is None else names)
    if len(columns) not in (1, 2):
        raise ValueError(
            f"One or two text columns are wanted, got {list(columns)} of the columns {', '.join(first.column_names)}. "
            "Name them by --text_column_names (`text_column_names`)."
        )
    for split, dataset in splits.items():
        strings = _string_columns(dataset, label_columns)
        if missing := [column for column in columns if column not in strings]:
            raise ValueError(
                f"{missing} of the split {split!r} are no columns of text. Its columns are "
                f"{ {name: str(feature) for name, feature in dataset.features.items()} }."
            )
    if "label" in columns:
        raise ValueError("The text column `label` would be overwritten by the labels. Rename it.")
    return columns


def _text_only(name: str, dataset: Dataset, columns: tuple[str, ...]) -> Dataset:
    kept = [TEACHER_LOGITS] if TEACHER_LOGITS in dataset.column_names else []
    dataset = dataset.select_columns([*columns, *kept])
    for column in columns:
        if dataset.features[column].dtype != "string":
            dataset = dataset.cast_column(column, Value("string"))
        for row, text in enumerate(dataset[column], start=1):
            if text is None:
                raise ValueError(f"Row {row} of {name!r} has no text in column {column!r}. Remove it or fill it in.")
    return dataset


def _read_labels(split: str, dataset: Dataset, column: str) -> list[Any]:
    """Labels as the data give them, a `ClassLabel`'s as names; None where there is none."""
    if column not in dataset.column_names:
        if split.startswith("test"):
            return [None] * len(dataset)
        raise ValueError(f"Split {split!r} has no label column {column!r}, only {', '.join(dataset.column_names)}.")
    feature = dataset.features[column]
    if isinstance(feature, ClassLabel):
        return [None if i is None or i < 0 else feature.int2str(i) for i in dataset[column]]
    of_list = getattr(feature, "feature", None)
    if isinstance(of_list, ClassLabel):
        return [None if row is None else [of_list.int2str(i) for i in row] for row in dataset[column]]
    if not isinstance(feature, Value) and not (isinstance(of_list, Value) and of_list.dtype[:5] != "float"):
        raise ValueError(
            f"Label column {column!r} of split {split!r} is {feature}; wanted is a name, a number or a list of names."
        )
    return list(dataset[column])


def _declared_names(dataset: Dataset, column: str) -> list[str] | None:
    """Return the names that a `ClassLabel`, or a list of them, declares."""
    feature = dataset.features.get(column)
    feature = getattr(feature, "feature", feature)
    return list(feature.names) if isinstance(feature, ClassLabel) else None


def _encode_lists(
    labels: dict[str, list[Any]], class_names: list[str] | None, column: str
) -> tuple[list[str], dict[str, list[Any]]]:
    """Names of the classes, and 0 or 1 for each of them a row; NaN for a row without a list."""
    values = {value for split in labels.values() for row in split for value in row or ()}
    kinds = {type(value) for value in values}
    names = class_names or [str(value) for value in sorted(values, key=None if len(kinds) == 1 else str)]
    if unknown := sorted({str(value) for value in values} - set(names)):
        raise ValueError(f"Labels {unknown} are not among the classes that the data set declares: {names}.")
    if not names:
        raise ValueError(f"Label column {column!r} holds only empty lists; at least one class is wanted.")

    def encode(row: list[Any] | None) -> list[float]:
        if row is None:
            return [np.nan] * len(names)
        chosen = {str(value) for value in row}
        return [float(name in chosen) for name in names]

    return names, {split: [encode(row) for row in rows] for split, rows in labels.items()}


def _encode_labels(
    labels: dict[str, list[Any]], class_names: list[str] | None, column: str
) -> tuple[list[str] | None, dict[str, list[Any]]]:
    """Names of the classes, None for regression, and what the column `label` is to hold in each split."""
    values = {value for split in labels.values() for value in split if value is not None}
    kinds = {type(value) for value in values}
    if float in kinds:
        if not kinds <= {int, float}:
            raise ValueError(f"Label column {column!r} has numbers such as 0.5 in some files and names in others.")
        return None, {split: [np.nan if v is None else v for v in found] for split, found in labels.items()}
    names = class_names or [str(value) for value in sorted(values, key=None if len(kinds) == 1 else str)]
    if unknown := sorted({str(value) for value in values} - set(names)):
        raise ValueError(f"Labels {unknown} are not among the classes that the data set declares: {names}.")
    if len(names) < 2:
        raise ValueError(f"Label column {column!r} holds the labels {names}; at least two classes are wanted.")
    ids = {name: i for i, name in enumerate(names)}
    return names, {split: [-1 if v is None else ids[str(v)] for v in found] for split, found in labels.items()}
