"""What users change after a Trainer was made: its datasets, the format of rows, the teacher's mode, the baseline."""

import copy

import pytest
import torch
from datasets import ClassLabel
from invariance import make_args
from tiny import LABEL_NAMES, copy_model, tiny_dataset, tiny_model, visible_to_caplog

from hf_distill import DistillationTrainer, TeacherCache
from hf_distill.classifiers.label_maps import name_classes
from hf_distill.training_args import is_lower_better


def make(student, teacher, rows, tokenizer, folder, **changes):
    args = make_args(folder, **{"max_steps": 2, "per_device_train_batch_size": 8, **changes})
    return DistillationTrainer(
        copy_model(student), teacher, args, train_dataset=rows, eval_dataset=rows, processing_class=tokenizer
    )


def in_other_order(rows):
    """Return the same labels with the classes in another order."""
    names = [LABEL_NAMES[i] for i in (2, 0, 1)]
    renumbered = rows.cast_column("labels", rows.features["labels"]).map(
        lambda row: {"labels": [1, 2, 0][row["labels"]]}
    )
    return renumbered.cast_column("labels", ClassLabel(names=names))


def test_datasets_that_are_assigned_later_are_checked(student, teacher, dataset, tokenizer, tmp_path):
    trainer = make(student, teacher, dataset, tokenizer, tmp_path)
    trainer.eval_dataset = in_other_order(dataset)
    with pytest.raises(ValueError, match="The evaluation dataset has the classes in the order"):
        trainer.evaluate()
    trainer.eval_dataset = {"a": dataset, "b": in_other_order(dataset)}
    with pytest.raises(ValueError, match="The evaluation dataset has the classes in the order"):
        trainer.evaluate()
    trainer.train_dataset = in_other_order(dataset)
    with pytest.raises(ValueError, match="The training dataset has the classes in the order"):
        trainer.train()


def test_a_training_dataset_that_is_assigned_later_is_labelled_by_the_cache(
    student, teacher, dataset, tokenizer, tmp_path
):
    cached = {"cache_teacher_outputs": True, "teacher_cache_dir": str(tmp_path / "cache")}
    live = make(student, teacher, dataset, tokenizer, tmp_path)
    later = make(student, teacher, tiny_dataset(tokenizer, 8, seed=9), tokenizer, tmp_path, **cached)
    later.train_dataset = dataset
    assert later.train().training_loss == pytest.approx(live.train().training_loss, rel=1e-5)


@pytest.mark.parametrize("columns", [None, ["input_ids", "attention_mask", "labels"]])
def test_the_format_of_rows_is_kept_for_a_cached_teacher(student, teacher, dataset, tokenizer, tmp_path, columns):
    rows = dataset.with_format("torch", columns=columns)
    losses = [
        make(student, teacher, rows, tokenizer, tmp_path, **changes).evaluate()["eval_loss_ce"]
        for changes in ({}, {"cache_teacher_outputs": True, "teacher_cache_dir": str(tmp_path / "cache")})
    ]
    assert losses[1] == pytest.approx(losses[0], rel=1e-6)


def test_a_transform_is_refused_where_the_teacher_reads_rows_before(student, teacher, dataset, tokenizer, tmp_path):
    rows = dataset.with_transform(lambda batch: batch)
    cached = {"cache_teacher_outputs": True, "teacher_cache_dir": str(tmp_path / "cache")}
    with pytest.raises(ValueError, match="made by `set_transform` when they are read"):
        make(student, teacher, rows, tokenizer, tmp_path, **cached)


def test_a_teacher_that_is_put_into_training_mode_answers_without_dropout(student, dataset, tokenizer, tmp_path):
    teacher = tiny_model(2, seed=1, hidden_dropout_prob=0.5)
    trainer = make(student, teacher, dataset, tokenizer, tmp_path)
    expected = trainer.evaluate()["eval_loss_kl"]
    teacher.train()
    assert trainer.evaluate()["eval_loss_kl"] == expected


def test_a_baseline_is_a_copy_of_the_student_before_training(student, teacher, dataset, tokenizer, tmp_path):
    trainer = make(student, teacher, dataset, tokenizer, tmp_path)
    trainer.train()
    before = copy.deepcopy(trainer.model.state_dict())
    with pytest.raises(ValueError, match="shares weights with the distilled student"):
        trainer.train_baseline(trainer.model)
    with pytest.raises(ValueError, match="another model than the student"):
        trainer.train_baseline(tiny_model(1, seed=9))
    assert all(torch.equal(value, trainer.model.state_dict()[name]) for name, value in before.items())
    trainer.train_baseline(copy_model(student))


@pytest.mark.parametrize("role", ["student", "teacher"])
def test_class_names_that_are_changed_later_are_refused(student, teacher, dataset, tokenizer, tmp_path, role):
    trainer = make(student, teacher, dataset, tokenizer, tmp_path)
    config = trainer.model.config if role == "student" else teacher.config
    config.id2label[0], config.id2label[2] = config.id2label[2], config.id2label[0]
    with pytest.raises(ValueError, match=f"The classes of the {role} were .'negative'.*and are .'positive'"):
        trainer.train()


