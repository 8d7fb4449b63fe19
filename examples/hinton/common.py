"""What the examples share: small networks, their training, and a CSV file that a later run continues."""

import argparse
import csv
import functools
import math
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from tasks import Task
from torch import Tensor, nn

from hf_distill.functional import kl_divergence


def make_network(task: Task, num_hidden: int, num_layers: int = 1) -> nn.Sequential:
    """Return a network of fully connected layers."""
    sizes = [task.train_inputs.shape[1], *[num_hidden] * num_layers]
    layers = [part for i in range(num_layers) for part in (nn.Linear(sizes[i], sizes[i + 1]), nn.ReLU())]
    return nn.Sequential(*layers, nn.Linear(sizes[-1], len(task.class_names)))


def train(
    network: nn.Sequential, inputs: Tensor, loss: Callable[[Tensor, Tensor], Tensor], num_steps: int = 600
) -> nn.Sequential:
    """Train a network with Adam on batches of 64, and return it.

    Args:
        network: The network, which is changed in place.
        inputs: `(rows, features)`.
        loss: From logits and the numbers of the rows in the batch to a scalar.
        num_steps: Number of steps.
    """
    optimizer = torch.optim.Adam(network.parameters(), lr=3e-3)
    for _ in range(num_steps):
        rows = torch.randint(len(inputs), (64,))
        optimizer.zero_grad()
        loss(network(inputs[rows]), rows).backward()
        optimizer.step()
    return network.eval()


def train_on_labels(network: nn.Sequential, inputs: Tensor, labels: Tensor, num_steps: int = 600) -> nn.Sequential:
    """Train a network on labels with the cross-entropy, and return it."""

    def loss(logits: Tensor, rows: Tensor) -> Tensor:
        return nn.functional.cross_entropy(logits, labels[rows])

    return train(network, inputs, loss, num_steps)


@functools.cache
def _train_teacher(task: Task, seed: int) -> tuple[nn.Sequential, Tensor]:
    """Return a trained teacher and the state of torch's generator after its training."""
    torch.manual_seed(seed)
    teacher = train_on_labels(make_network(task, 512, 2), task.train_inputs, task.train_labels)
    return teacher, torch.get_rng_state()


def train_teacher(task: Task, seed: int) -> nn.Sequential:
    """Return a large network that was trained on the labels of all training rows.

    The seed sets torch's generator. A later call with the same seed returns the same network and leaves the generator
    in the same state, without training again.
    """
    teacher, generator_state = _train_teacher(task, seed)
    torch.set_rng_state(generator_state)
    return teacher


def train_on_logits(
    network: nn.Sequential, inputs: Tensor, teacher_logits: Tensor, temperature: float
) -> nn.Sequential:
    """Train a network on the soft targets of a teacher, and return it."""

    def loss(logits: Tensor, rows: Tensor) -> Tensor:
        return kl_divergence(logits, teacher_logits[rows], temperature).mean()

    return train(network, inputs, loss)


@torch.no_grad()
def predict(network: nn.Module, inputs: Tensor) -> Tensor:
    """Return the logits of each row."""
    return network(inputs)


def accuracy(scores: Tensor, labels: Tensor) -> float:
    """Return the share of rows whose highest score, a logit or a probability, is that of the label."""
    return (scores.argmax(dim=1) == labels).float().mean().item()


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

    def column(self, name: str, **key: Any) -> list[float]:
        """Return the values of a column in the runs whose other columns have the values of `key`."""
        wanted = {key_name: str(value) for key_name, value in key.items()}
        return [float(row[name]) for row in self.rows if wanted.items() <= row.items()]


def results_path(options: argparse.Namespace, name: str) -> Path:
    """Return the CSV file of an example; a task other than the digits has a file of its own name."""
    return options.output_dir / (f"{name}.csv" if options.task == "digits" else f"{name}_{options.task}.csv")


def format_gain(scores: list[float], baseline_scores: list[float]) -> str:
    """Return the mean difference in points, paired by seed, with its standard error."""
    points = [100 * (score - baseline) for score, baseline in zip(scores, baseline_scores, strict=True)]
    error = statistics.stdev(points) / len(points) ** 0.5 if len(points) > 1 else math.nan
    return f"{statistics.mean(points):+.1f} ± {error:.1f}"


def parse_options(description: str, tasks: tuple[str, ...] = ()) -> argparse.Namespace:
    """Read the flags of an example.

    Args:
        description: What the example does.
        tasks: The tasks that the user can choose from; the first is the default.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--output_dir", type=Path, default=Path(__file__).parent / "results")
    parser.add_argument("--num_seeds", type=int, default=5)
    if tasks:
        parser.add_argument("--task", choices=tasks, default=tasks[0])
        parser.add_argument("--data_dir", type=Path, help="folder that holds train.csv and test.csv of Banking77")
    return parser.parse_args()
