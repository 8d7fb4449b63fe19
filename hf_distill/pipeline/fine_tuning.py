"""Fine-tune a classifier on labelled rows: the teacher of a run."""

import os
from typing import Any

from datasets import Dataset
from transformers import PreTrainedModel, PreTrainedTokenizerBase, set_seed

from hf_distill.classifiers.problem_types import PROBLEM_TYPES
from hf_distill.data import Task
from hf_distill.data.seen_rows import hash_rows_of
from hf_distill.pipeline.inputs import DistillationInputs
from hf_distill.pipeline.loading import ModelReference, load_tokenizer, load_with_new_head
from hf_distill.trainer import DistillationTrainer
from hf_distill.training.checks import are_labelled, labelled_rows
from hf_distill.training_args import DistillationTrainingArguments
from hf_distill.utils.stages import stage


def fine_tune(
    model: PreTrainedModel | str | os.PathLike[str],
    task: Task,
    args: DistillationTrainingArguments,
    output_dir: str | os.PathLike[str],
    *,
    tokenizer: PreTrainedTokenizerBase | None = None,
    train_dataset: Dataset | None = None,
    eval_dataset: Dataset | None = None,
    max_length: int = 128,
    num_train_epochs: float | None = None,
    learning_rate: float | None = None,
) -> DistillationTrainer:
    """Fine-tune a classifier on the labelled rows of a task, without a teacher, and save it.

    The loss is the cross-entropy with the labels (for multi-label tasks the binary cross-entropy, for regression the
    squared error). All other settings come from `args`, so that a teacher and its student are trained alike.

    Args:
        model: A classifier for the task, which is changed in place; or the path or Hub id of a pretrained model,
            which gets a new head with the task's label names, drawn with `args.seed`.
        task: The task: label names, metrics, and the rows unless they are passed.
        args: Training arguments; objectives, temperature, pushes and calibration in them are ignored. If
            `resume_from_checkpoint` is "True", training continues from the last checkpoint in `output_dir`, if any.
        output_dir: Folder for checkpoints, the fine-tuned model, its tokenizer and its record.
        tokenizer: The model's tokenizer; None to load it from where the model is.
        train_dataset: Rows of the task as token ids, with labels in the model's order; None for the training split.
            Rows without a label are left out.
        eval_dataset: The same to evaluate on; None for the first validation split, if the task has one.
        max_length: Number of tokens after which rows are cut that are taken from the task.
        num_train_epochs: Number of epochs; None for what `args` says. If it is set, `args.max_steps` is ignored.
        learning_rate: Learning rate; None for what `args` says.

    Returns:
        The Trainer, after training: `trainer.model` is the fine-tuned model, `trainer.evaluate()` scores it.

    Raises:
        OSError: if there is no such model or tokenizer, or if the folder cannot be written to.
        ValueError: if the model is for another kind of problem than the task, if label names do not match, if the
            task has no training split, or if no row has a label.

    Example:
    ```python
    teacher = fine_tune("google-bert/bert-base-uncased", task, args, "teacher", num_train_epochs=3).model
    ```
    """
    if train_dataset is None and "train" not in task.datasets:
        raise ValueError(f"{task.name} has no training split, only {', '.join(task.datasets)}. Pass `train_dataset`.")
    if not isinstance(model, PreTrainedModel):
        set_seed(args.seed)  # the Trainer seeds only after the head is drawn
        model = load_with_new_head(ModelReference(os.fspath(model)), task)
    task = task.for_model(model)
    tokenizer = tokenizer or _load_tokenizer_of(model, task)
    with args.main_process_first(desc="tokenizing the data"):
        if train_dataset is None:
            train_dataset = task.tokenize_dataset(task.datasets["train"], tokenizer, max_length)
        if eval_dataset is None and task.validation_splits:
            eval_rows = task.datasets[task.validation_splits[0]]
            eval_dataset = task.tokenize_dataset(eval_rows, tokenizer, max_length)
    trainer = DistillationTrainer(
        model,
        args=_fine_tuning_args(args, os.fspath(output_dir), num_train_epochs, learning_rate),
        train_dataset=_with_labels(train_dataset, task),
        eval_dataset=eval_dataset,
        processing_class=tokenizer,
        compute_metrics=task.compute_metrics,
    )
    _describe_data(trainer, task)
    if trainer.is_world_process_zero():
        trainer.recorder.row_hashes = hash_rows_of(task.datasets, task.text_columns)
    # The path of a checkpoint is one of the student's.
    resumes = (args.resume_from_checkpoint or "").lower() == "true"
    trainer.train(resume_from_checkpoint=resumes)
    trainer.save_model()
    return trainer


def fine_tune_teacher(
    inputs: DistillationInputs,
    args: DistillationTrainingArguments,
    num_train_epochs: float | None = None,
    learning_rate: float | None = None,
) -> None:
    """Fine-tune the teacher of a run in place, on token ids of its own tokenizer, into `<output_dir>/teacher`.

    Args:
        inputs: The teacher and the labelled rows.
        args: The student's training arguments.
        num_train_epochs: See [`fine_tune`].
        learning_rate: See [`fine_tune`].

    Raises:
        ValueError: as [`fine_tune`] does.
    """
    assert inputs.teacher is not None
    task, rows, tokenizer = inputs.task, inputs.rows, inputs.tokenizer
    if inputs.teacher_tokenizer is not None:
        tokenizer = inputs.teacher_tokenizer
        rows = task.tokenize(tokenizer, inputs.max_length)
    with stage("teacher"):
        fine_tune(
            inputs.teacher.requires_grad_(True),  # a Trainer that has it as its teacher froze it
            task,
            args,
            f"{args.output_dir}/teacher",
            tokenizer=tokenizer,
            train_dataset=rows["train"],
            eval_dataset=rows[task.validation_splits[0]],
            num_train_epochs=num_train_epochs,
            learning_rate=learning_rate,
        )


def _load_tokenizer_of(model: PreTrainedModel, task: Task) -> PreTrainedTokenizerBase:
    if not model.name_or_path:
        raise ValueError("The model was not loaded from a folder or the Hub, so pass its `tokenizer`.")
    return load_tokenizer(ModelReference(model.name_or_path), task.has_words)


def _describe_data(trainer: DistillationTrainer, task: Task) -> None:
    """Put the rows that the model is fine-tuned and evaluated on into its record."""
    if trainer.eval_dataset is not None and task.validation_splits:
        trainer.describe_data(task, {"train": trainer.train_dataset, task.validation_splits[0]: trainer.eval_dataset})
    trainer.record["dataset"] = trainer.record.get("dataset", {"id": task.dataset_id}) | task.summary.to_dict()


def _with_labels(train_dataset: Dataset, task: Task) -> Dataset:
    problem_type = PROBLEM_TYPES[task.problem_type]
    if not any(are_labelled(train_dataset, problem_type)):
        raise ValueError(
            f"None of the {len(train_dataset):,} training rows of {task.name} has a label. Fine-tuning needs labels."
        )
    return labelled_rows(train_dataset, problem_type)


def _fine_tuning_args(
    args: DistillationTrainingArguments,
    output_dir: str,
    num_train_epochs: float | None,
    learning_rate: float | None,
) -> DistillationTrainingArguments:
    changes: dict[str, Any] = {}
    if num_train_epochs is not None:
        changes |= {"num_train_epochs": num_train_epochs, "max_steps": -1}
    if learning_rate is not None:
        changes["learning_rate"] = learning_rate
    return args.without_teacher(output_dir, **changes)
