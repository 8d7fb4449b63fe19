"""One class has one name and one id: across types, spellings, splits and teachers."""

import json

import pytest
from datasets import ClassLabel, Dataset, Features, Value
from rows import labelled_csv, labels, load, write, write_json_lines
from tiny import named_model


def two_files(tmp_path, train, validation):
    return labelled_csv(tmp_path / "train.csv", train), labelled_csv(tmp_path / "dev.csv", validation)


def json_of(path, values):
    return write_json_lines(path, *({"text": f"text {i}", "label": value} for i, value in enumerate(values)))


@pytest.mark.parametrize(
    ("train", "validation"),
    [
        ([1, 0], ["1", "0"]),
        (["1", "0"], [1.0, 0.0]),
        ([1, 0, None], [1.0, float("nan"), 0.0]),
        ([True, False], [False]),
    ],
)
def test_a_number_and_its_text_are_one_class(tmp_path, train, validation):
    names = ["False", "True"] if True in train and isinstance(train[0], bool) else ["0", "1"]
    task = load(json_of(tmp_path / "a.jsonl", train), validation_file=json_of(tmp_path / "b.jsonl", validation))
    assert task.label_names == names
    missing = [value is None or value != value for value in validation]
    spelled = ["True" if v is True else "False" if v is False else f"{float(v or 0):.0f}" for v in validation]
    assert labels(task, "validation") == [None if gap else name for gap, name in zip(missing, spelled, strict=True)]


def test_one_file_with_both_spellings_is_refused_by_its_line(tmp_path):
    path = json_of(tmp_path / "rows.jsonl", [1, 0, "1"])
    with pytest.raises(
        ValueError, match=r"rows.jsonl, line 3 \(row 3\), column 'label': '1' is text, and 1 .* a number"
    ):
        load(path)


def test_truth_values_are_two_classes_however_they_are_written(tmp_path, caplog):
    train, dev = two_files(tmp_path, ["True", "False"], ["true", "FALSE"])
    task = load(train, validation_file=dev)
    assert task.label_names == ["False", "True"]
    assert labels(task, "validation") == ["True", "False"]
    assert "'true' (1 row), 'FALSE' (1 row): read as 'True' and 'False'" in caplog.text
    named = load(labelled_csv(tmp_path / "names.csv", ["true", "false", "mixture"]))
    assert named.label_names == ["false", "mixture", "true"]


@pytest.mark.parametrize(
    ("given", "names"),
    [
        (["10", "9", "2"], ["2", "9", "10"]),
        (["-1", "1", "0"], ["-1", "0", "1"]),
        ([f"LABEL_{i}" for i in range(11)], [f"LABEL_{i}" for i in range(11)]),
        (["01", "2", "10"], ["01", "10", "2"]),  # codes are no numbers
        (["b", "B2", "a"], ["B2", "a", "b"]),
    ],
)
def test_names_are_sorted_by_value_where_they_are_numbers(tmp_path, given, names):
    assert load(labelled_csv(tmp_path / "rows.csv", given)).label_names == names


def test_ids_of_eleven_classes_are_those_of_a_teacher_without_names(tmp_path, tokenizer):
    rows = [{"text": f"film {i}", "label": str(i)} for i in range(11)]
    task = load(write_json_lines(tmp_path / "rows.jsonl", *rows))
    teacher = named_model(*(f"LABEL_{i}" for i in range(11)))
    assert task.for_model(teacher).tokenize(tokenizer)["train"]["labels"][:] == list(range(11))


@pytest.mark.parametrize(
    ("raw", "label"),
    [
        (" good", "good"),
        ("good\t", "good"),
        ("good\u00a0", "good"),
        ("very\u00a0good", "very good"),
        ("very  good", "very good"),
        ("good\u200b", "good"),
        ("cafe\u0301", "caf\u00e9"),
    ],
)
def test_blanks_and_the_form_of_letters_make_no_other_class(tmp_path, raw, label, caplog):
    path = labelled_csv(tmp_path / "rows.csv", [label, raw, "bad", raw])
    task = load(path)
    assert task.label_names == sorted(["bad", label])
    assert labels(task) == [label, label, "bad", label]
    note = f"{raw!r} is read as {label!r} (2 rows)"
    assert note in caplog.text
    assert note in task.summary.to_dict()["notes"]


