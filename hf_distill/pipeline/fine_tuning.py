"""Fine-tune a classifier on labelled rows: the teacher of a run."""

import os
from typing import Any

from datasets import Dataset
from transformers import PreTrainedModel, PreTrainedTokenizerBase, TrainerCallback, set_seed

from hf_distill.classifiers.loading import tokenizer_source
from hf_distill.classifiers.problem_types import PROBLEM_TYPES
from hf_distill.data import Task
from hf_distill.data.seen_rows import hash_rows_of
from hf_distill.pipeline.early_stopping import describe_stop, early_stopping_arguments
from hf_distill.pipeline.inputs import DistillationInputs
from hf_distill.pipeline.loading import ModelReference, load_tokenizer, load_with_new_head
from hf_distill.trainer import DistillationTrainer
from hf_distill.training.labelled_rows import are_labelled, labelled_rows
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
    stops_early: bool = False,
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
        stops_early: Whether to train until evaluation shows no more gain, as
            [`~hf_distill.pipeline.early_stopping.early_stopping_arguments`] says, and to keep the best checkpoint.
            `num_train_epochs` and the steps and epochs of `args` are then no limit.

    Returns:
        The Trainer, after training: `trainer.model` is the fine-tuned model, `trainer.evaluate()` scores it.

    Raises:
        OSError: if there is no such model or tokenizer, or if the folder cannot be written to.
        ValueError: if the model is for another kind of problem than the task, if label names do not match, if the
            task has no training split, if no row has a label, or if no labelled row is there to stop early by.

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
    train_dataset = _with_labels(train_dataset, task)
    changes: dict[str, Any] = {} if learning_rate is None else {"learning_rate": learning_rate}
    callbacks: list[TrainerCallback] = []
    if stops_early:
        _check_can_stop(eval_dataset, task)
        stopping, callback = early_stopping_arguments(args, len(train_dataset), task.metric_name)
        changes |= stopping
        callbacks.append(callback)
    elif num_train_epochs is not None:
        changes |= {"num_train_epochs": num_train_epochs, "max_steps": -1}
    trainer = DistillationTrainer(
        model,
        args=args.without_teacher(os.fspath(output_dir), **changes),
        train_dataset=train_dataset,
        eval_dataset=eval_dataset,
        processing_class=tokenizer,
        compute_metrics=task.compute_metrics,
        callbacks=callbacks,
    )
    _describe_data(trainer, task)
    if trainer.is_world_process_zero():
        trainer.recorder.row_hashes = hash_rows_of(task.datasets, task.text_columns)
    # The path of a checkpoint is one of the student's.
    resumes = (args.resume_from_checkpoint or "").lower() == "true"
    trainer.train(resume_from_checkpoint=resumes)
    if stops_early:
        trainer.record["early_stopping"] = describe_stop(trainer.state, task.metric_name)
    trainer.save_model()
    return trainer


def fine_tune_teacher(
    inputs: DistillationInputs,
    args: DistillationTrainingArguments,
    num_train_epochs: float | None = None,
    learning_rate: float | None = None,
) -> dict[str, Any]:
    """Fine-tune the teacher of a run in place, on token ids of its own tokenizer, into `<output_dir>/teacher`.

    Args:
        inputs: The teacher and the labelled rows.
        args: The student's training arguments.
        num_train_epochs: Number of epochs; None to stop early, see [`fine_tune`], unless `args.max_steps` is set.
        learning_rate: See [`fine_tune`].

    Returns:
        `steps`, the number of steps that were taken, and with early stopping what
        [`~hf_distill.pipeline.early_stopping.describe_stop`] returns.

    Raises:
        ValueError: as [`fine_tune`] does.
    """
    assert inputs.teacher_model is not None
    task, rows, tokenizer = inputs.task, inputs.rows, inputs.tokenizer
    if inputs.teacher_tokenizer is not None:
        tokenizer = inputs.teacher_tokenizer
        rows = task.tokenize(tokenizer, inputs.max_length)
    with stage("teacher"):
        trainer = fine_tune(
            inputs.teacher_model.requires_grad_(True),  # a Trainer that has it as its teacher froze it
            task,
            args,
            f"{args.output_dir}/teacher",
            tokenizer=tokenizer,
            train_dataset=rows["train"],
            eval_dataset=rows[task.validation_splits[0]],
            num_train_epochs=num_train_epochs,
            learning_rate=learning_rate,
            stops_early=has_early_stopping(args, num_train_epochs),
        )
    return trainer.record.get("early_stopping", {"steps": trainer.state.global_step})


def has_early_stopping(args: DistillationTrainingArguments, num_train_epochs: float | None) -> bool:
    """Return whether the fine-tuning of a teacher ends when it shows no more gain, as [`fine_tune_teacher`] does."""
    return num_train_epochs is None and args.max_steps < 1


def _load_tokenizer_of(model: PreTrainedModel, task: Task) -> PreTrainedTokenizerBase:
    name, revision = tokenizer_source(model)
    if not name:
        raise ValueError("The model was not loaded from a folder or the Hub, so pass its `tokenizer`.")
    return load_tokenizer(ModelReference(name, revision), task.has_words)


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


def _check_can_stop(eval_dataset: Dataset | None, task: Task) -> None:
    if eval_dataset is None or not any(are_labelled(eval_dataset, PROBLEM_TYPES[task.problem_type])):
        raise ValueError(
            f"{task.name} has no labelled row to evaluate on, so nothing says when to stop. Set `num_train_epochs` "
            "(--teacher_num_train_epochs), or name labelled validation rows."
        )
