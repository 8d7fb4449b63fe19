"""The files and the variables that the pages use without making them: what a reader has."""

import functools
import json
import shutil
from pathlib import Path
from typing import Any

from pages import ROOT
from tiny import TINY, WORDS, tiny_model, tiny_rows, tiny_tokenizer

NAMES = ("positive", "negative")  # not the alphabetical order, so that a confusion of classes shows
LABELS = {"id2label": dict(enumerate(NAMES)), "label2id": {name: i for i, name in enumerate(NAMES)}}


def save(model: Any, folder: Path, tokenizer: Any) -> None:
    """Save a model with its tokenizer."""
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def write_docs_folder(folder: Path) -> Path:
    """Write a fine-tuned teacher, an encoder, a trained student, files of texts, and what `make demo` leaves."""
    from transformers import BertConfig, BertForMaskedLM

    tokenizer = tiny_tokenizer()
    teacher, student = (tiny_model(n, 2, seed=n, **LABELS) for n in (4, 2))
    for name, model in {"teacher": teacher, "student": student}.items():
        save(model, folder / name, tokenizer)
    save(teacher, folder / "student" / "teacher", tokenizer)
    save(tiny_model(2, 2, seed=5, **LABELS), folder / "student" / "baseline", tokenizer)
    save(teacher, folder / "demo_output" / "student" / "teacher", tokenizer)
    names = ("contradiction", "neutral", "entailment")
    labels = {"id2label": dict(enumerate(names)), "label2id": {name: i for i, name in enumerate(names)}}
    save(tiny_model(3, 3, seed=6, **labels), folder / "nli", tokenizer)
    save(BertForMaskedLM(BertConfig(**TINY, num_hidden_layers=4)), folder / "encoder", tokenizer)
    demo = folder / "demo_output" / "data"
    demo.mkdir()
    for seed, name in enumerate(("labelled.csv", "validation.csv", "test.csv", "demo_output/data/labelled.csv")):
        write_labelled(folder / name, tiny_rows(40, seed))
    shutil.copy(folder / "test.csv", demo / "test.csv")
    for seed, name in enumerate(("unlabelled.txt", "untagged.txt", "texts.txt", "demo_output/data/unlabelled.txt"), 4):
        (folder / name).write_text("\n".join(row["text"] for row in tiny_rows(30, seed)))
    write_labelled(folder / "banking.csv", [{"text": f"text {i} of {i * i}", "label": i % 2} for i in range(40)])
    answers = ({"text": row["text"], "answers": ["good", "bad", "good"]} for row in tiny_rows(6))
    (folder / "answers.jsonl").write_text("\n".join(map(json.dumps, answers)))
    for seed, name in enumerate(("train.conll", "dev.conll")):
        sentences = [row["text"].split() for row in tiny_rows(20, seed)]
        tagged = [[f"{word}\t{'B-thing' if word in WORDS[9:12] else 'O'}" for word in words] for words in sentences]
        (folder / name).write_text("\n\n".join("\n".join(lines) for lines in tagged))
    for name in ("recipes", "examples"):
        (folder / name).symlink_to(ROOT / name)
    return folder


def write_labelled(path: Path, rows: list[dict[str, Any]]) -> None:
    """Write texts and names of classes."""
    lines = [f"{row['text']},{('negative', 'positive')[row['label'] > 0]}" for row in rows]
    path.write_text("\n".join(["text,label", *lines]) + "\n")


def reader_values() -> dict[str, Any]:
    """Return the variables of a reader who has run the code of the README: its imports, models, rows and arguments."""
    import torch
    import transformers
    from datasets import Dataset

    import hf_distill

    tokenizer = tiny_tokenizer()
    teacher, student, baseline = (tiny_model(n, 2, seed=seed, **LABELS) for n, seed in ((4, 4), (2, 2), (2, 5)))
    texts = [row["text"] for row in tiny_rows(40)]
    raw = Dataset.from_list([{"text": row["text"], "labels": int(row["label"] > 0)} for row in tiny_rows(40)])
    rows = raw.map(lambda row: tokenizer(row["text"]))
    return {
        **{name: getattr(hf_distill, name) for name in hf_distill.__all__},
        "compare_models": functools.partial(hf_distill.compare_models, latency_rounds=0),  # times take long
        "AutoModelForSequenceClassification": transformers.AutoModelForSequenceClassification,
        "DataCollatorWithPadding": transformers.DataCollatorWithPadding,
        "DataLoader": torch.utils.data.DataLoader,
        "args": hf_distill.DistillationTrainingArguments("out", use_cpu=True, report_to="none"),
        "teacher": teacher,
        "student": student,
        "models": {"teacher": teacher, "student": student, "baseline": baseline},
        "tokenizer": tokenizer,
        "student_tokenizer": tokenizer,
        "teacher_tokenizer": tiny_tokenizer(),
        "dataset": rows,
        "rows": rows,
        "train": rows,
        "validation": raw,
        "texts": texts,
        "corpus": texts,
    }
