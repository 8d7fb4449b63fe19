"""What a command line needs: a folder with a teacher and data files, and the flags that name them."""

import csv

from tiny import LABEL_NAMES, tiny_model, tiny_rows


def write_folder(folder, tokenizer):
    """Write a teacher, labelled CSV files and unlabelled text."""
    tiny_model(num_hidden_layers=4, seed=1).save_pretrained(folder / "teacher")
    tokenizer.save_pretrained(folder / "teacher")
    for name, seed in (("train", 0), ("validation", 1)):
        with (folder / f"{name}.csv").open("w", newline="") as file:
            rows = csv.writer(file)
            rows.writerow(["text", "label"])
            rows.writerows((row["text"], LABEL_NAMES[row["label"]]) for row in tiny_rows(24, seed))
    (folder / "transfer.txt").write_text("\n".join(row["text"] for row in tiny_rows(10, seed=2)))
    return folder


def flags(folder, output_dir, **changes):
    values = {
        "teacher_model_name_or_path": folder / "teacher",
        "train_file": folder / "train.csv",
        "validation_file": folder / "validation.csv",
        "student_num_hidden_layers": 2,
        "per_device_train_batch_size": 8,
        "num_train_epochs": 1,
        "use_cpu": True,
        "output_dir": output_dir,
        **changes,
    }
    return [word for name, value in values.items() if value is not None for word in (f"--{name}", str(value))]
