"""Class names and the order of stored logits are checked in datasets of every kind; what is not known is said."""

import pytest
from datasets import ClassLabel, Dataset, DatasetDict, Features, List, concatenate_datasets, interleave_datasets
from invariance import make_args
from tiny import LABEL_NAMES, copy_model, named_model, tiny_dataset, tiny_model, visible_to_caplog
from torch.utils.data import ConcatDataset, Subset
from torch.utils.data import Dataset as TorchDataset

from hf_distill import DistillationTrainer, TeacherCache
from hf_distill.classifiers.label_order import dataset_label_names, teacher_label_names
from hf_distill.data import name_teacher_logits, reorder_labels, soft_labels

PERMUTED = ["positive", "negative", "neutral"]


def trainer_of(student, rows, tokenizer, folder, teacher=None, eval_rows=None, **changes):
    return DistillationTrainer(
        copy_model(student), copy_model(teacher), make_args(folder, max_steps=1, **changes), train_dataset=rows,
        eval_dataset=rows if eval_rows is None else eval_rows, processing_class=tokenizer,
    )  # fmt: skip


class Rows(TorchDataset):
    """A dataset of torch."""

    def __init__(self, rows):
        self.rows = rows

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, index):
        return self.rows[index]


@pytest.fixture(scope="module")
def labelled(tokenizer):
    return tiny_dataset(tokenizer, 16, seed=3).remove_columns(["text", "text_pair"])


@pytest.fixture(scope="module")
def stored(labelled, models, tokenizer, tmp_path_factory):
    """Rows with the teacher's logits in the order of LABEL_NAMES."""
    return TeacherCache(tmp_path_factory.mktemp("cache"), models[1], tokenizer).label(labelled)


@pytest.fixture(scope="module")
def permuted_student():
    return named_model(*PERMUTED)


NAMED_KINDS = {
    "dataset": lambda rows: rows,
    "stream": lambda rows: rows.to_iterable_dataset(),
    "part of a stream": lambda rows: rows.to_iterable_dataset().take(4),
    "shuffled stream": lambda rows: rows.to_iterable_dataset().shuffle(seed=0),
    "filtered stream": lambda rows: rows.to_iterable_dataset().filter(lambda row: True),
    "mapped stream with features": lambda rows: rows.to_iterable_dataset().map(
        lambda row: row, features=rows.features
    ),
    "stream with `label`": lambda rows: rows.to_iterable_dataset().rename_column("labels", "label"),
    "joined streams": lambda rows: concatenate_datasets([rows.to_iterable_dataset()] * 2),
    "mixed streams": lambda rows: interleave_datasets([rows.to_iterable_dataset()] * 2),
    "subset of torch": lambda rows: Subset(rows, [0, 3]),
    "joined by torch": lambda rows: ConcatDataset([rows, Subset(rows, [0, 3])]),
}


@pytest.mark.parametrize("kind", NAMED_KINDS)
def test_labels_in_another_order_are_refused_in_every_dataset_that_names_them(
    kind, labelled, models, permuted_student, tokenizer, tmp_path
):
    rows = NAMED_KINDS[kind](labelled)
    settings = {"teacher": models[1], "train_sampling_strategy": "random"}
    with pytest.raises(ValueError, match=r"The training dataset has the classes in the order .*reorder_labels"):
        trainer_of(permuted_student, rows, tokenizer, tmp_path, **settings)
    with pytest.raises(ValueError, match=r"The evaluation dataset has the classes in the order .*reorder_labels"):
        trainer_of(
            permuted_student, reorder_labels(labelled, permuted_student), tokenizer, tmp_path,
            eval_rows=DatasetDict(a=rows), **settings,
        )  # fmt: skip
    trainer = trainer_of(models[0], rows, tokenizer, tmp_path, **settings)
    assert trainer.evaluate()["eval_loss_ce"] > 0
    trainer = trainer_of(models[0], labelled.select(range(8)), tokenizer, tmp_path, **settings)
    trainer.model.config.id2label = dict(enumerate(PERMUTED))
    with pytest.raises(ValueError, match="The evaluation dataset has the classes in the order"):
        trainer.evaluate(rows)


