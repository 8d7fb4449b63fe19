"""Run the same distillation with every library that can do it: its time, and whether it optimizes the stated loss.

    python benchmarks/compare_peers.py [--quick] [--output_dir benchmarks/results]

Every contender trains in a new process, with its packages in a separate folder on PYTHONPATH. In each round every
contender runs once, in reverse order in every second round. A ratio compares two runs of the same round.
"""

import argparse
import os
import platform
import statistics
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"  # read on import

import material
import torch
import transformers
from contenders.checks import CHECK_ROWS, check, describe_checks, one_step, view
from contenders.job import Job
from contenders.processes import (
    CONTENDERS,
    HAND,
    MPNET_CONTENDERS,
    Contender,
    flatten,
    install_peers,
    read_result,
    read_weights,
    run,
)
from safetensors.torch import load_file
from tables import Row, plot_ratios, to_markdown, to_text, write_csv

MINILM, MPNET = "MiniLM-L6 teacher", "MPNet-base teacher, two tokenizers"


@dataclass
class Size:
    """The amount of work in a race."""

    num_rows: int
    num_epochs: int
    num_rounds: int


SIZES = {"full": (Size(256, 5, 3), Size(128, 5, 2)), "quick": (Size(96, 2, 1), Size(64, 2, 1))}


# ---- Jobs ----


def make_jobs(minilm: Size, mpnet: Size) -> tuple[Job, Job, Job]:
    """Return the race with the MiniLM teacher, the race with the MPNet teacher, and the check."""
    work = material.WORK
    teacher_sentences, sentences = material.read_sentences()
    teacher = material.make_teacher(material.find_minilm(), work / "teacher", teacher_sentences)
    student = material.make_student(teacher, work / "student")
    large = material.make_teacher(material.find_mpnet(), work / "teacher_mpnet", ())

    def rows(tokenizer_of: Path, number: int) -> str:
        folder = work / f"rows_{tokenizer_of.name}_{number}"
        return str(material.make_rows(tokenizer_of, folder, sentences[:number]))

    first = Job("", str(student), str(teacher), rows(student, minilm.num_rows), num_epochs=minilm.num_epochs)
    second = replace(
        first,
        teacher=str(large),
        rows=rows(student, mpnet.num_rows),
        teacher_rows=rows(large, mpnet.num_rows),
        num_epochs=mpnet.num_epochs,
    )
    return first, second, one_step(first, rows(student, CHECK_ROWS))


# ---- Speed ----


def race(name: str, contenders: Sequence[Contender], job: Job, num_rounds: int) -> list[Row]:
    """Run every contender once per round, and return a row for every run."""
    start = flatten(load_file(Path(job.student, "model.safetensors")))
    runs: list[Row] = []
    for number in range(1, num_rounds + 1):
        jobs = {c.name: replace(job, folder=str(material.WORK / "runs" / c.script)) for c in contenders}
        results = {}
        for contender in contenders[:: 1 if number % 2 else -1]:
            run(contender, [jobs[contender.name]])
            results[contender.name] = read_result(jobs[contender.name])
            seconds, error = (results[contender.name].get(key) for key in ("seconds", "error"))
            print(f"{name}, round {number}: {contender.name}: {error or f'{seconds:.1f} s'}", flush=True)
        by_hand = read_weights(jobs[HAND])
        for contender in contenders:
            row = results[contender.name]
            if "error" not in row:
                row["ratio"] = row["seconds"] / results[HAND]["seconds"]
                row["cpu_ratio"] = row["cpu_seconds"] / results[HAND]["cpu_seconds"]
                difference = (read_weights(jobs[contender.name]) - by_hand).norm() / (by_hand - start).norm()
                row["distance"] = difference.item()
            runs.append({"job": name, "round": number, "contender": contender.name, **row})
    return runs


def summarize(runs: Sequence[Row], contenders: Sequence[Contender]) -> list[Row]:
    """Return a row for every contender, with medians over the rounds and the range of the ratios."""
    rows = []
    for contender in contenders:
        all_runs = [run for run in runs if run["contender"] == contender.name]
        good_runs = [run for run in all_runs if "error" not in run]
        errors = [run["error"] for run in all_runs if "error" in run]
        rows.append(
            {
                "contender": contender.name,
                "seconds": median(good_runs, "seconds"),
                "CPU seconds": median(good_runs, "cpu_seconds"),
                "steps/s": median(good_runs, "steps_per_second"),
                "time / hand-written": median_and_range(good_runs, "ratio"),
                "CPU time / hand-written": median_and_range(good_runs, "cpu_ratio"),
                "student differs by": max((run["distance"] for run in good_runs), default=None),
                "error": errors[0] if errors else None,
            }
        )
    return rows


