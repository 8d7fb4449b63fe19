"""Agree on the names of a teacher's outputs, and test the agreement on labelled rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from datasets import Dataset, concatenate_datasets

from hf_distill.classifiers.label_maps import (
    are_paired_by_order,
    are_placeholders,
    check_class_names,
    class_names_of,
    name_classes,
)
from hf_distill.data import Task
from hf_distill.data.class_mismatch import check_has_classes
from hf_distill.data.label_column import LabelColumn
from hf_distill.functional import IGNORE_INDEX
from hf_distill.reporting.class_order import Pairing
from hf_distill.reporting.comparison.predict import TorchPredictor

if TYPE_CHECKING:  # slow to import
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

MIN_ROWS_OF_CLASS, MIN_ROWS = 20, 200

# From tokenized rows to the logits of each row.
ComputeLogits = Callable[[Dataset], Sequence[np.ndarray]]


def pair_classes(
    task: Task, teacher: PreTrainedModel, class_names: Sequence[str] | None = None
) -> tuple[Task, Pairing | None]:
    """Put a task into the order of a teacher's outputs, and give the teacher the agreed class names.

    Args:
        task: The task.
        teacher: The teacher. Its config gets the names of the task's classes if it has none.
        class_names: Names of the teacher's outputs in its order; None for the names in its config.

    Returns:
        The task in the order of the outputs, and the pairing; None if the names in the teacher's config pair the
        classes.

    Raises:
        ValueError: if the names cannot be matched, or if `class_names` contradict the teacher's config.
    """
    teacher_names = class_names_of(teacher.config)
    if class_names is not None:
        name_classes(teacher.config, check_class_names(class_names, teacher_names))
    given_names, data_names = class_names_of(teacher.config), task.label_names
    check_has_classes(task, given_names, "teacher")
    task = task.for_model(teacher, shows_pairs=False)  # the pairing is printed
    if data_names is None or task.label_names is None:
        return task, None
    if are_paired_by_order(data_names, given_names):
        if data_names != [str(i) for i in range(len(data_names))]:  # the ids 0, 1, ... are not better names
            name_classes(teacher.config, task.label_names)
        return task, Pairing(teacher_names, data_names, "by order")
    if are_placeholders(dict(enumerate(given_names))):  # both sides have LABEL_0, ..., which promises nothing
        return task, Pairing(teacher_names, task.label_names, "by order")
    if given_names != teacher_names:
        return task, Pairing(teacher_names, given_names, "by --class_names")
    return task, None


def compare_with_labels(
    pairing: Pairing, task: Task, tokenize: Callable[[Dataset], Dataset], compute_logits: ComputeLogits
) -> None:
    """Compare the teacher's answers on labelled rows with their labels, and note the agreement in the pairing.

    The rows are at least 20 of each class where there are so many, and at least 200.

    Args:
        pairing: The pairing.
        task: The task in the order of the teacher's outputs.
        tokenize: From rows of the task to token ids of the teacher.
        compute_logits: From these token ids to the teacher's logits.

    Raises:
        ValueError: if another order agrees significantly better.
    """
    sample = labelled_sample(task)
    if sample is None or task.problem_type == "regression":
        return
    rows = tokenize(sample)
    logits = [np.asarray(row_logits) for row_logits in compute_logits(rows)]
    if task.has_words:
        labels = [np.array(row) for row in rows["labels"]]
        has_label = [row != IGNORE_INDEX for row in labels]
        row_of_unit = np.repeat(np.arange(len(rows)), [counted.sum() for counted in has_label])
        units = [np.concatenate([v[c] for v, c in zip(values, has_label, strict=True)]) for values in (labels, logits)]
        pairing.check(units[0], units[1], row_of_unit)
    else:
        pairing.check(np.array(rows["labels"][:]), np.stack(logits))


def labelled_sample(task: Task, seed: int = 0) -> Dataset | None:
    """Draw labelled rows of all splits, stratified by class; None if no row has a label."""
    splits = [dataset for dataset in task.datasets.values() if "label" in dataset.column_names]
    if not splits:
        return None
    columns = [*task.text_columns, "label"]
    dataset = concatenate_datasets([split.select_columns(columns).flatten_indices() for split in splits])
    strata = LabelColumn(dataset, task.problem_type, task.label_names).strata()
    present = [stratum for stratum in np.unique(strata) if stratum >= 0]
    if not present:
        return None
    per_stratum = max(MIN_ROWS_OF_CLASS, -(-MIN_ROWS // len(present)))
    shuffled = np.random.default_rng(seed).permutation(len(strata))
    chosen = [shuffled[strata[shuffled] == stratum][:per_stratum] for stratum in present]
    return dataset.select(np.sort(np.concatenate(chosen)))


def logits_on(
    device: str, teacher: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, max_length: int
) -> ComputeLogits:
    """Return a function that runs the teacher on a device over tokenized rows."""

    def compute(rows: Dataset) -> list[np.ndarray]:
        predictor = TorchPredictor(teacher, tokenizer, max_length, device)
        logits = predictor.logits_of(rows.to_list())
        predictor.to("cpu")  # where the teacher was loaded, and where its weights are hashed
        return logits

    return compute
