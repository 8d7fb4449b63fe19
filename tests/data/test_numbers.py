"""Numbers as labels: classes, scores, or a question with both answers."""

from decimal import Decimal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rows import labelled_csv, labels, load, write_json_lines

from hf_distill.data import load_text_dataset

SINGLE, REGRESSION = "single_label_classification", "regression"


@pytest.mark.parametrize(
    ("given", "problem_type", "read"),
    [
        ([5, 1, 3], SINGLE, ["5", "1", "3"]),
        ([3.5, 4.0, 1], REGRESSION, [3.5, 4.0, 1.0]),
        (["1e-3", "2.5E2", ".5"], REGRESSION, [0.001, 250.0, 0.5]),
        (["-1.5", "+2.5"], REGRESSION, [-1.5, 2.5]),
        (["007", "1.5x"], SINGLE, ["007", "1.5x"]),
    ],
)
def test_integers_are_classes_and_fractions_are_scores(tmp_path, given, problem_type, read):
    task = load(labelled_csv(tmp_path / "rows.csv", given))
    assert task.problem_type == problem_type
    assert labels(task) == pytest.approx(read) if problem_type == REGRESSION else labels(task) == read


@pytest.mark.parametrize("given", [["4.0", "5.0", "1.0"], ["1.0", "", "0.0"], [1.0, "NaN", 0.0]])
def test_numbers_without_a_fraction_leave_two_readings_and_both_flags_are_shown(tmp_path, given):
    path = labelled_csv(tmp_path / "rows.csv", given)
    with pytest.raises(
        ValueError, match=f"classes or scores. Pass --problem_type {SINGLE} or --problem_type {REGRESSION}"
    ):
        load(path)
    as_classes = load(path, problem_type=SINGLE)
    assert set(as_classes.label_names) == {str(int(float(v))) for v in given if v not in ("", "NaN")}
    as_scores = load(path, problem_type=REGRESSION)
    assert labels(as_scores)[0] == float(given[0])


def test_what_the_teachers_outputs_settle_is_not_asked(tmp_path):
    floats = labelled_csv(tmp_path / "rows.csv", ["4.0", "5.0", "1.0"])
    assert load(floats, teacher_num_labels=3).label_names == ["1", "4", "5"]
    assert load(floats, teacher_num_labels=1).problem_type == REGRESSION
    with pytest.raises(ValueError, match="two|2|3 classes or scores"):
        load(floats, teacher_num_labels=2)
    integers = labelled_csv(tmp_path / "ints.csv", [1, 2, 3])
    assert load(integers, teacher_num_labels=1).problem_type == REGRESSION
    assert load(integers, teacher_num_labels=3).label_names == ["1", "2", "3"]


def test_integers_in_one_file_say_that_floats_in_the_other_are_ids(tmp_path, caplog):
    train, dev = labelled_csv(tmp_path / "a.csv", [1, 0]), labelled_csv(tmp_path / "b.csv", ["1.0", "0.0"])
    task = load(train, validation_file=dev)
    assert (task.label_names, labels(task, "validation")) == (["0", "1"], ["1", "0"])
    assert "'1.0' (1 row), '0.0' (1 row): read as integers" in caplog.text
    scores = load(labelled_csv(tmp_path / "c.csv", [3.5, 2]), validation_file=labelled_csv(tmp_path / "d.csv", [3, 2]))
    assert (scores.problem_type, labels(scores, "validation")) == (REGRESSION, [3.0, 2.0])


@pytest.mark.parametrize(
    ("cells", "advice"),
    [
        (['"3,5"', '"4,0"'], "decimal numbers with a point.*--label_delimiter ','"),
        (['"3,5"', "4"], "decimal numbers with a point"),
        (["95%", "12 %"], "percentages as numbers"),
    ],
)
def test_decimal_commas_and_percent_signs_are_refused_by_their_line(tmp_path, cells, advice):
    path = labelled_csv(tmp_path / "rows.csv", cells)
    value = cells[0].strip('"')
    with pytest.raises(
        ValueError,
        match=rf"rows.csv, line 2 \(row 1\), column 'label': '{value}' cannot be read as a number.*{advice}",
    ):
        load(path)
    assert value in load(path, problem_type=SINGLE).label_names


