"""The invariants of the loss, and the teacher behind it."""

import copy

import numpy as np
import pytest
import torch
from invariance import (
    HARD,
    SOFT,
    make_args,
    make_trainer,
    reference_gradient,
    reference_terms,
    relative_difference,
    trained_gradients,
)
from tiny import LABEL_NAMES, tiny_dataset, tiny_model, visible_to_caplog
from transformers import DistilBertConfig, DistilBertForSequenceClassification, TrainerCallback

from hf_distill import DistillationTrainer
from hf_distill.data import name_teacher_logits
from hf_distill.objectives import LOGIT_OBJECTIVES, OBJECTIVES

# ---- The loss ----


@pytest.mark.parametrize(
    ("batch_size", "accumulation"), [(16, 1), (4, 4), (2, 8), (6, 3)], ids=["1x16", "4x4", "8x2", "6+6+4"]
)
def test_the_split_into_micro_batches_does_not_change_the_gradient(
    models, rows, tokenizer, tmp_path, batch_size, accumulation
):
    (gradient,) = trained_gradients(
        *models,
        rows,
        tokenizer,
        tmp_path,
        per_device_train_batch_size=batch_size,
        gradient_accumulation_steps=accumulation,
    )
    assert relative_difference(gradient, reference_gradient(*models, rows, tokenizer)) < 1e-5


def test_the_optimiser_step_with_few_rows_is_the_mean_over_these(models, rows, tokenizer, tmp_path):
    gradients = trained_gradients(
        *models, rows.select(range(11)), tokenizer, tmp_path, per_device_train_batch_size=4, learning_rate=0.0
    )
    expected = reference_gradient(*models, rows.select(range(8, 11)), tokenizer)
    assert len(gradients) == 3
    assert relative_difference(gradients[-1], expected) < 1e-5


def test_gradients_of_every_objective_on_logits_do_not_depend_on_the_split(models, dataset, tokenizer, tmp_path):
    """Those of the other objectives have a reference in test_hidden_states.py."""
    changes = {"temperature": None, "soft_label_weight": None, "hard_label_weight": None}
    for name in (name for name in ("ce", *LOGIT_OBJECTIVES) if OBJECTIVES[name].is_per_unit):
        whole, split = (
            trained_gradients(
                *models,
                dataset.select(range(10)),
                tokenizer,
                tmp_path,
                objectives={name: 1.0},
                per_device_train_batch_size=size,
                gradient_accumulation_steps=steps,
                **changes,
            )[0]
            for size, steps in ((10, 1), (4, 3))
        )
        assert whole.norm() > 1e-4, name
        assert relative_difference(split, whole) < 1e-5, name


def test_rows_without_a_label_train_the_soft_term_alone(models, rows, tokenizer, tmp_path):
    unlabelled = rows.remove_columns("labels")
    (without_column,) = trained_gradients(*models, unlabelled, tokenizer, tmp_path)
    minus_100 = rows.map(lambda row: {"labels": -100})
    assert relative_difference(without_column, reference_gradient(*models, minus_100, tokenizer)) < 1e-5


def test_logged_terms_are_unweighted_means_over_steps_and_sum_to_the_loss(models, rows, tokenizer, tmp_path):
    trainer = make_trainer(
        *models,
        rows,
        tokenizer,
        tmp_path,
        per_device_train_batch_size=3,
        gradient_accumulation_steps=2,
        logging_steps=3,
    )
    trainer.args.learning_rate = 0.0
    trainer.train()
    (log,) = [entry for entry in trainer.state.log_history if "loss" in entry]
    student, teacher = (copy.deepcopy(model).double() for model in models)
    soft, hard = reference_terms(student, teacher, rows, tokenizer)
    steps = [slice(0, 6), slice(6, 12), slice(12, 16)]
    assert log["loss_kl"] == pytest.approx(np.mean([soft[step].mean().item() for step in steps]), rel=1e-5)
    assert log["loss_ce"] == pytest.approx(np.mean([hard[step].mean().item() for step in steps]), rel=1e-5)
    assert log["loss"] == pytest.approx(SOFT * log["loss_kl"] + HARD * log["loss_ce"], rel=1e-5)
    assert log["labelled_share"] == pytest.approx(np.mean([5 / 6, 5 / 6, 1.0]))


