"""`hf-distill train`: data, teacher, student, baseline, and a table that compares them."""

import copy
import dataclasses
import sys
from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np
import torch
from datasets import Dataset, DatasetDict, concatenate_datasets
from transformers import (
    AutoModelForSequenceClassification,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    set_seed,
)

from hf_distill.cache import TeacherCache
from hf_distill.cli.arguments import DataArguments, ModelArguments, load_tokenizer, parse
from hf_distill.cli.transfer import TransferSet, load_transfer
from hf_distill.data import Task, read_teacher
from hf_distill.labels import label2id_of
from hf_distill.outputs import TEACHER_LOGITS
from hf_distill.problem_types import PROBLEM_TYPES
from hf_distill.reporting import measure_latency, summary
from hf_distill.students import create_student
from hf_distill.teachers import load_teacher
from hf_distill.trainer import DistillationTrainer
from hf_distill.training_args import DistillationTrainingArguments


def run(arguments: Sequence[str]) -> None:
    """Train a student as the flags say, and print how it compares."""
    models, data, args = parse((ModelArguments, DataArguments, DistillationTrainingArguments), arguments)
    set_seed(args.seed)
    if data.transfer_min_confidence is not None and not (args.cache_teacher_outputs and models.has_teacher):
        raise ValueError(
            "--transfer_min_confidence needs what the teacher says before the training: add --cache_teacher_outputs "
            "True, or choose the texts by `hf-distill cache`."
        )
    task, transfer = _load(data, args)
    teacher = _load_teacher(models, task)
    tokenizer = load_tokenizer(*_whose_tokenizer(models))
    label2id = None if teacher is None else label2id_of(teacher.config)
    rows, train = _tokenize(task, transfer, tokenizer, label2id, data, args)
    common = {
        "eval_dataset": rows[task.validation_splits[0]],
        "processing_class": tokenizer,
        "compute_metrics": task.compute_metrics_for(label2id),
    }
    if models.baseline:
        args.check_baseline()
    if teacher is not None and models.fine_tune_teacher:
        # What is wrong with the student, the loss or the rows is said now, not after the teacher's training.
        dry = dataclasses.replace(args, cache_teacher_outputs=False, push_to_hub=False)
        DistillationTrainer(
            _make_student(models, teacher, tokenizer, task), teacher, dry, train_dataset=train, **common
        )
        _fine_tune(teacher, rows["train"], common, models, args)
    if transfer is not None:
        if teacher is not None and args.cache_teacher_outputs:
            train = _select(transfer, train, rows[task.validation_splits[0]], teacher, tokenizer, args)
        if args.process_index == 0:
            print(transfer.summary())
    student = _make_student(models, teacher, tokenizer, task)
    untrained = copy.deepcopy(student) if models.baseline else None
    trainer = DistillationTrainer(student, teacher, args, train_dataset=train, **common)
    trainer.train(resume_from_checkpoint=args.resume_from_checkpoint)
    trainer.evaluate()
    for split in task.validation_splits[1:]:  # MNLI has two
        trainer.evaluate(rows[split], metric_key_prefix=split)
    compared = {"student": trainer.model} if teacher is None else {"teacher": teacher, "student": trainer.model}
    if untrained is not None:
        compared["baseline"] = trainer.train_baseline(untrained).model
    trainer.record |= _describe(task, rows, train)
    if teacher is None and data.dataset_name is not None:
        described = read_teacher(data.dataset_name) or {}
        trainer.record["dataset"] |= {"transfer": described.pop("transfer")} if "transfer" in described else {}
        trainer.record["teacher"] = described or None
    if transfer is not None:
        trainer.record["dataset"]["transfer"] = transfer.report
    _finish(trainer, compared, rows[task.validation_splits[0]], tokenizer)


def _load(data: DataArguments, args: DistillationTrainingArguments) -> tuple[Task, TransferSet | None]:
    with args.main_process_first(desc="loading the data"):
        task = data.load()
        return task, load_transfer(data, task.text_columns, PROBLEM_TYPES[task.problem_type], task.datasets)


def _load_teacher(models: ModelArguments, task: Task) -> PreTrainedModel | None:
    """Load the teacher; None if the data carry its logits."""
    name, revision = models.teacher_model_name_or_path, models.teacher_revision
    if name is None:
        if TEACHER_LOGITS not in task.datasets["train"].column_names:
            raise ValueError(
                f"There is no teacher: name one by --teacher_model_name_or_path, or data with a column "
                f"`{TEACHER_LOGITS}`, which `hf-distill cache` writes, by --dataset_name."
            )
        return None
    try:
        return _load_new_head(name, revision, task) if models.fine_tune_teacher else load_teacher(name, revision)
    except OSError as error:
        raise OSError(f"The teacher {name!r} cannot be loaded: {error}") from error


def _whose_tokenizer(models: ModelArguments) -> tuple[str, str | None]:
    if models.teacher_model_name_or_path is not None:
        return models.teacher_model_name_or_path, models.teacher_revision
    return cast(str, models.student_model_name_or_path), None


def _load_new_head(name: str, revision: str | None, task: Task) -> PreTrainedModel:
    names = task.label_names or ["score"]
    return AutoModelForSequenceClassification.from_pretrained(
        name,
        revision=revision or "main",
        dtype="float32",
        num_labels=len(names),
        id2label=dict(enumerate(names)),
        label2id={label: i for i, label in enumerate(names)},
        problem_type=task.problem_type,
    )