def median(runs: Sequence[Row], name: str) -> float | None:
    return statistics.median(run[name] for run in runs) if runs else None


def median_and_range(runs: Sequence[Row], name: str) -> str:
    values = [run[name] for run in runs]
    return f"{statistics.median(values):.2f} ({min(values):.2f}-{max(values):.2f})" if runs else ""


# ---- Report ----


def describe_machine() -> str:
    """Describe the machine and the versions that the figures depend on."""
    return (
        f"Measured with {torch.get_num_threads()} CPU threads ({platform.machine()}), Python "
        f"{platform.python_version()}, torch {torch.__version__}, transformers {transformers.__version__}."
    )


def describe_race(job: Job, size: Size) -> str:
    """Describe the job of a race and the columns of its table."""
    steps = size.num_rows * size.num_epochs // job.batch_size
    return (
        f"{size.num_rows} sentences of at most {material.MAX_LENGTH} tokens, {size.num_epochs} epochs, batches of "
        f"{job.batch_size} in one fixed order: {steps} steps of AdamW, linear schedule, gradients clipped at "
        f"{job.max_grad_norm:g}. L = {job.alpha} CE + {1 - job.alpha} T² KL, T = {job.temperature:g}. "
        f"Interleaved rounds: {size.num_rounds}. `seconds` is the median time of a run with the teacher's pass and "
        "the cache, without imports and loading of models. `steps/s` is measured from first to last step. Ratios "
        "compare a run with the hand-written loop of the same round: median and range. CPU time does not include "
        "waiting for other programs. `student differs by` is the distance between the final student and the final "
        "student of the hand-written loop, divided by the distance that the latter moved in training; it is 0 for the "
        "same computation with the same dropout masks."
    )


def report(output_dir: Path, sections: dict[str, tuple[str, list[Row]]]) -> None:
    """Print every section and write them all to `peers.md`."""
    parts = [f"# Side by side\n\n{describe_machine()}"]
    for title, (text, rows) in sections.items():
        print(f"\n{title}\n\n{to_text(rows)}")
        parts.append(f"## {title}\n\n{text}\n\n{to_markdown(rows)}")
    (output_dir / "peers.md").write_text("\n\n".join(parts) + "\n", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="few steps and one round, without a range")
    parser.add_argument("--output_dir", type=Path, default=Path(__file__).parent / "results")
    options = parser.parse_args()
    options.output_dir.mkdir(parents=True, exist_ok=True)
    start = time.time()
    sizes = SIZES["quick" if options.quick else "full"]
    install_peers()
    small, large, step = make_jobs(*sizes)
    with ThreadPoolExecutor(2) as pool:  # the checks are not timed
        checks = list(pool.map(lambda contender: check(contender, step), CONTENDERS))
    print(f"peers, material and checks: {(time.time() - start) / 60:.1f} minutes", flush=True)

    races = [(MINILM, CONTENDERS, small, sizes[0]), (MPNET, MPNET_CONTENDERS, large, sizes[1])]
    runs = {name: race(name, contenders, job, size.num_rounds) for name, contenders, job, size in races}
    sections = {f"Speed, {n}": (describe_race(job, size), summarize(runs[n], who)) for n, who, job, size in races}
    sections["Is the stated loss optimized?"] = (describe_checks(step), [view(row) for row in checks])
    setup = [
        {"contender": c.name, "package": c.packages[0] if c.packages else "", "set up": c.note} for c in CONTENDERS
    ]
    sections["How they were set up"] = ("The scripts in `contenders/` show the details.", setup)
    report(options.output_dir, sections)
    write_csv(options.output_dir / "peers_speed.csv", [row for rows in runs.values() for row in rows])
    write_csv(options.output_dir / "peers_checks.csv", checks)
    panels = {}
    for (name, who, _, _), (title, ratio) in product(races, (("time", "ratio"), ("CPU time", "cpu_ratio"))):
        bars = {c.name: [run[ratio] for run in runs[name] if run["contender"] == c.name and ratio in run] for c in who}
        panels[f"{title}, {name}"] = {contender: values for contender, values in bars.items() if values}
    plot_ratios(
        options.output_dir / "peers.png",
        panels,
        "ratio to the hand-written loop of the same round (bars: medians, ticks: rounds)",
    )
    print(f"\nDone in {(time.time() - start) / 60:.1f} minutes. Tables and plot are in {options.output_dir}.")


if __name__ == "__main__":
    main()
