"""Results of arms in a folder, for benchmarks that are interrupted and go on, and a table of paired differences."""

import csv
import statistics
from pathlib import Path
from typing import Any

import numpy as np

Row = dict[str, Any]
COLUMNS = ("task", "arm", "seed", "accuracy", "cross_entropy", "parameters", "steps", "seconds")


class Results:
    """A CSV file with a row for each arm, and correctness and cross-entropy of each test row, in a folder.

    Args:
        path: The CSV file. The values of the test rows are in the folder `values` next to it.
        default: Name of the arm that the other arms of a task are compared to.
    """

    def __init__(self, path: Path, default: str) -> None:
        self.path, self.default, self.values_folder = path, default, path.parent / "values"
        self.values_folder.mkdir(parents=True, exist_ok=True)
        self.rows: list[Row] = []
        if self.path.exists():
            with self.path.open(newline="", encoding="utf-8") as file:
                self.rows = list(csv.DictReader(file))

    def has(self, task: str, arm: str, seed: int) -> bool:
        return any((row["task"], row["arm"], int(row["seed"])) == (task, arm, seed) for row in self.rows)

    def add(self, row: Row, values: np.ndarray) -> None:
        """Append the row of an arm; `values` are correctness and cross-entropy, `(2, test rows)`."""
        np.save(self._values_path(row), values)
        is_new = not self.path.exists()
        with self.path.open("a", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, COLUMNS)
            if is_new:
                writer.writeheader()
            writer.writerow(row)
        self.rows.append(row)
        print(row, flush=True)

    def _values_path(self, row: Row) -> Path:
        return self.values_folder / f"{row['task']}, {row['arm']}, {row['seed']}.npy"

    def table(self) -> list[Row]:
        """Return the means over the seeds, and the differences to the default on the same seeds and test rows."""
        tasks = list(dict.fromkeys(row["task"] for row in self.rows))
        groups: dict[tuple[str, str], dict[int, Row]] = {}
        for row in self.rows:
            groups.setdefault((row["task"], row["arm"]), {})[int(row["seed"])] = row
        return [
            {
                "task": task,
                "student": arm,
                "seeds": len(by_seed),
                "accuracy": _percent(by_seed, "accuracy"),
                **self._differences(by_seed, groups.get((task, self.default), {})),
                "cross-entropy": f"{_mean(by_seed, 'cross_entropy'):.3f}",
                "parameters": f"{_mean(by_seed, 'parameters') / 1e6:.1f}M",
                "seconds": round(_mean(by_seed, "seconds")),
            }
            for (task, arm), by_seed in sorted(groups.items(), key=lambda item: tasks.index(item[0][0]))
        ]

    def _differences(self, by_seed: dict[int, Row], default: dict[int, Row]) -> Row:
        seeds = [seed for seed in by_seed if seed in default]
        cells = {"points against the default": "", "cross-entropy against the default": ""}
        if not seeds or by_seed is default:
            return cells
        differences = np.mean([self._load(by_seed[seed]) - self._load(default[seed]) for seed in seeds], axis=0)
        means, errors = differences.mean(axis=1), differences.std(axis=1, ddof=1) / differences.shape[1] ** 0.5
        texts = f"{100 * means[0]:+.1f} ± {100 * errors[0]:.1f}", f"{means[1]:+.3f} ± {errors[1]:.3f}"
        return dict(zip(cells, texts, strict=True))

    def _load(self, row: Row) -> np.ndarray:
        return np.load(self._values_path(row))


def _mean(by_seed: dict[int, Row], column: str) -> float:
    return statistics.mean(float(row[column]) for row in by_seed.values())


def _percent(by_seed: dict[int, Row], column: str) -> str:
    return f"{100 * _mean(by_seed, column):.1f} %"