@pytest.mark.parametrize(
    ("train", "validation"),
    [(["Positive", "positive", "bad", "positive"], ["bad"]), (["positive", "bad", "positive"], ["Positive", "bad"])],
)
def test_spellings_that_differ_by_case_are_refused_with_counts_and_a_map_to_paste(tmp_path, train, validation):
    train, dev = two_files(tmp_path, train, validation)
    with pytest.raises(ValueError, match=r"'positive' \(2 rows\), 'Positive' \(1 row\)") as error:
        load(train, validation_file=dev)
    pasted = str(error.value).partition("--label_map '")[2].partition("'")[0]
    assert json.loads(pasted) == {"Positive": "positive"}
    task = load(train, validation_file=dev, label_map=pasted)
    assert task.label_names == ["bad", "positive"]
    kept = load(train, validation_file=dev, label_map={"Positive": "Positive", "positive": "positive"})
    assert kept.label_names == ["Positive", "bad", "positive"]


@pytest.mark.parametrize(
    ("given", "label_map", "expected", "names"),
    [
        (
            ["positive", "negative", "positive", "negative", "Positive", "Negative"],
            None,
            {"Positive": "positive", "Negative": "negative"},
            ["negative", "positive"],
        ),
        (["no", "no", "No", "07", "7", "7"], None, {"No": "no", "07": "7"}, ["7", "no"]),
        (["no", "no", "No", "yes", "N/A"], None, {"No": "no", "N/A": None}, ["no", "yes"]),
        (["no", "no", "No", "yes", "x"], {"x": None}, {"x": None, "No": "no"}, ["no", "yes"]),
        (["no", "no", "nope", "yes"], {"nope": "No"}, {"nope": "no", "No": "no"}, ["no", "yes"]),
        (["no", "yes", "x", "N/A"], {"x": "no"}, {"x": "no", "N/A": None}, ["no", "yes"]),
        (["true", "True", "False", "N/A"], None, {"N/A": None}, ["False", "True"]),
    ],
)
def test_one_pasted_map_settles_all_doubts_of_a_column(tmp_path, given, label_map, expected, names):
    path = labelled_csv(tmp_path / "rows.csv", given)
    with pytest.raises(ValueError, match="--label_map") as error:
        load(path, label_map=label_map)
    pasted = str(error.value).partition("--label_map '")[2].partition("'")[0]
    assert json.loads(pasted) == expected
    assert load(path, label_map=pasted).label_names == names


def test_missing_words_beside_named_classes_leave_their_spelling_alone(tmp_path):
    path = labelled_csv(tmp_path / "rows.csv", ["no", "No", "yes", "N/A"])
    with pytest.raises(ValueError, match=r"""pass --label_map '{"N/A": null}'"""):
        load(path, class_names=["no", "yes"])


@pytest.mark.parametrize(("one", "other"), [("07", "7"), ("+1", "1"), ("-02", "-2")])
def test_numbers_that_differ_by_zeros_or_a_sign_in_front_are_refused_with_a_map_to_paste(tmp_path, one, other):
    for files in ([one, "12", other, one], ["12"]), ([one, "12", one], [other, "12"]):
        train, dev = two_files(tmp_path, *files)
        with pytest.raises(ValueError, match=r"differ only by the zeros or the sign in front of a number") as error:
            load(train, validation_file=dev)
        pasted = str(error.value).partition("--label_map '")[2].partition("'")[0]
        assert set(load(train, validation_file=dev, label_map=pasted).label_names) == {one, "12"}
    one_file, _ = two_files(tmp_path, [one, "12", other], [])
    assert set(load(one_file, label_map={one: one, other: other}).label_names) == {one, other, "12"}


@pytest.mark.parametrize(
    ("train", "validation", "lists"),
    [
        (["positive", "negative"], [0, 1], r"'0' \(1 row\), '1' \(1 row\) and 'positive' \(1 row\), 'negative'"),
        ([0, 1], ["positive", "negative"], r"'positive' \(1 row\), 'negative' \(1 row\) and '0'"),
        (["pos", "neg"], ["positive", "negative"], r"'positive' .* and 'pos'"),
        (["pos", "neg"], ["pos", 1], r"'pos' .* '1' .* and 'pos'"),
    ],
)
def test_names_here_and_ids_there_are_refused_with_both_lists(tmp_path, train, validation, lists):
    train, dev = two_files(tmp_path, train, validation)
    with pytest.raises(
        ValueError, match=rf"'validation' \(.*dev.csv\).*'train' \(.*train.csv\): {lists}.*--class_names"
    ):
        load(train, validation_file=dev)


