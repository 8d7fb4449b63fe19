"""Distill a GLUE classifier into a smaller one, and compare it with the same student trained without its teacher.

    python examples/run_glue.py --task_name sst2 --teacher_model_name_or_path user/bert-base-sst2 \
        --student_num_hidden_layers 3 --num_train_epochs 3 --output_dir sst2_student

The script takes every flag of `transformers.TrainingArguments` and `hf_distill.DistillationTrainingArguments`, and
runs under `accelerate launch`. `hf-distill train` does the same for any dataset; read and change this script to see
and control each step.
"""

import copy
import sys
from dataclasses import dataclass, field

from transformers import AutoTokenizer, HfArgumentParser, set_seed

from hf_distill import DistillationTrainer, DistillationTrainingArguments, create_student, load_task
from hf_distill.pipeline import describe_latency, fine_tune, limit_rows
from hf_distill.reporting import summary
from hf_distill.teachers import load_teacher


@dataclass
class ScriptArguments:
    task_name: str = field(metadata={"help": "cola, sst2, mrpc, stsb, qqp, mnli, qnli, rte or wnli."})
    teacher_model_name_or_path: str = field(
        metadata={"help": "A fine-tuned teacher; with --fine_tune_teacher, a pretrained model."}
    )
    data_dir: str | None = field(
        default=None,
        metadata={"help": "Folder with GLUE's original files, e.g. SST-2/train.tsv. Unset: download from the Hub."},
    )
    max_seq_length: int = field(default=128, metadata={"help": "Cut rows after this number of tokens."})
    max_train_samples: int | None = field(default=None, metadata={"help": "Use only the first N training rows."})
    fine_tune_teacher: bool = field(default=False, metadata={"help": "First fine-tune the teacher on the task."})
    teacher_num_train_epochs: float = field(
        default=2.0, metadata={"help": "Number of epochs for fine-tuning the teacher."}
    )
    student_num_hidden_layers: int = field(default=3, metadata={"help": "Number of layers of the student."})
    student_architecture: str | None = field(
        default=None,
        metadata={"help": "distilbert: make a DistilBERT from a BERT teacher. Unset: the teacher's architecture."},
    )


def main():
    script, args = HfArgumentParser((ScriptArguments, DistillationTrainingArguments)).parse_args_into_dataclasses()
    set_seed(args.seed)

    # 1. The task: rows, label names, the official metric.
    with args.main_process_first(desc="loading the data"):
        task = limit_rows(load_task(script.task_name, script.data_dir), script.max_train_samples)

    # 2. The teacher and its tokenizer. A pretrained model gets a new head with the task's labels.
    tokenizer = AutoTokenizer.from_pretrained(script.teacher_model_name_or_path)
    if script.fine_tune_teacher:
        teacher = fine_tune(
            script.teacher_model_name_or_path,
            task,
            args,
            f"{args.output_dir}/teacher",
            max_length=script.max_seq_length,
            num_train_epochs=script.teacher_num_train_epochs,
        ).model
    else:
        teacher = load_teacher(script.teacher_model_name_or_path)  # warns if it was never fine-tuned

    # 3. Token ids, with labels in the order of the teacher's classes.
    task = task.for_model(teacher)
    with args.main_process_first(desc="tokenizing the data"):
        rows = task.tokenize(tokenizer, script.max_seq_length)
    validation, *other_validation_splits = task.validation_splits

    # 4. The student: some of the teacher's layers, its embeddings and its head.
    student = create_student(
        teacher, num_hidden_layers=script.student_num_hidden_layers, architecture=script.student_architecture
    )
    untrained = copy.deepcopy(student)

    # 5. Distill.
    trainer = DistillationTrainer(
        student,
        teacher,
        args,
        train_dataset=rows["train"],
        eval_dataset=rows[validation],
        processing_class=tokenizer,
        compute_metrics=task.compute_metrics,
    )
    trainer.train(resume_from_checkpoint=args.resume_from_checkpoint)
    trainer.evaluate()
    for split in other_validation_splits:  # MNLI has two
        trainer.evaluate(rows[split], metric_key_prefix=split)

    # 6. Train the same student without the teacher, to measure how much the teacher helped.
    baseline = trainer.train_baseline(untrained)

    # 7. Save the student with its record and its model card, and compare the models.
    trainer.record["command"] = ["python", *sys.argv]
    trainer.describe_data(task, rows)
    first_row = {name: rows[validation][:1][name] for name in tokenizer.model_input_names}
    models = {"teacher": teacher, "student": trainer.model, "baseline": baseline.model}
    describe_latency(trainer, models, tokenizer.pad(first_row, return_tensors="pt"))
    trainer.save_model(_internal_call=True)  # without a push, which comes last
    trainer.create_model_card()
    if trainer.is_world_process_zero():
        print("\n" + summary(trainer.distillation_record()))
    if args.push_to_hub:
        trainer.push_to_hub()


if __name__ == "__main__":
    main()
