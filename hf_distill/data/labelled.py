"""A dataset with its teacher's logits: text, labels and `teacher_logits`, in one Parquet file for each split.

Any reader of Parquet can read it, and `load_dataset` does so from a folder and from the Hub. `teacher.json` describes
the teacher and names its classes in the order of the logits, which is also the order of the classes of `label`.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from datasets import ClassLabel, Dataset, List, Value, concatenate_datasets

from hf_distill.classifiers.label_order import teacher_label_names
from hf_distill.classifiers.outputs import TEACHER_LOGITS
from hf_distill.data.task import Task
from hf_distill.data.teacher_file import CLASS_NAMES, TEACHER_FILE
from hf_distill.utils.atomic import write_file_atomically
from hf_distill.utils.redaction import publishable


def with_teacher_logits(text: Dataset, labelled: Dataset, task: Task) -> Dataset:
    """Put the logits of tokenized rows beside the text that they were made of.

    Args:
        text: Rows of text, and `label` with -1 or NaN where a row has no label, as in a [`Task`].
        labelled: The same rows as token ids, with `teacher_logits`.
        task: The task in the order of the teacher's classes, from [`Task.for_model`].

    Returns:
        The text, `label` (null for a row without a label) and `teacher_logits`, both in the teacher's order of the
        classes.
    """
    names = list(task.label_names or [])
    labels = text["label"][:] if "label" in text.column_names else [None] * len(text)
    feature: Any = Value("float32")
    if task.problem_type == "multi_label_classification" and _are_sets(labels):
        values = [None if row is None or np.isnan(row).any() else np.flatnonzero(row).tolist() for row in labels]
        feature = List(ClassLabel(names=names))
    elif task.problem_type == "single_label_classification":
        values = [None if label is None or label < 0 else label for label in labels]
        feature = ClassLabel(names=names)
    else:
        values = [None if label is None or np.isnan(label).any() else label for label in labels]
        feature = text.features["label"] if "label" in text.column_names else feature
        if isinstance(feature, List):  # pyarrow before 26 cannot read missing lists of a fixed length from Parquet
            feature = List(feature.feature)
    beside = text.select_columns(list(task.text_columns)).add_column("label", values, feature=feature)
    return concatenate_datasets([beside, labelled.select_columns([TEACHER_LOGITS])], axis=1)


def _are_sets(labels: list[Any]) -> bool:
    """Whether labels say yes or no to every class, so that the names of those that are right say as much."""
    numbers = np.array([row for row in labels if row is not None])
    return bool((np.isnan(numbers) | np.isin(numbers, (0, 1))).all())


def write_labelled(splits: Mapping[str, Dataset], folder: str | os.PathLike, teacher: Mapping[str, Any]) -> None:
    """Write one Parquet file for each split, and `teacher.json`, without local folders and tokens.

    Args:
        splits: What [`with_teacher_logits`] returns, by name.
        folder: The folder, which is made if it does not exist. Files with the same names are replaced.
        teacher: The description of the teacher. The names of its classes are added.

    Raises:
        ValueError: for the name of a split that could lead out of the folder.
    """
    if odd := [name for name in splits if not name.replace("_", "").replace(".", "").replace("-", "").isalnum()]:
        raise ValueError(f"The name of a split, {odd[0]!r}, cannot be the name of a file. Rename the split.")
    for name, dataset in splits.items():
        write_file_atomically(Path(folder), f"{name}.parquet", dataset.to_parquet)
    # Parquet does not keep the note of the order, and the classes of `label` alone are not known to be in it.
    names = next((names for dataset in splits.values() if (names := teacher_label_names(dataset))), None)
    text = json.dumps(publishable({**teacher, CLASS_NAMES: names}), indent=2, ensure_ascii=False) + "\n"
    write_file_atomically(Path(folder), TEACHER_FILE, lambda path: path.write_text(text, encoding="utf-8"))
