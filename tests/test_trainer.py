"""The invariants of the loss, of evaluation, and of everything else that a Trainer does."""

import copy
import json

import numpy as np
import pytest
import torch
from invariance import (
    HARD,
    SOFT,
    TEMPERATURE,
    make_args,
    make_trainer,
    reference_gradient,
    reference_terms,
    relative_difference,
    trained_gradients,
)
from tiny import LABEL_NAMES, tiny_dataset, tiny_model
from transformers import DistilBertConfig, DistilBertForSequenceClassification, TrainerCallback

from hf_distill import DistillationTrainer, DistillationTrainingArguments
from hf_distill.objectives import OBJECTIVES


@pytest.fixture(scope="module")
def rows(tokenizer):
    """16 labelled rows, two of them without their label."""
    dataset = tiny_dataset(tokenizer, 16, seed=3)
    return dataset.map(lambda row, i: {"labels": -100 if i in (1, 9) else row["labels"]}, with_indices=True)


@pytest.fixture(scope="module")
def models():
    return tiny_model(num_hidden_layers=2, seed=2), tiny_model(num_hidden_layers=4, seed=1)


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


def test_gradients_of_every_per_unit_objective_do_not_depend_on_the_split(models, dataset, tokenizer, tmp_path):
    changes = {"temperature": None, "soft_label_weight": None, "hard_label_weight": None}
    for name in (name for name, objective in OBJECTIVES.items() if objective.is_per_unit):
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
    with caplog.at_level("WARNING"), _propagating("hf_distill._running"):
        trainer.evaluate()
    assert "THE TEACHER IS AT CHANCE" in caplog.text


def test_a_good_teacher_is_not_reported_as_at_chance(tokenizer, tmp_path, caplog):
    many = tiny_dataset(tokenizer, 120, seed=5)
    teacher = tiny_model(seed=1)
    trainer = make_trainer(tiny_model(), teacher, many, tokenizer, tmp_path)
    right = torch.eye(3)[torch.tensor(many["labels"][:])] * 5
    cached = make_trainer(tiny_model(), None, many.add_column("teacher_logits", right.tolist()), tokenizer, tmp_path)
    with caplog.at_level("WARNING"), _propagating("hf_distill._running"):
        cached.evaluate()
    assert "AT CHANCE" not in caplog.text
    del trainer


# ---- Evaluation ----


def accuracy(prediction):
    return {"accuracy": float((prediction.predictions.argmax(-1) == prediction.label_ids).mean())}


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


# ---- What else a Trainer does ----


