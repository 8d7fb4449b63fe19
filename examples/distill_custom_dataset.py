"""Distill your own classifier on your own text, most of it unlabelled: the Python API from start to end.

    python examples/distill_custom_dataset.py --teacher_model_name_or_path user/teacher \
        --train_file labelled.csv --validation_file validation.csv --transfer_file unlabelled.txt \
        --student_num_hidden_layers 3 --output_dir student

The files are CSV, TSV, JSON or Parquet with a text column and a `label` column. The unlabelled text can also be a
`.txt` file with one text per line. `hf-distill train` takes the same flags. Use this script if you want to change what
happens between the steps.
"""

import copy
from dataclasses import dataclass, field

from datasets import concatenate_datasets
from transformers import AutoTokenizer, HfArgumentParser, pipeline

from hf_distill import DistillationTrainer, DistillationTrainingArguments, create_student
from hf_distill.data import load_text_dataset, load_transfer_text
from hf_distill.reporting import summary
from hf_distill.teachers import load_teacher


@dataclass
class ScriptArguments:
    teacher_model_name_or_path: str = field(metadata={"help": "Your fine-tuned classifier."})
    train_file: str = field(metadata={"help": "Labelled rows to train on."})
    validation_file: str = field(metadata={"help": "Labelled rows to evaluate on."})
    transfer_file: str = field(metadata={"help": "Unlabelled text, which the teacher labels with soft targets."})
    student_num_hidden_layers: int = field(default=3, metadata={"help": "Number of layers of the student."})


def main():
    script, args = HfArgumentParser((ScriptArguments, DistillationTrainingArguments)).parse_args_into_dataclasses()
    teacher = load_teacher(script.teacher_model_name_or_path)
    tokenizer = AutoTokenizer.from_pretrained(script.teacher_model_name_or_path)

    # Classes are matched with the teacher's by name. Unlabelled rows get the label -100.
    task = load_text_dataset(train_file=script.train_file, validation_file=script.validation_file).for_model(teacher)
    rows = task.tokenize(tokenizer)
    texts = load_transfer_text(script.transfer_file, text_column_names=task.text_columns)
    unlabelled = task.tokenize_dataset(texts, tokenizer).cast(rows["train"].features)
    rows["train"] = concatenate_datasets([rows["train"], unlabelled])

    student = create_student(teacher, num_hidden_layers=script.student_num_hidden_layers)
    untrained = copy.deepcopy(student)
    trainer = DistillationTrainer(
        student,
        teacher,
        args,
        train_dataset=rows["train"],
        eval_dataset=rows["validation"],
        processing_class=tokenizer,
        compute_metrics=task.compute_metrics,
    )
    trainer.train()
    trainer.evaluate()
    trainer.train_baseline(untrained)  # on the labelled rows, without the teacher

    trainer.describe_data(task, rows)
    trainer.save_model()
    trainer.create_model_card()
    if trainer.is_world_process_zero():
        print("\n" + summary(trainer.distillation_record()))
        classify = pipeline("text-classification", model=args.output_dir)
        text = task.datasets["validation"][0][task.text_columns[0]]
        print(f"\n{text!r}: {classify(text)}")


if __name__ == "__main__":
    main()