def test_words_among_scores_are_named_with_their_counts(tmp_path):
    path = labelled_csv(tmp_path / "rows.csv", [1.5, 2, "good", "good"])
    with pytest.raises(ValueError, match=r"the words 'good' \(2 rows\).*--label_map '\{\"good\": null\}'"):
        load(path)
    assert load(path, problem_type=SINGLE).label_names == ["1.5", "2", "good"]
    with pytest.raises(
        ValueError, match=r"line 4 \(row 3\).*'good', but `problem_type` is 'regression', which expects numbers"
    ):
        load(path, problem_type=REGRESSION)
    mapped = load(path, problem_type=REGRESSION, label_map={"good": "5"})
    assert labels(mapped) == [1.5, 2.0, 5.0, 5.0]


@pytest.mark.parametrize("label", ["1e999", "-1e999"])
def test_a_score_that_is_not_finite_is_refused(tmp_path, label):
    with pytest.raises(ValueError, match=rf"line 3 .*the score {label} is not finite"):
        load(labelled_csv(tmp_path / "rows.csv", [0.5, label]))


def test_truth_values_beside_numbers_are_refused(tmp_path):
    with pytest.raises(ValueError, match="the numbers '1'.*the words 'True'"):
        load(
            labelled_csv(tmp_path / "a.csv", ["True", "False"]),
            validation_file=labelled_csv(tmp_path / "b.csv", [1, 0]),
        )


@pytest.mark.parametrize(
    ("array", "names"),
    [
        (pa.array([1, 0], pa.uint8()), ["0", "1"]),
        (pa.array([Decimal("10"), Decimal("9")], pa.decimal128(5, 0)), ["9", "10"]),
        (pa.array([3, 10]).dictionary_encode(), ["3", "10"]),
        (pa.array([Decimal("1.50"), Decimal("2.00")], pa.decimal128(5, 2)), None),
        (pa.array(np.array([1.5, 2], dtype="float16")), None),
    ],
)
def test_every_type_of_number_of_a_parquet_file_is_read(tmp_path, array, names):
    pq.write_table(pa.table({"text": ["a", "b"], "label": array}), tmp_path / "rows.parquet")
    task = load(tmp_path / "rows.parquet")
    assert task.label_names == names
    if names is None:
        assert labels(task) == [1.5, 2.0]


@pytest.mark.parametrize("kind", [pa.timestamp("s"), pa.date32()])
def test_dates_are_no_labels(tmp_path, kind):
    pq.write_table(pa.table({"text": ["a", "b"], "label": pa.array([1, 2], kind)}), tmp_path / "rows.parquet")
    with pytest.raises(ValueError, match="holds (timestamp|date32).*Expected a name, a number"):
        load(tmp_path / "rows.parquet")


def test_integers_beside_nan_stay_integers_in_json(tmp_path):
    rows = [{"text": "a", "label": 1}, {"text": "b", "label": float("nan")}, {"text": "c", "label": 0}]
    task = load(write_json_lines(tmp_path / "rows.jsonl", *rows))
    assert (task.label_names, labels(task)) == (["0", "1"], ["1", None, "0"])


def test_digits_of_other_scripts_are_words_and_not_scores(tmp_path):
    lines = "".join(f"text {i},{label}\n" for i, label in enumerate(["１", "２", "１", "２", "１"]))
    path = tmp_path / "rows.csv"
    path.write_text(f"text,label\n{lines}", encoding="utf-8")
    task = load_text_dataset(train_file=str(path), needs_validation=False)
    assert (task.problem_type, task.label_names) == ("single_label_classification", ["１", "２"])
