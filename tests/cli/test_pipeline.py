"""The steps of a run, each by itself: fine-tuning, loading, making a student, describing the data."""

import json
import shutil
from dataclasses import replace

import pytest
import torch
from datasets import DatasetDict
from tiny import LABEL_NAMES, tiny_model, tiny_rows
from transformers import AutoModelForSequenceClassification, set_seed

import hf_distill.pipeline
from hf_distill import DistillationTrainer, DistillationTrainingArguments
from hf_distill.cli.arguments import DataArguments
from hf_distill.data import load_text_dataset
from hf_distill.pipeline import (
    ModelReference,
    StudentOptions,
    fine_tune,
    limit_rows,
    load_inputs,
    load_with_new_head,
    make_student,
)
from hf_distill.pipeline.loading import load_teacher_for, load_tokenizer, load_with_labels
from hf_distill.reporting.comparison.predict import load_model
from hf_distill.training.recorder import describe_data


@pytest.fixture(scope="module")
def task(folder):
    return load_text_dataset(train_file=folder / "train.csv", validation_file=folder / "validation.csv")


@pytest.mark.parametrize("name", ["no_such_teacher", "./no_such_teacher", "/no/such/teacher"])
def test_a_model_that_is_not_there_is_an_error_that_says_so_before_the_hub_is_named(task, name):
    message = r"'.*no.such.teacher' cannot be loaded: there is no such folder on this machine"
    with pytest.raises(OSError, match=f"The teacher {message}"):
        load_teacher_for(task, ModelReference(name))
    with pytest.raises(OSError, match=f"The tokenizer of {message}"):
        load_tokenizer(ModelReference(name))
    with pytest.raises(OSError, match=f"The model {message}"):
        load_model(name)


@pytest.fixture(scope="module")
def encoder(tmp_path_factory, tokenizer):
    """A pretrained encoder without a head, with its tokenizer."""
    path = tmp_path_factory.mktemp("encoder")
    tiny_model(num_hidden_layers=2, seed=4).bert.save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path


def make_args(folder, **changes):
    values = {"per_device_train_batch_size": 8, "num_train_epochs": 1, "learning_rate": 1e-2, "use_cpu": True,
              "report_to": "none", "seed": 7}  # fmt: skip
    return DistillationTrainingArguments(str(folder / "out"), **{**values, **changes})


def equal_weights(first, second):
    weights, others = first.state_dict(), second.state_dict()
    return weights.keys() == others.keys() and all(torch.equal(weights[name], others[name]) for name in weights)


def test_fine_tuning_gives_the_model_of_the_same_steps_by_hand(task, encoder, tokenizer, tmp_path):
    trainer = fine_tune(encoder, task, make_args(tmp_path, temperature=3.0), tmp_path / "teacher")
    names = sorted(LABEL_NAMES)
    set_seed(7)
    model = AutoModelForSequenceClassification.from_pretrained(
        encoder, id2label=dict(enumerate(names)), label2id={name: i for i, name in enumerate(names)}
    )
    rows = task.tokenize(tokenizer)
    args = make_args(tmp_path, objectives={"ce": 1.0})
    DistillationTrainer(model, args=args, train_dataset=rows["train"], processing_class=tokenizer).train()
    assert equal_weights(trainer.model, model)
    assert trainer.evaluate().keys() >= {"eval_accuracy", "eval_loss"}


def test_the_fine_tuned_model_is_saved_with_tokenizer_label_names_and_record(task, encoder, tmp_path):
    trainer = fine_tune(str(encoder), task, make_args(tmp_path), tmp_path / "teacher")
    loaded = AutoModelForSequenceClassification.from_pretrained(tmp_path / "teacher")
    assert equal_weights(loaded, trainer.model)
    assert loaded.config.id2label == dict(enumerate(sorted(LABEL_NAMES)))
    assert (tmp_path / "teacher" / "tokenizer.json").exists()
    record = json.loads((tmp_path / "teacher" / "distillation.json").read_text())
    assert (record["teacher"], record["objectives"].keys()) == (None, {"ce"})


def test_a_new_head_depends_on_the_seed_of_the_arguments_alone(task, encoder, tmp_path):
    models = []
    for seed in (7, 7, 8):
        torch.rand(3)  # the state of the global generator must not matter
        models.append(
            fine_tune(encoder, task, make_args(tmp_path, seed=seed, max_steps=1), tmp_path / "teacher").model
        )
    assert equal_weights(models[0], models[1])
    assert not torch.equal(models[0].classifier.weight, models[2].classifier.weight)


def test_datasets_that_are_passed_take_the_place_of_the_rows_of_the_task(task, encoder, tokenizer, tmp_path):
    rows = task.tokenize(tokenizer, max_length=5)
    passed = fine_tune(
        load_seeded(encoder, task), task, make_args(tmp_path), tmp_path / "a", tokenizer=tokenizer,
        train_dataset=rows["train"], eval_dataset=rows["validation"].select(range(6)),
    )  # fmt: skip
    taken = fine_tune(load_seeded(encoder, task), task, make_args(tmp_path), tmp_path / "b", max_length=5)
    assert equal_weights(passed.model, taken.model)
    assert (len(passed.eval_dataset), len(taken.eval_dataset)) == (6, 24)
    longer = fine_tune(load_seeded(encoder, task), task, make_args(tmp_path), tmp_path / "c")
    assert not equal_weights(longer.model, taken.model)


