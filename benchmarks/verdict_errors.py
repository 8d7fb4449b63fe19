"""How often is a verdict wrong? Simulate students whose true loss equals the margin: every "yes" about them is wrong.

    python benchmarks/verdict_errors.py [--quick]

Each cell draws 4,000 samples of rows from a population in which the student's score is exactly one margin below the
teacher's, and judges each sample as a report does (`Quality.versus`). The share of samples with a "yes" should be at
most 2.5 %, and must be at most 3.0 %; else the script exits with status 1. The last column is the share of intervals
that contain the true difference.
"""

import argparse
import sys

import numpy as np
from scipy.optimize import brentq

from hf_distill.data.metrics import METRICS, Counts, Metric
from hf_distill.reporting.comparison.units import Units
from hf_distill.reporting.comparison.unseen import unseen_loss
from hf_distill.reporting.statistics import paired_score_interval

SINGLE = "single_label_classification"
MOST_WRONG = 0.03
SIZES = (50, 100, 200, 500, 1000, 5000)
POPULATIONS = {  # shares of the classes, the teacher's share of right answers
    "2 classes": ((0.5, 0.5), 0.9),
    "2 classes, 95 : 5": ((0.95, 0.05), 0.97),
    "5 classes": ((0.2,) * 5, 0.85),
    "2 classes, good teacher": ((0.5, 0.5), 0.98),
}


def population(shares: np.ndarray, accuracy: float, loss: float) -> np.ndarray:
    """Return the probability of each (label, answer of the teacher, answer of the student).

    Wrong answers are spread evenly over the other classes. The student repeats the teacher's answer on most rows; on a
    share `loss` of the teacher's right answers it is wrong, and on a tenth of the teacher's errors it is right.
    """
    size = len(shares)
    is_right = np.eye(size)
    teacher = accuracy * is_right + (1 - accuracy) * (1 - is_right) / (size - 1)  # answer given the label
    table = np.zeros((size, size, size))
    for label in range(size):
        for answer in range(size):
            of_student = np.zeros(size)
            if answer == label:
                of_student[:] = loss / (size - 1)
                of_student[label] = 1 - loss
            else:
                of_student[answer], of_student[label] = 0.9, 0.1
            table[label, answer] = shares[label] * teacher[label, answer] * of_student
    return table


def score(tables: np.ndarray, metric: Metric, is_teacher: bool) -> np.ndarray:
    """Return a metric of tables of counts, `(..., label, answer of the teacher, answer of the student)`."""
    by_answer = tables.sum(axis=-1 if is_teacher else -2)  # (..., label, answer)
    both = np.diagonal(by_answer, axis1=-2, axis2=-1)
    sums = by_answer.sum(axis=(-2, -1)), both.sum(axis=-1), by_answer.sum(axis=-1), by_answer.sum(axis=-2)
    counts = Counts(*sums, both)
    assert metric.from_counts is not None
    return metric.from_counts(counts)


def difference(tables: np.ndarray, metric: Metric) -> np.ndarray:
    """Return the student's score minus the teacher's."""
    return score(tables, metric, is_teacher=False) - score(tables, metric, is_teacher=True)


def at_margin(shares: np.ndarray, accuracy: float, metric: Metric, margin: float) -> np.ndarray:
    """Return the population in which the student's score is one margin below the teacher's."""

    def miss(loss: float) -> float:
        return float(difference(1e6 * population(shares, accuracy, loss)[None], metric)[0]) + margin

    return population(shares, accuracy, brentq(miss, 0.0, 0.9, xtol=1e-10))


def is_yes_and_covered(
    table: np.ndarray, metric: Metric, margin: float, unseen: float, num_resamples: int, draw: np.random.Generator
) -> tuple[bool, bool]:
    """Return whether the verdict on a sample is "yes", and whether its interval contains the true difference."""
    num_rows = int(table.sum())
    resamples = draw.multinomial(num_rows, table.ravel() / num_rows, num_resamples).reshape(-1, *table.shape)
    low, high = np.nanpercentile(difference(resamples.astype(float), metric), [2.5, 97.5])
    value = float(difference(table[None].astype(float), metric)[0])
    if metric.is_row_accuracy:
        right = np.arange(len(table))
        teacher_is_right, student_is_right = table[right, right].sum(), table[right, :, right].sum()
        both = table[right, right, right].sum()
        bounds = paired_score_interval(int(teacher_is_right - both), int(student_is_right - both), num_rows)
    else:
        bounds = low - unseen / 2, high + unseen / 2
    low, high = min(low, value - unseen, bounds[0]), max(high, value + unseen, bounds[1])
    return low > -margin, low <= -margin <= high


def unseen_in(table: np.ndarray, metric: Metric, num_rows: int) -> float:
    """Return how much the intervals are widened, for a sample with the classes of the population."""
    sizes = np.maximum(1, np.round(num_rows * table.sum(axis=(1, 2)))).astype(int)
    labels = np.repeat(np.arange(len(sizes)), sizes)
    names = [str(i) for i in range(len(sizes))]
    return unseen_loss(Units(SINGLE, names, labels, np.arange(len(labels)), [], np.ones(len(labels))), metric)


def run(name: str, metric: Metric, num_rows: int, num_samples: int, margin: float) -> tuple[float, float]:
    """Return the share of samples with a wrong yes, and the share of intervals that contain the true difference."""
    shares, accuracy = POPULATIONS[name]
    table = at_margin(np.array(shares), accuracy, metric, margin)
    draw, unseen = np.random.default_rng(0), unseen_in(table, metric, num_rows)
    samples = draw.multinomial(num_rows, table.ravel() / table.sum(), num_samples).reshape(-1, *table.shape)
    results = [is_yes_and_covered(sample, metric, margin, unseen, 2000, draw) for sample in samples]
    wrong, covered = np.mean(results, axis=0)
    return float(wrong), float(covered)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="200 samples a cell, two sizes")
    parser.add_argument("--margin", type=float, default=0.01)
    options = parser.parse_args()
    num_samples, sizes = (200, (100, 1000)) if options.quick else (4000, SIZES)
    worst = 0.0
    print("| population | metric | rows | wrong yes | coverage |\n| --- | --- | ---: | ---: | ---: |")
    for name in POPULATIONS:
        for metric in METRICS[SINGLE]:
            for num_rows in sizes:
                wrong, covered = run(name, metric, num_rows, num_samples, options.margin)
                shares = f"{100 * wrong:.1f} % | {100 * covered:.1f} %"
                print(f"| {name} | {metric.name} | {num_rows:,} | {shares} |", flush=True)
                worst = max(worst, wrong)
    print(f"\nThe highest share of wrong yes is {100 * worst:.1f} %.")
    if worst > MOST_WRONG and not options.quick:
        sys.exit(1)


if __name__ == "__main__":
    main()
