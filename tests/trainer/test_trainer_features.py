"""What a Trainer does beside its loss keeps working, and what it saves is whole."""

import json

import pytest
import torch
from invariance import (
    SOFT,
    TEMPERATURE,
    accuracy,
    make_args,
    make_trainer,
    relative_difference,
    trained_gradients,
)
from tiny import LABEL_NAMES, copy_model, tiny_model
from transformers import TrainerCallback

from hf_distill import DistillationTrainer
from hf_distill.cache.fingerprint import identify

# ---- What else a Trainer does ----


def test_resuming_is_bit_identical_to_not_stopping(models, dataset, tokenizer, tmp_path):
    student, teacher = copy_model(models[0]), models[1]
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
        model_init=lambda trial=None: copy_model(models[0]), teacher_model=models[1],
        args=make_args(tmp_path, max_steps=1, eval_strategy="steps", eval_steps=1),
        train_dataset=dataset, eval_dataset=dataset, processing_class=tokenizer, callbacks=[Spy()],
    )  # fmt: skip
    trainer.hyperparameter_search(
        hp_space=lambda trial: {"temperature": trial.suggest_float("temperature", 1.0, 8.0)},
        compute_objective=lambda metrics: metrics["eval_loss_kl"], n_trials=2, direction="minimize", backend="optuna",
    )  # fmt: skip
    assert len({temperature for temperature, _ in seen}) == 2
    assert all(argument == used for argument, used in seen)


def test_a_peft_student_trains_its_adapter_only(models, dataset, tokenizer, tmp_path):
    peft = pytest.importorskip("peft")
    config = peft.LoraConfig(task_type="SEQ_CLS", r=2, target_modules=["query", "value"])
    student = peft.get_peft_model(copy_model(models[0]), config)
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


def test_no_loader_warns_about_pinned_memory(models, dataset, tokenizer, tmp_path, recwarn):
    trainer = make_trainer(*models, dataset, tokenizer, tmp_path, use_cpu=False, max_steps=1, eval_strategy="steps")
    trainer.train()
    trainer.predict(dataset)
    assert [str(warning.message) for warning in recwarn if "pin_memory" in str(warning.message)] == []


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


def test_the_record_knows_the_teacher_by_its_weights_not_by_how_it_was_run(models, dataset, tokenizer, tmp_path):
    student, teacher = models
    teacher.save_pretrained(tmp_path / "teacher")
    settings = {"cache_teacher_outputs": True, "teacher_cache_dir": str(tmp_path / "store")}

    def fingerprint(teacher, **changes):
        trainer = make_trainer(student, teacher, dataset, tokenizer, tmp_path / "out", **changes)
        return trainer.distillation_record()["teacher"]["fingerprint"]

    live = fingerprint(teacher)
    assert len(live) == 32
    assert fingerprint(teacher, **settings) == fingerprint(str(tmp_path / "teacher")) == live
    teacher.classifier.bias.data += 1
    assert fingerprint(teacher) != live


def test_the_record_knows_the_weights_that_the_student_started_from(models, dataset, tokenizer, tmp_path):
    trainer = make_trainer(*models, dataset, tokenizer, tmp_path)
    before = trainer.distillation_record()["student"]["initial_fingerprint"]
    trainer.train()
    assert trainer.distillation_record()["student"]["initial_fingerprint"] == before == identify(models[0])
    assert identify(trainer.model) != before


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
        copy_model(models[0]), models[1],
        make_args(tmp_path, num_train_epochs=2, per_device_train_batch_size=8, eval_strategy="epoch"),
        train_dataset=rows, eval_dataset={"first": dataset, "second": dataset.select(range(5))},
        processing_class=tokenizer, compute_metrics=accuracy,
    )  # fmt: skip
    trainer.train()
    baseline = trainer.train_baseline(copy_model(models[0]))
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


def test_resuming_under_length_grouped_batches_is_bit_identical(models, dataset, tokenizer, tmp_path):
    settings = {
        "per_device_train_batch_size": 8, "num_train_epochs": 2, "save_steps": 2, "save_strategy": "steps",
        "train_sampling_strategy": "group_by_length", "optim": "adamw_torch",
    }  # fmt: skip
    whole = make_trainer(*models, dataset, tokenizer, tmp_path, **settings)
    whole.train()
    for step in (6, 2):  # in the second epoch and in the first
        resumed = make_trainer(*models, dataset, tokenizer, tmp_path, **settings)
        resumed.train(resume_from_checkpoint=str(tmp_path / f"checkpoint-{step}"))
        for a, b in zip(whole.model.parameters(), resumed.model.parameters(), strict=True):
            assert torch.equal(a, b)
