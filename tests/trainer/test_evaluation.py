"""Evaluation is exact, with and without labels."""

import copy

import numpy as np
import pytest
import torch
from invariance import (
    HARD,
    SOFT,
    accuracy,
    make_args,
    make_trainer,
    reference_terms,
)

from hf_distill import DistillationTrainer


def test_evaluation_reports_exact_terms_agreement_and_the_teachers_metric(models, rows, tokenizer, tmp_path):
    student, teacher = models
    trainer = DistillationTrainer(
        student, teacher, make_args(tmp_path, per_device_eval_batch_size=5), eval_dataset=rows,
        processing_class=tokenizer, compute_metrics=accuracy,
    )  # fmt: skip
    metrics = trainer.evaluate()
    soft, hard = reference_terms(*(copy.deepcopy(model).double() for model in models), rows, tokenizer)
    assert metrics["eval_loss_kl"] == pytest.approx(soft.mean().item(), rel=1e-5)
    assert metrics["eval_loss_ce"] == pytest.approx(hard.mean().item(), rel=1e-5)
    assert metrics["eval_loss"] == pytest.approx((SOFT * soft + HARD * hard).mean().item(), rel=1e-5)
    batch = tokenizer.pad([{k: r[k] for k in tokenizer.model_input_names} for r in rows], return_tensors="pt")
    mine, theirs = student(**batch).logits.argmax(-1), teacher(**batch).logits.argmax(-1)
    labels = torch.tensor(rows["labels"][:])
    labelled = labels != -100
    assert metrics["eval_agreement"] == pytest.approx((mine == theirs).double().mean().item())
    assert metrics["eval_accuracy"] == pytest.approx((mine == labels)[labelled].double().mean().item())
    assert metrics["eval_teacher_accuracy"] == pytest.approx((theirs == labels)[labelled].double().mean().item())


def test_evaluation_works_without_labels(models, rows, tokenizer, tmp_path):
    trainer = DistillationTrainer(
        *models, make_args(tmp_path), eval_dataset=rows.remove_columns("labels"), processing_class=tokenizer,
        compute_metrics=accuracy,
    )  # fmt: skip
    metrics = trainer.evaluate()
    assert metrics["eval_loss"] == pytest.approx(SOFT * metrics["eval_loss_kl"])
    assert metrics["eval_labelled_share"] == 0.0
    assert "eval_accuracy" not in metrics


@pytest.mark.parametrize("strategy", ["random", "sequential", "group_by_length", "batch_rebalance"])
def test_predictions_come_in_the_order_of_the_rows(models, dataset, tokenizer, tmp_path, strategy):
    trainer = make_trainer(*models, dataset, tokenizer, tmp_path, train_sampling_strategy=strategy)
    batch = tokenizer.pad([{k: r[k] for k in tokenizer.model_input_names} for r in dataset], return_tensors="pt")
    predictions = trainer.predict(dataset).predictions
    assert np.allclose(predictions, models[0](**batch).logits.detach().numpy(), atol=1e-5)
