"""What the examples share: handwritten digits, small networks, and a CSV file that a later run continues."""

import argparse
import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import Tensor, nn

from hf_distill.functional import kl_divergence

NUM_CLASSES = 10
NUM_TRAIN = 1000


class Digits:
    """The 1,797 handwritten digits of scikit-learn, 8 x 8 pixels each: 1,000 to train on, the others to test on."""

    def __init__(self) -> None:
        digits = load_digits()
        pixels = torch.tensor(digits.data, dtype=torch.float32) / 16
        labels = torch.tensor(digits.target)
        train, test = train_test_split(range(len(labels)), train_size=NUM_TRAIN, random_state=0, stratify=labels)
        self.train_pixels, self.train_labels = pixels[train], labels[train]
        self.test_pixels, self.test_labels = pixels[test], labels[test]


def make_network(num_hidden: int, num_layers: int = 1) -> nn.Sequential:
    """Return a network of fully connected layers."""
    sizes = [64, *[num_hidden] * num_layers]
    layers = [part for i in range(num_layers) for part in (nn.Linear(sizes[i], sizes[i + 1]), nn.ReLU())]
    return nn.Sequential(*layers, nn.Linear(sizes[-1], NUM_CLASSES))


def train(
    network: nn.Sequential, pixels: Tensor, loss: Callable[[Tensor, Tensor], Tensor], num_steps: int = 600
) -> nn.Sequential:
    """Train a network with Adam on batches of 64, and return it.

    Args:
        network: The network, which is changed in place.
        pixels: `(rows, 64)`.
        loss: From logits and the numbers of the rows in the batch to a scalar.
        num_steps: Number of steps.
    """
    optimizer = torch.optim.Adam(network.parameters(), lr=3e-3)
    for _ in range(num_steps):
        rows = torch.randint(len(pixels), (64,))
        optimizer.zero_grad()
        loss(network(pixels[rows]), rows).backward()
        optimizer.step()
    return network.eval()


def train_teacher(digits: Digits) -> nn.Sequential:
    """Return a large network that was trained on the labels of all training digits."""

    def loss(logits: Tensor, rows: Tensor) -> Tensor:
        return nn.functional.cross_entropy(logits, digits.train_labels[rows])

    return train(make_network(512, 2), digits.train_pixels, loss)


def make_loss(
    targets: str, labels: Tensor, teacher: nn.Module, pixels: Tensor, temperature: float
) -> Callable[[Tensor, Tensor], Tensor]:
    """Return a student's loss, from logits and the numbers of the rows in the batch.

    Args:
        targets: "hard" for the labels, "soft" for the teacher's probabilities.
        labels: `(rows,)`.
        teacher: A trained network.
        pixels: `(rows, 64)`.
        temperature: Of the soft targets.
    """
    with torch.no_grad():
        teacher_logits = teacher(pixels)

    def loss(logits: Tensor, rows: Tensor) -> Tensor:
        if targets == "hard":
            return nn.functional.cross_entropy(logits, labels[rows])
        return kl_divergence(logits, teacher_logits[rows], temperature).mean()

    return loss


@torch.no_grad()
def answers(network: nn.Module, pixels: Tensor) -> Tensor:
    """Return the class of each row."""
    return network(pixels).argmax(dim=1)


class Results:
    """A CSV file of runs. Runs that it contains are not done again.

    Args:
        path: The file.
        keys: Columns that tell a run from others.
    """

    def __init__(self, path: Path, keys: tuple[str, ...]) -> None:
        self.path, self.keys = path, keys
        path.parent.mkdir(parents=True, exist_ok=True)
        self.rows: list[dict[str, str]] = list(csv.DictReader(path.open())) if path.exists() else []
        self._done = {tuple(row[key] for key in keys) for row in self.rows}

    def has(self, *key: Any) -> bool:
        """Return whether the file has a run."""
        return tuple(map(str, key)) in self._done

    def add(self, row: dict[str, Any]) -> None:
        """Write a run to the file at once."""
        is_new = not self.path.exists()
        with self.path.open("a", newline="") as file:
            writer = csv.DictWriter(file, list(row))
            if is_new:
                writer.writeheader()
            writer.writerow(row)
        self.rows.append({name: str(value) for name, value in row.items()})


def parse_options(description: str) -> argparse.Namespace:
    """Read the flags that all examples have."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--output_dir", type=Path, default=Path(__file__).parent / "results")
    parser.add_argument("--num_seeds", type=int, default=5)
    return parser.parse_args()
