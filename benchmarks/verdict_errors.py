"""How often is a verdict wrong? Simulate students whose true loss equals the margin: every "yes" about them is wrong.

    python benchmarks/verdict_errors.py [--quick] [--output FILE.csv]

Each cell draws at least 4,000 samples of rows from a population in which the student's score is exactly one margin
worse than the teacher's, and judges each sample as a report does. Where a report answers "not shown: needs at least
100 rows", the table says so. The share of samples with a "yes" should be at most
2.5 %, and must be at most 3.0 %; else the script exits with status 1. Further columns are the shares of intervals that
contain the true difference and the teacher's true score, and the latter for the percentiles of the resamples. Cells
that the CSV file already has are not computed again.
"""

import argparse
import csv
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from verdict_populations import POPULATIONS, Numbers, Population, Rows, loss_at

from hf_distill.data.metrics import METRICS, Metric, find_metric
from hf_distill.reporting.bootstrap import MOST_BLOCKS, Bootstrapped, draw_resamples, leave_out_blocks
from hf_distill.reporting.comparison.quality import FEWEST_RESAMPLED, NUM_OUTLIERS
from hf_distill.reporting.statistics import critical_value, paired_score, wilson_interval

NUM_SAMPLES = 4000
NUM_SAMPLES_OF_PAIRS = 100_000  # of a share of right rows, whose intervals need no resamples
NUM_RESAMPLES = 1000  # a report draws 2,000
NUM_BLOCKS = 200
LEVEL = 0.95
MOST_WRONG = 0.03
SIZES = {50: 0.05, 100: 0.05, 200: 0.05, 500: 0.01, 2000: 0.01}  # rows -> margin
HEADER = ["population", "metric", "rows", "margin", "samples", "wrong_yes", "difference", "score", "score_percentiles"]
_LARGEST = 3e7  # numbers in memory at once, 120 MB


def draws(num_rows: int, num_blocks: int) -> np.ndarray:
    """Return how often each row counts: all rows, each resample of a report, and without each block."""
    parts = [np.ones((1, num_rows)), *draw_resamples(num_rows, NUM_RESAMPLES)]
    parts += leave_out_blocks(num_rows, most_blocks=num_blocks)
    return np.concatenate(parts).astype(np.float32)


def judge_by_resamples(
    population: Population, metric: Metric, num_rows: int, margin: float, num_samples: int
) -> list[float]:
    """Return the shares of samples with a wrong yes, and with intervals that contain the truth."""
    loss, unseen = loss_at(population, metric, margin), population.unseen(metric, num_rows)
    truth = population.scores(population.expected(loss), metric)[0, 0]
    has_outliers = isinstance(population, Numbers)
    generator, weights = np.random.default_rng(0), draws(num_rows, MOST_BLOCKS if has_outliers else NUM_BLOCKS)
    size = max(1, int(_LARGEST / (len(weights) * population.expected(loss).shape[1])))
    results = []
    for start in range(0, num_samples, size):
        rows = population.draw(loss, num_rows, min(size, num_samples - start), generator)
        sums = (weights @ rows.reshape(num_rows, -1)).reshape(-1, rows.shape[2]).astype(np.float64)
        teacher, student = population.scores(sums, metric).reshape(2, len(weights), -1)
        gain, score = _parts(metric.sign * (student - teacher)), _parts(teacher)
        low, high, p_value = gain.difference(
            LEVEL, NUM_OUTLIERS * gain.largest_influence() if has_outliers else unseen
        )
        high = np.where(p_value < 1 - LEVEL, high, np.maximum(high, 0.0))
        influence = score.largest_influence() if has_outliers else 0.0
        low_end, high_end = score.interval(LEVEL)
        ends = (
            np.minimum(low_end, score.value - unseen) - influence,
            np.maximum(high_end, score.value + unseen) + influence,
        )
        percentiles = np.percentile(score.samples, [50 * (1 - LEVEL), 50 * (1 + LEVEL)], axis=0)
        results.append(
            [low > -margin, (low <= -margin) & (-margin <= high), *(_holds(e, truth) for e in (ends, percentiles))]
        )
    return np.concatenate(results, axis=1).mean(axis=1).tolist()


def _parts(values: np.ndarray) -> Bootstrapped:
    return Bootstrapped(values[0], values[1 : NUM_RESAMPLES + 1], values[NUM_RESAMPLES + 1 :])


def _holds(ends: tuple[np.ndarray, np.ndarray] | np.ndarray, truth: float) -> np.ndarray:
    return (ends[0] <= truth) & (truth <= ends[1])


