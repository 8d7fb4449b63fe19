"""Measure a zero-shot teacher and the corrections of its prior on public test rows, without a label for it.

    python benchmarks/zero_shot.py --data_dir DATA --encoder MINILM

`DATA` has GLUE in `glue/`, Banking77 in `banking77/`, and 20 Newsgroups in `newsgroups/` (see `newsgroups.py`). The
encoder is a sentence encoder or a model of natural language inference. It takes about four minutes of one core with a
6-layer MiniLM.
"""

import argparse
import os
from pathlib import Path

os.environ |= {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}

import numpy as np
import torch
from newsgroups import TOPICS
from random_models import prepare_process
from student_tasks import load
from tables import to_markdown

from hf_distill.teachers import ZeroShotTeacher
from hf_distill.teachers.prior_correction import PRIOR_CORRECTIONS, PriorCorrection

BATCH_SIZE = 256
MOVIES = {"negative": "a bad, boring movie", "positive": "a great, moving movie"}
TASKS = (("newsgroups", TOPICS), ("banking77", None), ("sst2", None), ("sst2", MOVIES))


def label(teacher: ZeroShotTeacher, texts: list[str]) -> np.ndarray:
    """Return the logits of the teacher, `(num_texts, num_labels)`."""
    order = np.argsort([len(text) for text in texts], kind="stable")  # texts of like length share a batch
    logits = np.empty((len(texts), len(teacher.labels)), np.float32)
    for start in range(0, len(order), BATCH_SIZE):
        places = order[start : start + BATCH_SIZE]
        logits[places] = teacher.logits([texts[i] for i in places])
    return logits


def score(
    teacher: ZeroShotTeacher, texts: list[str], logits: np.ndarray, labels: np.ndarray
) -> dict[str, tuple[float, float]]:
    """Return accuracy and cross-entropy for each correction of the prior.

    Args:
        teacher: The teacher, without a correction.
        texts: The texts, on which the bias of "uniform" is found.
        logits: Its logits of the texts, `(num_texts, num_labels)`.
        labels: Class ids of the texts, by the teacher's order.
    """
    scores = {}
    for method in PRIOR_CORRECTIONS:
        prior = PriorCorrection(method, teacher.labels)
        if prior.is_pending:
            chosen = prior.choose_texts(texts)
            prior.fit(logits if chosen is texts else teacher.logits(chosen))
        outputs = torch.tensor(prior.apply(logits))
        targets = torch.tensor(labels)
        accuracy = (outputs.argmax(dim=1) == targets).float().mean().item()
        scores[method] = accuracy, torch.nn.functional.cross_entropy(outputs, targets).item()
    return scores


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--data_dir", type=Path, required=True, help="folder that holds glue/, banking77/ and newsgroups/"
    )
    parser.add_argument("--encoder", required=True, help="path or Hub id of the teacher")
    options = parser.parse_args()
    prepare_process()
    table = []
    for name, rephrase in TASKS:
        task = load(name, options.data_dir)
        names = list(task.label_names or [])
        descriptions = rephrase or {label: label.replace("_", " ") for label in names}
        rows = task.datasets["validation"]
        (text_column,) = set(rows.column_names) & {"text", "sentence"}
        teacher, texts = ZeroShotTeacher(options.encoder, descriptions), rows[text_column][:]
        logits = label(teacher, texts)
        labels = np.array([teacher.labels.index(names[row]) for row in rows["label"]])
        described = "; ".join(descriptions.values())
        if len(names) > 4:
            described = "the names of the classes, with blanks" if rephrase is None else "a few words for each class"
        chosen = {name: np.arange(len(texts))}
        if len(names) == 2:
            first, second = (np.flatnonzero(labels == i) for i in range(2))
            chosen[f"{name}, every 4th {teacher.labels[0]} row"] = np.concatenate([first[::4], second])
        for data, kept in chosen.items():
            scores = score(teacher, [texts[i] for i in kept], logits[kept], labels[kept])
            row = {"data": data, "rows": len(kept), "descriptions": described}
            row |= {f"accuracy, {method}": round(100 * scores[method][0], 1) for method in scores}
            table.append(row | {f"cross-entropy, {method}": round(scores[method][1], 2) for method in scores})
    print(to_markdown(table))


if __name__ == "__main__":
    main()
