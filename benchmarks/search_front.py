"""Run `hf-distill search` on real text: the smallest student that keeps 98 % of the teacher's accuracy.

    make demo
    python benchmarks/search_front.py demo --demo_dir demo_output --output_dir OUT
    python benchmarks/search_front.py banking77 --data_dir DATA --encoder MINILM --output_dir OUT

| | demo | banking77 |
| --- | --- | --- |
| teacher | that of the demo | the encoder, fine-tuned on the 1,000 labels, which is not part of the time |
| labelled texts | 1,500 | 1,000 |
| texts without a label | 7,464 | 8,503 |
| validation rows | half of the demo's test sentences, 800 | 500 other rows of the training file |
| test rows | the other 800 | the 3,080 of the test file |

The space is the default one with a trimmed vocabulary and 1 or 2 epochs instead of 2 to 5. Repeat the command to
resume a search that was stopped. The script ends with the time that it took, and with the front: the students that no
other trial beats in both accuracy and latency. They are rows of `OUT/search/trials.csv`.
"""

import argparse
import csv
import json
import random
import time
from pathlib import Path
from typing import Any

from tables import Row, to_markdown

from hf_distill import DistillationTrainingArguments
from hf_distill.cli import main as hf_distill
from hf_distill.data import load_text_dataset
from hf_distill.pipeline import fine_tune
from hf_distill.search.plots import front

SPACE = "vocabulary: trimmed\nnum_train_epochs: [1, 2]\n"
NUM_LABELLED, NUM_VALIDATION = 1000, 500
TEACHER_EPOCHS, TEACHER_LEARNING_RATE = 15, 3e-4
MAX_LENGTH = 64


def read_rows(path: Path) -> list[list[str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.reader(file))


def write_rows(path: Path, header: list[str], rows: list[list[str]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *rows])


def prepare_demo(demo_dir: Path, folder: Path) -> Path:
    """Write the files of the search, and return the folder of the teacher."""
    header, *test = read_rows(demo_dir / "data" / "test.csv")
    half = len(test) // 2
    write_rows(folder / "validation.csv", header, test[:half])
    write_rows(folder / "test.csv", header, test[half:])
    for name, source in (("train.csv", "labelled.csv"), ("unlabelled.txt", "unlabelled.txt")):
        (folder / name).write_bytes((demo_dir / "data" / source).read_bytes())
    return demo_dir / "student" / "teacher"


def prepare_banking77(data_dir: Path, encoder: str, folder: Path) -> Path:
    """Write the files of the search, fine-tune the teacher unless it is there, and return its folder."""
    header = ["text", "label"]
    rows, test = (read_rows(data_dir / "banking77" / name)[1:] for name in ("train.csv", "test.csv"))
    order = random.Random(0).sample(rows, len(rows))
    end = NUM_LABELLED + NUM_VALIDATION
    write_rows(folder / "train.csv", header, order[:NUM_LABELLED])
    write_rows(folder / "validation.csv", header, order[NUM_LABELLED:end])
    (folder / "unlabelled.txt").write_text("\n".join(" ".join(row[0].split()) for row in order[end:]))
    write_rows(folder / "test.csv", header, test)
    teacher = folder / "teacher"
    if not (teacher / "model.safetensors").exists():
        task = load_text_dataset(train_file=folder / "train.csv", validation_file=folder / "validation.csv")
        args = DistillationTrainingArguments(
            str(teacher),
            num_train_epochs=TEACHER_EPOCHS,
            learning_rate=TEACHER_LEARNING_RATE,
            per_device_train_batch_size=32,
            warmup_steps=0.1,
            train_sampling_strategy="group_by_length",
            save_strategy="no",
            report_to="none",
            use_cpu=True,
        )
        print(fine_tune(encoder, task, args, teacher, max_length=MAX_LENGTH).evaluate(metric_key_prefix="teacher"))
    return teacher


def search(teacher: Path, folder: Path, num_trials: int) -> float:
    """Run the command, and return the minutes that it took."""
    (folder / "space.yaml").write_text(SPACE)
    flags = {
        "teacher_model_name_or_path": teacher,
        "train_file": folder / "train.csv",
        "transfer_file": folder / "unlabelled.txt",
        "validation_file": folder / "validation.csv",
        "test_file": folder / "test.csv",
        "max_seq_length": MAX_LENGTH,
        "require": "accuracy >= 0.98 * teacher",
        "minimize": "latency",
        "space": folder / "space.yaml",
        "num_trials": num_trials,
        "per_device_train_batch_size": 32,
        "warmup_steps": 0.1,
        "train_sampling_strategy": "group_by_length",
        "teacher_cache_dir": folder / "teacher_outputs",
        "report_to": "none",
        "use_cpu": True,
        "output_dir": folder / "search",
    }
    start = time.perf_counter()
    try:
        hf_distill(["search", *(word for name, value in flags.items() for word in (f"--{name}", str(value)))])
    except SystemExit as stopped:
        print(f"The search ended with status {stopped.code}.")
    return (time.perf_counter() - start) / 60


def front_rows(content: dict[str, Any]) -> list[Row]:
    """Return the trials that no other trial beats in both accuracy and latency, the fastest first."""
    trials = [trial for trial in content["trials"] if trial["state"] == "completed"]
    points = front([(trial["latency_p50_ms"], trial["accuracy"]) for trial in trials])
    return [
        {
            "student": trial["architecture"],
            "accuracy": f"{100 * trial['accuracy']:.1f}",
            "latency, ms": f"{trial['latency_p50_ms']:.2f}",
            "size, MB": f"{trial['size_mb']:.1f}",
        }
        for trial in sorted(trials, key=lambda trial: trial["latency_p50_ms"])
        if (trial["latency_p50_ms"], trial["accuracy"]) in points
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("task", choices=("demo", "banking77"))
    parser.add_argument("--demo_dir", type=Path, default=Path("demo_output"), help="output of `make demo`")
    parser.add_argument("--data_dir", type=Path, help="folder that holds banking77/")
    parser.add_argument("--encoder", help="path of the pretrained encoder, a 6-layer MiniLM")
    parser.add_argument("--output_dir", type=Path, required=True)
    parser.add_argument("--num_trials", type=int, default=10)
    options = parser.parse_args()
    if options.task == "banking77" and None in (options.data_dir, options.encoder):
        parser.error("banking77 needs --data_dir and --encoder")
    folder = options.output_dir
    folder.mkdir(parents=True, exist_ok=True)
    if options.task == "demo":
        teacher = prepare_demo(options.demo_dir, folder)
    else:
        teacher = prepare_banking77(options.data_dir, options.encoder, folder)
    minutes = search(teacher, folder, options.num_trials)
    content = json.loads((folder / "search" / "search.json").read_text(encoding="utf-8"))
    print(f"\n{to_markdown(front_rows(content))}\n")
    print(f"Teacher: {content['teacher']}\nSeconds: {content['seconds']}\nThe search took {minutes:.1f} minutes.")


if __name__ == "__main__":
    main()
