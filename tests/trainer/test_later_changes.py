"""What users change after a Trainer was made: its datasets, the format of rows, the teacher's mode, the baseline."""

import copy

import pytest
import torch
from datasets import ClassLabel
from invariance import make_args
from tiny import LABEL_NAMES, tiny_dataset, tiny_model

from hf_distill import DistillationTrainer
from hf_distill.training_args import is_lower_better


def make(student, teacher, rows, tokenizer, folder, **changes):
    args = make_args(folder, **{"max_steps": 2, "per_device_train_batch_size": 8, **changes})
    return DistillationTrainer(
        copy.deepcopy(student), teacher, args, train_dataset=rows, eval_dataset=rows, processing_class=tokenizer
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
    trainer.train_baseline(copy.deepcopy(student))


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
        ("f1_error", False),
        ("error_f1", False),
        ("log_loss_improvement", False),
        ("eval_f1_of_losses", False),
        ("accuracy", False),
    ],
)
def test_only_the_end_of_a_name_says_that_lower_is_better(name, is_lower):
    assert is_lower_better(name) is is_lower
