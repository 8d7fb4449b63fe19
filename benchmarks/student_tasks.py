"""The tasks of `student_choice.py`: their rows, and how long teachers and students are trained."""

import dataclasses
from pathlib import Path

from hf_distill.data import Task, load_task, load_text_dataset


@dataclasses.dataclass(frozen=True)
class Settings:
    """The rows and the training of a task.

    Args:
        num_rows: Number of training rows.
        num_held_out: Number of test rows that are taken from the training rows, beside the task's own.
        num_further_texts: Number of further texts, without labels, for the static student.
        teacher_epochs: Number of epochs of the teacher.
        teacher_learning_rate: Learning rate of the teacher.
        student_epochs: Number of epochs of a student with layers.
        static_epochs: Number of epochs of a static student, whose steps take a small part of the time.
    """

    num_rows: int
    num_held_out: int = 0
    num_further_texts: int = 0
    teacher_epochs: int = 3
    teacher_learning_rate: float = 1e-4
    student_epochs: int = 2
    static_epochs: int = 10
    learning_rate: float = 2e-4
    static_learning_rate: float = 1e-2


SETTINGS = {
    "sst2": Settings(4000, num_further_texts=8000, teacher_epochs=2, teacher_learning_rate=5e-5),
    "mrpc": Settings(2668, num_held_out=1000, teacher_epochs=4),
    "qnli": Settings(3463, num_held_out=2000),
    "banking77": Settings(
        5000, num_further_texts=5003, teacher_epochs=6, teacher_learning_rate=3e-4, student_epochs=3
    ),
    "newsgroups": Settings(4000, num_further_texts=7000, teacher_learning_rate=2e-4, student_epochs=3),
}
QUICK = {"num_rows": 64, "teacher_epochs": 1, "student_epochs": 1, "static_epochs": 1}


def load(name: str, data_dir: Path) -> Task:
    """Load a task with a training split; QNLI has only its dev set, which is split later."""
    if name in ("banking77", "newsgroups"):
        folder = data_dir / name
        files = {"train_file": folder / "train.csv", "validation_file": folder / "test.csv"}
        return load_text_dataset(**files, text_column_names=["text"], label_column_name="category")
    if name == "goemotions":
        folder = data_dir / name
        classes = (folder / "labels.txt").read_text(encoding="utf-8").split()
        columns = {"column_names": ["text", "labels", "comment_id"], "label_delimiter": ",", "class_names": classes}
        return load_text_dataset(dataset_name=str(folder), **columns)
    task = load_task(name, data_dir / "glue")
    if name == "qnli":
        task.datasets["train"] = task.datasets["validation"]
    return task
