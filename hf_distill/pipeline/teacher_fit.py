"""Look for a weak or a memorized teacher before a student is trained: its loss on training rows and on new ones."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from torch import Tensor
from transformers import EvalPrediction

from hf_distill.classifiers.outputs import TEACHER_LOGITS
from hf_distill.classifiers.problem_types import PROBLEM_TYPES, ProblemType
from hf_distill.data import Task
from hf_distill.functional import IGNORE_INDEX
from hf_distill.pipeline.inputs import DistillationInputs
from hf_distill.pipeline.pairing import logits_on
from hf_distill.teachers.calibration import calibrate_temperature
from hf_distill.training.labelled_rows import are_labelled
from hf_distill.training.source import TeacherContext
from hf_distill.training.sources import make_source
from hf_distill.training_args import DistillationTrainingArguments

MIN_ROWS, MAX_ROWS = 100, 1000
# How far the training loss has come from the loss of the class frequencies to the loss of the best factor on the
# logits. At a minimum of the training loss the share is 1. Measured on training rows, 2026-11-26: 0.99 for the teacher
# of `make demo`, 1.00 for one of SST-2 (both MiniLM, 6 layers, 4 epochs at 5e-5); 0.21, 0.43 and 0.47 for 3 layers of
# MiniLM after 4, 6 and 8 of 12 epochs at 1e-4 on 640 rows of Banking77, with 6, 9 and 13 % of new rows right.
REALIZED_SHARE = 0.75
# Few rows can all be right while their loss still falls. The loss must also be this share of that of the frequencies;
# it was 0.27 and 0.19 for the first two of these teachers, and 0.99, 0.91 and 0.84 for the last.
LARGE_SHARE = 0.4
LEARNED_SHARE = 0.02
# New rows have 2.4 times the loss for the teacher of `make demo`, and 5.3 times for one of SST-2 with 8,000 labels.
MEMORIZED_FACTOR, STANDARD_ERRORS = 3.0, 3.0


@dataclass(frozen=True)
class Fit:
    """How well a teacher fits labelled rows.

    Attributes:
        metric: The metric of the task; NaN if it is not defined on these rows.
        losses: `(rows,)`, the hard loss of each row: nats, or the squared error of a regression. For words, the mean
            of a sentence.
        rescaled_loss: The mean of the losses after the logits are multiplied by the factor that fits the labels best;
            for a regression, after the best linear map.
        is_timid: Whether that factor is above 1; for a regression, True.
        trivial_loss: The mean of the losses of the class frequencies; for a regression, of the mean label.
    """

    metric: float
    losses: np.ndarray
    rescaled_loss: float
    trivial_loss: float
    is_timid: bool = True

    @property
    def loss(self) -> float:
        """The mean of the losses."""
        return float(self.losses.mean())

    def to_dict(self) -> dict[str, Any]:
        """Return the numbers for the record."""
        return {
            "rows": len(self.losses),
            "metric": None if np.isnan(self.metric) else self.metric,
            "loss": self.loss,
            "rescaled_loss": self.rescaled_loss,
            "trivial_loss": self.trivial_loss,
        }


@dataclass(frozen=True)
class TeacherFit:
    """A teacher on labelled rows of a run: on training rows, and on evaluation rows.

    Attributes:
        metric_name: The metric of the task.
        loss_name: What the losses are.
        train: On training rows.
        evaluation: On evaluation rows.
    """

    metric_name: str
    loss_name: str
    train: Fit
    evaluation: Fit

    def __str__(self) -> str:
        rows = [
            f"{self.metric_name} {fit.metric:.3f}, {self.loss_name} {fit.loss:.3f} on {len(fit.losses):,} {role} rows"
            for role, fit in (("training", self.train), ("evaluation", self.evaluation))
        ]
        return f"Teacher: {'; '.join(rows)}."

    def to_dict(self) -> dict[str, Any]:
        """Return the numbers for the record."""
        return {
            "metric_name": self.metric_name,
            "loss_name": self.loss_name,
            "train": self.train.to_dict(),
            "evaluation": self.evaluation.to_dict(),
        }

    def weakness(self, stopped_early: bool) -> str | None:
        """Return why a teacher that was fine-tuned on the training rows has not learned them; None if it has.

        Args:
            stopped_early: Whether its fine-tuning went on until evaluation showed no more gain.
        """
        fit, trivial = self.train, self.train.trivial_loss
        if fit.rescaled_loss > (1 - LEARNED_SHARE) * trivial:
            return f"on the rows that it was fine-tuned on, it is no better than the class frequencies ({trivial:.3f})"
        is_falling = trivial - fit.loss < REALIZED_SHARE * (trivial - fit.rescaled_loss) and fit.is_timid
        if is_falling and fit.loss > LARGE_SHARE * trivial and not stopped_early:
            return (
                f"its fine-tuning ended while its {self.loss_name} was still falling: its outputs, only scaled, would "
                f"lower it from {fit.loss:.3f} to {fit.rescaled_loss:.3f} on the rows that it was fine-tuned on"
            )
        return None

    def is_memorized(self) -> bool:
        """Return whether the teacher knows the training rows so well that its soft labels are nearly the labels."""
        train, new = self.train.losses, self.evaluation.losses
        error = np.sqrt(train.var() / len(train) + new.var() / len(new))
        gap = new.mean() - train.mean()
        return bool(new.mean() > MEMORIZED_FACTOR * train.mean() and gap > STANDARD_ERRORS * error)


def measure_teacher(inputs: DistillationInputs, args: DistillationTrainingArguments) -> TeacherFit | None:
    """Measure the teacher on up to 1,000 labelled training rows and 1,000 evaluation rows.

    With `cache_teacher_outputs`, the teacher labels all rows, as the Trainer would do later, which then finds the
    outputs in the store. Without, the teacher runs on these rows.

    Args:
        inputs: The teacher and the rows.
        args: Training arguments.

    Returns:
        How well it fits them; None without a teacher, or if training or evaluation rows have fewer than 100 labels.
    """
    task, teacher = inputs.task, inputs.teacher_model
    if teacher is None or "train" not in task.datasets:
        return None
    splits = ("train", task.validation_splits[0])
    chosen = [choose_rows(inputs.rows[split], task) for split in splits]
    if min(map(len, chosen)) < MIN_ROWS:
        return None
    if args.cache_teacher_outputs:
        context = TeacherContext(args, inputs.tokenizer, list(task.text_columns))
        source = make_source(teacher, inputs.teacher_tokenizer, "teacher_", context)
        # The labelled rows are the first rows of the training dataset.
        labelled = [source.prepare(dataset) for dataset in (inputs.train_dataset, inputs.eval_dataset)]
        rows = [dataset.select(numbers) for dataset, numbers in zip(labelled, chosen, strict=True)]
        logits = [dataset[TEACHER_LOGITS][:] for dataset in rows]
    else:
        tokenizer = inputs.teacher_tokenizer or inputs.tokenizer
        texts = [task.datasets[split].select(numbers) for split, numbers in zip(splits, chosen, strict=True)]
        rows = [task.tokenize_dataset(dataset, tokenizer, inputs.max_length) for dataset in texts]
        compute = logits_on(str(args.device), teacher, tokenizer, inputs.max_length)
        logits = [list(compute(dataset)) for dataset in rows]
    train, evaluation = (
        measure_fit(dataset["labels"][:], [np.asarray(row) for row in outputs], task)
        for dataset, outputs in zip(rows, logits, strict=True)
    )
    has_nats = PROBLEM_TYPES[task.problem_type].has_temperature
    return TeacherFit(task.metric_name, "cross-entropy" if has_nats else "squared error", train, evaluation)


def check_teacher(
    fit: TeacherFit,
    num_labelled: int,
    num_unlabelled: int,
    *,
    was_fine_tuned: bool,
    stopped_early: bool,
    allow_weak_teacher: bool,
) -> str | None:
    """Refuse a teacher that has not learned its own rows, and return a warning about one that has memorized them.

    Args:
        fit: The teacher on training and evaluation rows.
        num_labelled: Number of labelled rows that the student is trained on.
        num_unlabelled: Number of rows without a label that the student is trained on. If they are the larger part,
            it does not matter that the labelled rows are memorized.
        was_fine_tuned: Whether this run fine-tuned the teacher on the labelled rows. Another teacher can be as good
            as it gets and not fit them.
        stopped_early: Whether that went on until evaluation showed no more gain.
        allow_weak_teacher: Whether a weak teacher is only warned about.

    Returns:
        A warning, or None.

    Raises:
        ValueError: if the teacher is weak.
    """
    weakness = fit.weakness(stopped_early) if was_fine_tuned else None
    if weakness is None:
        return _describe_memorized(fit) if num_unlabelled < num_labelled and fit.is_memorized() else None
    message = f"THE TEACHER HAS NOT LEARNED THE TASK: {weakness}."
    if allow_weak_teacher:
        return message
    raise ValueError(
        f"{message} Fine-tune it longer (without --teacher_num_train_epochs and --max_steps, until evaluation shows "
        "no more gain), or raise --teacher_learning_rate. To train with this teacher nevertheless, pass "
        "--allow_weak_teacher."
    )


def _describe_memorized(fit: TeacherFit) -> str:
    return (
        f"THE TEACHER HAS MEMORIZED THE TRAINING ROWS: its {fit.loss_name} is {fit.train.loss:.3f} on them and "
        f"{fit.evaluation.loss:.3f} on new ones, so its soft labels are nearly the labels. Let it label texts that it "
        "has not seen, with --transfer_file or --augment 4, or fine-tune it for fewer epochs. If every row has a "
        "label, expect 0 to 2 points over a student without the teacher, 2 to 3 more for pairs with --augment 4, and "
        "better probabilities (docs/results.md)."
    )


def choose_rows(rows: Dataset, task: Task) -> np.ndarray:
    """Return the numbers of up to 1,000 random labelled rows, the same in every run."""
    labelled = np.flatnonzero(are_labelled(rows, PROBLEM_TYPES[task.problem_type]))
    return np.sort(np.random.default_rng(0).permutation(labelled)[:MAX_ROWS])


def measure_fit(labels: list[Any], logits: list[np.ndarray], task: Task) -> Fit:
    """Return how well logits fit labels.

    Args:
        labels: The labels of each row, as [`Task.tokenize`] makes them.
        logits: The logits of each row, `(num_labels,)`; of words `(num_tokens, num_labels)`.
        task: The task.
    """
    problem_type = PROBLEM_TYPES[task.problem_type]
    targets = [np.atleast_1d(row) for row in labels] if problem_type.is_token_level else [np.array(labels)]
    outputs = logits if problem_type.is_token_level else [np.stack(logits)]
    is_unit = [problem_type.is_labelled(torch.tensor(row)).numpy() for row in targets]
    units = torch.tensor(np.concatenate([row[kept] for row, kept in zip(outputs, is_unit, strict=True)])).float()
    unit_labels = torch.tensor(np.concatenate([row[kept] for row, kept in zip(targets, is_unit, strict=True)]))
    num_rows = len(labels)
    row_of_unit = (
        np.repeat(np.arange(num_rows), [kept.sum() for kept in is_unit])
        if problem_type.is_token_level
        else np.arange(num_rows)
    )

    def losses(values: Tensor) -> np.ndarray:
        by_unit = problem_type.hard_loss(values, unit_labels, 0.0, None).double().numpy()
        return np.bincount(row_of_unit, by_unit) / np.bincount(row_of_unit)

    if problem_type.is_token_level:
        outputs, targets = [_padded(outputs, 0.0)], [_padded(targets, IGNORE_INDEX)]
    prediction = EvalPrediction(predictions=outputs[0], label_ids=targets[0])
    metric = task.compute_metrics(prediction).get(task.metric_name, np.nan)
    factor = 1 / calibrate_temperature(units, unit_labels) if problem_type.has_temperature else None
    rescaled = _map_linearly(units, unit_labels) if factor is None else units * factor
    return Fit(
        metric=float(metric),
        losses=losses(units),
        rescaled_loss=float(losses(rescaled).mean()),
        is_timid=factor is None or factor > 1,
        trivial_loss=float(losses(_trivial(units, unit_labels, problem_type)).mean()),
    )


def _padded(rows: list[np.ndarray], value: float) -> np.ndarray:
    """Return rows of words as one array, with this value after the end of a row."""
    length = max(map(len, rows))
    others = [(0, 0)] * (rows[0].ndim - 1)
    return np.stack([np.pad(row, [(0, length - len(row)), *others], constant_values=value) for row in rows])


def _map_linearly(outputs: Tensor, labels: Tensor) -> Tensor:
    """Return the outputs of a regression after the linear map that fits the labels best."""
    mapped = []
    for values, targets in zip(outputs.T.double(), labels.reshape(outputs.shape).T.double(), strict=True):
        inputs = torch.stack([values, torch.ones_like(values)], dim=1)
        mapped.append(inputs @ torch.linalg.lstsq(inputs, targets[:, None], driver="gelsd").solution[:, 0])
    return torch.stack(mapped, dim=1).float()


def _trivial(units: Tensor, labels: Tensor, problem_type: ProblemType) -> Tensor:
    """Return the logits of the class frequencies; of a regression, the mean of the labels."""
    if not problem_type.has_temperature:
        return labels.reshape(units.shape).mean(dim=0).expand_as(units)
    if problem_type.is_exclusive:
        counts = torch.bincount(labels, minlength=units.shape[1]).float()
        return (counts / len(labels)).clamp(min=1e-9).log().expand_as(units)
    return labels.mean(dim=0).clamp(1e-6, 1 - 1e-6).logit().expand_as(units)