def test_resuming_is_bit_identical_to_not_stopping(models, dataset, tokenizer, tmp_path):
    student, teacher = copy.deepcopy(models[0]), models[1]
    for module in student.modules():  # dropout, so that the random state matters
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.1
    settings = {
        "optim": "adamw_torch", "per_device_train_batch_size": 4, "num_train_epochs": 2, "save_steps": 5,
        "save_strategy": "steps", "train_sampling_strategy": "random", "gradient_accumulation_steps": 2,
    }  # fmt: skip
    whole = make_trainer(student, teacher, dataset, tokenizer, tmp_path, **settings)
    whole.train()
    resumed = make_trainer(student, teacher, dataset, tokenizer, tmp_path, **settings)
    resumed.train(resume_from_checkpoint=str(tmp_path / "checkpoint-5"))
    for a, b in zip(whole.model.parameters(), resumed.model.parameters(), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("changes", [{"bf16": True}, {"gradient_checkpointing": True}], ids=["bf16", "checkpointing"])
def test_it_trains_with(models, dataset, tokenizer, tmp_path, changes):
    plain, changed = (
        trained_gradients(*models, dataset, tokenizer, tmp_path, per_device_train_batch_size=32, **more)[0]
        for more in ({}, changes)
    )
    assert relative_difference(changed, plain) < (5e-2 if "bf16" in changes else 1e-5)


def test_auto_teacher_dtype_is_what_the_arguments_say_and_never_the_hardware(tmp_path):
    assert make_args(tmp_path).resolved_teacher_dtype() == "float32"
    assert make_args(tmp_path, bf16=True).resolved_teacher_dtype() == "bfloat16"
    assert make_args(tmp_path, bf16=True, teacher_dtype="float32").resolved_teacher_dtype() == "float32"


def test_the_best_model_can_be_chosen_by_agreement(models, dataset, tokenizer, tmp_path):
    trainer = make_trainer(
        *models, dataset, tokenizer, tmp_path, num_train_epochs=2, eval_strategy="epoch", save_strategy="epoch",
        load_best_model_at_end=True, metric_for_best_model="agreement",
    )  # fmt: skip
    trainer.train()
    assert trainer.state.best_metric == max(
        e["eval_agreement"] for e in trainer.state.log_history if "eval_agreement" in e
    )


def test_hyperparameter_search_tries_temperatures(models, dataset, tokenizer, tmp_path):
    seen = []

    class Spy(TrainerCallback):
        def on_train_begin(self, args, state, control, **kwargs):
            seen.append((args.temperature, trainer.distillation_loss.spec()["kl"]["temperature"]))

    trainer = DistillationTrainer(
        model_init=lambda trial=None: copy.deepcopy(models[0]), teacher_model=models[1],
        args=make_args(tmp_path, max_steps=1, eval_strategy="steps", eval_steps=1),
        train_dataset=dataset, eval_dataset=dataset, processing_class=tokenizer, callbacks=[Spy()],
    )  # fmt: skip
    trainer.hyperparameter_search(
        hp_space=lambda trial: {"temperature": trial.suggest_float("temperature", 1.0, 8.0)},
        n_trials=2, direction="minimize", backend="optuna",
    )  # fmt: skip
    assert len({temperature for temperature, _ in seen}) == 2
    assert all(argument == used for argument, used in seen)


def test_a_peft_student_trains_its_adapter_only(models, dataset, tokenizer, tmp_path):
    peft = pytest.importorskip("peft")
    config = peft.LoraConfig(task_type="SEQ_CLS", r=2, target_modules=["query", "value"])
    student = peft.get_peft_model(copy.deepcopy(models[0]), config)
    trainer = DistillationTrainer(
        student, models[1], make_args(tmp_path, optim="adamw_torch"), train_dataset=dataset, processing_class=tokenizer
    )
    before = {name: p.detach().clone() for name, p in student.named_parameters()}
    trainer.train()
    moved = {name for name, p in student.named_parameters() if not torch.equal(p, before[name])}
    assert moved
    assert all("lora" in name or "modules_to_save" in name for name in moved)


@pytest.mark.slow
def test_it_trains_under_torch_compile(models, dataset, tokenizer, tmp_path):
    plain, compiled = (
        trained_gradients(*models, dataset, tokenizer, tmp_path, per_device_train_batch_size=32, torch_compile=value)[
            0
        ]
        for value in (False, True)
    )
    assert relative_difference(compiled, plain) < 1e-5


def test_what_trainer_knows_of_labels_is_left_alone(models, dataset, tokenizer, tmp_path):
    assert make_trainer(*models, dataset, tokenizer, tmp_path).label_names == ["labels"]


# ---- What is saved ----


def test_the_saved_folder_has_a_record_and_no_pickle(models, dataset, tokenizer, tmp_path):
    trainer = make_trainer(
        *models, dataset, tokenizer, tmp_path, hub_token="hf_canary0123456789", save_strategy="epoch"
    )
    trainer.train()
    trainer.evaluate()
    trainer.save_model()
    trainer.create_model_card()
    files = [path for path in tmp_path.iterdir() if path.is_file()]
    assert {"README.md", "distillation.json", "model.safetensors", "tokenizer.json"} <= {path.name for path in files}
    assert not [path.name for path in files if path.suffix in (".bin", ".pt", ".pkl", ".pth")]
    assert not any(b"hf_canary" in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    record = json.loads((tmp_path / "distillation.json").read_text())
    assert record["objectives"]["kl"] == {"temperature": TEMPERATURE, "weight": SOFT}
    assert record["teacher"]["num_hidden_layers"] == 4
    assert record["metrics"]["student"]["loss"] == trainer.state.log_history[-1]["eval_loss"]


def test_the_record_tells_of_the_checkpoint_that_was_best(models, dataset, tokenizer, tmp_path):
    trainer = make_trainer(
        *models, dataset, tokenizer, tmp_path, num_train_epochs=3, eval_strategy="epoch", save_strategy="epoch",
        load_best_model_at_end=True, learning_rate=2.0,
    )  # fmt: skip
    trainer.train()
    losses = [entry["eval_loss"] for entry in trainer.state.log_history if "eval_loss" in entry]
    assert min(losses) != losses[-1]
    assert trainer.distillation_record()["metrics"]["student"]["loss"] == min(losses)
    assert trainer.evaluate()["eval_loss"] == pytest.approx(min(losses))


def test_the_baseline_takes_as_many_steps_and_evaluations_on_the_labelled_rows(models, dataset, tokenizer, tmp_path):
    rows = dataset.map(lambda row, i: {"labels": row["labels"] if i < 8 else -100}, with_indices=True)
    trainer = DistillationTrainer(
        copy.deepcopy(models[0]), models[1],
        make_args(tmp_path, num_train_epochs=2, per_device_train_batch_size=8, eval_strategy="epoch"),
        train_dataset=rows, eval_dataset={"first": dataset, "second": dataset.select(range(5))},
        processing_class=tokenizer, compute_metrics=accuracy,
    )  # fmt: skip
    trainer.train()
    baseline = trainer.train_baseline(copy.deepcopy(models[0]))
    assert (baseline.state.global_step, len(baseline.train_dataset)) == (8, 8)
    assert baseline.teacher is None
    in_training = [log for log in baseline.state.log_history if "eval_first_loss" in log]
    assert len(in_training) == 3  # after each of the student's two epochs, and at the end
    metrics = trainer.distillation_record()["metrics"]
    assert metrics["baseline"]["accuracy"] == in_training[-1]["eval_first_accuracy"]
    assert metrics["student"].keys() >= {"loss", "loss_kl", "accuracy", "agreement"}


def test_a_baseline_cannot_choose_its_checkpoint_by_its_teacher(tmp_path):
    args = make_args(
        tmp_path, eval_strategy="epoch", save_strategy="epoch", load_best_model_at_end=True,
        metric_for_best_model="agreement",
    )  # fmt: skip
    with pytest.raises(ValueError, match="'agreement', which a baseline without a teacher does not have"):
        args.check_baseline()


def test_the_teachers_metric_goes_through_preprocess_logits_too(models, rows, tokenizer, tmp_path):
    def share_of_hits(prediction):
        return {"hits": float((prediction.predictions == prediction.label_ids).mean())}

    trainer = DistillationTrainer(
        *models, make_args(tmp_path), eval_dataset=rows, processing_class=tokenizer, compute_metrics=share_of_hits,
        preprocess_logits_for_metrics=lambda logits, labels: logits.argmax(-1),
    )  # fmt: skip
    plain = DistillationTrainer(
        *models, make_args(tmp_path), eval_dataset=rows, processing_class=tokenizer, compute_metrics=accuracy
    )
    assert trainer.evaluate()["eval_teacher_hits"] == plain.evaluate()["eval_teacher_accuracy"]


def test_a_student_of_model_init_has_the_teachers_label_names_after_training(dataset, tokenizer, tmp_path):
    def model_init():
        model = tiny_model(seed=2)
        model.config.id2label = {i: f"LABEL_{i}" for i in range(3)}
        return model

    trainer = DistillationTrainer(
        model_init=model_init, teacher_model=tiny_model(seed=1), args=make_args(tmp_path, max_steps=1),
        train_dataset=dataset, processing_class=tokenizer,
    )  # fmt: skip
    trainer.train()
    assert trainer.model.config.id2label == dict(enumerate(LABEL_NAMES))


@pytest.mark.parametrize("checkpoint", [2, 6], ids=["first epoch", "second epoch"])
def test_resuming_under_length_grouped_batches_is_bit_identical(models, dataset, tokenizer, tmp_path, checkpoint):
    settings = {
        "per_device_train_batch_size": 8, "num_train_epochs": 2, "save_steps": 2, "save_strategy": "steps",
        "train_sampling_strategy": "group_by_length", "optim": "adamw_torch",
    }  # fmt: skip
    whole = make_trainer(*models, dataset, tokenizer, tmp_path, **settings)
    whole.train()
    resumed = make_trainer(*models, dataset, tokenizer, tmp_path, **settings)
    resumed.train(resume_from_checkpoint=str(tmp_path / f"checkpoint-{checkpoint}"))
    for a, b in zip(whole.model.parameters(), resumed.model.parameters(), strict=True):
        assert torch.equal(a, b)


# ---- Bad input ----


def _change_labels(dataset, value):
    rows = dataset.to_list()
    rows[5]["labels"] = value
    return type(dataset).from_list(rows)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda d: {"train_dataset": d.select([])}, "training data set is empty"),
        (lambda d: {"train_dataset": _change_labels(d, 3)}, "Label 3 in row 5 .* out of range.*negative"),
        (lambda d: {"eval_dataset": _change_labels(d, -1)}, "Label -1 in row 5 .*marks rows without a label by -1"),
        (lambda d: {"train_dataset": d.remove_columns("input_ids")}, "no column `input_ids`"),
        (
            lambda d: {"train_dataset": d.add_column("teacher_logits", [[0.0, 0.0, float("nan")]] * len(d))},
            "no usable value in row 0",
        ),
        (
            lambda d: {"train_dataset": d.add_column("teacher_logits", [[0.0, 0.0]] * len(d))},
            "3 classes",
        ),
        (lambda d: {"train_dataset": _change_labels(d, -100), "objectives": {"dkd": 1.0}}, "`dkd` needs the label"),
        (lambda d: {"train_dataset": d.add_column("label", d["labels"][:])}, "both `label` and `labels`"),
        (lambda d: {"objectives": {"kl": 0.0}}, "weight > 0"),
        (lambda d: {"objectives": {"nll": 1.0}}, "no objective 'nll'"),
        (lambda d: {"objectives": {"kl": {"temprature": 1.0}}}, "no hyper-parameter 'temprature'"),
        (lambda d: {"compute_loss_func": accuracy}, "compute_loss_func"),
        (lambda d: {"teacher_model": tiny_model(num_labels=4)}, "4 classes cannot be aligned with 3.*class 3"),
        (lambda d: {"teacher_model": tiny_model(num_labels=1)}, "problem type is regression"),
        (lambda d: {"teacher_model": None}, "There is no teacher"),
    ],
)
def test_bad_input_is_refused_before_training(models, dataset, tokenizer, tmp_path, build, message):
    arguments = {"teacher_model": models[1], "train_dataset": dataset, **build(dataset)}
    with pytest.raises(ValueError, match=message):
        DistillationTrainer(
            copy.deepcopy(models[0]),
            args=DistillationTrainingArguments(str(tmp_path / "out"), report_to="none", use_cpu=True),
            processing_class=tokenizer,
            **arguments,
        )


