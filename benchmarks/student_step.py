"""Where the time of a student's own step goes, and what frozen word embeddings save.

python benchmarks/student_step.py [--quick]
python benchmarks/student_step.py --metric      (what they cost, on the demo's real text: three seeds of each)
"""

import argparse
import copy
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

import torch
from step_cost import BATCH_SIZE, collate, make_models, make_rows
from torch.utils.data import DataLoader

PARTS = ("forward", "backward", "clip", "optimizer", "zero_grad")


def time_parts(freeze: bool, bf16: bool, num_steps: int) -> dict[str, float]:
    """Median seconds of each part of a step, the first three steps left out."""
    student = copy.deepcopy(make_models()[1]).train()
    student.get_input_embeddings().requires_grad_(not freeze)
    trained = [parameter for parameter in student.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=5e-5, fused=True)
    seconds: dict[str, list[float]] = {part: [] for part in PARTS}
    rows = make_rows(BATCH_SIZE * num_steps).remove_columns("teacher_logits")
    for batch in DataLoader(rows, BATCH_SIZE, collate_fn=collate):
        times = [time.perf_counter()]
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
            loss = student(**batch).loss
        times.append(time.perf_counter())
        loss.backward()
        times.append(time.perf_counter())
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        times.append(time.perf_counter())
        optimizer.step()
        times.append(time.perf_counter())
        optimizer.zero_grad()
        times.append(time.perf_counter())
        for part, start, end in zip(PARTS, times, times[1:], strict=False):
            seconds[part].append(end - start)
    return {part: statistics.median(values[3:]) for part, values in seconds.items()}


def profile(rounds: int, num_steps: int) -> None:
    """Print the parts of a step, free and frozen in turn."""
    student = make_models()[1]
    words, all_of_it = student.get_input_embeddings().weight.numel(), student.num_parameters()
    print(f"{words / 1e6:.1f}M of the student's {all_of_it / 1e6:.1f}M parameters are word embeddings\n")
    print(f"{'ms a step':30}" + "".join(f"{part:>11}" for part in PARTS) + f"{'total':>9}  of the free one")
    for bf16 in (False, True):
        found: dict[bool, list[dict[str, float]]] = {False: [], True: []}
        for _ in range(rounds):
            for freeze in found:
                found[freeze].append(time_parts(freeze, bf16, num_steps))
        totals = {freeze: [sum(parts.values()) for parts in runs] for freeze, runs in found.items()}
        for freeze, runs in found.items():
            name = f"{'bfloat16' if bf16 else 'float32'}, embeddings {'frozen' if freeze else 'trained'}"
            medians = [1000 * statistics.median(parts[part] for parts in runs) for part in PARTS]
            ratio = statistics.median(a / b for a, b in zip(totals[freeze], totals[False], strict=True))
            print(f"{name:30}" + "".join(f"{m:11.1f}" for m in medians) + f"{sum(medians):9.1f}  {ratio:.2f}")


def measure_metric(folder: Path) -> None:
    """Distil on the demo's text with free and frozen embeddings; needs the teacher that `make demo` leaves."""
    demo = Path("demo_output")
    data = demo / "data"
    if not (demo / "student" / "teacher" / "model.safetensors").exists():
        raise SystemExit("Run `make demo` first: its data and its teacher are used here.")
    for freeze in (False, True):
        for seed in (1, 2, 3):
            out = folder / f"{'frozen' if freeze else 'trained'}-{seed}"
            command = [sys.executable, "-m", "hf_distill", "train", "--config", "examples/demo.yaml", "--bf16", "True"]
            command += ["--teacher_model_name_or_path", str(demo / "student" / "teacher"), "--output_dir", str(out)]
            command += ["--train_file", str(data / "labelled.csv"), "--validation_file", str(data / "test.csv")]
            command += ["--transfer_file", str(data / "unlabelled.txt"), "--baseline", "False"]
            command += ["--teacher_cache_dir", str(demo / "teacher_outputs"), "--seed", str(seed)]
            command += ["--freeze_student_embeddings", str(freeze)]
            start = time.perf_counter()
            subprocess.run(command, check=True, capture_output=True)
            metrics = json.loads((out / "distillation.json").read_text())["metrics"]["student"]
            print(f"{out.name}: accuracy {metrics['accuracy']:.4f}, {time.perf_counter() - start:.0f} s", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--metric", action="store_true")
    options = parser.parse_args()
    if options.metric:
        measure_metric(Path("benchmarks/work/student_step"))
    else:
        profile(*(2, 13) if options.quick else (7, 23))


if __name__ == "__main__":
    main()