def test_the_labels_of_a_stream_are_put_into_the_students_order(
    labelled, models, permuted_student, tokenizer, tmp_path
):
    settings = {"teacher": models[1], "train_sampling_strategy": "random"}
    stream = reorder_labels(labelled.to_iterable_dataset(), permuted_student)
    rows = reorder_labels(labelled, permuted_student)
    assert [row["labels"] for row in stream] == rows["labels"][:] != labelled["labels"][:]
    losses = [
        trainer_of(permuted_student, given, tokenizer, tmp_path, **settings).evaluate()["eval_loss_ce"]
        for given in (stream, rows)
    ]
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)


@pytest.mark.parametrize(
    ("labels", "feature", "expected"),
    [
        ([0, 1, 2, -100], ClassLabel(names=LABEL_NAMES), [1, 2, 0, -100]),
        ([0, None, 2], ClassLabel(names=LABEL_NAMES), [1, None, 0]),
        ([[0, -100], [2, 1]], List(ClassLabel(names=LABEL_NAMES)), [[1, -100], [0, 2]]),
    ],
)
def test_labels_alone_are_put_into_order_with_what_is_not_labelled(permuted_student, labels, feature, expected):
    rows = Dataset.from_dict({"labels": labels}).cast(Features({"labels": feature}))
    for given in (rows, rows.to_iterable_dataset()):
        reordered = reorder_labels(given, permuted_student)
        assert [row["labels"] for row in reordered] == expected
        assert dataset_label_names(reordered) == PERMUTED


def test_a_stream_without_known_columns_is_said_to_be_in_the_students_order(
    labelled, models, tokenizer, tmp_path, caplog
):
    stream = labelled.to_iterable_dataset().map(lambda row: row)
    with caplog.at_level("WARNING"), visible_to_caplog("hf_distill.training.label_checks"):
        trainer_of(models[0], stream, tokenizer, tmp_path, models[1], train_sampling_strategy="random")
    assert "The columns of the training dataset are not known" in caplog.text
    assert str(dict(enumerate(LABEL_NAMES))) in caplog.text


def test_a_student_without_names_gets_those_of_a_stream(labelled, tokenizer, tmp_path):
    stream = labelled.cast_column("labels", ClassLabel(names=PERMUTED)).to_iterable_dataset()
    trainer = trainer_of(
        named_model("LABEL_0", "LABEL_1", "LABEL_2"), stream, tokenizer, tmp_path,
        teacher=named_model("LABEL_0", "LABEL_1", "LABEL_2"), train_sampling_strategy="random",
    )  # fmt: skip
    assert list(trainer.model.config.id2label.values()) == PERMUTED


# ---- Stored logits ----

