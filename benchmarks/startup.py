"""Measure what starting costs: help, an error of a flag, and the import of the package.

    python benchmarks/startup.py [--quick]

Every line is the CPU time of a new process, without the time of an empty Python process, and its ratio to the import
of `transformers.TrainingArguments`, which every training needs. The processes take turns, so that other work on the
machine slows all of them alike; the least time of all rounds counts.
"""

import argparse
import datetime
import resource
import subprocess
import sys

TARGET = 0.2  # of the import of TrainingArguments
EMPTY, TRAINING_ARGUMENTS = "an empty process", "from transformers import TrainingArguments"
PROGRAMS = {
    EMPTY: "pass",
    TRAINING_ARGUMENTS: TRAINING_ARGUMENTS,
    "import hf_distill": "import hf_distill",
    **{
        f"hf-distill {line}": f"from hf_distill.cli import main; main({line.split()!r})"
        for line in ("--help", "train --help", "train --help-all", "train --lerning_rate 1", "compare")
    },
}


def cpu_seconds(program: str) -> float:
    """Return the CPU time of a Python process that runs a program."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", program], capture_output=True, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    """Print a line for each program."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="two rounds instead of seven")
    num_rounds = 2 if parser.parse_args().quick else 7
    times = [{name: cpu_seconds(program) for name, program in PROGRAMS.items()} for _ in range(num_rounds)]
    least = {name: min(seconds[name] for seconds in times) for name in PROGRAMS}
    reference = least[TRAINING_ARGUMENTS] - least[EMPTY]
    print(f"{datetime.date.today()}, {num_rounds} rounds; CPU seconds beyond an empty process ({least[EMPTY]:.3f} s)")
    print(f"  {'':46}seconds   ratio (wanted <= {TARGET})")
    for name, seconds in least.items():
        if name != EMPTY:
            print(f"  {name:46}{seconds - least[EMPTY]:7.3f}{(seconds - least[EMPTY]) / reference:8.3f}")


if __name__ == "__main__":
    main()
