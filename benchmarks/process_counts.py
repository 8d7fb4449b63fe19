"""Train every problem type in one, two and four processes, and print how much the results differ.

    python benchmarks/process_counts.py

Each run trains two epochs on 10 rows in global batches of 8, with all objectives that compute one value per unit, once
with a live teacher and once with its stored outputs. The runs are in `tests/support/process_counts.py`;
`tests/distributed/test_distributed.py` asserts the same.
"""

import os
import sys
import tempfile
from contextlib import redirect_stdout
from pathlib import Path

os.environ |= {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "support"))

import torch
from invariance import relative_difference
from launching import start
from process_counts import CASES, objectives_of, run_cases
from tables import to_markdown
from transformers.utils import logging


def run_in(num_processes: int) -> dict:
    """Return the results of runs in N processes."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if start(num_processes, "process_counts.py", folder, "cases").wait(600):
            raise SystemExit((folder / "log").read_text()[-4000:])
        return torch.load(folder / "counts.pt", weights_only=False)["cases"]


def row_of(case: tuple[str, bool], one: dict, others: dict[int, dict]) -> dict[str, object]:
    """Compare runs of one case: the largest relative differences over all steps and over all terms."""
    row: dict[str, object] = {
        "problem": case[0], "teacher": "stored" if case[1] else "live", "objectives": len(objectives_of(*case)),
    }  # fmt: skip
    for count, run in others.items():
        steps = zip(run["gradients"], one["gradients"], strict=True)
        row[f"gradients, {count} / 1"] = max(relative_difference(a, b) for a, b in steps)
        row[f"weights, {count} / 1"] = relative_difference(run["learnt"], one["learnt"])
        terms = [name for name in one["evaluation"] if name.startswith("eval_loss")]
        row[f"evaluation, {count} / 1"] = max(
            abs(run["evaluation"][name] / one["evaluation"][name] - 1) for name in terms if one["evaluation"][name]
        )
        row[f"rows evaluated by {count}"] = int(run["evaluation"]["eval_rows"])
    return row


def main() -> None:
    """Run all counts and print the table."""
    torch.set_num_threads(1)
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    with tempfile.TemporaryDirectory() as folder, open(os.devnull, "w") as devnull, redirect_stdout(devnull):
        one = run_cases(Path(folder))
    others = {count: run_in(count) for count in (2, 4)}
    print(to_markdown([row_of(c, one[c], {count: runs[c] for count, runs in others.items()}) for c in CASES]))


if __name__ == "__main__":
    main()
