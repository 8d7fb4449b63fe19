"""Distil a classifier of texts that have any number of labels, GoEmotions for instance.

    python examples/distil_multi_label.py --data_dir goemotions --model_name_or_path google-bert/bert-base-uncased \
        --output_dir emotions --num_train_epochs 2 --learning_rate 1e-4

`data_dir` holds the original files: `train.tsv` and `dev.tsv` (text, ids of its labels with commas between them, an
id) and `labels.txt`. A list of label names for each text is all that `hf-distill train` needs to see a multi-label
problem: every label is a yes or no of its own, in the hard loss and in the soft one. Further flags go to it as they
are.
"""

import argparse
import json
from pathlib import Path

from hf_distill.cli import main as hf_distill


def convert(source: Path, target: Path, names: list[str], limit: int | None) -> None:
    """Write one JSON object a line: the text, and the list of its labels' names."""
    rows = [line.split("\t") for line in source.read_text(encoding="utf-8").splitlines()][:limit]
    lines = [json.dumps({"text": text, "label": [names[int(i)] for i in ids.split(",")]}) for text, ids, _ in rows]
    target.write_text("\n".join(lines), encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data_dir", type=Path, required=True)
    parser.add_argument("--model_name_or_path", required=True, help="pretrained encoder, fine-tuned into the teacher")
    parser.add_argument("--output_dir", type=Path, required=True)
    parser.add_argument("--max_train_samples", type=int)
    parser.add_argument("--num_hidden_layers", default="3")
    options, others = parser.parse_known_args()
    files = {split: options.output_dir / f"{split}.jsonl" for split in ("train", "dev")}
    options.output_dir.mkdir(parents=True, exist_ok=True)
    names = (options.data_dir / "labels.txt").read_text(encoding="utf-8").split()
    convert(options.data_dir / "train.tsv", files["train"], names, options.max_train_samples)
    convert(options.data_dir / "dev.tsv", files["dev"], names, None)
    flags = ["--train_file", str(files["train"]), "--validation_file", str(files["dev"]), "--metric_name", "f1_micro"]
    flags += ["--teacher_model_name_or_path", options.model_name_or_path, "--fine_tune_teacher"]
    flags += ["--student_num_hidden_layers", options.num_hidden_layers, "--baseline", "--cache_teacher_outputs"]
    hf_distill(["train", *flags, "--output_dir", str(options.output_dir), *others])


if __name__ == "__main__":
    main()