def judge_pairs(population: Rows, metric: Metric, num_rows: int, margin: float, num_samples: int) -> list[float]:
    """Return the same for a share of right rows, which only depends on how many rows each model gets right."""
    probabilities, counts = population.kinds(loss_at(population, metric, margin))
    width = (counts.shape[1] - 3) // 5
    is_right = counts[:, [1 + 3 * width, -1]] > 0  # of the teacher and of the student
    cells = np.bincount((is_right @ [2, 1]), probabilities, 4)  # neither, only the student, only the teacher, both
    generator = np.random.default_rng(0)
    _, only_student, only_teacher, both = generator.multinomial(num_rows, cells, num_samples).T
    pairs, times = np.unique(np.stack([only_teacher, only_student]), axis=1, return_counts=True)
    statistics = np.array([paired_score(int(t), int(s), num_rows, -margin) for t, s in pairs.T])
    is_unseen = (pairs[1] - pairs[0]) / num_rows - population.unseen(metric, num_rows) <= -margin
    z = critical_value(LEVEL)
    results = [(statistics > z) & ~is_unseen, np.abs(statistics) <= z]
    num_right, times_right = np.unique(only_teacher + both, return_counts=True)
    truth = cells[2] + cells[3]
    wilson = np.array([wilson_interval(int(number) / num_rows, num_rows, LEVEL) for number in num_right]).T
    resampled = generator.binomial(num_rows, num_right / num_rows, (NUM_RESAMPLES, len(num_right))) / num_rows
    percentiles = np.percentile(resampled, [50 * (1 - LEVEL), 50 * (1 + LEVEL)], axis=0)
    shares = [times[result].sum() for result in results]
    shares += [times_right[_holds(ends, truth)].sum() for ends in (wilson, percentiles)]
    return [float(share / num_samples) for share in shares]


def cells(is_quick: bool) -> Iterator[tuple[str, Metric, int]]:
    """Yield the population, the metric and the number of rows of each cell."""
    for name, population in POPULATIONS.items():
        for metric in METRICS[population.problem_type]:
            if metric.name == "spearmanr":  # its ranks are not sums over rows
                continue
            for num_rows in (100, 500) if is_quick else SIZES:
                yield name, metric, num_rows


def run(name: str, metric: Metric, num_rows: int, is_quick: bool) -> list[str]:
    """Return a line of the CSV file."""
    population, margin = POPULATIONS[name], SIZES[num_rows]
    if not metric.higher_is_better:  # the margin is a share of the error of a constant
        margin *= float(np.sqrt(2 / np.pi)) if metric.name == "mae" else 1.0
    if metric.is_row_accuracy and not isinstance(population, Numbers):
        num_samples = NUM_SAMPLES_OF_PAIRS
        shares = judge_pairs(population, metric, num_rows, margin, num_samples)
    else:
        num_samples = 200 if is_quick else NUM_SAMPLES
        shares = judge_by_resamples(population, metric, num_rows, margin, num_samples)
    return [name, metric.name, str(num_rows), f"{margin:.4g}", str(num_samples), *(f"{x:.4f}" for x in shares)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="200 samples a cell, two sizes")
    parser.add_argument("--output", type=Path, default=Path("verdict_errors.csv"))
    options = parser.parse_args()
    known: list[list[str]] = []
    if options.output.exists():
        known = list(csv.reader(options.output.read_text(encoding="utf-8").splitlines()))[1:]
    by_cell = {tuple(line[:3]): line for line in known}
    with options.output.open("a", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        if not known:
            writer.writerow(HEADER)
        for name, metric, num_rows in cells(options.quick):
            cell = (name, metric.name, str(num_rows))
            if cell not in by_cell:
                by_cell[cell] = run(name, metric, num_rows, options.quick)
                writer.writerow(by_cell[cell])
                file.flush()
    print("| population | metric | rows | margin | wrong yes | difference | score | percentiles |")
    print("| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |")
    for line in by_cell.values():
        wrong_yes, *covered = (f"{100 * float(share):.1f} %" for share in line[5:])
        shares = [wrong_yes if is_decided(line) else "not shown", *covered]
        print(f"| {line[0]} | {line[1]} | {int(line[2]):,} | {' | '.join([line[3], *shares])} |")
    worst = max(float(line[5]) for line in by_cell.values() if is_decided(line))
    print(f"\nThe highest share of wrong yes is {100 * worst:.1f} %.")
    if worst > MOST_WRONG and not options.quick:
        sys.exit(1)


def is_decided(line: Sequence[str]) -> bool:
    """Return whether a report says yes or no on so many rows, see `FEWEST_RESAMPLED`."""
    metric = find_metric(line[1])
    return int(line[2]) >= FEWEST_RESAMPLED or (metric is not None and metric.is_row_accuracy)


if __name__ == "__main__":
    main()
