"""Labels of other names, orders, types and ranges are refused by our message, wherever they come from."""

import re

import pytest
import torch
from datasets import ClassLabel, Dataset, List, Value
from invariance import make_args, make_trainer
from tiny import LABEL_NAMES, copy_model, named_model, tiny_model, visible_to_caplog
from transformers import BertConfig, BertForTokenClassification, DataCollatorWithPadding

from hf_distill import DistillationTrainer
from hf_distill.data import load_text_dataset, reorder_labels, tokenize_words

PERMUTED = ["positive", "negative", "neutral"]


def trainer_of(models, rows, tokenizer, folder, eval_dataset=None, **changes):
    student, teacher = map(copy_model, models)
    return DistillationTrainer(
        student, teacher, make_args(folder, max_steps=1), train_dataset=rows, eval_dataset=eval_dataset,
        processing_class=tokenizer, **changes,
    )  # fmt: skip


def with_labels(dataset, values, feature=None):
    return dataset.remove_columns("labels").add_column("labels", values, feature=feature)


def permuted(dataset, names=PERMUTED):
    """The same labels, with other ids."""
    ids = [names.index(LABEL_NAMES[label]) for label in dataset["labels"]]
    return with_labels(dataset, ids, ClassLabel(names=names))


class Rows(torch.utils.data.Dataset):
    """A torch dataset with a label that is set by the test."""

    def __init__(self, dataset, column="labels", label=None, bad_label=None):
        self.rows = [
            {"input_ids": row["input_ids"], "attention_mask": row["attention_mask"], column: row["labels"]}
            for row in dataset
        ]
        for number, row in enumerate(self.rows):
            if label is not None:
                row[column] = label(row[column])
            if bad_label is not None and number == 3:
                row[column] = bad_label

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, i):
        return self.rows[i]


# ---- Names


@pytest.mark.parametrize("role", ["training", "evaluation"])
def test_class_labels_in_another_order_are_refused_and_the_line_of_the_message_corrects_them(
    models, dataset, tokenizer, tmp_path, role
):
    other = permuted(dataset)
    rows, eval_rows = (other, None) if role == "training" else (dataset, {"known": dataset, "other": other})
    message = (
        rf"{role} dataset has the classes in the order \['positive', .*`dataset = reorder_labels\(dataset, model\)`"
    )
    with pytest.raises(ValueError, match=message):
        trainer_of(models, rows, tokenizer, tmp_path, eval_rows)
    corrected = reorder_labels(other, models[1])
    assert corrected["labels"][:] == dataset["labels"][:]
    assert corrected.features["labels"].names == LABEL_NAMES
    assert corrected.column_names == other.column_names
    trainer_of(models, corrected, tokenizer, tmp_path, corrected)


def test_a_new_set_for_evaluate_and_predict_is_compared_too(models, dataset, tokenizer, tmp_path):
    trainer = trainer_of(models, dataset, tokenizer, tmp_path)
    for run, role in ((trainer.evaluate, "evaluation"), (trainer.predict, "prediction")):
        with pytest.raises(ValueError, match=f"The {role} dataset has the classes in the order"):
            run(permuted(dataset))


@pytest.mark.parametrize(
    "names",
    [
        ["NEGATIVE", "Neutral", "positive"],
        ["LABEL_0", "LABEL_1", "LABEL_2"],
        ["0", "1", "2"],  # the names of `ClassLabel(num_classes=3)`
        [*LABEL_NAMES][:2],
    ],
)
def test_names_that_differ_in_case_and_names_that_say_nothing_are_accepted(
    models, dataset, tokenizer, tmp_path, names
):
    labels = [min(label, len(names) - 1) for label in dataset["labels"]]
    trainer_of(models, with_labels(dataset, labels, ClassLabel(names=names)), tokenizer, tmp_path)


@pytest.mark.parametrize("names", [["bad", "so so", "good"], [*LABEL_NAMES, "mixed"], ["LABEL_0", "neutral", "good"]])
def test_other_names_are_refused_with_both_lists(models, dataset, tokenizer, tmp_path, names):
    rows = with_labels(dataset, dataset["labels"][:], ClassLabel(names=names))
    with pytest.raises(ValueError, match=re.escape(f"has the classes {names}, the student has {LABEL_NAMES}")):
        trainer_of(models, rows, tokenizer, tmp_path)


def test_a_task_that_was_not_made_for_the_model_is_refused(models, folder, tokenizer, tmp_path):
    task = load_text_dataset(train_file=folder / "train.csv", validation_file=folder / "validation.csv")
    others = [named_model(*PERMUTED), named_model(*PERMUTED, seed=1)]
    with pytest.raises(ValueError, match=r"`task = task.for_model\(model\)` \(before `task.tokenize`"):
        trainer_of(others, task.tokenize(tokenizer)["train"], tokenizer, tmp_path)
    rows = task.for_model(others[1]).tokenize(tokenizer)
    trainer_of(others, rows["train"], tokenizer, tmp_path, rows["validation"])


