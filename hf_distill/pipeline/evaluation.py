"""Evaluate the student of a run, and put what the Trainer cannot know into its record."""

from collections.abc import Iterable, Mapping
from typing import Any

from transformers import BatchEncoding, PreTrainedModel

from hf_distill.classifiers.problem_types import PROBLEM_TYPES
from hf_distill.data import DataSummary, read_teacher
from hf_distill.pipeline.inputs import DistillationInputs
from hf_distill.record import describe_machine
from hf_distill.reporting import measure_latency
from hf_distill.trainer import DistillationTrainer
from hf_distill.training.evaluation import TIMING
from hf_distill.training.labelled_rows import are_labelled


def evaluate(trainer: DistillationTrainer, inputs: DistillationInputs) -> dict[str, dict[str, float]]:
    """Evaluate a student on every validation split.

    Returns:
        Name of the split -> metrics. Names of metrics start with `eval_` for the first split, and with the name of
        the split for the others (MNLI has two).
    """
    first, *others = inputs.task.validation_splits
    metrics = {first: trainer.evaluate()}
    for split in others:
        metrics[split] = trainer.evaluate(inputs.rows[split], metric_key_prefix=split)
    return metrics


def evaluate_test(
    trainer: DistillationTrainer, inputs: DistillationInputs, baseline: DistillationTrainer | None = None
) -> None:
    """Evaluate student, teacher and baseline on the split `test`, and put the metrics into the record as `test`.

    The test rows take no part in training: checkpoints are chosen on the first validation split.

    Args:
        trainer: The Trainer of the student.
        inputs: What it was trained with.
        baseline: The Trainer of the same student without the teacher, if there is one.
    """
    values = _test_metrics(trainer, inputs)
    trainer.record["test"] = {
        "rows": sum(are_labelled(inputs.rows["test"], PROBLEM_TYPES[inputs.task.problem_type])),
        "student": {name: value for name, value in values.items() if not name.startswith("teacher_")},
        "teacher": {name[8:]: value for name, value in values.items() if name.startswith("teacher_")},
    }
    if baseline is not None:
        trainer.record["test"]["baseline"] = _test_metrics(baseline, inputs)


def _test_metrics(trainer: DistillationTrainer, inputs: DistillationInputs) -> dict[str, float]:
    metrics = trainer.evaluate(inputs.rows["test"], metric_key_prefix="test")
    names = [name for name in metrics if name.startswith("test_") and not name.endswith(TIMING)]
    return {name.removeprefix("test_"): metrics[name] for name in names}


def describe_latency(
    trainer: DistillationTrainer,
    models: Mapping[str, PreTrainedModel],
    inputs: Mapping[str, Any],
) -> None:
    """Measure how long one text takes on the CPU, on the main process, and put it into the record of a run.

    Args:
        trainer: The Trainer.
        models: Name -> model, e.g. teacher, student and baseline.
        inputs: See [`~hf_distill.reporting.measure_latency`].
    """
    if trainer.is_world_process_zero():
        trainer.record |= {"latency": measure_latency(models, inputs), "machine": describe_machine()}


def describe_run(
    trainer: DistillationTrainer,
    inputs: DistillationInputs,
    baseline: PreTrainedModel | None = None,
    dataset_name: str | None = None,
) -> None:
    """Put data, transfer set and latency into the record of a run.

    Args:
        trainer: The Trainer of the student.
        inputs: What it was trained with.
        baseline: The same student trained without the teacher, if there is one.
        dataset_name: The dataset with the rows. Without a teacher, its file `teacher.json`, if it exists, says which
            teacher the logits come from.
    """
    trainer.describe_data(inputs.task, {**inputs.rows, "train": inputs.train_dataset})
    if inputs.teacher is None and dataset_name is not None:
        teacher = read_teacher(dataset_name) or {}
        trainer.record["dataset"] |= {"transfer": teacher.pop("transfer")} if "transfer" in teacher else {}
        trainer.record["teacher"] = teacher or None
    if inputs.pairing is not None:
        trainer.record["dataset"]["pairing"] = inputs.pairing.to_dict()
    if inputs.trimming is not None:
        trainer.record["dataset"]["vocabulary"] = inputs.trimming
    if inputs.transfer is not None:
        trainer.record["dataset"]["transfer"] = inputs.transfer.report
    transfer_data = DataSummary() if inputs.transfer is None else inputs.transfer.data
    trainer.record["dataset"] |= (inputs.task.summary + transfer_data).to_dict()
    by_name = {"teacher": inputs.teacher_model, "student": trainer.model, "baseline": baseline}
    models = {name: model for name, model in by_name.items() if model is not None}
    describe_latency(trainer, models, _first_text(inputs, models))


def describe_history(trainer: DistillationTrainer, baseline: DistillationTrainer | None = None) -> None:
    """Put the metric of student and baseline after each evaluation of their trainings into the record, as `history`.

    Args:
        trainer: The Trainer of the student, with `metric_name` in its record.
        baseline: The Trainer of the same student without the teacher, if there is one.
    """
    trainers = {"student": trainer, **({} if baseline is None else {"baseline": baseline})}
    metric_name = trainer.record["metric_name"]
    trainer.record["history"] = {
        name: each.recorder.history(each.state, each.eval_dataset, metric_name) for name, each in trainers.items()
    }


def _first_text(inputs: DistillationInputs, models: Iterable[str]) -> dict[str, BatchEncoding]:
    """Return the first text to evaluate on as each model reads it."""
    first_row = inputs.eval_dataset[:1]
    token_ids = {name: first_row[name] for name in inputs.tokenizer.model_input_names}
    by_model = dict.fromkeys(models, inputs.tokenizer.pad(token_ids, return_tensors="pt"))
    if inputs.teacher_tokenizer is not None:
        texts = (first_row[name][0] for name in inputs.task.text_columns)
        by_model["teacher"] = inputs.teacher_tokenizer(
            *texts, is_split_into_words=inputs.task.has_words, truncation=True, return_tensors="pt"
        )
    return by_model
