"""The tasks of the examples as tensors: handwritten digits, and intents of bank customers."""

import csv
import functools
from dataclasses import dataclass
from pathlib import Path

import torch
from sklearn.datasets import load_digits
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.model_selection import train_test_split
from torch import Tensor

NUM_TRAIN_DIGITS = 1000
NUM_TEXT_FEATURES = 256


@dataclass(frozen=True, eq=False)  # two tasks are equal if they are the same object
class Task:
    """Rows to train on and rows to test on: inputs are `(rows, features)`, labels `(rows,)`."""

    train_inputs: Tensor
    train_labels: Tensor
    test_inputs: Tensor
    test_labels: Tensor
    class_names: list[str]


def make_digits() -> Task:
    """Return the 1,797 digits of scikit-learn, 8 x 8 pixels each: 1,000 to train on, the others to test on."""
    digits = load_digits()
    pixels = torch.tensor(digits.data, dtype=torch.float32) / 16
    labels = torch.tensor(digits.target)
    train, test = train_test_split(range(len(labels)), train_size=NUM_TRAIN_DIGITS, random_state=0, stratify=labels)
    return Task(pixels[train], labels[train], pixels[test], labels[test], [str(digit) for digit in range(10)])


def add_noise(task: Task, deviation: float) -> Task:
    """Return the task with normal noise added to all inputs, drawn from torch's global generator."""
    train_inputs, test_inputs = (
        inputs + deviation * torch.randn_like(inputs) for inputs in (task.train_inputs, task.test_inputs)
    )
    return Task(train_inputs, task.train_labels, test_inputs, task.test_labels, task.class_names)


def read_texts(path: Path) -> tuple[list[str], list[str]]:
    """Return the texts and the classes of a CSV file with the columns `text` and `category`."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return [row["text"] for row in rows], [row["category"] for row in rows]


def make_banking77(data_dir: Path) -> Task:
    """Return the texts of Banking77 as TF-IDF features of words and word pairs, reduced to at most 256 by an SVD.

    The texts to train on, without their labels, determine the features.
    """
    train_texts, train_classes = read_texts(data_dir / "train.csv")
    test_texts, test_classes = read_texts(data_dir / "test.csv")
    vectorizer = TfidfVectorizer(sublinear_tf=True, min_df=2, ngram_range=(1, 2))
    train_counts = vectorizer.fit_transform(train_texts)
    num_features = min(NUM_TEXT_FEATURES, *(size - 1 for size in train_counts.shape))
    svd = TruncatedSVD(num_features, random_state=0)
    # TF-IDF rows have length 1: times the root of their number, features have a size near 1.
    train_inputs, test_inputs = (
        torch.tensor(features * num_features**0.5, dtype=torch.float32)
        for features in (svd.fit_transform(train_counts), svd.transform(vectorizer.transform(test_texts)))
    )
    class_names = sorted(set(train_classes))
    numbers = {name: number for number, name in enumerate(class_names)}
    train_labels, test_labels = (
        torch.tensor([numbers[name] for name in classes]) for classes in (train_classes, test_classes)
    )
    return Task(train_inputs, train_labels, test_inputs, test_labels, class_names)


@functools.cache
def load_task(name: str, data_dir: Path | None) -> Task:
    """Return the task "digits" or "banking77".

    Raises:
        SystemExit: for "banking77" without a folder that holds its two files.
    """
    if name == "digits":
        return make_digits()
    if data_dir is None or not all((data_dir / f"{split}.csv").is_file() for split in ("train", "test")):
        raise SystemExit(
            f"--data_dir is {data_dir}. Pass a folder that holds train.csv and test.csv of Banking77 (columns `text` "
            "and `category`), from https://github.com/PolyAI-LDN/task-specific-datasets."
        )
    return make_banking77(data_dir)