def test_a_multi_label_task_that_was_not_made_for_the_model_is_refused(tmp_path, tokenizer):
    (tmp_path / "rows.jsonl").write_text(
        '{"text": "a film", "label": ["a"]}\n{"text": "b", "label": ["b"]}\n{"text": "b", "label": ["a", "b"]}'
    )
    task = load_text_dataset(train_file=tmp_path / "rows.jsonl", needs_validation=False)
    student, teacher = (named_model("b", "a", problem_type="multi_label_classification", seed=i) for i in (0, 1))
    with pytest.raises(ValueError, match=r"order \['a', 'b'\], the student has \['b', 'a'\]"):
        trainer_of((student, teacher), task.tokenize(tokenizer)["train"], tokenizer, tmp_path)
    rows = task.for_model(teacher).tokenize(tokenizer)["train"]
    assert rows["labels"][:] == [[0, 1], [1, 0], [1, 1]]
    trainer_of((student, teacher), rows, tokenizer, tmp_path)


def test_tags_are_compared_and_reordered_with_their_gaps(tokenizer, tmp_path):
    words = Dataset.from_dict({"tokens": [["a", "film"], ["the"]], "tags": [[1, 0], [0]]})
    rows = tokenize_words(words, tokenizer, labels_column="tags")
    rows = rows.cast_column("labels", List(ClassLabel(names=["O", "B-x"])))
    config = BertConfig(**tiny_model().config.to_dict() | {"id2label": {0: "B-x", 1: "O"}, "num_labels": 2})
    taggers = BertForTokenClassification(config), BertForTokenClassification(config)
    with pytest.raises(ValueError, match=r"order \['O', 'B-x'\], the student has \['B-x', 'O'\]"):
        trainer_of(taggers, rows, tokenizer, tmp_path)
    rows = reorder_labels(rows, taggers[1])
    assert rows["labels"][:] == [[-100, 0, 1, -100], [-100, 1, -100]]
    trainer_of(taggers, rows, tokenizer, tmp_path)


def test_rows_without_a_label_keep_their_mark_when_labels_are_reordered(models, dataset):
    rows = with_labels(dataset.select(range(4)), [-1, -100, None, 0], Value("int64"))
    with pytest.raises(ValueError, match="does not name the classes"):
        reorder_labels(rows, models[0])
    rows = with_labels(rows, [-1, -100, None, 0], ClassLabel(names=PERMUTED))
    assert reorder_labels(rows, models[0])["labels"][:] == [-1, -100, None, 2]


def test_models_without_names_get_those_of_the_data(dataset, tokenizer, tmp_path, caplog):
    models = [named_model("LABEL_0", "LABEL_1", "LABEL_2", seed=i) for i in (0, 1)]
    with visible_to_caplog("hf_distill.training.label_checks"):
        trainer = trainer_of(models, dataset, tokenizer, tmp_path)
    assert list(trainer.model.config.id2label.values()) == LABEL_NAMES
    assert "get the names of the training dataset, in its order: ['negative'" in caplog.text


# ---- Values

BAD_LABELS = [
    (lambda y: -1, "Label -1 in row 0 of {where} is out of range"),
    (lambda y: 3, r"Label 3 in row 0 of {where} is out of range: the student has the classes 0 to 2 \(negative"),
    (float, "`labels` of {where} is float.*needs one integer per row"),
    (bool, "`labels` of {where} is bool.*convert True and False to class ids"),
    (lambda y: [float(i == y) for i in range(3)], "`labels` of {where} is float.*convert one-hot rows .*`argmax`"),
]


@pytest.mark.parametrize(("label", "message"), BAD_LABELS)
@pytest.mark.parametrize("run", ["evaluate", "predict"])
def test_labels_of_a_new_dataset_are_checked(models, dataset, tokenizer, tmp_path, run, label, message):
    rows = with_labels(dataset, [label(y) for y in dataset["labels"]])
    where = f"the {'evaluation' if run == 'evaluate' else 'prediction'} dataset"
    with pytest.raises(ValueError, match=message.format(where=where)):
        getattr(trainer_of(models, dataset, tokenizer, tmp_path), run)(rows)


@pytest.mark.parametrize(("label", "message"), BAD_LABELS)
@pytest.mark.parametrize("run", ["train", "evaluate", "predict"])
def test_labels_of_a_torch_dataset_are_checked_batch_by_batch(
    models, dataset, tokenizer, tmp_path, run, label, message
):
    rows = Rows(dataset.select(range(8)), label=label)
    trainer = trainer_of(models, rows if run == "train" else dataset, tokenizer, tmp_path)
    with pytest.raises(ValueError, match=message.format(where="the batch")):
        trainer.train() if run == "train" else getattr(trainer, run)(rows)


