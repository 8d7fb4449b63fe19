"""Compare the speed and size of students with fewer layers, fewer neurons and no layers, exported to ONNX.

    python benchmarks/student_speed.py [--quick]

All students are made from MiniLM-L6 and not trained: speed does not depend on training. They take turns on the same
real sentences in one process with one thread, and the table has the least CPU time, tokenizer included.
"""

import argparse
import shutil
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from material import WORK, find_minilm, make_teacher, read_sentences, tokenize
from tables import to_markdown, write_csv
from torch.utils.data import DataLoader
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    DataCollatorWithPadding,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from hf_distill import Predictor, create_static_student, create_student, export_model

RESULTS = Path(__file__).parent / "results"
NUM_TEXTS, BATCH_SIZE = 256, 32


def make_students(
    teacher: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]
) -> dict[str, PreTrainedModel]:
    """Return the models to compare by name, the teacher first."""
    rows = tokenize([(text, "positive") for text in texts], tokenizer).remove_columns("labels")
    loader = DataLoader(rows, BATCH_SIZE, collate_fn=DataCollatorWithPadding(tokenizer))
    return {
        "teacher, 6 layers": teacher,
        "3 layers": create_student(teacher, 3),
        "2 layers": create_student(teacher, 2),
        "2 layers, 512 neurons": create_student(teacher, 2, intermediate_size=512, calibration_batches=loader),
        "1 layer": create_student(teacher, 1),
        "static, 256": create_static_student(teacher, tokenizer, 256),
    }


def cpu_seconds(predictor: Predictor, texts: Sequence[str], batch_size: int) -> float:
    """Return the CPU time for all texts, which other programs do not lengthen much."""
    start = time.process_time()
    predictor.logits(list(texts), batch_size=batch_size)
    return time.process_time() - start


def main() -> None:
    """Print the table and write it to results/student_speed.*."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="Fewer texts and rounds.")
    options = parser.parse_args()
    num_texts, rounds = (64, 2) if options.quick else (NUM_TEXTS, 5)
    texts = [text for text, _ in read_sentences()[1][:num_texts]]
    folder = make_teacher(find_minilm(), WORK / "speed_teacher", [])
    tokenizer = AutoTokenizer.from_pretrained(folder)
    teacher = AutoModelForSequenceClassification.from_pretrained(folder)
    predictors, sizes = {}, {}
    for name, model in make_students(teacher, tokenizer, texts).items():
        path = WORK / "speed_exports" / name.replace(", ", "_").replace(" ", "_")
        shutil.rmtree(path, ignore_errors=True)
        export_model(model, path, processing_class=tokenizer)
        predictors[name] = Predictor(path, num_threads=1)
        sizes[name] = sum(file.stat().st_size for file in path.rglob("*.onnx*")) / 1e6
    seconds = {
        size: {
            name: min(cpu_seconds(predictor, texts, size) for _ in range(rounds))
            for name, predictor in predictors.items()
        }
        for size in (1, BATCH_SIZE)
    }
    reference = seconds[BATCH_SIZE]["2 layers"]
    rows = [
        {
            "model": name,
            "size (MB)": f"{sizes[name]:.1f}",
            "one text (ms)": f"{1000 * seconds[1][name] / num_texts:.2f}",
            "texts/s, batch 32": f"{num_texts / seconds[BATCH_SIZE][name]:,.0f}",
            "times the 2-layer student": f"{reference / seconds[BATCH_SIZE][name]:.1f}",
        }
        for name in predictors
    ]
    mean_length = np.mean([len(tokenizer(text)["input_ids"]) for text in texts])
    print(f"{num_texts} sentences of {mean_length:.0f} tokens on average, one thread, CPU time\n")
    print(to_markdown(rows))
    if not options.quick:
        write_csv(RESULTS / "student_speed.csv", rows)


if __name__ == "__main__":
    main()