def test_compute_loss_called_by_hand_is_the_mean_over_its_batch(models, rows, tokenizer, tmp_path):
    trainer = make_trainer(*models, rows, tokenizer, tmp_path)
    batch = next(iter(trainer.get_train_dataloader()))
    loss, outputs = trainer.compute_loss(trainer.model, batch, return_outputs=True)
    soft, hard = reference_terms(*(copy.deepcopy(model).double() for model in models), rows, tokenizer)
    assert loss.item() == pytest.approx((SOFT * soft + HARD * hard).mean().item(), rel=1e-5)
    assert outputs["logits"].shape == outputs["teacher_logits"].shape == (16, 3)


def test_label_smoothing_goes_into_the_hard_term(models, dataset, tokenizer, tmp_path):
    trainer = make_trainer(*models, dataset, tokenizer, tmp_path, label_smoothing_factor=0.2)
    metrics = trainer.evaluate()
    batch = tokenizer.pad([{k: r[k] for k in tokenizer.model_input_names} for r in dataset], return_tensors="pt")
    log_probs = models[0](**batch).logits.log_softmax(-1)
    labels = torch.tensor(dataset["labels"][:])
    expected = -(0.8 * log_probs.gather(1, labels[:, None])[:, 0] + 0.2 * log_probs.mean(-1)).mean()
    assert metrics["eval_loss_ce"] == pytest.approx(expected.item(), rel=1e-5)


# ---- The teacher ----


def test_the_teacher_sees_segment_ids_that_the_student_does_not_know(dataset, tokenizer, tmp_path):
    teacher = tiny_model(num_hidden_layers=2, seed=1)
    config = DistilBertConfig(
        vocab_size=teacher.config.vocab_size, dim=16, n_layers=1, n_heads=2, hidden_dim=32, max_position_embeddings=64,
        id2label=teacher.config.id2label, label2id=teacher.config.label2id,
    )  # fmt: skip
    student = DistilBertForSequenceClassification(config)
    trainer = make_trainer(student, teacher, dataset, tokenizer, tmp_path)
    batch = next(iter(trainer.get_train_dataloader()))
    assert batch["token_type_ids"].max() == 1
    _, outputs = trainer.compute_loss(trainer.model, batch, return_outputs=True)
    inputs = {name: batch[name] for name in tokenizer.model_input_names}
    with_segments = teacher(**inputs).logits
    without = teacher(**{**inputs, "token_type_ids": torch.zeros_like(inputs["token_type_ids"])}).logits
    assert torch.allclose(outputs["teacher_logits"], with_segments, atol=1e-6)
    assert not torch.allclose(with_segments, without, atol=1e-2)


def test_the_teacher_stays_frozen_and_outside_of_checkpoints(models, dataset, tokenizer, tmp_path):
    student, teacher = models
    trainer = make_trainer(
        student,
        teacher,
        dataset,
        tokenizer,
        tmp_path,
        per_device_train_batch_size=8,
        save_strategy="epoch",
        optim="adamw_torch",
    )
    trainer.teacher.model.train()
    trainer.teacher.model.eval()
    trainer.train()
    assert not trainer.teacher.model.training
    assert all(p.grad is None and not p.requires_grad for p in trainer.teacher.model.parameters())
    for mine, given in zip(trainer.teacher.model.parameters(), teacher.parameters(), strict=True):
        assert torch.equal(mine, given)
    optimised = {id(p) for group in trainer.optimizer.param_groups for p in group["params"]}
    assert optimised == {id(p) for p in trainer.model.parameters()}
    saved = tiny_model().from_pretrained(tmp_path / "checkpoint-4")
    assert saved.state_dict().keys() == student.state_dict().keys()
    for name, parameter in trainer.model.named_parameters():
        assert not torch.equal(parameter, student.get_parameter(name)), f"{name} did not move"


def test_teacher_logits_in_a_column_train_like_the_live_teacher(models, dataset, tokenizer, tmp_path):
    student, teacher = models
    live = make_trainer(student, teacher, dataset, tokenizer, tmp_path, per_device_train_batch_size=8)
    live.train()
    batch = tokenizer.pad([{k: r[k] for k in tokenizer.model_input_names} for r in dataset], return_tensors="pt")
    labelled = dataset.add_column("teacher_logits", teacher(**batch).logits.tolist())
    labelled = name_teacher_logits(labelled, LABEL_NAMES)
    cached = make_trainer(student, None, labelled, tokenizer, tmp_path, per_device_train_batch_size=8)
    cached.train()
    for a, b in zip(live.state.log_history, cached.state.log_history, strict=True):
        assert a.get("loss", 0.0) == pytest.approx(b.get("loss", 0.0), rel=1e-5)
    assert cached.evaluate()["eval_agreement"] == live.evaluate()["eval_agreement"]
    assert cached.predict(dataset).predictions.shape == (32, 3)  # predictions need no teacher