def test_a_teacher_that_changes_after_rows_were_labelled_is_said(
    student, teacher, dataset, tokenizer, tmp_path, caplog
):
    settings = {"cache_teacher_outputs": True, "teacher_cache_dir": str(tmp_path / "cache")}
    trainer = make(student, teacher, dataset, tokenizer, tmp_path, **settings)
    before = trainer.evaluate()["eval_loss_kl"]
    with torch.no_grad():
        teacher.classifier.bias[0] += 3
    with visible_to_caplog("hf_distill.cache.teacher_cache"):
        after = trainer.evaluate(dataset.select(range(31, -1, -1)))["eval_loss_kl"]
    assert abs(after - before) > 0.1
    assert trainer.evaluate()["eval_loss_kl"] == before
    assert "The teacher has changed. Its outputs are now stored in" in caplog.text


def of_model_init(students, teacher, rows, tokenizer, folder):
    """Return a Trainer whose `model_init` returns one student after the other."""
    calls = iter(students)
    return DistillationTrainer(
        model_init=lambda: copy.deepcopy(next(calls)), teacher_model=teacher, args=make_args(folder, max_steps=1),
        train_dataset=rows, eval_dataset=rows, processing_class=tokenizer,
    )  # fmt: skip


@pytest.mark.parametrize("is_stored", [True, False])
def test_students_of_model_init_have_the_classes_of_the_first(
    student, teacher, dataset, tokenizer, tmp_path, is_stored
):
    rows = TeacherCache(tmp_path / "cache", teacher, tokenizer).label(dataset.remove_columns("labels"))
    teacher = None if is_stored else teacher
    other, without_names = copy_model(student), copy_model(student)
    name_classes(other.config, LABEL_NAMES[::-1])
    name_classes(without_names.config, ["LABEL_0", "LABEL_1", "LABEL_2"])
    trainer = of_model_init([student, other], teacher, rows, tokenizer, tmp_path)
    with pytest.raises(ValueError, match="has returned a student with the classes .'positive'.*on every call"):
        trainer.train()
    trainer = of_model_init([without_names, without_names], teacher, rows, tokenizer, tmp_path)
    assert trainer.class_names == LABEL_NAMES
    trainer.train()
    assert list(trainer.model.config.id2label.values()) == LABEL_NAMES


@pytest.mark.parametrize("has_column", [True, False])
def test_a_loss_on_labels_alone_needs_a_label(student, teacher, dataset, tokenizer, tmp_path, has_column):
    rows = dataset.map(lambda row: {"labels": -100}) if has_column else dataset.remove_columns("labels")
    alone = {"temperature": None, "soft_label_weight": None, "hard_label_weight": None, "objectives": {"ce": 1.0}}
    with pytest.raises(ValueError, match="no row of the training dataset has one"):
        make(student, teacher, rows, tokenizer, tmp_path, **alone)


@pytest.mark.parametrize(
    ("name", "is_lower"),
    [
        ("loss", True),
        ("eval_loss", True),
        ("eval_test_loss", True),
        ("loss_kl", True),
        ("eval_a_loss_reverse_kl", True),
        ("eval_rmse", True),
        ("eval_error_rate", True),
        ("mean_squared_error", True),
        ("eval_test_wer", True),
        ("brier_score", True),
        ("logloss", True),
        ("hamming-loss", True),
        ("neg_log_loss", False),
        ("neg_mean_squared_error", False),
        ("eval_recall_of_error", False),
        ("terror_rate", False),
        ("f1_error", False),
        ("error_f1", False),
        ("log_loss_improvement", False),
        ("eval_f1_of_losses", False),
        ("accuracy", False),
    ],
)
def test_only_the_end_of_a_name_says_that_lower_is_better(name, is_lower):
    assert is_lower_better(name) is is_lower


@pytest.mark.parametrize(("metric", "is_greater"), [("error_rate", False), ("neg_log_loss", True), ("f1", True)])
def test_the_best_checkpoint_follows_the_name_of_its_metric(tmp_path, metric, is_greater):
    args = make_args(tmp_path, metric_for_best_model=metric)
    assert args.greater_is_better is is_greater
    assert make_args(tmp_path, metric_for_best_model=metric, greater_is_better=not is_greater).greater_is_better is (
        not is_greater
    )
    assert make_args(tmp_path).greater_is_better is None


def test_a_frozen_student_can_be_evaluated_and_is_not_trained(student, teacher, dataset, tokenizer, tmp_path):
    trainer = make(student, teacher, dataset, tokenizer, tmp_path)
    trainer.model.requires_grad_(False)
    assert trainer.evaluate()["eval_loss"] > 0
    with pytest.raises(ValueError, match="All weights of the student are frozen"):
        trainer.train()


def test_a_collator_that_drops_stored_logits_is_named(student, teacher, dataset, tokenizer, tmp_path):
    args = make_args(tmp_path, cache_teacher_outputs=True, teacher_cache_dir=str(tmp_path / "store"))
    trainer = DistillationTrainer(
        copy_model(student), teacher, args, train_dataset=dataset, processing_class=tokenizer,
        data_collator=lambda rows: tokenizer.pad(
            [{name: row[name] for name in ("input_ids", "labels")} for row in rows], return_tensors="pt"
        ),
    )  # fmt: skip
    with pytest.raises(ValueError, match="the batch has no `teacher_logits`.*let your `data_collator`"):
        trainer.train()
