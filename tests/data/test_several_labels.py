"""Several labels a row: lists, cells that spell out lists, and several columns."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rows import labelled_csv, labels, load, write, write_json_lines

SINGLE, MULTI, REGRESSION = "single_label_classification", "multi_label_classification", "regression"


@pytest.mark.parametrize(
    "cells",
    [
        ['"[""joy"", ""love""]"', '"[""anger""]"', "[]"],
        ["\"['joy', 'love']\"", "\"['anger']\"", "[]"],
        ["['joy' 'love']", "['anger']", "[]"],
        ["\"('joy', 'love')\"", "\"('anger',)\"", "()"],
        ["\"{'joy', 'love'}\"", "{'anger'}", "[]"],
        ['"[joy, love]"', "[anger]", "[]"],
        ['"{""choices"": [""joy"", ""love""]}"', "anger", "[]"],
    ],
)
def test_a_cell_that_spells_out_a_list_is_one(tmp_path, cells):
    task = load(labelled_csv(tmp_path / "rows.csv", cells))
    assert (task.problem_type, task.label_names) == (MULTI, ["anger", "joy", "love"])
    assert labels(task) == [["joy", "love"], ["anger"], []]


@pytest.mark.parametrize(
    "cells", [["1 0 1", "0 1 0"], ["[1 0 1]", "[0 1 0]"], ["[1. 0. 1.]", "[0. 1. 0.]"], ['"[1, 0, 1]"', '"[0, 1, 0]"']]
)
def test_cells_of_zeros_and_ones_say_yes_or_no_to_each_class(tmp_path, cells):
    path = labelled_csv(tmp_path / "rows.csv", cells)
    task = load(path)
    assert (task.problem_type, labels(task)) == (MULTI, [["LABEL_0", "LABEL_2"], ["LABEL_1"]])
    named = load(path, class_names=["a", "b", "c"])
    assert labels(named) == [["a", "c"], ["b"]]
    with pytest.raises(ValueError, match="3 numbers in each row, and --class_names has a, b"):
        load(path, class_names=["a", "b"])


def test_a_class_in_brackets_is_no_list(tmp_path):
    task = load(labelled_csv(tmp_path / "rows.csv", ["[other]", "usual", "{x}", "usual"]))
    assert task.label_names == ["[other]", "usual", "{x}"]


@pytest.mark.parametrize(
    ("cells", "delimiter"),
    [(['"joy,love"', "anger", "joy"], ","), (["joy;love", "anger", "joy"], ";"), (["joy|love", "anger", "sad"], "|")],
)
def test_names_with_a_delimiter_between_them_are_refused_until_it_is_named(tmp_path, cells, delimiter):
    path = labelled_csv(tmp_path / "rows.csv", cells)
    joined = cells[0].strip('"').replace("|", r"\|")
    with pytest.raises(ValueError, match=rf"line 2 .*'{joined}' looks like several labels.*--label_delimiter '"):
        load(path)
    assert labels(load(path, label_delimiter=delimiter))[:2] == [["joy", "love"], ["anger"]]
    assert load(path, problem_type=SINGLE).problem_type == SINGLE
    with pytest.raises(ValueError, match="is not a list, but `problem_type` is 'multi_label_classification'"):
        load(path, problem_type=MULTI)


@pytest.mark.parametrize(
    "names", [["Sci/Tech", "World"], ["Oil, gas", "Food", "Arts, music"], ["very good", "good"], ["a-b", "a"]]
)
def test_names_that_hold_a_delimiter_by_chance_stay_names(tmp_path, names):
    task = load(labelled_csv(tmp_path / "rows.csv", [f'"{name}"' for name in names]))
    assert task.label_names == sorted(names)


def test_a_delimiter_splits_ids_and_names_and_forgives_blanks(tmp_path, caplog):
    ids = load(labelled_csv(tmp_path / "a.csv", ['"4, 27"', 27, "", '"10,"']), label_delimiter=",")
    assert labels(ids) == [["4", "27"], ["27"], None, ["10"]]
    assert ids.label_names == ["4", "10", "27"]
    assert not caplog.text
    named = load(labelled_csv(tmp_path / "b.csv", ['"0,1"', 1]), label_delimiter=",", class_names=["x", "y", "z"])
    assert labels(named) == [["x", "y"], ["y"]]
    only_one = labelled_csv(tmp_path / "c.csv", ["a", "b"])
    assert load(only_one, label_delimiter="|").problem_type == MULTI
    assert load(only_one, label_delimiter="|", problem_type=SINGLE).problem_type == SINGLE
    rows = write_json_lines(tmp_path / "d.jsonl", {"text": "a", "label": ["x"]}, {"text": "b", "label": ["y", "z"]})
    with pytest.raises(ValueError, match="already has lists. Leave out --label_delimiter"):
        load(rows, label_delimiter=",")


@pytest.mark.parametrize("values", [[["a"], ["b"]], [[0], [1]], [["a"], []]])
def test_lists_of_one_label_at_most_can_be_two_things(tmp_path, values):
    rows = [{"text": f"text {i}", "label": value} for i, value in enumerate([*values, values[0], ["c"]])]
    rows[-1]["label"] = [7] if values[0] == [0] else ["c"]
    path = write_json_lines(tmp_path / "rows.jsonl", *rows)
    with pytest.raises(ValueError, match=f"at most one label.*--problem_type {SINGLE} or --problem_type {MULTI}"):
        load(path)
    first = str(values[0][0])
    single = load(path, problem_type=SINGLE)
    assert labels(single)[0] == first
    assert labels(load(path, problem_type=MULTI))[0] == [first]
    assert load(path, teacher_problem_type=SINGLE).problem_type == SINGLE
    assert load(path, teacher_problem_type=MULTI).problem_type == MULTI
    assert labels(single)[1] == (None if values[1] == [] else str(values[1][0]))


def test_a_row_of_two_labels_is_no_single_class(tmp_path):
    rows = [{"text": "a", "label": ["x"]}, {"text": "b", "label": ["x", "y"]}]
    with pytest.raises(ValueError, match=r"line 2 \(row 2\).*\['x', 'y'\] is a list of 2 labels"):
        load(write_json_lines(tmp_path / "rows.jsonl", *rows), problem_type=SINGLE)


def test_one_hot_rows_are_classes_where_that_is_asked_for(tmp_path):
    rows = [{"text": "a", "label": [0, 0, 1]}, {"text": "b", "label": [1, 0, 0]}, {"text": "c", "label": None}]
    path = write_json_lines(tmp_path / "rows.jsonl", *rows)
    task = load(path, problem_type=SINGLE, class_names=["x", "y", "z"])
    assert labels(task) == ["z", "x", None]
    rows[1]["label"] = [1, 0, 1]
    with pytest.raises(ValueError, match=r"line 2 .*\[1.0, 0.0, 1.0\].*expects one 1 and zeros"):
        load(write_json_lines(path, *rows), problem_type=SINGLE)


# --- Several columns


def wide(tmp_path, *rows, header="id,comment_text,toxic,threat,insult"):
    return write(tmp_path / "wide.csv", "\n".join([header, *rows]) + "\n")


@pytest.mark.parametrize("names", ["toxic,threat,insult", ["toxic", "threat", "Insult"]])
def test_columns_of_zeros_and_ones_are_classes(tmp_path, names):
    path = wide(tmp_path, "0a,you fool,1,0,1", "0b,thanks,0,0,0", "0c,unseen,-1,-1,-1", "0d,empty,,,")
    task = load(path, label_column_name=names)
    assert (task.problem_type, task.label_names) == (MULTI, ["toxic", "threat", "insult"])
    assert labels(task) == [["toxic", "insult"], [], None, None]
    assert task.summary["train"].label_columns == ("toxic", "threat", "insult")
    assert task.summary["train"].classes == {"toxic": 1, "threat": 0, "insult": 1}
    ordered = load(path, label_column_name=names, class_names=["Insult", "Threat", "Toxic"])
    assert ordered.datasets["train"]["label"][0] == [1.0, 0.0, 1.0]
    assert labels(ordered)[0] == ["Insult", "Toxic"]
    with pytest.raises(ValueError, match="of the columns toxic, threat, insult, and --class_names has a, b, c"):
        load(path, label_column_name=names, class_names=["a", "b", "c"])


def test_columns_of_other_numbers_are_scores(tmp_path):
    task = load(wide(tmp_path, "1,a,0.5,2,-1", "2,b,1,0,3"), label_column_name="toxic,threat,insult")
    assert (task.problem_type, task.label_names) == (REGRESSION, ["toxic", "threat", "insult"])
    assert task.datasets["train"]["label"][0] == [0.5, 2.0, -1.0]
    with pytest.raises(
        ValueError, match=r"line 2 .*\[0.5, 2.0, -1.0\]; multi_label_classification expects numbers from 0 to 1"
    ):
        load(wide(tmp_path, "1,a,0.5,2,-1", "2,b,1,0,3"), label_column_name="toxic,threat,insult", problem_type=MULTI)


@pytest.mark.parametrize("row", ["2,b,1,-1,0", "2,b,0.5,0,0\n3,c,-1,-1,-1"])
def test_minus_one_beside_numbers_from_zero_to_one_is_a_score_only_where_that_is_asked_for(tmp_path, row):
    path = wide(tmp_path, "1,a,1,0,0", row)
    line = row.count("\n") + 3
    with pytest.raises(ValueError, match=rf"line {line} .*-1 in a label column.*--problem_type regression.*missing"):
        load(path, label_column_name="toxic,threat,insult")
    scores = load(path, label_column_name="toxic,threat,insult", problem_type=REGRESSION)
    assert scores.datasets["train"]["label"][-1][1] == -1
    mapped = load(path, label_column_name="toxic,threat,insult", label_map={"-1": "0"})
    assert mapped.datasets["train"]["label"][-1][1] == 0


def test_minus_one_in_all_columns_is_a_score_among_scores(tmp_path):
    path = wide(tmp_path, "1,a,0.5,0.2,-0.3", "2,b,-1,-1,-1")
    task = load(path, label_column_name="toxic,threat,insult")
    assert (task.problem_type, labels(task)[1]) == (REGRESSION, [-1.0, -1.0, -1.0])


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("2,b,yes,0,0", r"line 3 .*column 'toxic': the label is 'yes'. Expected a number"),
        ("2,b,1,,0", r"line 3 \(row 2\): some of the label columns are empty"),
    ],
)
def test_columns_that_are_no_numbers_are_refused_by_their_line(tmp_path, row, message):
    with pytest.raises(ValueError, match=message):
        load(wide(tmp_path, "1,a,1,0,0", row), label_column_name="toxic,threat,insult")


def test_a_dict_of_scores_is_read_by_paths(tmp_path):
    rows = [{"text": "a", "cats": {"joy": 1.0, "fear": 0.0}}, {"text": "b", "cats": {"joy": 0.0, "fear": 1.0}}]
    path = write_json_lines(tmp_path / "rows.jsonl", *rows)
    with pytest.raises(ValueError, match="is a dict with the keys joy, fear.*--label_column_name cats.joy,cats.fear"):
        load(path, label_column_name="cats")
    task = load(path, label_column_name="cats.joy,cats.fear")
    assert (task.label_names, labels(task)) == (["joy", "fear"], [["joy"], ["fear"]])


# --- Lists of other formats


@pytest.mark.parametrize(
    "array",
    [
        pa.array([["x", "y"], ["y"]], pa.list_(pa.string())),
        pa.array([["x", "y"], ["y"]], pa.large_list(pa.large_string())),
    ],
)
def test_lists_of_parquet_are_lists(tmp_path, array):
    pq.write_table(pa.table({"text": ["a", "b"], "label": array}), tmp_path / "rows.parquet")
    assert labels(load(tmp_path / "rows.parquet")) == [["x", "y"], ["y"]]


@pytest.mark.parametrize("array", [[[True, False], [False, True]], [[1, 0], [0, 1]]])
def test_vectors_of_parquet_are_vectors(tmp_path, array):
    pq.write_table(pa.table({"text": ["a", "b"], "label": array}), tmp_path / "rows.parquet")
    assert labels(load(tmp_path / "rows.parquet")) == [["LABEL_0"], ["LABEL_1"]]


def test_label_studio_writes_one_label_as_text_and_several_as_choices(tmp_path):
    rows = [{"text": "a", "topic": "x"}, {"text": "b", "topic": {"choices": ["x", "y"]}}, {"text": "c", "topic": None}]
    task = load(write_json_lines(tmp_path / "rows.jsonl", *rows), label_column_name="topic")
    assert labels(task) == [["x"], ["x", "y"], None]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([["x", None], ["y"]], r"line 1 .*the list \['x', None\] has an empty entry"),
        ([[0.5, 0.2], [0.5]], r"line 2 \(row 2\): 1 number, but an earlier row has 2"),
        ([[[0, 3, "PER"]], []], r"line 1 .*\[\[0, 3, 'PER'\]\] is not a list of labels.*columns `tokens` and `tags`"),
        ([[{"start": 0}], [{"start": 1}]], r"line 1 .*is not a list of labels"),
    ],
)
def test_lists_that_are_none_of_labels_are_refused_by_their_line(tmp_path, values, message):
    rows = [{"text": f"text {i}", "label": value} for i, value in enumerate(values)]
    with pytest.raises(ValueError, match=message):
        load(write_json_lines(tmp_path / "rows.jsonl", *rows))


@pytest.mark.parametrize(
    ("labels_of_file", "delimiter"),
    [
        (["joy/love", "anger", "joy"], "'/'"),
        (["joy + love", "love", "anger"], "'+'"),
        (["joy & love", "love", "anger"], "'&'"),
        (["joy love", "love", "joy"], "' '"),
        (["card", "card arrival", "other"], None),
        (["rock/pop", "jazz", "folk"], None),
    ],
)
def test_a_class_that_contains_another_class_is_warned_of(tmp_path, labels_of_file, delimiter):
    warnings = load(labelled_csv(tmp_path / "rows.csv", labels_of_file)).summary.warnings
    assert [f"pass --label_delimiter {delimiter}" in warning for warning in warnings] == [True] * (
        delimiter is not None
    )


def test_an_empty_delimiter_is_refused(tmp_path):
    with pytest.raises(ValueError, match="`label_delimiter` is empty"):
        load(labelled_csv(tmp_path / "rows.csv", ["a", "b"]), label_delimiter="")
