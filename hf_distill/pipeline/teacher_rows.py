"""Evaluation rows that trained the teacher, found before a training starts."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hf_distill.data.seen_rows import MOST_TRAINED, ROWS_NAME, hash_dataset, hashes_that_trained
from hf_distill.data.task import Task
from hf_distill.reporting.comparison.seen_rows import read_run


@dataclass(frozen=True)
class TeacherRows:
    """How many rows of an evaluation split trained the teacher. `str(...)` is a warning.

    Attributes:
        split: Name of the split.
        trained: Number of rows whose text trained the teacher.
        rows: Number of rows of the split.
    """

    split: str
    trained: int
    rows: int

    @property
    def are_refused(self) -> bool:
        """Whether `hf-distill compare` refuses these rows."""
        return self.trained > MOST_TRAINED * self.rows

    def __str__(self) -> str:
        refused = "; `hf-distill compare` refuses these" if self.are_refused else ""
        return (
            f"{self.trained:,} of {self.rows:,} {self.split} rows trained the teacher ({ROWS_NAME}), so its score and "
            f"every retention here are too good. Pass rows that the teacher has not seen{refused}."
        )


def find_teacher_rows(teacher: str, task: Task) -> list[TeacherRows]:
    """Return the validation and test splits with rows that trained the teacher.

    Args:
        teacher: Folder of the teacher. A teacher without the file `distillation_rows.npz` has no known rows.
        task: The rows.

    Raises:
        ValueError: if the file is damaged.
    """
    run = read_run(Path(teacher))
    if run is None:
        return []
    seen, training_hashes = [], hashes_that_trained([run])
    for split, dataset in task.datasets.items():
        if split.startswith(("validation", "test")):
            trained = int(np.isin(hash_dataset(dataset, task.text_columns), training_hashes).sum())
            seen += [TeacherRows(split, trained, len(dataset))] if trained else []
    return seen
