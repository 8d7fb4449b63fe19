import numpy as np
import pytest
from datasets import Dataset

from hf_distill.data.compute_metrics import as_compute_metrics
from hf_distill.data.tfidf import TfidfModel, join_texts, measure_tfidf

TOPICS = {"goal match team": 0, "vote law court": 1, "star planet orbit": 2}


def rows(labels, copies=6):
    texts = [f"{words} {i}" for i in range(copies) for words in TOPICS]
    return Dataset.from_dict({"text": texts, "labels": [labels(TOPICS[text.rsplit(" ", 1)[0]]) for text in texts]})


def measure(train, evaluation, problem_type, metric, num_labels=3, columns=("text",)):
    parts = [part for rows in (train, evaluation) for part in (join_texts(rows, columns), np.array(rows["labels"]))]
    return measure_tfidf(*parts, problem_type, num_labels, as_compute_metrics(metric, problem_type))


def test_words_that_tell_the_classes_apart_are_learned():
    scores = measure(rows(int), rows(int, copies=2), "single_label_classification", "accuracy")
    assert scores["metrics"] == {"accuracy": 1.0}
    assert scores["rows"] == 18
    # 9 words and 6 numbers; 6 pairs of words, and the last word of each topic with each number.
    assert scores["num_parameters"] == 3 * (15 + 6 + 18) + 3
    assert scores["p50_ms"] > 0


def test_rows_without_a_label_are_left_out():
    train = rows(int)
    labels = train["labels"][:]
    labels[::3] = [-100] * 6  # the first topic has no label at all
    scores = measure(
        train.remove_columns("labels").add_column("labels", labels),
        rows(int),
        "single_label_classification",
        "accuracy",
    )
    assert scores["rows"] == 12
    assert scores["metrics"]["accuracy"] == pytest.approx(2 / 3)


def test_a_class_without_a_label_gets_the_least_probability():
    model = TfidfModel("single_label_classification", 4).fit(["a b", "c d"], np.array([1, 3]))
    logits = model.logits(["a b"])
    assert logits.shape == (1, 4)
    assert logits[0].argmax() == 1
    assert logits[0, 0] == logits[0, 2] == pytest.approx(np.log(1e-9))


def test_several_labels_are_learned_one_by_one():
    train = rows(lambda topic: [float(topic == 0), float(topic > 0), 1.0])
    scores = measure(train, train, "multi_label_classification", ["f1_micro", "subset_accuracy"])
    assert set(scores["metrics"].values()) == {1.0}


def test_numbers_are_fitted_with_one_or_several_outputs():
    train = rows(float, copies=20)
    assert measure(train, train, "regression", "pearson", 1)["metrics"]["pearson"] > 0.99
    two = TfidfModel("regression", 2).fit(train["text"], np.array([[topic, -topic] for topic in train["labels"]]))
    assert two.logits(["goal match team"]).shape == (1, 2)


@pytest.mark.parametrize("label", [-100, 1])
def test_fewer_than_two_classes_give_no_scores(label):
    assert measure(rows(lambda _: label), rows(int), "single_label_classification", "accuracy") is None


def test_the_texts_of_a_pair_are_joined_and_null_is_no_text():
    pairs = Dataset.from_dict(
        {"a": ["x", "x", "y", "y"] * 3, "b": ["p", None, "p", None] * 3, "labels": [0, 1, 0, 1] * 3}
    )
    scores = measure(pairs, pairs, "single_label_classification", "accuracy", 2, ["a", "b"])
    assert scores["metrics"]["accuracy"] == 1.0


def test_blank_texts_give_no_scores():
    blank = Dataset.from_dict({"text": ["", " ", None], "labels": [0, 1, 2]})
    assert measure(blank, rows(int), "single_label_classification", "accuracy") is None