def test_a_teacher_of_nan_is_refused(models, dataset, tokenizer, tmp_path):
    teacher = tiny_model()
    teacher.classifier.bias.data[0] = float("nan")
    with pytest.raises(ValueError, match="NaN or infinite"):
        make_trainer(models[0], teacher, dataset, tokenizer, tmp_path)


def test_a_loss_that_is_no_number_stops_the_training_and_names_the_term(models, dataset, tokenizer, tmp_path):
    student = copy.deepcopy(models[0])
    student.classifier.bias.data[0] = float("nan")
    with pytest.raises(FloatingPointError, match="`loss_kl` is nan after step 1"):
        make_trainer(student, models[1], dataset, tokenizer, tmp_path).train()


def test_objectives_of_the_trainer_and_constants_of_the_arguments_exclude_each_other(models, tmp_path):
    with pytest.raises(ValueError, match="The Trainer's `objectives` says everything .* `temperature` is set too"):
        DistillationTrainer(*models, make_args(tmp_path), objectives={"kl": 1.0})


def test_label_names_that_differ_are_refused_with_both_maps(models, dataset, tokenizer, tmp_path):
    teacher = tiny_model()
    teacher.config.id2label = {0: "bad", 1: "so-so", 2: "good"}
    with pytest.raises(ValueError, match="neutral.*so-so"):
        make_trainer(models[0], teacher, dataset, tokenizer, tmp_path)