UNNAMED_KINDS = {
    "stream": (lambda rows: rows.to_iterable_dataset(), r"after the last `map`.*name_teacher_logits\(dataset, \['pos"),
    "mapped stream": (
        lambda rows: name_teacher_logits(rows.to_iterable_dataset(), LABEL_NAMES).map(lambda row: row),
        "after the last `map`",
    ),
    "shuffled stream": (
        lambda rows: name_teacher_logits(rows.to_iterable_dataset(), LABEL_NAMES).shuffle(seed=1),
        "after the last `map`, `filter` or `shuffle`",
    ),
    "joined streams": (
        lambda rows: concatenate_datasets([name_teacher_logits(rows.to_iterable_dataset(), LABEL_NAMES)] * 2),
        "after the last `map`",
    ),
    "list": (lambda rows: rows.to_list(), r"name_teacher_logits\(datasets.Dataset.from_list\(list\(dataset\)\), \['p"),
    "dataset of torch": (lambda rows: Rows(rows.to_list()), r"in a `datasets.Dataset`.*from_list\(list\(dataset\)\)"),
    "subset of a list": (lambda rows: Subset(rows.to_list(), [0, 1]), "in a `datasets.Dataset`"),
    "joined by torch, one named": (
        lambda rows: ConcatDataset([rows, rows.to_list()]), "in a `datasets.Dataset`",
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", UNNAMED_KINDS)
def test_logits_whose_order_is_not_known_are_refused_with_the_line_that_names_it(
    kind, stored, permuted_student, tokenizer, tmp_path
):
    make, message = UNNAMED_KINDS[kind]
    rows = make(stored.remove_columns("labels"))
    with pytest.raises(ValueError, match=f"column `teacher_logits` of the training dataset does not say.*{message}"):
        trainer_of(permuted_student, rows, tokenizer, tmp_path, train_sampling_strategy="random")
    trainer = trainer_of(permuted_student, reorder_labels(stored, permuted_student), tokenizer, tmp_path)
    with pytest.raises(ValueError, match=f"column `teacher_logits` of the evaluation dataset does not say.*{message}"):
        trainer.evaluate(rows)
    without_names = named_model("LABEL_0", "LABEL_1", "LABEL_2")
    trainer_of(without_names, rows, tokenizer, tmp_path, train_sampling_strategy="random")


@pytest.mark.parametrize("format_name", [None, "torch"])
def test_a_named_stream_is_learned_like_its_rows(stored, permuted_student, tokenizer, tmp_path, format_name):
    rows = reorder_labels(stored, permuted_student)
    assert teacher_label_names(rows) == LABEL_NAMES
    stream = rows.to_iterable_dataset().with_format(format_name)
    settings = {"train_sampling_strategy": "random"}
    mapped = stream.map(lambda row: {"length": len(row["input_ids"])})
    expected = trainer_of(permuted_student, rows, tokenizer, tmp_path).evaluate()
    wrong = trainer_of(tiny_model(1), stored, tokenizer, tmp_path).evaluate()
    assert abs(expected["eval_loss_kl"] - wrong["eval_loss_kl"]) > 0.1
    for named in (name_teacher_logits(stream, LABEL_NAMES), name_teacher_logits(mapped, LABEL_NAMES)):
        trainer = trainer_of(permuted_student, named, tokenizer, tmp_path, **settings)
        for _ in range(2):
            assert trainer.evaluate()["eval_loss_kl"] == pytest.approx(expected["eval_loss_kl"], rel=1e-6)
        trainer.train()
        assert trainer.evaluate(named)["eval_loss_kl"] == pytest.approx(trainer.evaluate(rows)["eval_loss_kl"])


@pytest.mark.parametrize(
    ("wrap", "remedy"),
    [
        (lambda rows: Subset(rows, list(range(16))), "use `select` and `concatenate_datasets`"),
        (lambda rows: rows.with_transform(lambda batch: batch), "use `map` instead of `set_transform`"),
    ],
)
def test_rows_that_are_made_when_they_are_read_must_be_in_the_students_order(
    stored, models, permuted_student, tokenizer, tmp_path, wrap, remedy
):
    rows = stored.remove_columns("labels")
    expected = trainer_of(models[0], rows, tokenizer, tmp_path).evaluate()["eval_loss_kl"]
    assert trainer_of(models[0], wrap(rows), tokenizer, tmp_path).evaluate()["eval_loss_kl"] == pytest.approx(expected)
    with pytest.raises(ValueError, match=remedy):
        trainer_of(permuted_student, wrap(rows), tokenizer, tmp_path)


def test_a_column_that_set_transform_makes_has_no_order(labelled, models, tokenizer, tmp_path):
    rows = labelled.with_transform(lambda batch: {**batch, "teacher_logits": [[0.0, 1.0, 2.0]] * len(batch["labels"])})
    with pytest.raises(ValueError, match="does not say which class each of its numbers"):
        trainer_of(models[0], rows, tokenizer, tmp_path)


@pytest.mark.parametrize("make", [lambda rows: rows.to_list(), lambda rows: rows.to_iterable_dataset()])
def test_rows_without_teacher_and_logits_are_refused_whatever_their_kind(labelled, models, tokenizer, tmp_path, make):
    with pytest.raises(ValueError, match="There is no teacher.*has no column `teacher_logits`"):
        trainer_of(models[0], make(labelled), tokenizer, tmp_path, train_sampling_strategy="random")


def test_one_score_has_no_order(tokenizer, tmp_path, labelled):
    rows = labelled.remove_columns("labels").add_column("teacher_logits", [[float(i)] for i in range(16)]).to_list()
    student = tiny_model(1, num_labels=1)
    changes = {"temperature": None}
    assert trainer_of(student, rows, tokenizer, tmp_path, **changes).evaluate()["eval_loss_kl"] > 0


# ---- What is not one dataset ----


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda rows: DatasetDict(a=rows), "got a DatasetDict. Call it for each split"),
        (lambda rows: rows.to_list(), r"got a list. Make one with `datasets.Dataset.from_list\(rows\)`"),
    ],
)
def test_functions_on_datasets_refuse_other_things_and_say_why(stored, models, tokenizer, tmp_path, make, message):
    given = make(stored)
    for function in (
        lambda rows: name_teacher_logits(rows, LABEL_NAMES),
        lambda rows: reorder_labels(rows, models[0]),
        lambda rows: soft_labels(rows, "teacher_logits", LABEL_NAMES),
        TeacherCache(tmp_path, models[1], tokenizer).label,
    ):
        with pytest.raises(TypeError, match=f"needs a `datasets.Dataset`, {message}"):
            function(given)


