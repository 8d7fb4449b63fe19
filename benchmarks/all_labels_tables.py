"""Tables of the runs of `all_labels.py`: means over the seeds, and paired differences between arms."""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from paired_intervals import Score, mean_of_draws, metric_of_draws, paired_interval

MEANS_HEADER = [
    "task", "layers", "student", "seeds", "metric, points", "cross-entropy", "calibration error", "KL, training rows",
    "KL, held-out rows",
]  # fmt: skip
DIFFERENCES_HEADER = ["task", "layers", "student", "minus", "seeds", "metric, points (95 %)", "cross-entropy (95 %)"]
_COLUMNS = {"score": "{:.2f}", "cross_entropy": "{:.3f}", "calibration_error": "{:.3f}"}
_DISTANCES = ("kl_train", "kl_held_out")


def means(rows: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    """Return the means over the seeds of each arm, from the rows of the CSV file. What was not measured is empty."""
    groups: dict[tuple[str, str, str], dict[str, Mapping[str, Any]]] = {}
    for row in rows:  # the last one counts, if a run was repeated
        groups.setdefault((row["task"], str(row["layers"]), row["arm"]), {})[str(row["seed"])] = row
    table = []
    for key, by_seed in groups.items():
        runs = list(by_seed.values())
        cells = [
            form.format((100 if name == "score" else 1) * statistics.mean(float(run[name]) for run in runs))
            for name, form in _COLUMNS.items()
        ]
        for name in _DISTANCES:
            known = [float(run[name]) for run in runs if run.get(name) not in (None, "")]
            cells.append(f"{statistics.mean(known):.3f}" if known else "")
        table.append([*key, str(len(runs)), *cells])
    return table


def differences(
    name: str,
    layers: int,
    metric_name: str,
    labels: np.ndarray,
    num_labels: int,
    logits: Mapping[tuple[str, int], np.ndarray],
    minus: Sequence[str],
) -> list[list[str]]:
    """Return each arm minus other arms, on the seeds that both have.

    Args:
        name: The task.
        layers: Number of layers of the students.
        metric_name: The task's metric.
        labels: The labels of the test rows.
        num_labels: Number of classes.
        logits: Arm and seed -> logits on the test rows, `(num_rows, num_labels)`.
        minus: The arms to compare with.
    """
    scores: dict[tuple[str, int], tuple[Score, Score]] = {
        run: (
            metric_of_draws(metric_name, values.argmax(axis=1), labels, num_labels),
            mean_of_draws(cross_entropies(values, labels)),
        )
        for run, values in logits.items()
    }
    table = []
    for arm in dict.fromkeys(arm for arm, _ in logits):
        for other in [other for other in minus if other != arm]:
            seeds = [seed for known, seed in logits if known == arm and (other, seed) in logits]
            if not seeds:
                continue
            cells = []
            for which, scale, digits in ((0, 100, 2), (1, 1, 3)):
                pairs = [(scores[arm, seed][which], scores[other, seed][which]) for seed in seeds]
                value, low, high = (scale * number for number in paired_interval(pairs, len(labels)))
                cells.append(f"{value:+.{digits}f} ({low:+.{digits}f} to {high:+.{digits}f})")
            table.append([name, str(layers), arm, other, str(len(seeds)), *cells])
    return table


def cross_entropies(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return the cross-entropy of each row, in nats."""
    return torch.nn.functional.cross_entropy(torch.tensor(logits), torch.tensor(labels), reduction="none").numpy()
