"""The commands: what each is for, an example, and the dataclasses of its flags."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Command:
    """A command of `hf-distill`.

    Attributes:
        description: What it is for, in one sentence.
        example: A command line.
        classes: Names of the dataclasses whose fields are its flags; see `FILES` in `flags.py`.
    """

    description: str
    example: str
    classes: tuple[str, ...] = ()


COMMANDS = {
    "train": Command(
        "Distill a fine-tuned classifier into a smaller one.",
        "hf-distill train --teacher_model_name_or_path teacher --student_num_hidden_layers 3 --baseline \\\n"
        "      --train_file labelled.csv --validation_file validation.csv --output_dir student",
        ("ModelArguments", "DataArguments", "DistillationTrainingArguments"),
    ),
    "search": Command(
        "Find the cheapest student that meets requirements on quality, time and size.",
        "hf-distill search --teacher_model_name_or_path teacher --train_file labelled.csv \\\n"
        "      --validation_file validation.csv --require 'accuracy >= 0.98 * teacher' --output_dir search",
        ("TeacherArguments", "DataArguments", "SearchArguments", "DistillationTrainingArguments"),
    ),
    "cache": Command(
        "Run a teacher over texts once and store its logits.",
        "hf-distill cache --teacher_model_name_or_path teacher --train_file labelled.csv \\\n"
        "      --transfer_file unlabelled.txt --output_dir labelled",
        ("CacheArguments", "DataArguments"),
    ),
    "compare": Command(
        "Report whether a student can replace its teacher.",
        "hf-distill compare --teacher_model_name_or_path teacher --student_model_name_or_path student \\\n"
        "      --validation_file test.csv --output_dir report",
        ("CompareArguments", "DataArguments"),
    ),
    "export": Command(
        "Export a classifier to ONNX, in float32 or int8, to predict without torch.",
        "hf-distill export --model_name_or_path student --quantize int8 --text_file test.csv --output_dir onnx",
        ("ExportArguments", "ReadingArguments"),
    ),
    "data": Command(
        "Print what is read from files: columns, classes, encodings, contradictions. Files come before flags.",
        "hf-distill data labelled.csv --label_column_name sentiment",
        ("DataArguments",),
    ),
    "env": Command("Print versions and machine for a bug report.", "hf-distill env"),
    "push": Command(
        "Publish a student with its exports, report, record and card in one commit.",
        "hf-distill push --folder student --hub_model_id user/name",
        ("PushArguments",),
    ),
}
