"""`hf-distill train`: data, teacher, student, baseline, and a table that compares them."""

import copy
import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, cast

from datasets import Dataset, DatasetDict, concatenate_datasets
from transformers import PreTrainedModel, PreTrainedTokenizerBase, set_seed

from hf_distill.classifiers.label_maps import label2id_of
from hf_distill.classifiers.outputs import TEACHER_LOGITS
from hf_distill.classifiers.problem_types import PROBLEM_TYPES, auto_model
from hf_distill.cli.arguments import DataArguments, ModelArguments, load_tokenizer, parse
from hf_distill.cli.transfer import TransferSet, load_transfer
from hf_distill.data import Task, read_teacher
from hf_distill.record import describe_machine
from hf_distill.reporting import measure_latency, summary
from hf_distill.students import create_student
from hf_distill.teachers import load_teacher
from hf_distill.trainer import DistillationTrainer
from hf_distill.training.checkpoints import resolve_resume_flag
from hf_distill.training.checks import are_labelled
from hf_distill.training.sources import Source, TeacherContext, make_source
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
    teacher = _load_teacher(models, task, data.problem_type)
    tokenizer, own = _load_tokenizers(models, data, task)
    label2id = None if teacher is None else label2id_of(teacher.config)
    rows, train = _tokenize(task, transfer, tokenizer, label2id, data, args, keep_text=own is not None)
    common = {
        "eval_dataset": rows[task.validation_splits[0]],
        "processing_class": tokenizer,
        "compute_metrics": task.compute_metrics_for(label2id),
    }
    teaching: dict[str, Any] = {"teacher_processing_class": own}
    if own is not None:
        teaching["teacher_text_columns"] = task.text_columns
    if models.baseline:
        args.check_baseline()
    if teacher is not None and models.fine_tune_teacher:
        # What is wrong with the student, the loss or the rows is said now, not after the teacher's training.
        dry = dataclasses.replace(args, cache_teacher_outputs=False, push_to_hub=False)
        DistillationTrainer(
            _make_student(models, teacher, task), teacher, dry, train_dataset=train, **common, **teaching
        )
        if own is None:
            _fine_tune(teacher, rows["train"], common, models, args)
        else:
            of_teacher = task.tokenize(own, data.max_seq_length, label2id)
            changed = {"eval_dataset": of_teacher[task.validation_splits[0]], "processing_class": own}
            _fine_tune(teacher, of_teacher["train"], common | changed, models, args)
    if transfer is not None:
        if teacher is not None and args.cache_teacher_outputs:
            source = make_source(teacher, own, "teacher_", TeacherContext(args, tokenizer, list(task.text_columns)))
            train = _select(transfer, train, rows[task.validation_splits[0]], source)
        if args.process_index == 0:
            print(transfer.summary())
    student = _make_student(models, teacher, task)
    untrained = copy.deepcopy(student) if models.baseline else None
    trainer = DistillationTrainer(student, teacher, args, train_dataset=train, **common, **teaching)
    trainer.train(resume_from_checkpoint=resolve_resume_flag(args.resume_from_checkpoint, args.output_dir))
    trainer.evaluate()
    for split in task.validation_splits[1:]:  # MNLI has two
        trainer.evaluate(rows[split], metric_key_prefix=split)
    compared = {"student": trainer.model} if teacher is None else {"teacher": teacher, "student": trainer.model}
    if untrained is not None:
        compared["baseline"] = trainer.train_baseline(untrained).model
    trainer.record |= _describe(task, rows, train, arguments)
    if teacher is None and data.dataset_name is not None:
        described = read_teacher(data.dataset_name) or {}
        trainer.record["dataset"] |= {"transfer": described.pop("transfer")} if "transfer" in described else {}
        trainer.record["teacher"] = described or None
    if transfer is not None:
        trainer.record["dataset"]["transfer"] = transfer.report
    _finish(trainer, compared, rows[task.validation_splits[0]], own, task)


def _load(data: DataArguments, args: DistillationTrainingArguments) -> tuple[Task, TransferSet | None]:
    with args.main_process_first(desc="loading the data"):
        task = data.load()
        return task, load_transfer(data, task.text_columns, PROBLEM_TYPES[task.problem_type], task.datasets)


def _load_teacher(models: ModelArguments, task: Task, problem_type: str | None) -> PreTrainedModel | None:
    """Load the teacher, whose config may leave open what `problem_type` says; None if the data carry its logits."""
    name = models.teacher_model_name_or_path
    from_hub: dict[str, Any] = {
        "revision": models.teacher_revision,
        "trust_remote_code": models.teacher_trust_remote_code,
    }
    if name is None:
        if TEACHER_LOGITS not in task.datasets["train"].column_names:
            raise ValueError(
                f"There is no teacher: name one by --teacher_model_name_or_path, or data with a column "
                f"`{TEACHER_LOGITS}`, which `hf-distill cache` writes, by --dataset_name."
            )
        return None
    try:
        if models.fine_tune_teacher:
            return _load_new_head(name, task, **from_hub)
        teacher = load_teacher(name, problem_type=problem_type, **from_hub)
    except OSError as error:
        raise OSError(f"The teacher {name!r} cannot be loaded: {error}") from error
    task.check_model(teacher)
    return teacher