def test_null_labels_are_refused_with_the_row(models, dataset, tokenizer, tmp_path):
    values = [None if i in (3, 5) else y for i, y in enumerate(dataset["labels"])]
    with pytest.raises(ValueError, match=r"Row 3 of the training .*`labels` is null in 2 of 32 rows. Use -100"):
        trainer_of(models, with_labels(dataset, values), tokenizer, tmp_path)
    selected = with_labels(dataset, values).select([0, 1, 2, 4])
    trainer = trainer_of(models, selected, tokenizer, tmp_path)  # the null is not in these rows
    rows = Rows(dataset)
    rows.rows[3]["labels"] = None
    with pytest.raises(ValueError, match="Row 3 of the batch has no label: `labels` is None. Use -100"):
        trainer.evaluate(rows)


def test_names_as_labels_of_a_torch_dataset_are_refused_with_the_row(models, dataset, tokenizer, tmp_path):
    rows = Rows(dataset.select(range(4)), label=lambda y: "positive")
    with pytest.raises(ValueError, match=r"Row 0 of the batch has the text 'positive' as `labels`.*label2id"):
        trainer_of(models, rows, tokenizer, tmp_path).train()


def test_labels_of_several_outputs_are_checked_in_batches(dataset, tokenizer, tmp_path):
    models = [named_model("a", "b", problem_type="multi_label_classification", seed=i) for i in (0, 1)]
    for label, message in (
        (lambda y: y, r"`labels` of the batch is int64 of shape \(4,\).*needs floats of shape \(4, 2\)"),
        (lambda y: [1, 0], "`labels` of the batch is int64"),
        (lambda y: [1.0, -1.0], r"Row 0 of the batch has the labels \[1.0, -1.0\]"),
        (lambda y: [1.0, float("nan")], "Row 0 of the batch has some targets and lacks others"),
    ):
        with pytest.raises(ValueError, match=message):
            trainer_of(models, Rows(dataset.select(range(4)), label=label), tokenizer, tmp_path).train()


# ---- Batches without the labels of their rows


def without_labels(tokenizer):
    pad = DataCollatorWithPadding(tokenizer)
    return lambda rows: pad([{name: row[name] for name in ("input_ids", "attention_mask")} for row in rows])


def with_the_name_label(tokenizer):
    pad = DataCollatorWithPadding(tokenizer)

    def collate(rows):
        batch = pad(rows)
        batch["label"] = batch.pop("labels")
        return batch

    return collate


@pytest.mark.parametrize("run", ["train", "evaluate"])
@pytest.mark.parametrize("collator", [without_labels, with_the_name_label])
@pytest.mark.parametrize("is_torch", [True, False])
def test_a_collator_that_drops_the_labels_is_refused(models, dataset, tokenizer, tmp_path, run, collator, is_torch):
    rows = Rows(dataset, column="label") if is_torch else dataset
    trainer = trainer_of(models, rows, tokenizer, tmp_path, rows, data_collator=collator(tokenizer))
    with pytest.raises(
        ValueError, match="rows have a column `labels?`, but the batch has no `labels`, only input_ids"
    ):
        getattr(trainer, run)()


def test_rows_with_label_and_rows_without_a_label_column_train(models, dataset, tokenizer, tmp_path):
    trainer_of(models, dataset.rename_column("labels", "label"), tokenizer, tmp_path).train()
    trainer_of(models, dataset.remove_columns("labels"), tokenizer, tmp_path).train()
    trainer_of(models, Rows(dataset, column="label"), tokenizer, tmp_path).train()


@pytest.mark.parametrize("feature", [Value("int64"), ClassLabel(names=LABEL_NAMES)])
def test_a_column_that_seems_to_have_the_labels_is_named(feature, models, dataset, tokenizer, tmp_path, caplog):
    name = "target" if isinstance(feature, Value) else "gold standard"
    rows = dataset.rename_column("labels", name).cast_column(name, feature)
    with caplog.at_level("WARNING"), visible_to_caplog("hf_distill.training.label_checks"):
        make_trainer(*models, rows, tokenizer, tmp_path)
    assert f"If `{name}` has the labels, rename it: `dataset.rename_column('{name}', 'labels')`" in caplog.text


def test_unlabelled_rows_with_other_columns_are_no_reason_to_warn(models, dataset, tokenizer, tmp_path, caplog):
    rows = dataset.remove_columns("labels").add_column("id", list(range(len(dataset))))
    with caplog.at_level("WARNING"), visible_to_caplog("hf_distill.training.label_checks"):
        make_trainer(*models, rows, tokenizer, tmp_path)
    assert "has the labels" not in caplog.text