def load_seeded(encoder, task):
    set_seed(7)
    return load_with_new_head(ModelReference(str(encoder)), task)


@pytest.mark.parametrize(("num_train_epochs", "max_steps", "num_steps"), [(2, 1, 6), (None, 1, 1), (None, -1, 3)])
def test_epochs_of_the_fine_tuning_win_over_the_steps_of_the_student(
    task, encoder, tmp_path, num_train_epochs, max_steps, num_steps
):
    args = make_args(tmp_path, max_steps=max_steps)
    trainer = fine_tune(encoder, task, args, tmp_path / "teacher", num_train_epochs=num_train_epochs)
    assert trainer.state.global_step == num_steps  # 24 rows, 8 a step


def test_rows_without_a_label_are_left_out_of_the_fine_tuning(task, encoder, tmp_path):
    rows = task.datasets["train"]
    unlabelled = rows.map(lambda row, i: {"label": row["label"] if i < 16 else -1}, with_indices=True)
    models = [
        fine_tune(
            encoder, replace(task, datasets=DatasetDict(train=train)), make_args(tmp_path), tmp_path / "teacher"
        ).model
        for train in (unlabelled, rows.select(range(16)))
    ]
    assert equal_weights(*models)


def test_what_cannot_be_fine_tuned_is_refused_before_training(task, encoder, tokenizer, tmp_path):
    args, out = make_args(tmp_path), tmp_path / "teacher"
    only_validation = replace(task, datasets=DatasetDict(validation=task.datasets["validation"]))
    none = task.datasets["train"].map(lambda row: {"label": -1})
    without_labels = replace(task, datasets=DatasetDict(train=none))
    regressor = tiny_model(num_labels=1)
    for model, data, error, message in (
        (encoder, only_validation, ValueError, "has no training split, only validation"),
        (encoder, without_labels, ValueError, "None of the 24 training rows of train has a label"),
        (regressor, task, ValueError, "is for regression"),
        (tiny_model(num_labels=2), task, ValueError, "3 classes .* the model has 2 outputs"),
        (tiny_model(), task, ValueError, "pass its `tokenizer`"),
        (tmp_path / "absent", task, OSError, "absent"),
    ):
        with pytest.raises(error, match=message):
            fine_tune(model, data, args, out)
    assert not out.exists()


@pytest.mark.parametrize(
    ("file", "content", "counts"),
    [
        ("rows.csv", "text,label\ngood film,good\nbad film,bad\nthe film,\n", (2, 1)),
        ("rows.csv", "text,label\ngood film,1.5\nbad film,0.5\nthe film,\n", (2, 1)),
        (
            "rows.jsonl",
            '{"text": "a", "label": ["x", "y"]}\n{"text": "b", "label": []}\n{"text": "c", "label": null}',
            (2, 1),
        ),
        ("rows.jsonl", '{"tokens": ["a", "film"], "tags": ["O", "B-x"]}\n{"tokens": ["a"], "tags": null}', (1, 1)),
    ],
)
def test_the_record_counts_labelled_and_unlabelled_rows(tmp_path, tokenizer, file, content, counts):
    (tmp_path / file).write_text(content)
    task = load_text_dataset(train_file=tmp_path / file, validation_file=tmp_path / file)
    rows = task.tokenize(tokenizer)
    assert describe_data(task, rows) == {
        "metric_name": task.metric_name,
        "dataset": {
            "id": file, "config": None, "train_rows": counts[0], "unlabelled_rows": counts[1],
            "eval_rows": counts[0], "eval_split": "validation",
        },
    }  # fmt: skip


def test_a_limit_keeps_the_first_rows_and_leaves_the_task_as_it_was(task):
    limited = limit_rows(task, 5, 100)
    assert limited.datasets["train"]["text"][:] == [row["text"] for row in tiny_rows(24, 0)[:5]]
    assert (len(limited.datasets["validation"]), len(task.datasets["train"])) == (24, 24)


def test_a_pretrained_student_takes_the_label_names_of_the_teacher_or_of_the_task(
    task, encoder, teacher, tmp_path, caplog
):
    encoder = shutil.copytree(encoder, tmp_path / "encoder")  # what is said of a folder is said once
    options = StudentOptions(pretrained=ModelReference(str(encoder)), freeze_embeddings=True)
    student = make_student(options, teacher, task)
    assert student.config.id2label == teacher.config.id2label == dict(enumerate(LABEL_NAMES))
    assert not student.get_input_embeddings().weight.requires_grad
    assert student.classifier.weight.requires_grad
    assert "LOAD REPORT" not in caplog.text
    assert f"{encoder} gets new random weights, which are trained next: classifier.bias, classifier" in caplog.text
    student = make_student(replace(options, freeze_embeddings=False), None, task)
    assert student.config.id2label == dict(enumerate(sorted(LABEL_NAMES)))
    assert student.get_input_embeddings().weight.requires_grad
    with pytest.raises(ValueError, match="Name a pretrained student"):
        make_student(StudentOptions(num_hidden_layers=1), None, task)
    with pytest.raises(ValueError, match="A static student is made from the teacher"):
        replace(options, static_dim=8)