def _load_tokenizers(
    models: ModelArguments, data: DataArguments, task: Task
) -> tuple[PreTrainedTokenizerBase, PreTrainedTokenizerBase | None]:
    """Return the tokenizer of the rows, and the teacher's if it is another one than the student's."""
    of_student = (models.student_revision, models.student_trust_remote_code)
    if models.teacher_model_name_or_path is None:
        return load_tokenizer(cast(str, models.student_model_name_or_path), *of_student, task.has_words), None
    teacher = load_tokenizer(
        models.teacher_model_name_or_path, models.teacher_revision, models.teacher_trust_remote_code, task.has_words
    )
    if models.student_model_name_or_path is None:
        return teacher, None
    student = load_tokenizer(models.student_model_name_or_path, *of_student, task.has_words)
    if student.get_vocab() == teacher.get_vocab():
        return teacher, None
    teacher.model_max_length = min(data.max_seq_length, teacher.model_max_length)
    return student, teacher


def _load_new_head(name: str, task: Task, revision: str | None, trust_remote_code: bool) -> PreTrainedModel:
    names = task.label_names or ["score"]
    return auto_model(task.problem_type).from_pretrained(
        name,
        revision=revision or "main",
        trust_remote_code=trust_remote_code,
        dtype="float32",
        num_labels=len(names),
        id2label=dict(enumerate(names)),
        label2id={label: i for i, label in enumerate(names)},
        problem_type=None if task.has_words else task.problem_type,  # there the head says it
        ignore_mismatched_sizes=True,  # of a head for another task
    )


def _tokenize(
    task: Task,
    transfer: TransferSet | None,
    tokenizer: PreTrainedTokenizerBase,
    label2id: Mapping[str, int] | None,
    data: DataArguments,
    args: DistillationTrainingArguments,
    keep_text: bool,
) -> tuple[DatasetDict, Dataset]:
    """Return the splits, and what the student is to be trained on: labelled and unlabelled rows together."""
    with args.main_process_first(desc="tokenising the data"):
        rows = task.tokenize(tokenizer, data.max_seq_length, label2id, keep_text)
        if transfer is None:
            return rows, rows["train"]
        unlabelled = task.tokenize_dataset(transfer.text, tokenizer, data.max_seq_length, label2id, keep_text)
        if set(unlabelled.column_names) != set(rows["train"].column_names):
            raise ValueError(
                f"Either the labelled or the unlabelled rows have a column `{TEACHER_LOGITS}`, the others lack it. "
                "Run `hf-distill cache` on both together."
            )
        return rows, concatenate_datasets([rows["train"], unlabelled.cast(rows["train"].features)])


def _select(transfer: TransferSet, train: Dataset, reference: Dataset, source: Source) -> Dataset:
    """Choose among the unlabelled rows by what the teacher says; the Trainer finds its logits in the same store."""
    chosen = transfer.select(source.prepare(train), source.prepare(reference))
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


def _make_student(models: ModelArguments, teacher: PreTrainedModel | None, task: Task) -> PreTrainedModel:
    student = _new_student(models, teacher, task)
    if models.freeze_student_embeddings:
        student.get_input_embeddings().requires_grad_(False)
    return student


def _new_student(models: ModelArguments, teacher: PreTrainedModel | None, task: Task) -> PreTrainedModel:
    name = models.student_model_name_or_path
    from_hub: dict[str, Any] = {
        "revision": models.student_revision,
        "trust_remote_code": models.student_trust_remote_code,
    }
    if teacher is None:
        return _load_new_head(cast(str, name), task, **from_hub)
    if name is None:
        return create_student(
            teacher, models.student_num_hidden_layers, layers=models.layers, architecture=models.student_architecture
        )
    config = teacher.config
    return auto_model(task.problem_type).from_pretrained(
        name,
        revision=models.student_revision or "main",
        trust_remote_code=models.student_trust_remote_code,
        dtype="float32",
        num_labels=config.num_labels,
        id2label=config.id2label,
        label2id=config.label2id,
        problem_type=config.problem_type,
        ignore_mismatched_sizes=True,
    )


def _describe(task: Task, rows: DatasetDict, train: Dataset, arguments: Sequence[str]) -> dict[str, Any]:
    """Return what the record says of the data and the command."""
    split = task.validation_splits[0]
    num_labelled = sum(are_labelled(train, PROBLEM_TYPES[task.problem_type]))
    dataset = {
        "id": task.dataset_id,
        "config": task.config_name,
        "train_rows": num_labelled,
        "unlabelled_rows": len(train) - num_labelled,
        "eval_rows": len(rows[split]),
        "eval_split": split,
        **({"revision": task.revision} if task.revision else {}),
    }
    return {"dataset": dataset, "metric_name": task.metric_name, "command": ["hf-distill", "train", *arguments]}


def _finish(
    trainer: DistillationTrainer,
    compared: Mapping[str, PreTrainedModel],
    rows: Dataset,
    own: PreTrainedTokenizerBase | None,
    task: Task,
) -> None:
    """Save student, record and card, print the table, and push if that was asked for."""
    if trainer.is_world_process_zero():
        tokenizer = cast(PreTrainedTokenizerBase, trainer.processing_class)
        text = {name: rows[:1][name] for name in tokenizer.model_input_names}
        inputs = dict.fromkeys(compared, tokenizer.pad(text, return_tensors="pt"))
        if own is not None:
            texts = (rows[0][name] for name in task.text_columns)
            options = {"truncation": True, "return_tensors": "pt"}
            inputs["teacher"] = own(*texts, is_split_into_words=task.has_words, **options)
        trainer.record |= {"latency": measure_latency(compared, inputs), "machine": describe_machine()}
    trainer.save_model(_internal_call=True)  # a push, if any, comes after the table
    trainer.create_model_card()
    if trainer.is_world_process_zero():
        print(f"\n{summary(trainer.distillation_record())}\n\nThe student is in {trainer.args.output_dir}.")
    if trainer.args.push_to_hub:
        trainer.push_to_hub()
