"""Tables of the runs of `all_labels.py`: means over the seeds, and paired differences between arms."""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from paired_intervals import mean_of_draws, paired_interval
from run_scores import RunScores, Score

MEANS_HEADER = [
    "task", "layers", "student", "seeds", "metric, points", "cross-entropy", "calibration error", "KL, training rows",
    "KL, held-out rows",
]  # fmt: skip
DIFFERENCES_HEADER = ["task", "layers", "student", "minus", "seeds", "metric, points (95 %)", "cross-entropy (95 %)"]
_COLUMNS = {
    "score": "{:.2f}", "cross_entropy": "{:.3f}", "calibration_error": "{:.3f}", "kl_train": "{:.3f}",
    "kl_held_out": "{:.3f}",
}  # fmt: skip


def means(rows: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    """Return the means over the seeds of each arm, from the rows of the CSV file. What was not measured is empty."""
    groups: dict[tuple[str, str, str], dict[str, Mapping[str, Any]]] = {}
    for row in rows:  # the last one counts, if a run was repeated
        groups.setdefault((row["task"], str(row["layers"]), row["arm"]), {})[str(row["seed"])] = row
    table = []
    for key, by_seed in groups.items():
        runs = list(by_seed.values())
        cells = []
        for name, form in _COLUMNS.items():
            known = [float(run[name]) for run in runs if run.get(name) not in (None, "")]
            scale = 100 if name == "score" else 1
            cells.append(form.format(scale * statistics.mean(known)) if known else "")
        table.append([*key, str(len(runs)), *cells])
    return table


def differences(
    name: str,
    layers: int,
    scores: RunScores,
    logits: Mapping[tuple[str, int], np.ndarray],
    minus: Sequence[str],
) -> list[list[str]]:
    """Return each arm minus other arms, on the seeds that both have.

    Args:
        name: The task.
        layers: Number of layers of the students.
        scores: The scores on the test rows.
        logits: Arm and seed -> logits on the test rows, `(num_rows, num_labels)`.
        minus: The arms to compare with.
    """
    of_draws: dict[tuple[str, int], tuple[Score, Score]] = {
        run: (scores.of_draws(values), mean_of_draws(scores.losses(values))) for run, values in logits.items()
    }
    table = []
    for arm in dict.fromkeys(arm for arm, _ in logits):
        for other in [other for other in minus if other != arm]:
            seeds = [seed for known, seed in logits if known == arm and (other, seed) in logits]
            if not seeds:
                continue
            cells = []
            for which, scale, digits in ((0, 100, 2), (1, 1, 3)):
                pairs = [(of_draws[arm, seed][which], of_draws[other, seed][which]) for seed in seeds]
                value, low, high = (scale * number for number in paired_interval(pairs, len(scores.units)))
                cells.append(f"{value:+.{digits}f} ({low:+.{digits}f} to {high:+.{digits}f})")
            table.append([name, str(layers), arm, other, str(len(seeds)), *cells])
    return table
