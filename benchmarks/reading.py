"""What it costs to read 100,000 labelled rows: this library's reader, pyarrow's, and the `csv` or `json` module alone.

    python benchmarks/reading.py [--quick] [--rows 100000] [--against OTHER_CHECKOUT]

The readers take turns on the same files of sentences with two classes, a third of them with commas and quotes. Time is
the time of the process, in which other programs do not count; the median of the rounds is printed, with its ratio to
pyarrow's reader of the format. `load` is the whole way to a task: columns, classes, checks, counts, hashes and the
summary. `plain` is the reader that this library had before it looked at dialects: the module of the format, numbers
where all cells of a column are numbers, and a `Dataset`. With `--against`, the `load_text_dataset` of this checkout
and of another one take turns in two processes.
"""

import argparse
import csv
import json
import logging
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.csv
import pyarrow.json
import pyarrow.parquet
from datasets import Dataset, disable_progress_bars
from tables import Row, to_text

from hf_distill.data import load_text_dataset
from hf_distill.data.reading import read_file

INTEGER = re.compile(r"-?(0|[1-9]\d{0,17})")
NUMBER = re.compile(r"-?(0|[1-9]\d{0,17})(\.\d+)?([eE][+-]?\d+)?")
WORDS = "a warm film with a plot that never lets go of its actors until the very last scene".split()


def write_files(folder: Path, num_rows: int) -> list[Path]:
    """Write the same rows as CSV, TSV, JSON Lines and Parquet."""
    rows = [{"text": text(i), "label": ("negative", "positive")[i % 2], "stars": i % 5 + 1} for i in range(num_rows)]
    paths = [folder / f"rows.{suffix}" for suffix in ("csv", "tsv", "jsonl", "parquet")]
    for path, delimiter in zip(paths[:2], ",\t", strict=True):
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(rows[0]), delimiter=delimiter)
            writer.writeheader()
            writer.writerows(rows)
    paths[2].write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    Dataset.from_list(rows).to_parquet(paths[3])
    return paths


def text(number: int) -> str:
    words = " ".join(WORDS[(number + i) % len(WORDS)] for i in range(8 + number % 12))
    return f'{words}, "{number}", and more' if number % 3 == 0 else f"{words} {number}"


def read_with_pyarrow(path: Path) -> Any:
    """Read with pyarrow's reader of the format; cells can hold line breaks."""
    if path.suffix == ".parquet":
        return pyarrow.parquet.read_table(path)
    if path.suffix == ".jsonl":
        return pyarrow.json.read_json(path)
    delimiter = "\t" if path.suffix == ".tsv" else ","
    options = pyarrow.csv.ParseOptions(delimiter=delimiter, newlines_in_values=True)
    return pyarrow.csv.read_csv(path, parse_options=options)


def read_plainly(path: Path) -> Dataset:
    """Read as this library did before it looked at dialects, encodings and types across files."""
    if path.suffix == ".parquet":
        return Dataset.from_parquet(str(path))
    if path.suffix == ".jsonl":
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]
        return Dataset.from_dict({name: [row.get(name) for row in rows] for name in rows[0]})
    with path.open(encoding="utf-8-sig", newline="") as file:
        header, *cells = csv.reader(file, delimiter="\t" if path.suffix == ".tsv" else ",", strict=True)
    if any(len(row) != len(header) for row in cells):
        raise ValueError("rows of different lengths")
    return Dataset.from_dict(
        {name: as_numbers(column) for name, column in zip(header, zip(*cells, strict=True), strict=True)}
    )


def as_numbers(cells: tuple[str, ...]) -> list[Any]:
    for pattern, number in ((INTEGER, int), (NUMBER, float)):
        if all(pattern.fullmatch(cell) for cell in cells if cell):
            return [number(cell) if cell else None for cell in cells]
    return [cell or None for cell in cells]


def load(path: Path) -> Any:
    return load_text_dataset(train_file=path, needs_validation=False)


READERS: dict[str, Callable[[Path], Any]] = {
    "pyarrow": read_with_pyarrow,
    "plain": read_plainly,
    "read": read_file,
    "load": load,
}


def measure(path: Path, rounds: int) -> Row:
    seconds: dict[str, list[float]] = {name: [] for name in READERS}
    for _ in range(rounds + 1):  # the first round fills caches and is not counted
        for name, reader in READERS.items():
            start = time.process_time()
            reader(path)
            seconds[name].append(time.process_time() - start)
    medians = {name: statistics.median(times[1:]) for name, times in seconds.items()}
    return {
        "format": path.suffix,
        "MB": path.stat().st_size / 1e6,
        **{f"{name}, s": value for name, value in medians.items()},
        "read / pyarrow": medians["read"] / medians["pyarrow"],
        "read / plain": medians["read"] / medians["plain"],
    }


class Worker:
    """A process that loads files with the library of one checkout, and reports the time of the process."""

    CODE = """
import logging, sys, time
from datasets import disable_progress_bars
from hf_distill.data import load_text_dataset
disable_progress_bars()
logging.getLogger("hf_distill").setLevel(logging.ERROR)
for line in sys.stdin:
    start = time.process_time()
    load_text_dataset(
        train_file=line.strip(), needs_validation=False, text_column_names=["text"], label_column_name="label"
    )
    print(time.process_time() - start, flush=True)
"""

    def __init__(self, checkout: Path, folder: Path) -> None:
        # Each process has its own cache of `datasets`, so that none finds rows that the other one stored.
        environment = {**os.environ, "PYTHONPATH": str(checkout), "HF_HOME": str(folder / f"hf_{id(self)}")}
        self.process = subprocess.Popen(
            [sys.executable, "-c", self.CODE],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )

    def seconds(self, path: Path) -> float:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        print(path, file=self.process.stdin, flush=True)
        return float(self.process.stdout.readline())


def compare(paths: list[Path], folder: Path, other: Path, rounds: int) -> list[Row]:
    """Load every file in turn with this checkout and with another one."""
    workers = {"this": Worker(Path(__file__).parents[1], folder), "other": Worker(other, folder)}
    rows: list[Row] = []
    for path in paths:
        times: dict[str, list[float]] = {name: [] for name in workers}
        for _ in range(rounds + 1):  # the first round fills caches and is not counted
            for name, worker in workers.items():
                times[name].append(worker.seconds(path))
        medians = {name: statistics.median(values[1:]) for name, values in times.items()}
        rows.append(
            {
                "format": path.suffix,
                **{f"{name}, s": value for name, value in medians.items()},
                "this / other": medians["this"] / medians["other"],
            }
        )
    for worker in workers.values():
        worker.process.communicate()
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="10,000 rows, not for figures")
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--against", type=Path, help="another checkout, whose load_text_dataset is measured as well")
    options = parser.parse_args()
    num_rows = 10_000 if options.quick else options.rows
    disable_progress_bars()
    logging.getLogger("hf_distill").setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory() as folder:
        paths = write_files(Path(folder), num_rows)
        print(f"{num_rows:,} rows, medians of {options.rounds} rounds, seconds of the process.\n")
        print(to_text([measure(path, options.rounds) for path in paths]))
        if options.against is not None:
            rows = compare(paths, Path(folder), options.against.resolve(), options.rounds)
            print(f"\n`load_text_dataset` of this checkout and of {options.against}:\n\n{to_text(rows)}")


if __name__ == "__main__":
    main()
