"""Rows of train are held out for validation: stratified, near-duplicates on one side, the same rows in every run."""

import json
from collections import Counter

import numpy as np
import pytest
from datasets import Dataset
from rows import labels, load, texts, write, write_json_lines

from hf_distill.data.held_out import hold_out
from hf_distill.data.minhash import Shingles

WORDS = "amber birch cedar delta ember frost grove heath inlet jetty knoll larch mango north ocean pearl".split()


def sentence(number):
    """Return a sentence of four words, such that no two numbers below 16**3 give similar sentences."""
    return " ".join(WORDS[number // 16**i % 16] + str(number) for i in range(4))


def csv_of(names):
    return "text,label\n" + "".join(f"{sentence(i)},{name}\n" for i, name in enumerate(names))


def split(path, percentage=10, **arguments):
    return load(path, validation_split_percentage=percentage, **arguments)


def test_each_class_gives_the_same_share(tmp_path):
    task = split(write(tmp_path / "rows.csv", csv_of(["a"] * 40 + ["b"] * 20 + ["c"] * 10)))
    assert Counter(labels(task, "validation")) == {"a": 4, "b": 2, "c": 1}
    assert Counter(labels(task)) == {"a": 36, "b": 18, "c": 9}
    assert sorted(texts(task) + texts(task, "validation")) == sorted(map(sentence, range(70)))
    assert [texts(task).index(text) for text in texts(task)] == list(range(63))


def test_every_run_draws_the_same_rows_from_every_format(tmp_path):
    names = ["a", "b"] * 30
    first = split(write(tmp_path / "rows.csv", csv_of(names)))
    again = split(write(tmp_path / "again.csv", csv_of(names)))
    rows = [{"label": name, "text": sentence(i)} for i, name in enumerate(names)]
    as_json = split(write_json_lines(tmp_path / "rows.jsonl", *rows))
    hashes = [[task.summary[s].sha256 for s in ("train", "validation")] for task in (first, again, as_json)]
    assert hashes[0] == hashes[1] == hashes[2]
    assert texts(first, "validation") != [sentence(i) for i in range(6)]  # a draw, not the first rows


def test_near_duplicates_are_on_one_side_also_through_other_rows(tmp_path):
    words = [f"w{i}" for i in range(40)]
    # Neighbours share 29 of 31 bigrams, a similarity of 29 / 33; the first and the fourth share 27 of 37, below 0.8.
    chain = [" ".join(words[i : i + 32]) for i in range(0, 8, 2)]
    shingles = Shingles(Dataset.from_dict({"text": [*chain, "one more text", "One more, text!"]}), ["text"])
    assert shingles.jaccard(0, 1) > 0.8 > shingles.jaccard(0, 3)
    assert shingles.groups(0.8).tolist() == [0, 0, 0, 0, 4, 4]

    rows = [f"{sentence(i)}{mark}" for i in range(50) for mark in ("", "!")]
    path = write(
        tmp_path / "rows.csv", "text,label\n" + "".join(f"{t},{'ab'[i // 2 % 2]}\n" for i, t in enumerate(rows))
    )
    task = split(path, 20)
    held_out = {text.rstrip("!") for text in texts(task, "validation")}
    assert len(texts(task, "validation")) == 20
    assert not held_out & {text.rstrip("!") for text in texts(task)}


def test_many_equal_texts_are_grouped_in_linear_time():
    texts = Dataset.from_dict({"text": ["thank you for your order"] * 3000 + ["something else entirely here"]})
    shingles, compared = Shingles(texts, ["text"]), []
    jaccard = shingles.jaccard
    shingles.jaccard = lambda row, other: compared.append(1) or jaccard(row, other)
    assert set(shingles.groups(0.8).tolist()) == {0, 3000}
    assert len(compared) < 3001


def test_unlabelled_rows_stay_in_train(tmp_path):
    task = split(write(tmp_path / "rows.csv", csv_of(["a", "b", ""] * 20)), 25)
    assert Counter(labels(task, "validation")) == {"a": 5, "b": 5}
    assert Counter(labels(task)) == {"a": 15, "b": 15, None: 20}


def test_the_rarest_of_several_labels_counts(tmp_path):
    rows = [{"text": sentence(i), "label": ["often", "rare"] if i < 10 else ["often"]} for i in range(50)]
    rows += [{"text": sentence(i), "label": []} for i in range(50, 60)]
    task = split(write_json_lines(tmp_path / "rows.jsonl", *rows), 20)
    assert Counter(map(tuple, labels(task, "validation"))) == {("often", "rare"): 2, ("often",): 8, (): 2}


def test_scores_are_drawn_from_every_tenth(tmp_path):
    scores = [i / 7 for i in range(100)]
    task = split(write(tmp_path / "rows.csv", csv_of(scores)))
    assert [int(score * 7 // 10) for score in sorted(labels(task, "validation"))] == list(range(10))


def test_sentences_with_a_rare_tag_are_held_out_too(tmp_path):
    lines = [f"w{i} {'B-x' if i % 2 else 'O'}\nv{i} O\n" for i in range(40)]
    task = split(write(tmp_path / "rows.conll", "\n".join(lines)), 10)
    assert Counter(tags[0] for tags in labels(task, "validation")) == {"O": 2, "B-x": 2}


def test_it_is_printed_and_recorded(tmp_path):
    task = split(write(tmp_path / "rows.csv", csv_of(["a", "b"] * 20)))
    assert "validation  rows.csv" in str(task.summary)
    assert "4 of 40 rows, 4 labelled; 10 % of the labelled rows of train (--validation_split_percentage)" in str(
        task.summary
    )
    recorded = json.loads(json.dumps(task.summary.to_dict()))["splits"]
    assert (recorded["train"]["rows"], recorded["validation"]["rows"]) == (36, 4)
    assert recorded["validation"]["remarks"][0].startswith("10 % of the labelled rows of train")
    assert recorded["validation"]["sha256"] != recorded["train"]["sha256"]


def test_other_splits_are_left_alone(tmp_path):
    path = write(tmp_path / "rows.csv", csv_of(["a", "b"] * 20))
    test = write(tmp_path / "test.csv", "text,label\nsomething,a\n")
    task = split(path, test_file=test)
    assert [(name, len(rows)) for name, rows in task.datasets.items()] == [
        ("train", 36),
        ("validation", 4),
        ("test", 1),
    ]


@pytest.mark.parametrize("percentage", [0, 100, -5, 250])
def test_a_percentage_is_between_0_and_100(tmp_path, percentage):
    with pytest.raises(ValueError, match="must be between 0 and 100"):
        split(write(tmp_path / "rows.csv", csv_of(["a", "b"] * 20)), percentage)


def test_what_cannot_be_held_out_is_refused(tmp_path):
    path = write(tmp_path / "rows.csv", csv_of(["a", "b"]))
    with pytest.raises(ValueError, match=r"no such share of 2 labelled rows in 2 groups .* can be held out"):
        split(path)
    equal = write(tmp_path / "equal.csv", "text,label\n" + "a text,a\na text,b\n" * 20)
    with pytest.raises(ValueError, match=r"no such share of 40 labelled rows in 1 group "):
        split(equal)
    with pytest.raises(ValueError, match=r"splits are train, validation. Leave it out"):
        split(path, validation_file=path)
    with pytest.raises(ValueError, match="Name training rows with --train_file"):
        split(None, test_file=path)


def test_rows_are_taken_whole():
    rows = {
        "text": [sentence(i) for i in range(30)],
        "label": [0, 1] * 15,
        "teacher_logits": [[i, -i] for i in range(30)],
    }
    train, validation = hold_out(Dataset.from_dict(rows), ["text"], "single_label_classification", ["a", "b"], 20)
    for part in (train, validation):
        places = [rows["text"].index(text) for text in part["text"]]
        np.testing.assert_array_equal(part["teacher_logits"][:], [rows["teacher_logits"][i] for i in places])
