"""Distill a multi-label classifier, for instance of GoEmotions, where a text can have any number of labels.

    python examples/distill_multi_label.py --data_dir goemotions --model_name_or_path google-bert/bert-base-uncased \
        --max_labelled 10000 --output_dir emotions --num_train_epochs 2 --learning_rate 1e-4

`data_dir` holds the original files: `train.tsv` and `dev.tsv` (columns: text, label ids separated by commas, row id)
and `labels.txt`. The script writes a list of label names for each text; from such lists `hf-distill train` recognizes
a multi-label problem. Hard loss and soft loss then treat every label as a separate yes-or-no question. After the first
`--max_labelled` texts the script removes the labels, and the student learns only from the teacher there. All other
flags are passed on to `hf-distill train`.
"""

import argparse
import json
from pathlib import Path

from hf_distill.cli import main as hf_distill


def read(source: Path, names: list[str]) -> list[dict]:
    """Return texts, each with the list of its label names."""
    rows = [line.split("\t") for line in source.read_text(encoding="utf-8").splitlines()]
    return [{"text": text, "label": [names[int(i)] for i in ids.split(",")]} for text, ids, _ in rows]


def write(target: Path, rows: list[dict]) -> str:
    target.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return str(target)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data_dir", type=Path, required=True)
    parser.add_argument("--model_name_or_path", required=True, help="pretrained encoder, fine-tuned into the teacher")
    parser.add_argument("--output_dir", type=Path, required=True)
    parser.add_argument("--max_labelled", type=int, help="number of texts that keep their labels; unset: all")
    parser.add_argument("--num_hidden_layers", default="3", help="number of layers of the student")
    options, train_flags = parser.parse_known_args()
    options.output_dir.mkdir(parents=True, exist_ok=True)
    names = (options.data_dir / "labels.txt").read_text(encoding="utf-8").split()
    train, dev = (read(options.data_dir / f"{split}.tsv", names) for split in ("train", "dev"))
    num_labelled = min(options.max_labelled or len(train), len(train))
    flags = ["--train_file", write(options.output_dir / "train.jsonl", train[:num_labelled])]
    flags += ["--validation_file", write(options.output_dir / "dev.jsonl", dev), "--metric_name", "f1_micro"]
    if unlabelled := [{"text": row["text"]} for row in train[num_labelled:]]:
        flags += ["--transfer_file", write(options.output_dir / "unlabelled.jsonl", unlabelled)]
    flags += ["--teacher_model_name_or_path", options.model_name_or_path, "--fine_tune_teacher"]
    flags += ["--student_num_hidden_layers", options.num_hidden_layers, "--baseline", "--cache_teacher_outputs"]
    hf_distill(["train", *flags, "--output_dir", str(options.output_dir), *train_flags])


if __name__ == "__main__":
    main()