def test_class_names_turn_ids_into_the_teachers_names(tmp_path, caplog):
    train, dev = two_files(tmp_path, ["Positive", "negative"], [1, 0])
    task = load(train, validation_file=dev, class_names=["positive", "negative", "neutral"])
    assert task.label_names == ["positive", "negative", "neutral"]
    assert (labels(task), labels(task, "validation")) == (["positive", "negative"], ["negative", "positive"])
    assert "validation: labels are ids of --class_names (0 is 'positive')" in caplog.text
    by_text = load(train, class_names="negative,positive")
    assert by_text.datasets["train"]["label"][:] == [1, 0]
    digits = load(labelled_csv(tmp_path / "digits.csv", [3, 1]), class_names=["1", "2", "3"])
    assert labels(digits) == ["3", "1"]  # names come first


@pytest.mark.parametrize(
    ("given", "class_names", "message"),
    [
        (["a", "c"], ["a", "b"], r"the labels 'c' are not among --class_names a, b.*--label_map '\{\"c\": \"a\"\}'"),
        ([1, 2], ["a", "b"], "'1', '2' are not among"),
        (["a", "b"], ["a", "a"], "two or more different names"),
        (["a", "b"], ["a"], "two or more different names"),
        ([0.5, 1.5], ["a", "b"], "the labels are scores"),
    ],
)
def test_class_names_that_do_not_fit_are_refused(tmp_path, given, class_names, message):
    with pytest.raises(ValueError, match=message):
        load(labelled_csv(tmp_path / "rows.csv", given), class_names=class_names)


def test_declared_classes_are_the_only_ones(tmp_path):
    features = Features({"text": Value("string"), "label": ClassLabel(names=["spam", "ham"])})
    Dataset.from_dict({"text": ["a", "b", "c"], "label": [0, 1, -1]}, features=features).to_parquet(
        tmp_path / "train.parquet"
    )
    task = load(tmp_path / "train.parquet")
    assert (task.label_names, labels(task)) == (["spam", "ham"], ["spam", "ham", None])
    with pytest.raises(ValueError, match=r"\['Spam'\] are not among the classes that the dataset declares"):
        load(tmp_path / "train.parquet", validation_file=labelled_csv(tmp_path / "dev.csv", ["Spam", "ham"]))


def test_a_label_map_can_remove_a_declared_class(tmp_path):
    features = Features({"text": Value("string"), "label": ClassLabel(names=["spam", "unknown", "ham"])})
    rows = Dataset.from_dict({"text": ["a", "b", "c"], "label": [0, 1, 2]}, features=features)
    rows.to_parquet(tmp_path / "train.parquet")
    task = load(tmp_path / "train.parquet", label_map={"unknown": None})
    assert (task.label_names, labels(task)) == (["spam", "ham"], ["spam", None, "ham"])


def test_a_map_of_labels_merges_and_what_it_does_not_find_is_said(tmp_path, caplog):
    path = labelled_csv(tmp_path / "rows.csv", ["pos", "1", "neg", "0"])
    task = load(path, label_map={"1": "pos", 0: "neg", "5": "pos"})
    assert labels(task) == ["pos", "pos", "neg", "neg"]
    assert "'1' is 'pos' with --label_map (1 row)" in caplog.text
    assert "no row has the label '5' of --label_map" in caplog.text


@pytest.mark.parametrize(
    ("label_map", "message"),
    [
        ("{a: 1}", "cannot be read as JSON"),
        ('{"a": "x", "b": "y", "a": "z"}', "cannot be read as JSON: the name 'a' is there twice"),
        ('["a"]', "must map labels"),
        ({"a": ["b"]}, "must map labels"),
    ],
)
def test_a_map_of_labels_that_is_none_is_refused(tmp_path, label_map, message):
    with pytest.raises(ValueError, match=rf"`label_map` {message}.*null makes a row unlabelled"):
        load(labelled_csv(tmp_path / "rows.csv", ["a", "b"]), label_map=label_map)


@pytest.mark.parametrize(
    ("first", "second"), [("a", " a "), (1, "1"), (True, "True"), ("caf\u00e9", "cafe\u0301"), (None, "")]
)
def test_a_map_with_two_names_for_one_label_is_refused(tmp_path, first, second):
    path = labelled_csv(tmp_path / "rows.csv", ["a", "b"])
    message = r"maps .* to 'x' and, in another spelling \(.*\), to 'y'" if first else "an empty label is no label"
    with pytest.raises(ValueError, match=f"`label_map` {'' if first else '.*'}{message}"):
        load(path, label_map={first: "x", second: "y"})
    if first is None:
        return
    agreed = {first: "x", second: "x", "a": "x", "b": "b"}
    assert load(path, label_map=agreed).label_names == ["b", "x"]


