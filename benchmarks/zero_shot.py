"""Measure a zero-shot teacher on public test rows, without a label for the teacher.

    python benchmarks/zero_shot.py --data_dir DATA --encoder MINILM

`DATA` has GLUE in `glue/` and Banking77 in `banking77/`. The encoder is a sentence encoder or a model of natural
language inference. It takes about a minute of one core with a 6-layer MiniLM.
"""

import argparse
import os
from collections.abc import Mapping
from pathlib import Path

os.environ |= {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}

import numpy as np
import torch
from datasets import Dataset
from random_models import prepare_process
from student_tasks import load
from tables import to_markdown

from hf_distill.teachers import ZeroShotTeacher

BATCH_SIZE = 64
MOVIES = {"negative": "a bad, boring movie", "positive": "a great, moving movie"}


def score(encoder: str, descriptions: Mapping[str, str], rows: Dataset, names: list[str]) -> tuple[float, float]:
    """Return accuracy and cross-entropy of the teacher that has these descriptions of the classes.

    Args:
        encoder: Path or Hub id of the teacher.
        descriptions: Class name -> description.
        rows: Rows with the columns of a text and of its class id, `label`.
        names: Class names by id.
    """
    teacher = ZeroShotTeacher(encoder, dict(descriptions))
    (text_column,) = set(rows.column_names) & {"text", "sentence"}
    texts = rows[text_column][:]
    order = np.argsort([len(text) for text in texts], kind="stable")  # texts of like length share a batch
    logits: list[np.ndarray] = [np.empty(0)] * len(texts)
    for start in range(0, len(order), BATCH_SIZE):
        places = order[start : start + BATCH_SIZE]
        for place, row in zip(places, teacher.logits([texts[i] for i in places]), strict=True):
            logits[place] = np.asarray(row)
    outputs = torch.tensor(np.stack(logits)).float()
    labels = torch.tensor([teacher.labels.index(names[label]) for label in rows["label"]])
    accuracy = (outputs.argmax(dim=1) == labels).float().mean().item()
    return accuracy, torch.nn.functional.cross_entropy(outputs, labels).item()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data_dir", type=Path, required=True, help="folder that holds glue/ and banking77/")
    parser.add_argument("--encoder", required=True, help="path or Hub id of the teacher")
    options = parser.parse_args()
    prepare_process()
    table = []
    for name, rephrase in (("banking77", None), ("sst2", None), ("sst2", MOVIES)):
        task = load(name, options.data_dir)
        names = list(task.label_names or [])
        descriptions = rephrase or {label: label.replace("_", " ") for label in names}
        rows = task.datasets["validation"]
        accuracy, cross_entropy = score(options.encoder, descriptions, rows, names)
        described = "; ".join(descriptions.values()) if len(names) < 5 else "the names of the classes, with blanks"
        row = {"data": name, "rows": len(rows), "descriptions": described}
        table.append({**row, "accuracy": round(100 * accuracy, 1), "cross-entropy": round(cross_entropy, 2)})
    print(to_markdown(table))


if __name__ == "__main__":
    main()