def test_a_temperature_is_refused_for_regression(dataset, tokenizer, tmp_path):
    numbers = dataset.remove_columns("labels").add_column("labels", [0.5] * len(dataset))
    with pytest.raises(ValueError, match="`temperature` is 3.0, but regression"):
        make_trainer(tiny_model(num_labels=1), tiny_model(num_labels=1), numbers, tokenizer, tmp_path)


def test_regression_distils_the_teachers_number(dataset, tokenizer, tmp_path):
    student, teacher = tiny_model(num_labels=1, seed=2), tiny_model(num_labels=1, seed=1)
    targets = [float("nan") if i == 3 else i / 10 for i in range(len(dataset))]
    numbers = dataset.remove_columns("labels").add_column("labels", targets)
    metrics = make_trainer(student, teacher, numbers, tokenizer, tmp_path, temperature=None).evaluate()
    batch = tokenizer.pad([{k: r[k] for k in tokenizer.model_input_names} for r in dataset], return_tensors="pt")
    mine, theirs = student(**batch).logits[:, 0], teacher(**batch).logits[:, 0]
    hard = (mine - torch.tensor(targets)).square().nan_to_num(0.0)
    assert metrics["eval_loss_kl"] == pytest.approx((mine - theirs).square().mean().item(), rel=1e-5)
    assert metrics["eval_loss_ce"] == pytest.approx(hard.mean().item(), rel=1e-5)


def test_a_path_whose_head_is_missing_is_reported(tmp_path, models, caplog):
    from hf_distill.teachers import load_teacher

    models[0].bert.save_pretrained(tmp_path)
    with caplog.at_level("WARNING"), _propagating("hf_distill.teachers"):
        load_teacher(tmp_path)
    assert "NEVER FINE-TUNED" in caplog.text


class _propagating:
    """Let caplog see a logger of transformers' library, which does not propagate by itself."""

    def __init__(self, name):
        from transformers.utils import logging

        self.root = logging.get_logger(name)

    def __enter__(self):
        import logging

        self.handler = logging.getLogger().handlers[-1] if logging.getLogger().handlers else None
        self.root.addHandler(self.handler) if self.handler else None

    def __exit__(self, *_):
        self.root.removeHandler(self.handler) if self.handler else None