def load_classifier_of(names, path, teacher):
    model = tiny_model(2, seed=5)
    model.config.id2label, model.config.label2id = dict(enumerate(names)), {name: i for i, name in enumerate(names)}
    model.save_pretrained(path)
    return model, load_with_labels(
        ModelReference(str(path)),
        "single_label_classification",
        {"id2label": teacher.config.id2label, "label2id": teacher.config.label2id},
        "single_label_classification",
    )


@pytest.mark.parametrize("order", [[0, 1, 2], [2, 0, 1], [1, 0, 2]])
def test_the_head_of_a_pretrained_student_follows_the_names_of_the_classes(order, tmp_path, teacher, tokenizer):
    saved, loaded = load_classifier_of([LABEL_NAMES[i].upper() for i in order], tmp_path, teacher)
    batch = tokenizer(["a great film", "boring"], padding=True, return_tensors="pt")
    with torch.no_grad():
        torch.testing.assert_close(loaded(**batch).logits[:, order], saved(**batch).logits)
    assert loaded.config.id2label == teacher.config.id2label


def test_a_pretrained_student_for_other_classes_gets_a_new_head(tmp_path, teacher, caplog):
    saved, loaded = load_classifier_of(["contradiction", "entailment", "unrelated"], tmp_path, teacher)
    assert "gets a new head, because its own is for other classes: contradiction, entailment, unrel" in caplog.text
    assert not torch.equal(loaded.classifier.weight, saved.classifier.weight)
    assert loaded.classifier.weight.std().item() == pytest.approx(loaded.config.initializer_range, rel=0.5)
    assert not loaded.classifier.bias.any()
    torch.testing.assert_close(loaded.bert.pooler.dense.weight, saved.bert.pooler.dense.weight)


def test_placeholders_of_a_pretrained_student_are_paired_by_order_and_said(tmp_path, teacher, caplog):
    saved, loaded = load_classifier_of([f"LABEL_{i}" for i in range(3)], tmp_path, teacher)
    assert f"keeps its head: its outputs LABEL_0, LABEL_1, LABEL_2 stand for {', '.join(LABEL_NAMES)}" in caplog.text
    torch.testing.assert_close(loaded.classifier.weight, saved.classifier.weight)


def test_neurons_of_a_pretrained_student_are_chosen_on_its_own_tokens(task, encoder, teacher, tokenizer):
    rows = task.tokenize(tokenizer)["train"]
    options = StudentOptions(ModelReference(str(encoder)), layers=[0], intermediate_size=8)
    student = make_student(options, teacher, task, rows, tokenizer)
    assert (student.config.num_hidden_layers, student.config.intermediate_size) == (1, 8)
    with pytest.raises(ValueError, match="calibration_batches"):
        make_student(options, teacher, task)


def test_inputs_need_a_teacher_or_its_logits_on_all_rows(task, folder, tmp_path):
    args = make_args(tmp_path)
    student = ModelReference(str(folder / "teacher"))
    with pytest.raises(ValueError, match="There is no teacher"):
        load_inputs(task, None, student, args)
    rows = task.datasets["train"].add_column("teacher_logits", [[0.0, 1.0, 2.0]] * 24)
    labelled = replace(task, datasets=DatasetDict(train=rows, validation=task.datasets["validation"]))
    assert load_inputs(labelled, None, student, args).task is labelled
    with pytest.raises(ValueError, match="There is no teacher"):
        load_inputs(labelled, None, None, args)
    from hf_distill.classifiers.problem_types import PROBLEM_TYPES
    from hf_distill.pipeline import TransferOptions, load_transfer

    options = TransferOptions(files=[str(folder / "transfer.txt")])
    transfer = load_transfer(options, task.text_columns, PROBLEM_TYPES[task.problem_type])
    with pytest.raises(ValueError, match="Only the rows to train on or only the unlabelled text have a column"):
        load_inputs(labelled, None, student, args, transfer=transfer)


def test_every_name_of_the_pipeline_exists():
    for name in hf_distill.pipeline.__all__:
        assert callable(getattr(hf_distill.pipeline, name))
    with pytest.raises(AttributeError, match="has no attribute 'fine_tuned'"):
        _ = hf_distill.pipeline.fine_tuned


def test_the_flags_of_unlabelled_text_become_options_of_the_pipeline():
    data = DataArguments(
        transfer_file=["a.txt,b.txt"], transfer_dataset_name=["user/c"], transfer_weights="1,2,3",
        max_transfer_samples=9, transfer_deduplicate=True, transfer_min_confidence=0.5,
    )  # fmt: skip
    options = hf_distill.pipeline.TransferOptions(["a.txt", "b.txt"], ["user/c"], [1.0, 2.0, 3.0], 9, True, 0.5)
    options = replace(options, notes=["there is no file a.txt,b.txt: it is read as 2 files with commas between them"])
    assert data.transfer == options
