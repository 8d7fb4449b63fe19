"""Stored logits are learned in the student's order of the classes, whatever order the column has."""

import copy

import pytest
import torch
from datasets import ClassLabel, Dataset, List, Value, concatenate_datasets
from invariance import make_args
from tiny import LABEL_NAMES, tiny_dataset, tiny_model

from hf_distill import DistillationTrainer, TeacherCache
from hf_distill.classifiers.label_order import teacher_label_names
from hf_distill.data import name_teacher_logits, soft_labels

PERMUTED = ["positive", "negative", "neutral"]


def named(model, names):
    model = copy.deepcopy(model)
    model.config.id2label = dict(enumerate(names))
    model.config.label2id = {name: i for i, name in enumerate(names)}
    return model


def trainer_of(student, teacher, rows, tokenizer, folder, **changes):
    return DistillationTrainer(
        copy.deepcopy(student), teacher, make_args(folder, max_steps=1, **changes), train_dataset=rows,
        eval_dataset=rows, processing_class=tokenizer,
    )  # fmt: skip


@pytest.fixture
def unlabelled(tokenizer):
    return tiny_dataset(tokenizer, 16, seed=3).remove_columns("labels")


@pytest.fixture
def cached(models, unlabelled, tokenizer, tmp_path):
    return TeacherCache(tmp_path / "cache", models[1], tokenizer).label(unlabelled)


def test_a_permuted_student_learns_from_the_column_what_it_learns_live(
    models, unlabelled, cached, tokenizer, tmp_path
):
    student, teacher = models
    student = named(student, PERMUTED)
    live = trainer_of(student, copy.deepcopy(teacher), unlabelled, tokenizer, tmp_path).evaluate()
    stored = trainer_of(student, None, cached, tokenizer, tmp_path).evaluate()
    straight = trainer_of(models[0], None, cached, tokenizer, tmp_path).evaluate()
    assert stored["eval_loss_kl"] == pytest.approx(live["eval_loss_kl"], rel=1e-5)
    assert abs(stored["eval_loss_kl"] - straight["eval_loss_kl"]) > 0.1


def test_a_new_evaluation_set_is_put_into_order_too(models, cached, tokenizer, tmp_path):
    trainer = trainer_of(named(models[0], PERMUTED), None, cached, tokenizer, tmp_path)
    assert trainer.evaluate(cached)["eval_loss_kl"] == pytest.approx(trainer.evaluate()["eval_loss_kl"])


def test_the_names_travel_with_the_rows(cached, tmp_path):
    assert teacher_label_names(cached) == LABEL_NAMES
    for rows in (
        cached.select([3, 1]), cached.shuffle(seed=1), cached.map(lambda row: {"n": 1}), cached.remove_columns("text"),
        concatenate_datasets([cached, cached.select([0])]), cached.train_test_split(0.5)["test"],
        cached.cast_column("teacher_logits", List(Value("float64"))), cached.with_format("numpy"), cached.sort("text"),
    ):  # fmt: skip
        assert teacher_label_names(rows) == LABEL_NAMES
    cached.save_to_disk(tmp_path / "rows")
    assert teacher_label_names(type(cached).load_from_disk(str(tmp_path / "rows"))) == LABEL_NAMES


def permute(rows, **settings):
    """Return the same logits in the order of PERMUTED."""
    order = [LABEL_NAMES.index(name) for name in PERMUTED]
    return rows.map(lambda row: {"teacher_logits": [row["teacher_logits"][i] for i in order]}, **settings)


def in_parquet(rows, folder):
    rows.to_parquet(folder / "rows.parquet")
    return Dataset.from_parquet(str(folder / "rows.parquet"), cache_dir=str(folder / "datasets"))