def test_classes_in_another_order_are_aligned_by_name(models, dataset, tokenizer, tmp_path):
    student, teacher = models
    order = [2, 0, 1]
    permuted = copy.deepcopy(teacher)
    with torch.no_grad():
        permuted.classifier.weight.copy_(teacher.classifier.weight[order])
        permuted.classifier.bias.copy_(teacher.classifier.bias[order])
    permuted.config.id2label = {i: LABEL_NAMES[j].upper() for i, j in enumerate(order)}
    expected = make_trainer(student, teacher, dataset, tokenizer, tmp_path).evaluate()["eval_loss_kl"]
    assert make_trainer(student, permuted, dataset, tokenizer, tmp_path).evaluate()["eval_loss_kl"] == pytest.approx(
        expected, rel=1e-5
    )


def test_a_student_without_label_names_takes_the_teachers(dataset, tokenizer, tmp_path):
    student = tiny_model()
    student.config.id2label = {i: f"LABEL_{i}" for i in range(3)}
    trainer = make_trainer(student, tiny_model(), dataset, tokenizer, tmp_path)
    assert trainer.model.config.id2label == dict(enumerate(LABEL_NAMES))


def test_a_teacher_at_chance_is_reported(dataset, tokenizer, tmp_path, caplog):
    many = tiny_dataset(tokenizer, 120, seed=5)
    teacher = tiny_model(seed=1)
    with torch.no_grad():
        teacher.classifier.weight.zero_()
    trainer = make_trainer(tiny_model(), teacher, many, tokenizer, tmp_path)
    with caplog.at_level("WARNING"), visible_to_caplog("hf_distill.training.guards"):
        trainer.evaluate()
    assert "THE TEACHER IS AT CHANCE" in caplog.text


def bad_teacher():
    """It gives every row the same class."""
    teacher = tiny_model(seed=1)
    with torch.no_grad():
        teacher.classifier.weight.zero_()
        teacher.classifier.bias.copy_(torch.tensor([0.0, 1.0, 0.0]))
    return teacher


@pytest.mark.parametrize("members", [1, 2])
def test_stored_logits_at_chance_are_reported_before_the_first_step(tokenizer, tmp_path, caplog, members):
    class Stop(TrainerCallback):
        def on_step_begin(self, *_, **__):
            raise KeyboardInterrupt

    many = tiny_dataset(tokenizer, 120, seed=5)
    trainer = DistillationTrainer(
        tiny_model(), bad_teacher() if members == 1 else [bad_teacher(), bad_teacher()],
        make_args(tmp_path, cache_teacher_outputs=True, teacher_cache_dir=str(tmp_path / "cache")),
        train_dataset=many, processing_class=tokenizer, callbacks=[Stop()],
    )  # fmt: skip
    with (
        caplog.at_level("WARNING"),
        visible_to_caplog("hf_distill.training.guards"),
        pytest.raises(KeyboardInterrupt),
    ):
        trainer.train()
    assert "THE TEACHER IS AT CHANCE" in caplog.text


def test_a_live_teacher_at_chance_is_reported_once_a_thousand_rows_were_seen(tokenizer, tmp_path, caplog):
    many = tiny_dataset(tokenizer, 120, seed=5)
    steps = []

    class Note(TrainerCallback):
        def on_step_begin(self, args, state, control, **kwargs):
            steps.append("AT CHANCE" in caplog.text)

    trainer = make_trainer(
        tiny_model(), bad_teacher(), many, tokenizer, tmp_path, callbacks=[Note()], logging_steps=100, max_steps=19,
        per_device_train_batch_size=60,
    )  # fmt: skip
    with caplog.at_level("WARNING"), visible_to_caplog("hf_distill.training.guards"):
        trainer.train()
    assert steps == [False] * 17 + [True] * 2  # 60 rows a step


def test_a_good_teacher_is_not_reported_as_at_chance(tokenizer, tmp_path, caplog):
    many = tiny_dataset(tokenizer, 120, seed=5)
    teacher = tiny_model(seed=1)
    trainer = make_trainer(tiny_model(), teacher, many, tokenizer, tmp_path)
    right = torch.eye(3)[torch.tensor(many["labels"][:])] * 5
    rows = name_teacher_logits(many.add_column("teacher_logits", right.tolist()), LABEL_NAMES)
    cached = make_trainer(tiny_model(), None, rows, tokenizer, tmp_path)
    with caplog.at_level("WARNING"), visible_to_caplog("hf_distill.training.guards"):
        cached.evaluate()
    assert "AT CHANCE" not in caplog.text
    del trainer