def test_forms_of_one_label_can_have_names_of_their_own(tmp_path):
    path = labelled_csv(tmp_path / "rows.csv", ["true", "True", "mixture", "true"])
    task = load(path, label_map={"true": "yes", "True": "other"})
    assert labels(task) == ["yes", "other", "mixture", "yes"]
    path = labelled_csv(tmp_path / "three.csv", ["TRUE", "mixture", "true"])
    assert labels(load(path, label_map={"true": "yes"})) == ["yes", "mixture", "yes"]
    # Neither of the two names is without a doubt that of `TRUE`.
    assert labels(load(path, label_map={"true": "yes", "True": "other"})) == ["TRUE", "mixture", "yes"]


def test_a_class_that_only_validation_has_is_warned_of(tmp_path, caplog):
    train, dev = two_files(tmp_path, ["a", "b"], ["a", "c", "c"])
    task = load(train, validation_file=dev)
    assert task.label_names == ["a", "b", "c"]
    assert "validation has classes that train lacks: 'c' (2 rows)" in task.summary.warnings[0]
    assert "train lacks" in caplog.text


def test_numbers_and_words_as_classes_are_warned_of(tmp_path, caplog):
    load(labelled_csv(tmp_path / "rows.csv", [1, 2, "other", 1]))
    assert "the classes are numbers and words: '1' (2 rows)" in caplog.text


def test_a_column_with_another_value_in_each_row_is_no_class(tmp_path, caplog):
    unique = labelled_csv(tmp_path / "rows.csv", [f"u{i}" for i in range(20)])
    with pytest.raises(ValueError, match="a different value in each of 20 rows, such as 'u0'. It may be an id"):
        load(unique)
    assert len(load(unique, problem_type="single_label_classification").label_names) == 20
    assert len(load(unique, teacher_num_labels=20).label_names) == 20
    load(labelled_csv(tmp_path / "most.csv", [*(f"u{i}" for i in range(12)), *["a"] * 8]))
    assert "13 classes in 20 labelled rows" in caplog.text


@pytest.mark.parametrize(
    ("given", "label_map"),
    [
        (["1.0", "0.0", "1.0"], {0: "no", 1: "yes"}),
        (["1", "0", "1"], {"0.0": "no", "1.0": "yes"}),
        (["TRUE", "FALSE", "True"], {"false": "no", "true": "yes"}),
        (["true", "false", "true"], {False: "no", True: "yes"}),
    ],
)
def test_a_map_of_labels_knows_which_spellings_are_one_class(tmp_path, given, label_map):
    task = load(labelled_csv(tmp_path / "rows.csv", given), label_map=label_map)
    assert labels(task) == ["yes", "no", "yes"]
    assert not any("no row has the label" in note for note in task.summary.notes)


def test_a_file_of_one_class_is_read_with_the_class_names_that_the_refusal_asks_for(tmp_path):
    path = labelled_csv(tmp_path / "rows.csv", ["spam", "spam"])
    with pytest.raises(ValueError, match="only the labels .*name all of them.*--class_names"):
        load(path)
    task = load(path, class_names=["ham", "spam"])
    assert (task.label_names, labels(task)) == (["ham", "spam"], ["spam", "spam"])


@pytest.mark.parametrize(
    ("given", "message"), [(["a", "a"], "at least two classes"), (["", ""], "empty in every row")]
)
def test_fewer_than_two_classes_are_refused(tmp_path, given, message):
    with pytest.raises(ValueError, match=message):
        load(labelled_csv(tmp_path / "rows.csv", given))


def test_the_same_file_in_any_format_has_the_same_classes_rows_and_hash(tmp_path):
    rows = [
        {"id": i, "text": text, "label": label}
        for i, (text, label) in enumerate(zip("abcd", [10, 9, None, 9], strict=True))
    ]
    lines = [f"{r['id']},{r['text']},{'' if r['label'] is None else r['label']}" for r in rows]
    files = [
        write(tmp_path / "a.csv", "\n".join(["id,text,label", *lines])),
        write(tmp_path / "b.tsv", "\n".join(["id,text,label", *lines]).replace(",", "\t"), "utf-16"),
        write_json_lines(tmp_path / "c.jsonl", *rows),
        write(tmp_path / "d.json", json.dumps(rows, indent=1)),
        tmp_path / "e.parquet",
    ]
    Dataset.from_list(rows).to_parquet(files[-1])
    tasks = [load(file) for file in files]
    assert all(task.label_names == ["9", "10"] for task in tasks)
    assert all(labels(task) == ["10", "9", None, "9"] for task in tasks)
    assert len({task.summary["train"].sha256 for task in tasks}) == 1
    other = write(files[0], "\n".join(["id,text,label", *lines]).replace("a,10", "a,9"))
    assert (
        load(write(other, other.read_bytes() + b"\n9,e,10")).summary["train"].sha256
        != tasks[0].summary["train"].sha256
    )
