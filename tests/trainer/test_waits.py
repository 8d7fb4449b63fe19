"""No loss waits for the device, and a whole step waits no more often than one of transformers' Trainer."""

import copy
import functools
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from parity import SETTINGS
from problems import PROBLEMS, make_problem
from tiny import tiny_model, tiny_tokenizer
from transformers import BertForSequenceClassification, Trainer, TrainingArguments
from waits import CASES, Waits, make, marked_batch, together

from hf_distill import DistillationTrainer, DistillationTrainingArguments, TeacherCache, TeacherEnsemble
from hf_distill.cache.rows import read_ahead
from hf_distill.classifiers.outputs import STORABLE_OUTPUTS, ClassifierOutputs
from hf_distill.objectives import OBJECTIVES, attentions


def test_the_operations_that_wait_are_counted():
    values = torch.arange(6.0)
    with Waits() as waits:
        bool(values.any()), values[values > 2], values[[0, 2]], values.tolist(), values.nonzero(), torch.tensor([1, 2])
        (
            values.masked_fill(values > 2, 0.0),
            torch.where(values > 2, values, 0.0),
            values[2:],
            values.index_select(0, torch.arange(2)),
        )
    assert len(waits.found) == 6


def check_no_wait(trainer):
    inputs, num_units = marked_batch(trainer)
    trainer.model.train()
    models = [trainer.model] + ([trainer.teacher.model] if hasattr(trainer.teacher, "model") else [])
    with Waits(*models) as waits:
        trainer.compute_loss(trainer.model, inputs, num_items_in_batch=num_units).backward()
    assert waits.found == []


problem_of = functools.cache(lambda name: make_problem(name, 12))


@pytest.mark.parametrize("problem", PROBLEMS)
def test_no_loss_waits_for_the_device(problem, tmp_path):
    for names in together([name for p, name in CASES if p == problem]):
        check_no_wait(make(problem_of(problem), names, tmp_path))


@pytest.mark.parametrize("problem", [problem for problem in PROBLEMS if problem != "masked_lm"])
def test_no_loss_with_stored_outputs_waits_for_the_device(problem, tmp_path):
    stored = {"cache_teacher_outputs": True, "teacher_cache_dir": str(tmp_path)}
    for names in together(
        [name for p, name in CASES if p == problem and OBJECTIVES[name].teacher_reads <= STORABLE_OUTPUTS.keys()]
    ):
        check_no_wait(make(problem_of(problem), names, tmp_path, **stored))


def test_a_teacher_with_another_order_of_its_labels_waits_only_once(tmp_path):
    problem = make_problem("single_label_classification", 12)
    names = problem.student.config.id2label
    problem.teacher.config.id2label = {i: names[2 - i] for i in range(3)}
    problem.teacher.config.label2id = {names[2 - i]: i for i in range(3)}
    trainer = make(problem, ["kl"], tmp_path)
    assert trainer.teacher.label_order == [2, 1, 0]
    trainer.teacher(marked_batch(trainer)[0])
    check_no_wait(trainer)


def test_an_ensemble_waits_only_once(tmp_path):
    problem = make_problem("single_label_classification", 12)
    teachers = TeacherEnsemble([problem.teacher, tiny_model(3, seed=5)], temperatures=[2.0, 3.0])
    trainer = make(problem, ["kl"], tmp_path, teachers)
    trainer.teacher(marked_batch(trainer)[0])
    inputs, num_units = marked_batch(trainer)
    models = [trainer.model, *(member.model for member in trainer.teacher.members)]
    with Waits(*models) as waits:
        trainer.compute_loss(trainer.model.train(), inputs, num_items_in_batch=num_units).backward()
    assert waits.found == []


def waits_per_step(cls, args_class, folder, problem, **extra):
    """Waits of a whole step, with its batch, gradients and optimizer: of 6 steps less of 3."""
    counts = []
    for steps in (3, 6):
        settings = {**SETTINGS, "max_steps": steps, "logging_strategy": "no", "max_grad_norm": 1.0}
        student = copy.deepcopy(problem.student)
        student.accepts_loss_kwargs = False
        args = args_class(str(folder), **settings, **extra.get("args", {}))
        teacher = extra.get("kwargs", {}).get("teacher_model")
        trainer = cls(
            student, args=args, train_dataset=problem.rows, processing_class=tiny_tokenizer(),
            **extra.get("kwargs", {}),
        )  # fmt: skip
        with Waits(student, *([teacher] if teacher is not None else [])) as waits:
            trainer.train()
        counts.append(len(waits.found))
    return (counts[1] - counts[0]) / 3


def test_a_whole_step_waits_no_more_often_than_one_of_stock_trainer(tmp_path):
    problem = make_problem("single_label_classification", 24)
    stock = waits_per_step(Trainer, TrainingArguments, tmp_path, problem)
    for extra in (
        {"kwargs": {"teacher_model": problem.teacher}},
        {"kwargs": {"teacher_model": problem.teacher},
         "args": {"cache_teacher_outputs": True, "teacher_cache_dir": str(tmp_path)}},
    ):  # fmt: skip
        assert waits_per_step(DistillationTrainer, DistillationTrainingArguments, tmp_path, problem, **extra) <= stock