def _tokenize(
    task: Task,
    transfer: TransferSet | None,
    tokenizer: PreTrainedTokenizerBase,
    label2id: Mapping[str, int] | None,
    data: DataArguments,
    args: DistillationTrainingArguments,
) -> tuple[DatasetDict, Dataset]:
    """Return the splits, and what the student is to be trained on: labelled and unlabelled rows together."""
    with args.main_process_first(desc="tokenising the data"):
        rows = task.tokenize(tokenizer, data.max_seq_length, label2id)
        if transfer is None:
            return rows, rows["train"]
        unlabelled = task.tokenize_dataset(transfer.text, tokenizer, data.max_seq_length, label2id)
        if set(unlabelled.column_names) != set(rows["train"].column_names):
            raise ValueError(
                f"Either the labelled or the unlabelled rows have a column `{TEACHER_LOGITS}`, the others lack it. "
                "Run `hf-distill cache` on both together."
            )
        return rows, concatenate_datasets([rows["train"], unlabelled.cast(rows["train"].features)])


def _select(
    transfer: TransferSet,
    train: Dataset,
    reference: Dataset,
    teacher: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    args: DistillationTrainingArguments,
) -> Dataset:
    """Choose among the unlabelled rows by what the teacher says; the Trainer finds its logits in the same store."""
    cache = TeacherCache(args.teacher_cache_dir, teacher, tokenizer, args.resolved_teacher_dtype(), args.device)
    chosen = transfer.select(cache.label(train), cache.label(reference))
    return chosen.remove_columns(TEACHER_LOGITS)


def _fine_tune(
    teacher: PreTrainedModel,
    train: Dataset,
    common: Mapping[str, Any],
    models: ModelArguments,
    args: DistillationTrainingArguments,
) -> None:
    changes = {"num_train_epochs": models.teacher_num_train_epochs, "learning_rate": models.teacher_learning_rate}
    changes = {name: value for name, value in changes.items() if value is not None}
    if models.teacher_num_train_epochs is not None:
        changes["max_steps"] = -1
    alone = args.without_teacher(f"{args.output_dir}/teacher", **changes)
    trainer = DistillationTrainer(teacher.requires_grad_(True), args=alone, train_dataset=train, **common)
    trainer.train()
    trainer.save_model()


def _make_student(
    models: ModelArguments, teacher: PreTrainedModel | None, tokenizer: PreTrainedTokenizerBase, task: Task
) -> PreTrainedModel:
    student = _new_student(models, teacher, tokenizer, task)
    if models.freeze_student_embeddings:
        student.get_input_embeddings().requires_grad_(False)
    return student


def _new_student(
    models: ModelArguments, teacher: PreTrainedModel | None, tokenizer: PreTrainedTokenizerBase, task: Task
) -> PreTrainedModel:
    name = models.student_model_name_or_path
    if teacher is None:
        return _load_new_head(cast(str, name), None, task)
    if name is None:
        return create_student(
            teacher, models.student_num_hidden_layers, layers=models.layers, architecture=models.student_architecture
        )
    own = load_tokenizer(name)
    if own.get_vocab() != tokenizer.get_vocab():
        raise ValueError(
            f"{name} and the teacher have different vocabularies ({len(own):,} and {len(tokenizer):,} entries); this "
            "command feeds both the same token ids. Choose a student with the teacher's tokenizer, make one by "
            "--student_num_hidden_layers, or run `hf-distill cache` first and train on its output without the teacher."
        )
    config = teacher.config
    return AutoModelForSequenceClassification.from_pretrained(
        name,
        dtype="float32",
        num_labels=config.num_labels,
        id2label=config.id2label,
        label2id=config.label2id,
        problem_type=config.problem_type,
    )


def _describe(task: Task, rows: DatasetDict, train: Dataset) -> dict[str, Any]:
    """Return what the record says of the data and the command."""
    split = task.validation_splits[0]
    is_labelled = PROBLEM_TYPES[task.problem_type].is_labelled(torch.tensor(np.array(train["labels"])))
    num_labelled = int(is_labelled.sum())
    dataset = {
        "id": task.dataset_id,
        "config": task.config_name,
        "train_rows": num_labelled,
        "unlabelled_rows": len(train) - num_labelled,
        "eval_rows": len(rows[split]),
        "eval_split": split,
    }
    return {"dataset": dataset, "metric_name": task.metric_name, "command": ["hf-distill", *sys.argv[1:]]}


def _finish(
    trainer: DistillationTrainer,
    compared: Mapping[str, PreTrainedModel],
    rows: Dataset,
    tokenizer: PreTrainedTokenizerBase,
) -> None:
    """Save student, record and card, print the table, and push if that was asked for."""
    if trainer.is_world_process_zero():
        text = {name: rows[:1][name] for name in tokenizer.model_input_names}
        trainer.record["latency"] = measure_latency(compared, tokenizer.pad(text, return_tensors="pt"))
    trainer.save_model(_internal_call=True)  # a push, if any, comes after the table
    trainer.create_model_card()
    if trainer.is_world_process_zero():
        print(f"\n{summary(trainer.distillation_record())}\n\nThe student is in {trainer.args.output_dir}.")
    if trainer.args.push_to_hub:
        trainer.push_to_hub()
