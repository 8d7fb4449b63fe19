"""Distil a GLUE classifier into a smaller one, beside the same student trained without its teacher.

    python examples/run_glue.py --task_name sst2 --teacher_model_name_or_path user/bert-base-sst2 \
        --student_num_hidden_layers 3 --num_train_epochs 3 --output_dir sst2_student

Every flag of `transformers.TrainingArguments` and `hf_distill.DistillationTrainingArguments` works too, and so does
`accelerate launch`. `hf-distill train` does the same for any data set; this script is the one to read and to change.
"""

import copy
import sys
from dataclasses import dataclass, field

from transformers import AutoModelForSequenceClassification, AutoTokenizer, HfArgumentParser, set_seed

from hf_distill import DistillationTrainer, DistillationTrainingArguments, create_student, load_task
from hf_distill.reporting import measure_latency, summary
from hf_distill.teachers import load_teacher


@dataclass
class ScriptArguments:
    task_name: str = field(metadata={"help": "cola, sst2, mrpc, stsb, qqp, mnli, qnli, rte or wnli."})
    teacher_model_name_or_path: str = field(
        metadata={"help": "A fine-tuned teacher, or with --fine_tune_teacher a pretrained model."}
    )
    data_dir: str | None = field(
        default=None, metadata={"help": "Folder with GLUE in its original files (SST-2/train.tsv). Unset: the Hub."}
    )
    max_seq_length: int = field(default=128, metadata={"help": "Tokens after which a row is cut."})
    max_train_samples: int | None = field(default=None, metadata={"help": "Use the first so many rows only."})
    fine_tune_teacher: bool = field(default=False, metadata={"help": "Fine-tune the teacher on the task first."})
    teacher_num_train_epochs: float = field(default=2.0, metadata={"help": "Epochs of that fine-tuning."})
    student_num_hidden_layers: int = field(default=3, metadata={"help": "Layers of the student."})
    student_architecture: str | None = field(
        default=None, metadata={"help": "distilbert: a DistilBERT of a BERT teacher. Unset: the teacher's own."}
    )


def main():
    script, args = HfArgumentParser((ScriptArguments, DistillationTrainingArguments)).parse_args_into_dataclasses()
    set_seed(args.seed)

    # 1. The task: rows, label names, the official metric.
    with args.main_process_first(desc="loading the data"):
        task = load_task(script.task_name, script.data_dir)
    if script.max_train_samples is not None:
        task.datasets["train"] = task.datasets["train"].take(script.max_train_samples)

    # 2. The teacher and its tokenizer. A pretrained model gets a new head with the task's labels.
    tokenizer = AutoTokenizer.from_pretrained(script.teacher_model_name_or_path)
    if script.fine_tune_teacher:
        names = task.label_names or ["score"]
        teacher = AutoModelForSequenceClassification.from_pretrained(
            script.teacher_model_name_or_path,
            dtype="float32",
            num_labels=len(names),
            problem_type=task.problem_type,
            id2label=dict(enumerate(names)),
            label2id={name: i for i, name in enumerate(names)},
        )
    else:
        teacher = load_teacher(script.teacher_model_name_or_path)  # says so if it was never fine-tuned

    # 3. Token ids, with labels in the teacher's order.
    with args.main_process_first(desc="tokenising the data"):
        rows = task.tokenize(tokenizer, script.max_seq_length, teacher.config.label2id)
    validation, *other_validation = task.validation_splits
    shared = {
        "train_dataset": rows["train"],
        "eval_dataset": rows[validation],
        "processing_class": tokenizer,
        "compute_metrics": task.compute_metrics_for(teacher.config.label2id),
    }

    if script.fine_tune_teacher:
        teacher_args = args.without_teacher(
            f"{args.output_dir}/teacher", num_train_epochs=script.teacher_num_train_epochs, max_steps=-1
        )
        fine_tuning = DistillationTrainer(teacher, args=teacher_args, **shared)
        fine_tuning.train()
        fine_tuning.save_model()

    # 4. The student: some of the teacher's layers, its embeddings and its head.
    student = create_student(
        teacher, num_hidden_layers=script.student_num_hidden_layers, architecture=script.student_architecture
    )
    untrained = copy.deepcopy(student)

    # 5. Distil.
    trainer = DistillationTrainer(student, teacher, args, **shared)
    trainer.train(resume_from_checkpoint=args.resume_from_checkpoint)
    trainer.evaluate()
    for split in other_validation:  # MNLI has two
        trainer.evaluate(rows[split], metric_key_prefix=split)

    # 6. What was the teacher worth? The same student, without it.
    baseline = trainer.train_baseline(untrained)

    # 7. Save the student with its record and model card, and compare.
    trainer.record |= {
        "metric_name": task.metric_name,
        "command": ["python", *sys.argv],
        "dataset": {
            "id": task.dataset_id,
            "config": task.config_name,
            "train_rows": len(rows["train"]),
            "eval_rows": len(rows[validation]),
            "eval_split": validation,
        },
    }
    if trainer.is_world_process_zero():
        one_text = {name: rows[validation][:1][name] for name in tokenizer.model_input_names}
        models = {"teacher": teacher, "student": trainer.model, "baseline": baseline.model}
        trainer.record["latency"] = measure_latency(models, tokenizer.pad(one_text, return_tensors="pt"))
    trainer.save_model(_internal_call=True)  # the push, if any, comes last
    trainer.create_model_card()
    if trainer.is_world_process_zero():
        print("\n" + summary(trainer.distillation_record()))
    if args.push_to_hub:
        trainer.push_to_hub()


if __name__ == "__main__":
    main()