@pytest.mark.gpu
def test_no_loss_waits_for_a_gpu(tmp_path):
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": os.environ["VISIBLE_TO_GPU_TESTS"]}
    if environment["CUDA_VISIBLE_DEVICES"] == "all":
        del environment["CUDA_VISIBLE_DEVICES"]
    script = Path(__file__).parents[1] / "support" / "waits.py"
    subprocess.run([sys.executable, str(script), str(tmp_path)], env=environment, check=True)


# ---- Memory ----


def test_the_teacher_runs_before_the_student(tmp_path):
    problem, order = make_problem("single_label_classification", 12), []
    trainer = make(problem, ["kl"], tmp_path)
    trainer.model.register_forward_hook(lambda *args: order.append("student"))
    trainer.teacher.model.register_forward_hook(lambda *args: order.append("teacher"))
    inputs, num_units = marked_batch(trainer)
    trainer.compute_loss(trainer.model, inputs, num_items_in_batch=num_units)
    assert order == ["teacher", "student"]


def saved_bytes(function):
    """Return what a function returns, and the bytes that its backward pass keeps."""
    sizes = {}

    def keep(tensor):
        sizes[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        result = function()
    return result, sum(sizes.values())


def test_relations_of_a_large_batch_are_computed_again_instead_of_kept(monkeypatch):
    teacher, mask = torch.randn(8, 40, 24), torch.arange(40) < torch.randint(1, 41, (8, 1))
    results = []
    for most in (1 << 24, 2 * 4 * 40**2):  # all rows at once, and two at a time
        monkeypatch.setattr(attentions, "MAX_RELATIONS", most)
        student = torch.randn(8, 40, 12, generator=torch.Generator().manual_seed(0), requires_grad=True)
        values, kept = saved_bytes(lambda: attentions._relation_values(student, teacher, mask, 4))  # noqa: B023
        (gradient,) = torch.autograd.grad(values.sum(), student)
        results.append((values, gradient, kept))
    (whole, whole_gradient, whole_bytes), (parts, parts_gradient, parts_bytes) = results
    assert torch.equal(whole, parts)
    assert torch.equal(whole_gradient, parts_gradient)
    one_relation = 8 * 4 * 40**2 * 4
    assert whole_bytes > 2 * one_relation
    assert parts_bytes < one_relation


def test_stored_outputs_reach_the_collator_as_arrays(tokenizer, tmp_path):
    problem = make_problem("single_label_classification", 12)
    trainer = make(problem, ["pkd"], tmp_path, cache_teacher_outputs=True, teacher_cache_dir=str(tmp_path))
    (row,) = trainer._remove_unused_columns(trainer.train_dataset).__getitems__([3])
    assert type(row["teacher_cls_states"]) is np.ndarray
    assert row["teacher_cls_states"].shape == (5, 16)
    assert row["teacher_cls_states"].tolist() == trainer.train_dataset[3]["teacher_cls_states"]
    assert row["input_ids"] == trainer.train_dataset[3]["input_ids"]


@pytest.mark.parametrize("outputs", ["logits", "cls_states"])
def test_a_batch_of_outputs_is_copied_to_the_cpu_at_once(tokenizer, tmp_path, outputs):
    problem = make_problem("single_label_classification", 12)
    cache = TeacherCache(tmp_path, problem.teacher, tokenizer, outputs=outputs)
    states = torch.randn(4, 5, 16)
    with Waits() as waits:
        rows = cache.cached_output.flat_rows(ClassifierOutputs(torch.randn(4, 3), cls_states=states), [2, 3, 1, 2])
    assert waits.found.count("cpu") == 1
    assert [row.shape for row in rows] == [(3,) if outputs == "logits" else (80,)] * 4


@pytest.mark.parametrize("is_cached", [False, True])
def test_a_teacher_that_is_loaded_for_a_run_in_bfloat16_has_weights_in_bfloat16(tmp_path, monkeypatch, is_cached):
    problem, dtypes = make_problem("single_label_classification", 12), []
    problem.teacher.save_pretrained(tmp_path / "teacher")
    run = BertForSequenceClassification.forward

    def forward(model, *args, **kwargs):
        dtypes.append(model.dtype)
        return run(model, *args, **kwargs)

    monkeypatch.setattr(BertForSequenceClassification, "forward", forward)
    settings = {"teacher_dtype": "bfloat16", "cache_teacher_outputs": is_cached, "teacher_cache_dir": str(tmp_path)}
    loaded = make(problem, ["kl"], tmp_path, str(tmp_path / "teacher"), **settings)
    live = make(problem, ["kl"], tmp_path, teacher_dtype="bfloat16")
    given, found = (trainer.evaluate()["eval_loss_kl"] for trainer in (live, loaded))
    assert torch.bfloat16 in dtypes
    assert live.teacher.model.dtype == torch.float32  # a model of the user stays as it is
    assert found == pytest.approx(given, rel=2e-2)
    assert live.teaching.identity["teachers"] == loaded.teaching.identity["teachers"]


def test_reading_ahead_gives_the_same_items_in_order_and_ends_with_its_consumer():
    made = []

    def items():
        for i in range(100):
            made.append(i)
            yield i

    assert list(read_ahead(items())) == list(range(100))
    made.clear()
    reader = read_ahead(items())
    assert [next(reader), next(reader)] == [0, 1]
    reader.close()
    assert len(made) <= 4


def test_an_error_while_reading_ahead_reaches_the_consumer():
    def items():
        yield 1
        raise OSError("row 2 cannot be read")

    reader = read_ahead(items())
    assert next(reader) == 1
    with pytest.raises(OSError, match="row 2"):
        next(reader)
