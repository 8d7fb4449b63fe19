"""Distil a classifier of texts that have any number of labels, GoEmotions for instance.

    python examples/distil_multi_label.py --data_dir goemotions --model_name_or_path google-bert/bert-base-uncased \
        --max_labelled 10000 --output_dir emotions --num_train_epochs 2 --learning_rate 1e-4

`data_dir` holds the original files: `train.tsv` and `dev.tsv` (text, ids of its labels with commas between them, an
id) and `labels.txt`. A list of label names for each text is all that `hf-distill train` needs to see a multi-label
problem: every label is a yes or no of its own, in the hard loss and in the soft one. Beyond `--max_labelled` texts the
labels are left out, and the student learns from the teacher alone. Further flags go to `hf-distill train` as they are.
"""

import argparse
import json
from pathlib import Path

from hf_distill.cli import main as hf_distill


def read(source: Path, names: list[str]) -> list[dict]:
    """Return texts, each with the list of its labels' names."""
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
    parser.add_argument("--max_labelled", type=int, help="texts that keep their labels; unset, all")
    parser.add_argument("--num_hidden_layers", default="3")
    options, others = parser.parse_known_args()
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
    hf_distill(["train", *flags, "--output_dir", str(options.output_dir), *others])


if __name__ == "__main__":
    main()
