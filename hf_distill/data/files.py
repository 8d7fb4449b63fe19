"""Any dataset with columns of text and labels, from files, folders or the Hub."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from hf_distill.data.assemble import Assembly
from hf_distill.data.columns import choose_roles
from hf_distill.data.compute_metrics import as_compute_metrics
from hf_distill.data.labels.read import Labels
from hf_distill.data.labels.settings import LabelSettings
from hf_distill.data.labels.spelling import LabelMap
from hf_distill.data.metrics import METRICS, default_metrics
from hf_distill.data.reading import ReadOptions
from hf_distill.data.sources import Files, Sources
from hf_distill.data.summary import DataSummary
from hf_distill.data.task import Task

logger = logging.getLogger(__name__)


def load_text_dataset(
    *,
    dataset_name: str | None = None,
    dataset_config_name: str | None = None,
    train_file: Files | None = None,
    validation_file: Files | None = None,
    test_file: Files | None = None,
    text_column_names: Sequence[str] | None = None,
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
    column_names: Sequence[str] | None = None,
    validation_split_name: str | None = None,
    teacher_num_labels: int | None = None,
    teacher_problem_type: str | None = None,
) -> Task:
    """Load a dataset of texts, pairs of texts or lists of words; a column `teacher_logits` is kept.

    `task.summary` says what was read from which file and why; docs/your_data.md says what is done with each layout.
    What a label is makes the problem, unless `problem_type` says something else:

    - a name, an integer or a `ClassLabel`: single-label classification;
    - a number with a fraction: regression; numbers such as 1.0 without a fraction can be either, so they are refused;
    - a list of names, of which each row has any number, or a list with 0 or 1 for every class: multi-label;
    - a list of numbers: regression with several outputs;
    - beside a column of words, a list of tags, one for each word: token classification.

    A row whose label is null, empty, or NaN between numbers is unlabelled, and so is a word whose tag is null or
    negative. Nothing is split off for validation unasked.

    Args:
        dataset_name: An id on the Hub or a folder; its splits `train`, `validation*` and `test*` are used.
        dataset_config_name: Configuration of that dataset.
        train_file: A file with a suffix of `READERS`, perhaps in an archive, or several files.
        validation_file: As above. Each file takes the place of the split of `dataset_name` with the same name.
        test_file: As above; can lack the label column.
        text_column_names: One column, the two of a pair, or more, which are joined; by default a known name, or the
            only column of text. Of words one column of lists, by default `tokens`.
        label_column_name: By default `label`, else `labels`; of words `tags`, `ner_tags`, `labels` or `label`. Several
            columns have a number for each class.
        problem_type: Of [`Task`], where the labels leave a choice.
        metric_name: The number to compare models by; by default the first of `METRICS[problem_type]`: `accuracy`,
            `f1_micro`, `pearson`, `entity_f1` (`token_accuracy` for tags that are not of the form B-type, I-type, O).
        revision: Branch, tag or commit of `dataset_name`.
        needs_validation: Whether a dataset without a validation split is an error.
        class_names: Names of the teacher's outputs in its order; ids in the data are places in it.
        label_map: What labels stand for, `{"Positive": "positive", "N/A": None}`, or the same as JSON; None and null
            make a row unlabelled.
        label_delimiter: What separates several labels in one cell.
        text_column_delimiter: What joins several text columns; by default a blank for three or more, and two stay a
            pair.
        encoding: Of text files that are not UTF-8 and have no byte-order mark.
        column_names: Columns of CSV, TSV and text files without a header, in their order.
        validation_split_name: A split of the dataset that takes the place of `validation`.
        teacher_num_labels: Outputs of the teacher, where its head is for this task: as many distinct numbers are
            classes, and numbers for one output are scores.
        teacher_problem_type: Problem type that the teacher's config says, for lists of one label.

    Raises:
        FileNotFoundError: for a file or folder that is not there.
        ValueError: for what cannot be read, or can be read in several ways; the message has the file, the line and
            the column, and the argument that says what is meant.
    """
    if problem_type is not None and problem_type not in METRICS:
        raise ValueError(f"`problem_type` must be one of {', '.join(METRICS)}, got {problem_type!r}.")
    files = {"train": train_file, "validation": validation_file, "test": test_file}
    sources = Sources(dataset_name, dataset_config_name, revision, files, validation_split_name)
    options = ReadOptions(encoding, None if column_names is None else tuple(column_names))
    splits, notes = sources.load(options, needs_validation)
    settings = LabelSettings(
        problem_type, class_names, label_map, label_delimiter, teacher_num_labels, teacher_problem_type
    )
    first = next(iter(splits.values()))[0]
    roles = choose_roles(first, text_column_names, label_column_name, problem_type)
    assembly = Assembly(splits, roles, settings, text_column_delimiter)
    labels, summary = assembly.labels, assembly.summary(notes)
    metric_names = _metric_names(labels, metric_name)
    _log(summary)
    return Task(
        name=sources.name,
        datasets=assembly.datasets,
        text_columns=assembly.names,
        problem_type=labels.problem_type,
        label_names=labels.names,
        metric_name=metric_names[0],
        compute_metrics=as_compute_metrics(metric_names, labels.problem_type, labels.names),
        dataset_id=sources.dataset_id,
        config_name=dataset_config_name,
        summary=summary,
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


def _log(summary: DataSummary) -> None:
    """Say what was changed and what is contradictory, also to those who do not print the summary."""
    for message in (*summary.notes, *summary.warnings):
        logger.warning(message)
