"""Cells that say that there is no label, and words that could say it."""

import pytest
from datasets import ClassLabel, Dataset, Features, Value
from rows import labelled_csv, labels, load, write_json_lines


@pytest.mark.parametrize(
    ("given", "read"),
    [
        (["a", "", "b"], ["a", None, "b"]),
        ([1, "", 0], ["1", None, "0"]),
        ([1, "NaN", 0], ["1", None, "0"]),
        ([1, "nan", 0], ["1", None, "0"]),
        ([1.5, "NaN", 2], [1.5, None, 2.0]),
    ],
)
def test_empty_cells_and_nan_between_numbers_are_no_labels(tmp_path, given, read):
    task = load(labelled_csv(tmp_path / "rows.csv", given))
    assert labels(task) == read
    assert task.summary["train"].labelled_rows == 2
    assert "3 rows, 2 labelled" in str(task.summary)


def test_that_nan_was_taken_for_no_label_is_said(tmp_path, caplog):
    load(labelled_csv(tmp_path / "rows.csv", [1, "NaN", 0, "NaN"]))
    assert "'NaN' (2 rows): read as no label" in caplog.text


@pytest.mark.parametrize(
    ("missing", "present"),
    [
        ("", ["x", "y"]),
        *[
            (missing, present)
            for missing in (None, float("nan"))
            for present in (["x", "y"], [1, 0], [True, False], [["x", "y"], ["y"]])
        ],
    ],
)
def test_null_nan_and_the_empty_text_of_json_are_no_labels(tmp_path, missing, present):
    values = [present[0], missing, present[1]]
    rows = [{"text": "ab"[i % 2] + str(i), "label": value} for i, value in enumerate(values)]
    assert labels(load(write_json_lines(tmp_path / "rows.jsonl", *rows)))[1] is None


@pytest.mark.parametrize("word", ["nan", "NULL", "N/A", "NA", "#N/A", "<NA>", "n/a", "NaT", "#VALUE!", "#REF!"])
def test_words_for_missing_values_beside_names_are_refused_until_they_are_explained(tmp_path, word):
    path = labelled_csv(tmp_path / "rows.csv", ["good", word, "bad", word])
    with pytest.raises(ValueError, match=rf"'{word}' \(2 rows\).*--label_map '\{{\"{word}\": null\}}'"):
        load(path)
    assert labels(load(path, label_map={word: None})) == ["good", None, "bad", None]
    assert labels(load(path, label_map={word: word})) == ["good", word, "bad", word]


@pytest.mark.parametrize("ids", [[0, 1], [-1, 0, 1]])
def test_the_id_that_pytorch_ignores_is_refused_among_ids_until_it_is_explained(tmp_path, ids):
    path = labelled_csv(tmp_path / "rows.csv", [*ids, -100, -100])
    with pytest.raises(ValueError, match=r"'-100' \(2 rows\).*--label_map '\{\"-100\": null\}'"):
        load(path)
    assert labels(load(path, label_map={-100: None}))[-2:] == [None, None]
    assert labels(load(path, label_map={-100: "-100"}))[-1] == "-100"
    assert labels(load(path, problem_type="regression"))[-1] == -100


def test_minus_one_hundred_among_other_negative_numbers_is_a_class(tmp_path):
    assert "-100" in load(labelled_csv(tmp_path / "rows.csv", [-100, -50, 0, 50])).label_names


@pytest.mark.parametrize("word", ["N/A", "null", "None"])
@pytest.mark.parametrize("numbers", [[3.5, 4.0], [1, 0]])
def test_one_word_between_numbers_makes_no_class_of_every_number(tmp_path, word, numbers):
    path = labelled_csv(tmp_path / "rows.csv", [*numbers, word])
    with pytest.raises(ValueError, match=rf"'{word}' \(1 row\)"):
        load(path)
    task = load(path, label_map={word: None})
    assert task.problem_type == ("regression" if 3.5 in numbers else "single_label_classification")
    assert labels(task)[-1] is None


def test_a_class_that_is_named_none_is_one(tmp_path):
    task = load(labelled_csv(tmp_path / "rows.csv", ["None", "favor", "against"]))
    assert labels(task) == ["None", "favor", "against"]


def test_minus_one_is_no_label_of_a_class_label_and_a_class_of_integers(tmp_path, caplog):
    features = Features({"text": Value("string"), "label": ClassLabel(names=["no", "yes"])})
    Dataset.from_dict({"text": list("abc"), "label": [1, -1, 0]}, features=features).to_parquet(tmp_path / "a.parquet")
    assert labels(load(tmp_path / "a.parquet")) == ["yes", None, "no"]
    assert load(labelled_csv(tmp_path / "b.csv", [-1, 0, 1])).label_names == ["-1", "0", "1"]
    task = load(labelled_csv(tmp_path / "c.csv", [0, 1]), test_file=labelled_csv(tmp_path / "d.csv", [-1, -1]))
    assert (task.label_names, labels(task, "test")) == (["0", "1"], [None, None])
    assert "test: -1 in every row, read as no label" in caplog.text


def test_words_in_lists_are_explained_like_others(tmp_path):
    rows = [{"text": "a", "label": ["x", "y"]}, {"text": "b", "label": ["N/A"]}, {"text": "c", "label": []}]
    path = write_json_lines(tmp_path / "rows.jsonl", *rows)
    with pytest.raises(ValueError, match=r"'N/A' \(1 row\)"):
        load(path)
    assert labels(load(path, label_map='{"N/A": null}')) == [["x", "y"], None, []]


def test_a_tag_that_is_missing_keeps_its_place(tmp_path):
    rows = [{"tokens": ["a", "b", "c"], "tags": ["O", None, "B-x"]}, {"tokens": ["d"], "tags": None}]
    assert labels(load(write_json_lines(tmp_path / "a.jsonl", *rows))) == [["O", None, "B-x"], None]
    rows = [{"tokens": ["a", "b"], "tags": [0, -100]}, {"tokens": ["d"], "tags": [1]}]
    assert labels(load(write_json_lines(tmp_path / "b.jsonl", *rows))) == [["0", None], ["1"]]