def test_an_order_that_parquet_lost_is_refused_with_the_line_that_names_it(models, cached, tokenizer, tmp_path):
    expected = trainer_of(models[0], None, cached, tokenizer, tmp_path).evaluate()["eval_loss_kl"]
    unknown = in_parquet(cached, tmp_path)
    with pytest.raises(ValueError, match=r"name_teacher_logits\(dataset, \['negative', 'neutral', 'positive'\]\)"):
        trainer_of(models[0], None, unknown, tokenizer, tmp_path)
    named_again = name_teacher_logits(permute(unknown), PERMUTED)
    trainer = trainer_of(models[0], None, named_again, tokenizer, tmp_path)
    assert trainer.evaluate()["eval_loss_kl"] == pytest.approx(expected)


def test_the_order_of_class_labels_is_not_the_order_of_a_column_beside_them(models, cached, tokenizer, tmp_path):
    rows = cached.add_column("labels", [0] * len(cached), feature=ClassLabel(names=LABEL_NAMES))
    with pytest.raises(ValueError, match="does not say which class each of its numbers belongs to"):
        trainer_of(models[0], None, permute(in_parquet(rows, tmp_path)), tokenizer, tmp_path)


def test_without_any_names_the_order_is_that_of_the_student(models, cached, tokenizer, tmp_path):
    expected = trainer_of(models[0], None, cached, tokenizer, tmp_path).evaluate()["eval_loss_kl"]
    student = named(models[0], ["LABEL_0", "LABEL_1", "LABEL_2"])
    trainer = trainer_of(student, None, in_parquet(cached, tmp_path), tokenizer, tmp_path)
    assert trainer.evaluate()["eval_loss_kl"] == pytest.approx(expected)


def test_rows_without_names_among_named_rows_are_refused(models, cached, tokenizer, tmp_path):
    unknown = permute(in_parquet(cached.select([5, 6]), tmp_path))
    for rows in (concatenate_datasets([cached, unknown]), concatenate_datasets([unknown, cached])):
        with pytest.raises(ValueError, match="rows were added to it"):
            trainer_of(models[0], None, rows, tokenizer, tmp_path)


def test_a_column_that_was_changed_has_lost_its_names(models, cached, tokenizer, tmp_path):
    replaced = cached.remove_columns("teacher_logits").add_column("teacher_logits", permute(cached)["teacher_logits"])
    for rows in (permute(cached), replaced, permute(cached).select([3])):
        with pytest.raises(ValueError, match=r"Row 0 .* the column was changed.*name_teacher_logits\(dataset, \['neg"):
            trainer_of(models[0], None, rows, tokenizer, tmp_path)
    trainer_of(models[0], None, name_teacher_logits(permute(cached), PERMUTED), tokenizer, tmp_path)


def test_a_student_without_names_takes_the_columns(models, cached, tokenizer, tmp_path):
    student = named(models[0], ["LABEL_0", "LABEL_1", "LABEL_2"])
    trainer = trainer_of(student, None, cached, tokenizer, tmp_path)
    assert list(trainer.model.config.id2label.values()) == LABEL_NAMES


def test_other_classes_are_refused(models, cached, tokenizer, tmp_path):
    with pytest.raises(ValueError, match="The label names differ"):
        trainer_of(named(models[0], ["bad", "so so", "good"]), None, cached, tokenizer, tmp_path)


def test_rows_that_were_named_separately_in_one_order_belong_together(cached):
    parts = [name_teacher_logits(cached.select(rows), LABEL_NAMES) for rows in (range(8), range(8, 16))]
    assert teacher_label_names(concatenate_datasets(parts).shuffle(seed=0)) == LABEL_NAMES
    with pytest.raises(ValueError, match="rows were added to it"):
        teacher_label_names(concatenate_datasets([*parts, permute(in_memory(cached.select([2])))]))


def in_memory(rows):
    """Return the same rows without their note."""
    return Dataset.from_list(rows.to_list(), features=rows.features)


def test_rows_of_two_orders_are_refused(cached):
    mixed = concatenate_datasets([cached, name_teacher_logits(cached, PERMUTED)])
    with pytest.raises(ValueError, match="different orders of the classes"):
        teacher_label_names(mixed)


