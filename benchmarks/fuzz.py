"""Try thousands of generated inputs of every kind, and print how many give a result and how many a clear error.

    python benchmarks/fuzz.py [--inputs 10000] [--only NAME] [--seed 0]

`tests/support/fuzzing.py` generates the inputs and checks the results. If an input gives a wrong result or an unclear
error, the script prints a small input of that kind and exits with status 1.
"""

import argparse
import logging
import os
import sys
import time
import traceback
import warnings
from collections import Counter
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

os.environ |= {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false", "TQDM_DISABLE": "1"}
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "support"))

import datasets
import torch
from fuzzing import Target, outcome, targets
from hypothesis import HealthCheck, Phase, given, seed, settings

# Share of all inputs; kinds that take longer get less.
SHARES = {
    "label maps": 0.3,
    "argument combinations": 0.15,
    "data set shapes": 0.15,
    "recipes": 0.2,
    "cache files": 0.1,
    "soft labels": 0.1,
}


def fuzz(target: Target, num_inputs: int, number: int) -> tuple[Counter, str | None]:
    """Try inputs; return the number of each outcome, and the traceback of the smallest failing input or None."""
    counts: Counter = Counter()

    @seed(number)
    @settings(
        max_examples=num_inputs, deadline=None, database=None, suppress_health_check=list(HealthCheck),
        phases=(Phase.generate, Phase.shrink),
    )  # fmt: skip
    @given(target.inputs)
    def try_one(case: object) -> None:
        counts[outcome(target.run, case)] += 1

    try:
        with open(os.devnull, "w") as devnull, redirect_stdout(devnull), redirect_stderr(devnull):  # Trainer's logs
            try_one()
    except Exception as error:
        return counts, "".join(traceback.format_exception(error)[-8:])
    return counts, None


def main() -> int:
    """Fuzz every target and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--inputs", type=int, default=10_000, help="number of inputs of all kinds")
    parser.add_argument("--only", choices=SHARES, help="try only this kind of input")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    torch.set_num_threads(1)
    logging.disable(logging.CRITICAL)
    datasets.disable_progress_bars()
    warnings.simplefilter("ignore")
    shares = {args.only: 1.0} if args.only else SHARES
    lines, failed = (
        ["| inputs | tried | correct result | clear error | failures | seconds |", "|---|--:|--:|--:|--:|--:|"],
        0,
    )
    with targets() as by_name:
        for name, share in shares.items():
            start = time.perf_counter()
            counts, failure = fuzz(by_name[name], round(share * args.inputs), args.seed)
            failed += failure is not None
            if failure:
                print(f"{name}:\n{failure}\n")
            seconds = time.perf_counter() - start
            cells = [counts.total(), counts["result"], counts["refused"], int(failure is not None), f"{seconds:.0f}"]
            lines.append(f"| {name} | {' | '.join(map(str, cells))} |")
    print("\n".join(lines))
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