def test_a_stream_cannot_be_labelled(stored, models, tokenizer, tmp_path):
    with pytest.raises(TypeError, match="`TeacherCache.label` needs .* got a IterableDataset. Load the data without"):
        TeacherCache(tmp_path, models[1], tokenizer).label(stored.to_iterable_dataset())


def test_all_splits_at_once_are_not_training_rows(labelled, models, tokenizer, tmp_path):
    with pytest.raises(TypeError, match=r"training dataset is a DatasetDict with the splits a, b. .*`dataset\['a'\]`"):
        trainer_of(models[0], DatasetDict(a=labelled, b=labelled), tokenizer, tmp_path, models[1])


@pytest.mark.parametrize(
    ("names", "error", "message"),
    [
        (["a", "b"], ValueError, "has 3 numbers a row, and there are 2 names"),
        (["a", "a", "b"], ValueError, "must be different names"),
        ("abc", TypeError, "must be a list of class names in the order of the numbers, got .abc"),
        ({0: "a", 1: "b", 2: "c"}, TypeError, "must be a list of class names"),
        ([0, 1, 2], TypeError, "must be a list of class names"),
    ],
)
def test_names_that_cannot_be_the_classes_of_the_column_are_refused(stored, names, error, message):
    for rows in (stored, Dataset.from_list(stored.to_list())):  # with and without the width in its features
        with pytest.raises(error, match=message):
            name_teacher_logits(rows, names)


def test_rows_in_a_list_are_predicted_without_the_stored_teacher(labelled, models, tokenizer, tmp_path):
    settings = {"cache_teacher_outputs": True, "teacher_cache_dir": str(tmp_path)}
    trainer = trainer_of(models[0], labelled, tokenizer, tmp_path, models[1], **settings)
    expected = trainer.predict(labelled).predictions
    assert (trainer.predict(labelled.to_list()).predictions == expected).all()
    with pytest.raises(TypeError, match="needs a `datasets.Dataset`, got list"):
        trainer.evaluate(labelled.to_list())
