"""Files of rows that tests write, and the rows that were read from them."""

import json
from pathlib import Path

from hf_distill.data import Task, load_text_dataset


def write(path: Path, content: str | bytes, encoding: str = "utf-8") -> Path:
    """Write a file; text keeps its line ends."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode(encoding))
    return path


def write_json_lines(path: Path, *rows: dict) -> Path:
    """Write one JSON object per line."""
    return write(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def labelled_csv(path: Path, labels: list, column: str = "label") -> Path:
    """Write one text for each label; labels are written unchanged."""
    lines = [f"text {i},{label}" for i, label in enumerate(labels)]
    return write(path, "\n".join([f"text,{column}", *lines]) + "\n")


def load(train: Path, **arguments) -> Task:
    """Load a task that needs no validation file."""
    return load_text_dataset(train_file=train, **{"needs_validation": "validation_file" in arguments, **arguments})


def label_of(task: Task, value):
    """Return a label by name: a name, a list of names, a number, or None."""
    if task.problem_type == "single_label_classification":
        return None if value < 0 else task.label_names[value]
    if task.problem_type == "multi_label_classification":
        return None if value[0] != value[0] else [n for n, v in zip(task.label_names, value, strict=True) if v]
    if task.has_words:
        return None if value is None else [None if tag < 0 else task.label_names[tag] for tag in value]
    return None if value != value else value


def labels(task: Task, split: str = "train") -> list:
    """Return the labels of a split by name."""
    return [label_of(task, value) for value in task.datasets[split]["label"]]


def texts(task: Task, split: str = "train") -> list:
    """Return the texts of a split; pairs as tuples."""
    columns = [task.datasets[split][name][:] for name in task.text_columns]
    return columns[0] if len(columns) == 1 else list(zip(*columns, strict=True))
