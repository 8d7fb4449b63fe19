"""Load a dataset with text columns and label columns from files, a folder or the Hub."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace

from datasets import Dataset

from hf_distill.data.assemble import Assembly
from hf_distill.data.columns import as_list
from hf_distill.data.compute_metrics import as_compute_metrics
from hf_distill.data.labels.read import Labels
from hf_distill.data.labels.settings import LabelSettings
from hf_distill.data.labels.spelling import LabelMap
from hf_distill.data.metrics import METRICS, default_metrics
from hf_distill.data.reading import ReadOptions
from hf_distill.data.reading.options import read_options
from hf_distill.data.roles import choose_roles
from hf_distill.data.sources import Files, Sources
from hf_distill.data.summary import DataSummary
from hf_distill.data.task import Task
from hf_distill.data.teacher_file import name_stored_logits
from hf_distill.data.unlabelled_logits import add_empty_labels

logger = logging.getLogger(__name__)


def load_text_dataset(
    *,
    dataset_name: str | None = None,
    dataset_config_name: str | None = None,
    train_file: Files | None = None,
    validation_file: Files | None = None,
    test_file: Files | None = None,
    text_column_names: str | Sequence[str] | None = None,
    label_column_name: str | Sequence[str] | None = None,
    problem_type: str | None = None,
    metric_name: str | None = None,
    revision: str | None = None,
    needs_validation: bool = True,
    class_names: Sequence[str] | None = None,
    label_map: str | LabelMap | None = None,
    label_delimiter: str | None = None,
    text_column_delimiter: str | None = None,
    encoding: str | None = None,
    column_names: str | Sequence[str] | None = None,
    validation_split_name: str | None = None,
    validation_split_percentage: float | None = None,
    teacher_num_labels: int | None = None,
    teacher_problem_type: str | None = None,
) -> Task:
    """Load a dataset of texts, pairs of texts or lists of words. A column `teacher_logits` is kept.

    `task.summary` describes what was read and why; docs/your_data.md lists the layouts that are understood. The labels
    decide the problem type, unless `problem_type` is given:

    - a name, an integer or a `ClassLabel` in each row: single-label classification;
    - a number with a fraction: regression. Numbers such as 1.0, all without a fraction, can be classes or scores, so
      they need `problem_type`;
    - a list of names of any length, or a list with 0 or 1 for every class: multi-label classification;
    - a list of numbers: regression with several outputs;
    - a list of tags next to a list of words: token classification.

    A row is unlabelled if its label is null or empty, or NaN among numbers. A word is unlabelled if its tag is null or
    negative.

    Args:
        dataset_name: An id on the Hub, `user/name@revision`, or a folder. The splits `train`, `validation*` and
            `test*` are used.
        dataset_config_name: Configuration of the dataset.
        train_file: A file with one of the suffixes of `READERS`, which can be compressed; or a list of files.
        validation_file: As `train_file`. A file replaces the split of the dataset with the same name.
        test_file: As `train_file`; the label column can be missing.
        text_column_names: One text column, the two columns of a pair, or more columns, which are joined. By default
            columns with known names, or the only string column. For words a column of lists, by default `tokens`. One
            name needs no list.
        label_column_name: The label column; by default `label`, else `labels`; for words the first of `tags`,
            `ner_tags`, `labels` and `label`. Several columns must have one number for each class.
        problem_type: Problem type of the [`Task`].
        metric_name: Metric to compare models by. By default the first of `METRICS[problem_type]`: `accuracy`,
            `f1_micro`, `pearson`, or `entity_f1` (`token_accuracy` if the tags are not B-type, I-type and O).
        revision: Branch, tag or commit of the dataset on the Hub.
        needs_validation: Whether a missing validation split is an error.
        class_names: Names of the teacher's outputs, in the teacher's order. Integer labels are indices of these names.
        label_map: Mapping from labels to class names, such as `{"Positive": "positive", "N/A": None}`, or the same as
            JSON. None makes a row unlabelled.
        label_delimiter: The text between several labels in one cell.
        text_column_delimiter: The text between joined text columns. By default a blank for three or more columns, and
            two columns stay a pair.
        encoding: Encoding of text files that are not UTF-8 and have no byte-order mark.
        column_names: Names of all columns of CSV, TSV and text files without a header, in order, as a list or with
            commas.
        validation_split_name: The split of the dataset that is used for validation.
        validation_split_percentage: Share of the labelled training rows to hold out for validation, between 0 and 100.
            The draw is stratified, near-duplicates stay on one side, and every run draws the same rows.
        teacher_num_labels: Number of the teacher's outputs, if its head is for this task. The same number of distinct
            numbers are classes; with one output, numbers are scores.
        teacher_problem_type: Problem type in the teacher's config, which decides about lists of one label.

    Raises:
        FileNotFoundError: if a file or folder does not exist.
        ValueError: if the data cannot be read, or can be read in several ways. The message names the file, the line,
            the column, and the argument that decides.
    """
    task = read_task(
        Sources(
            dataset_name,
            dataset_config_name,
            revision,
            {"train": train_file, "validation": validation_file, "test": test_file},
            validation_split_name,
        ),
        read_options(encoding, column_names),
        LabelSettings(problem_type, class_names, label_map, label_delimiter, teacher_num_labels, teacher_problem_type),
        ColumnNames(as_list(text_column_names), label_column_name, text_column_delimiter),
        metric_name=metric_name,
        needs_validation=needs_validation,
        validation_split_percentage=validation_split_percentage,
    )
    _log(task.summary)
    return task


def _log(summary: DataSummary) -> None:
    """Log what was decided and what is doubtful, for users who do not print the summary."""
    sources = dict.fromkeys(source for split in summary.splits for source, _ in split.sources)
    doubts = [f"{source.name}, {warning}" for source in sources for warning in source.warnings]
    for message in (*summary.notes, *summary.warnings, *doubts):
        logger.warning(message)


@dataclass(frozen=True)
class ColumnNames:
    """The columns that the user names; see [`load_text_dataset`]."""

    text: Sequence[str] | None = None
    label: str | Sequence[str] | None = None
    delimiter: str | None = None
    kept: Sequence[str] = ()  # other columns that the splits keep, as texts


def read_task(
    sources: Sources,
    options: ReadOptions,
    settings: LabelSettings,
    columns: ColumnNames,
    *,
    metric_name: str | None = None,
    needs_validation: bool = True,
    validation_split_percentage: float | None = None,
) -> Task:
    """Load a task as [`load_text_dataset`] does, but do not log what was decided; print `task.summary` instead."""
    problem_type = settings.problem_type
    if problem_type is not None and problem_type not in METRICS:
        raise ValueError(f"`problem_type` must be one of {', '.join(METRICS)}, got {problem_type!r}.")
    splits, notes = sources.load(options, needs_validation and validation_split_percentage is None)

    def name_logits(split: str, rows: Dataset) -> Dataset:
        return name_stored_logits(rows, sources.origins(split), settings.names, sources.revision)

    splits, more = add_empty_labels(splits, name_logits, columns.label, settings)
    notes += more
    first = next(iter(splits.values()))[0]
    roles = choose_roles(first, columns.text, columns.label, problem_type)
    if first.has_empty_label:
        roles = replace(roles, label=replace(roles.label, reason="none in the data"))
    assembly = Assembly(splits, roles, settings, columns.delimiter, columns.kept)
    for split, rows in assembly.datasets.items():
        assembly.datasets[split] = name_logits(split, rows)
    if validation_split_percentage is not None:
        assembly.hold_out(validation_split_percentage)
    labels = assembly.labels
    metric_names = _metric_names(labels, metric_name)
    return Task(
        name=sources.name,
        datasets=assembly.datasets,
        text_columns=assembly.names,
        problem_type=labels.problem_type,
        label_names=labels.names,
        metric_name=metric_names[0],
        compute_metrics=as_compute_metrics(metric_names, labels.problem_type, labels.names),
        dataset_id=sources.dataset_id,
        config_name=sources.config_name,
        summary=assembly.summary(notes),
    )


def _metric_names(labels: Labels, wanted: str | None) -> list[str]:
    names = default_metrics(labels.problem_type, labels.names)
    if wanted is None:
        return names
    if wanted == "entity_f1" and names == ["token_accuracy"]:
        raise ValueError(
            f"`entity_f1` counts spans in tags B-type, I-type and O, and the tags are {labels.names}. Convert them, "
            "or leave the metric out."
        )
    return [wanted, *(name for name in names if name != wanted)]
