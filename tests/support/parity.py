"""One run of transformers' Trainer and the same run of ours, and what can be seen of each from outside."""

import copy
import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from problems import Problem, make_problem
from transformers import Trainer, TrainerCallback, TrainingArguments

from hf_distill import DistillationTrainer, DistillationTrainingArguments

SETTINGS: dict[str, Any] = {
    "num_train_epochs": 1, "per_device_train_batch_size": 4, "per_device_eval_batch_size": 3, "learning_rate": 1e-3,
    "logging_steps": 1, "save_strategy": "no", "report_to": "none", "disable_tqdm": True, "use_cpu": True,
}  # fmt: skip
NUM_TRAINED, NUM_EVALUATED = 12, 7


class Seen(TrainerCallback):
    """The learning rate after every step, and the losses that were logged."""

    def __init__(self) -> None:
        self.rates: list[float] = []
        self.losses: list[float] = []

    def on_step_end(self, args, state, control, optimizer=None, **kwargs):
        self.rates.append(optimizer.param_groups[0]["lr"])

    def on_log(self, args, state, control, logs=None, **kwargs):
        self.losses += [logs["loss"]] if "loss" in logs else []


class Metric:
    """Keeps what Trainer passes to `compute_metrics`."""

    def __init__(self) -> None:
        self.calls: list[Any] = []

    def __call__(self, prediction, compute_result=True):
        parts = (prediction.predictions, prediction.label_ids, prediction.inputs, prediction.losses)
        self.calls.append([_plain(part) for part in parts])
        first = prediction.predictions[0] if isinstance(prediction.predictions, tuple) else prediction.predictions
        rows = first if isinstance(first, list) else [first]
        return {"sum": float(sum(np.asarray(row).astype(float).sum() for row in rows))}


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):  # with `batch_eval_metrics`, all columns of the batch
        return {name: _plain(value[name]) for name in ("input_ids", "attention_mask", "labels") if name in value}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    return None if value is None else np.asarray(value)


@functools.cache
def _problem(name: str) -> Problem:
    return make_problem(name, NUM_TRAINED + NUM_EVALUATED)


def run(cls: type[Trainer], folder: Path, case: dict[str, Any], teacher: dict[str, Any], tokenizer: Any) -> dict:
    """Train, evaluate and predict.

    Args:
        cls: `Trainer` or `DistillationTrainer`.
        folder: Output folder.
        case: `args`, `problem`, `kwargs` (arguments of the Trainer, or a function from the training rows to them),
            `subclass` (from a class to a subclass) and `rows` (from rows to a dataset).
        teacher: Arguments of ours that stock Trainer does not have.
        tokenizer: The tokenizer.
    """
    problem = _problem(case.get("problem", "single_label_classification"))
    rows = problem.rows.select([i for i in range(len(problem.rows)) if i not in (1, 9)])
    make_rows = case.get("rows", lambda rows: rows)
    train, test = (
        make_rows(rows.select(part)) for part in (range(NUM_TRAINED - 2), range(NUM_TRAINED - 2, len(rows)))
    )
    student = copy.deepcopy(problem.student)
    student.accepts_loss_kwargs = False
    args_class = DistillationTrainingArguments if issubclass(cls, DistillationTrainer) else TrainingArguments
    args = args_class(str(folder), **{**SETTINGS, **case.get("args", {}), **teacher.get("args", {})})
    kwargs = case.get("kwargs", {})
    kwargs = kwargs(student, train, tokenizer) if callable(kwargs) else dict(kwargs)
    metric, seen = Metric(), Seen()
    cls = case.get("subclass", lambda cls: cls)(cls)
    if "model_init" not in kwargs:
        kwargs["model"] = student
    kwargs.setdefault("eval_dataset", test)
    kwargs.setdefault("compute_metrics", metric)
    kwargs["callbacks"] = [*copy.deepcopy(kwargs.get("callbacks", [])), seen]
    trainer = cls(
        args=args, train_dataset=train, processing_class=tokenizer, **kwargs, **teacher.get("kwargs", {}),
    )  # fmt: skip
    before = trainer.evaluate()
    trainer.train()
    calls = list(metric.calls)
    after = trainer.evaluate()
    predicted = trainer.predict(test)
    return {
        "trainer": trainer,
        "before": before,
        "after": after,
        "metric": calls,
        "predictions": _plain(predicted.predictions),
        "labels": _plain(predicted.label_ids),
        "predicted": predicted.metrics,
        "rates": seen.rates,
        "losses": seen.losses,
        "steps": trainer.state.global_step,
        "weights": torch.cat([p.detach().flatten().float() for p in trainer.model.parameters()]),
    }


TIMES = ("runtime", "per_second", "preparation", "memory", "jit")


def same_metrics(ours: dict, stock: dict, skipped: tuple[str, ...] = ()) -> None:
    """Check that ours has the metrics of stock, with the same values."""
    names = [name for name in stock if not any(part in name for part in (*TIMES, *skipped))]
    assert set(ours) >= set(names)
    assert {name: ours[name] for name in names} == pytest.approx({name: stock[name] for name in names}, rel=1e-4)


def same_values(ours: Any, stock: Any) -> None:
    """Check nested lists and dicts of arrays."""
    if isinstance(stock, dict):
        assert ours.keys() == stock.keys()
        ours, stock = list(ours.values()), list(stock.values())
    if isinstance(stock, list):
        assert len(ours) == len(stock)
        for a, b in zip(ours, stock, strict=True):
            same_values(a, b)
    elif stock is None:
        assert ours is None
    else:
        assert ours.shape == stock.shape
        np.testing.assert_allclose(ours, stock, rtol=1e-3, atol=1e-4)


def same_run(ours: dict, stock: dict, skipped: tuple[str, ...] = (), tolerance: float = 5e-4) -> None:
    """Check everything that both have.

    Args:
        ours: What our run gave.
        stock: What the run of stock Trainer gave.
        skipped: Parts of names of metrics, and names of results, that differ on purpose.
        tolerance: How far weights can differ; AdamW amplifies the rounding of its first steps.
    """
    assert ours["steps"] == stock["steps"]
    assert ours["rates"] == pytest.approx(stock["rates"])
    assert (ours["weights"] - stock["weights"]).abs().max() < tolerance
    for name in ("before", "after", "predicted"):
        same_metrics(ours[name], stock[name], skipped)
    if "sum" not in skipped:
        for name in ("metric", "predictions", "labels"):
            same_values(ours[name], stock[name])
    if "loss" not in skipped:
        assert ours["losses"] == pytest.approx(stock["losses"], rel=1e-3)


ALONE = {"args": {"objectives": {"ce": 1.0}}}
