"""Any data set with named text and label columns, from files or the Hub, and unlabelled text to distil on."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from datasets import Dataset, DatasetDict, List, Value, load_dataset
from datasets.config import HF_DATASETS_CACHE

from hf_distill.classifiers.outputs import TEACHER_LOGITS
from hf_distill.data.compute_metrics import as_compute_metrics
from hf_distill.data.label_columns import is_list, read_labels
from hf_distill.data.metrics import METRICS, default_metrics
from hf_distill.data.readers import PathLike, read_file
from hf_distill.data.task import Task

LABEL_COLUMNS = ("label", "labels")
TAG_COLUMNS = ("tags", "ner_tags", "labels", "label")
WORDS = "tokens"


def load_text_dataset(
    *,
    dataset_name: str | None = None,
    dataset_config_name: str | None = None,
    train_file: PathLike | None = None,
    validation_file: PathLike | None = None,
    test_file: PathLike | None = None,
    text_column_names: Sequence[str] | None = None,
    label_column_name: str | None = None,
    problem_type: str | None = None,
    metric_name: str | None = None,
    revision: str | None = None,
    needs_validation: bool = True,
) -> Task:
    """Load a data set of texts, pairs of texts or lists of words; a column `teacher_logits` is kept.

    What a label is makes the problem, unless `problem_type` says something else:

    - a name, an integer or a `ClassLabel`: single-label classification. The classes are those of the `ClassLabel`, or
      sorted, over all splits together;
    - a floating-point number, or a list of them: regression with one or several outputs;
    - a list of names, of which each row has any number, or a list with 0 or 1 for every class: multi-label;
    - beside a column of words, a list of tags, one for each word: token classification.

    A row whose label is null (an empty cell in CSV and TSV) is unlabelled, and so is a word whose tag is null or
    negative. Nothing is ever split off for validation.

    Args:
        dataset_name: An id on the Hub or a folder; its splits `train`, `validation*` and `test*` are used.
        dataset_config_name: Configuration of that data set.
        train_file: CSV, TSV (in which quotes are plain characters), JSON (lines, or a list), or Parquet file; or of
            words and tags a CoNLL file (`.conll`, `.bio`, `.iob`), see [`read_file`].
        validation_file: As above. Each file takes the place of the split of `dataset_name` with the same name.
        test_file: As above; may lack the label column.
        text_column_names: One column or the two of a pair; by default the string columns, if there are one or two. Of
            words one column of lists, by default `tokens`.
        label_column_name: By default `label`, else `labels`; of words `tags`, `ner_tags`, `labels` or `label`.
        problem_type: Of [`Task`], where the type of the labels would say another, for instance integers that are the
            targets of a regression, or lists of 0 and 1 that are.
        metric_name: The number to compare models by; by default the first of `METRICS[problem_type]`: `accuracy`,
            `f1_micro`, `pearson`, `entity_f1` (`token_accuracy` for tags that are not of the form B-type, I-type, O).
        revision: Branch, tag or commit of `dataset_name`.
        needs_validation: Whether a data set without a validation split is an error.
    """
    if problem_type is not None and problem_type not in METRICS:
        raise ValueError(f"`problem_type` must be one of {', '.join(METRICS)}, got {problem_type!r}.")
    files = {"train": train_file, "validation": validation_file, "test": test_file}
    splits = _load_splits(dataset_name, dataset_config_name, revision, files, needs_validation)
    first = next(iter(splits.values()))
    words = _words_and_tags(first, text_column_names, label_column_name, problem_type)
    label_column = words[1] if words else label_column_name or _default_label_column(first)
    labels = read_labels(splits, label_column, are_tags=words is not None, problem_type=problem_type)
    text_columns = words[:1] if words else _text_columns(splits, text_column_names, label_column)
    metric_names = default_metrics(labels.problem_type, labels.names)
    if metric_name is not None:
        if metric_name == "entity_f1" and metric_names == ["token_accuracy"]:
            raise ValueError(
                f"`entity_f1` counts spans in tags B-type, I-type and O, and the tags are {labels.names}. Convert "
                "them, or leave the metric out."
            )
        metric_names = [metric_name, *(name for name in metric_names if name != metric_name)]
    source = Path(dataset_name or train_file or validation_file or "").absolute()
    return Task(
        name=source.stem if source.is_file() else source.name,
        datasets=DatasetDict(
            {
                name: _text_only(name, dataset, text_columns).add_column(
                    "label", labels.values[name], feature=labels.feature
                )
                for name, dataset in splits.items()
            }
        ),
        text_columns=text_columns,
        problem_type=labels.problem_type,
        label_names=labels.names,
        metric_name=metric_names[0],
        compute_metrics=as_compute_metrics(metric_names, labels.problem_type, labels.names),
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
    are_words: bool = False,
) -> Dataset:
    """Load text for the teacher to label: only soft targets are taken from it, and a label column is ignored.

    Args:
        file: A `.txt` file with one text a line (blank lines are skipped), or a file as for [`load_text_dataset`].
        dataset_name: An id on the Hub or a folder, instead of a file.
        text_column_names: Text columns of the task. Columns of these names are taken; without them, the string
            columns other than `label` and `labels`, renamed, if they are as many. None for whatever these are.
        dataset_config_name: Configuration of `dataset_name`.
        split: Split of `dataset_name`.
        are_words: Whether the task's rows are lists of words, in one column. Without such a column of this name or of
            the name `tokens` the words are those of the text, split at white space.

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
    if are_words:
        (words,) = text_column_names or [WORDS]
        return _text_only(source, _as_words(source, dataset, words), (words,))
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
    metric_names = default_metrics(problem_type, label_names)
    return Task(
        name="text",
        datasets=DatasetDict({"train": text}),
        text_columns=tuple(name for name in text.column_names if name != TEACHER_LOGITS),
        problem_type=problem_type,
        label_names=label_names,
        metric_name=metric_names[0],
        compute_metrics=as_compute_metrics(metric_names, problem_type, label_names),
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


def _is_words(feature: Any) -> bool:
    return is_list(feature, of=("string", "large_string"))


def _words_and_tags(
    dataset: Dataset, names: Sequence[str] | None, label_column: str | None, problem_type: str | None
) -> tuple[str, str] | None:
    """Return the columns of words and of their tags; None if rows are texts."""
    if problem_type not in (None, "token_classification"):
        return None
    features = dataset.features
    words = [name for name in names or [WORDS] if _is_words(features.get(name))]
    tags = [name for name in ([label_column] if label_column else TAG_COLUMNS) if is_list(features.get(name))]
    if words and tags:
        return words[0], tags[0]
    if problem_type is not None or (names and words == list(names)):
        raise ValueError(
            f"Words and tags are wanted in two columns of lists, got { {k: str(f) for k, f in features.items()} }."
            f" Call them `{WORDS}` and `{TAG_COLUMNS[0]}`, or name them by --text_column_names and "
            "--label_column_name."
        )
    return None


def _as_words(source: str, dataset: Dataset, column: str) -> Dataset:
    """Return the words of unlabelled sentences in a column of this name."""
    for name in (column, WORDS):
        if _is_words(dataset.features.get(name)):
            return dataset.select_columns([name]).rename_columns({name: column})
    (text,) = _text_columns({source: dataset}, None, *LABEL_COLUMNS)
    rows = _text_only(source, dataset, (text,))[text]
    return Dataset.from_dict({column: [row.split() for row in rows]})


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
        wanted = List(Value("string")) if is_list(dataset.features[column]) else Value("string")
        if dataset.features[column] != wanted:
            dataset = dataset.cast_column(column, wanted)
        for row, text in enumerate(dataset[column], start=1):
            if text is None:
                raise ValueError(f"Row {row} of {name!r} has no text in column {column!r}. Remove it or fill it in.")
    return dataset