def test_soft_labels_name_their_order(unlabelled):
    rows = unlabelled.add_column("soft", [[0.2, 0.3, 0.5]] * len(unlabelled))
    assert teacher_label_names(soft_labels(rows, "soft", PERMUTED)) == PERMUTED


@pytest.mark.parametrize("is_cached", [True, False])
def test_a_stale_column_of_a_new_set_is_not_trusted(models, unlabelled, tokenizer, tmp_path, is_cached):
    student, teacher = models
    other = TeacherCache(tmp_path / "other", tiny_model(2, seed=9), tokenizer).label(unlabelled)
    changes = {"cache_teacher_outputs": is_cached, "teacher_cache_dir": str(tmp_path / "cache")}
    trainer = trainer_of(student, copy.deepcopy(teacher), unlabelled, tokenizer, tmp_path, **changes)
    assert trainer.evaluate(other)["eval_loss_kl"] == pytest.approx(trainer.evaluate()["eval_loss_kl"])


def test_predict_knows_a_cached_teacher_as_evaluate_does(models, rows, tokenizer, tmp_path):
    student, teacher = models
    labelled = rows.filter(lambda row: row["labels"] >= 0)
    trainer = DistillationTrainer(
        copy.deepcopy(student), copy.deepcopy(teacher),
        make_args(tmp_path, cache_teacher_outputs=True, teacher_cache_dir=str(tmp_path / "cache")),
        train_dataset=labelled.select(range(4)), processing_class=tokenizer,
        compute_metrics=lambda p: {"accuracy": float((p.predictions.argmax(-1) == p.label_ids).mean())},
    )  # fmt: skip
    evaluated, predicted = trainer.evaluate(labelled), trainer.predict(labelled).metrics
    for name in ("loss", "loss_kl", "agreement", "accuracy", "teacher_accuracy"):
        assert predicted[f"test_{name}"] == pytest.approx(evaluated[f"eval_{name}"])


def test_a_student_that_shares_weights_with_its_teacher_is_refused(models, rows, tokenizer, tmp_path):
    teacher = copy.deepcopy(models[1])
    student = copy.deepcopy(models[0])
    student.set_input_embeddings(teacher.get_input_embeddings())
    args = make_args(tmp_path)
    for given in (teacher, [copy.deepcopy(models[1]), teacher]):
        with pytest.raises(ValueError, match=r"share 1 parameters, bert\.embeddings\.word_embeddings"):
            DistillationTrainer(student, given, args, train_dataset=rows, processing_class=tokenizer)
    with pytest.raises(ValueError, match="Student and teacher share"):
        DistillationTrainer(teacher, teacher, args, train_dataset=rows, processing_class=tokenizer)


def test_an_adapter_on_the_teacher_itself_is_refused(models, rows, tokenizer, tmp_path):
    peft = pytest.importorskip("peft")
    teacher = copy.deepcopy(models[1])
    student = peft.get_peft_model(teacher, peft.LoraConfig(task_type="SEQ_CLS", target_modules=["query"]))
    with pytest.raises(ValueError, match="Student and teacher share"):
        DistillationTrainer(student, teacher, make_args(tmp_path), train_dataset=rows, processing_class=tokenizer)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_student_in_16_bit_weights_is_refused_unless_they_are_frozen(models, rows, tokenizer, tmp_path, dtype):
    student, args = copy.deepcopy(models[0]), make_args(tmp_path, max_steps=1)
    student.get_input_embeddings().to(dtype)
    with pytest.raises(ValueError, match=r"16-bit.*dtype=torch.float32.*bf16=True"):
        DistillationTrainer(student, models[1], args, train_dataset=rows, processing_class=tokenizer)
    student.get_input_embeddings().requires_grad_(False)
    DistillationTrainer(student, models[1], args, train_dataset=rows, processing_class=tokenizer)
