"""Which columns are text and which are labels: named, known, the only one left, or asked for."""

import json

import pytest
from datasets import Dataset
from rows import labels, load, texts, write, write_json_lines

from hf_distill.data import load_text_dataset, load_transfer_text


def csv_of(tmp_path, header, *rows):
    return write(tmp_path / "rows.csv", "\n".join([header, *rows]) + "\n")


@pytest.mark.parametrize(
    ("header", "columns", "reason"),
    [
        ("text,label_text,label", ("text",), "known name"),
        ("id,comment_text,label", ("comment_text",), "known name"),
        ("lang,Review,label", ("Review",), "known name"),
        ("split,tweet,date,label", ("tweet",), "known name"),
        ("__index_level_0__,content,label", ("content",), "known name"),
        ("premise,hypothesis,label", ("premise", "hypothesis"), "known names"),
        ("pair_id,sentence_A,sentence_B,label", ("sentence_A", "sentence_B"), "known names"),
        ("text,title,label", ("title", "text"), "known names"),
        ("sentence,question,label", ("question", "sentence"), "known names"),
        ("sentence2,genre,sentence1,label", ("sentence1", "sentence2"), "known names"),
    ],
)
def test_texts_are_found_by_known_names_whatever_else_is_there(tmp_path, header, columns, reason):
    width = header.count(",")
    rows = [",".join([*(f"{letter}{i}" for i in range(width)), letter]) for letter in "xy"]
    task = load(csv_of(tmp_path, header, *rows))
    assert task.text_columns == columns
    assert task.summary["train"].text_reason == reason
    others = [name for name in header.split(",") if name not in (*columns, "label")]
    assert task.summary["train"].not_read == others


def test_the_only_column_of_text_that_is_left_is_taken_if_it_looks_like_one(tmp_path):
    task = load(csv_of(tmp_path, "narrative,length,score,label", "a b,3,1.5,x", "c,1,2e-3,y"))
    assert task.text_columns == ("narrative",)
    assert task.summary["train"].text_reason == "only string column left"


@pytest.mark.parametrize(
    ("header", "row", "named"),
    [
        ("narrative,date,label", "a b,2024-05-06,x", "'narrative', 'date'"),
        ("text,review,label", "a,b,x", "text, review"),
        (
            "premise,hypothesis,question1,question2,label",
            "a,b,c,d,x",
            "premise and hypothesis, question1 and question2",
        ),
        ("sentiment,label", "good,1", "'sentiment'"),
        ("id,label", "x7f,1", "'id'"),
        ("text,Text,label", "a,b,1", "text, Text"),
    ],
)
def test_where_the_text_is_open_the_columns_are_listed_with_the_flag(tmp_path, header, row, named):
    with pytest.raises(ValueError, match=rf"rows.csv.*{named}.*--text_column_names"):
        load(csv_of(tmp_path, header, row, row.replace("1", "0").replace("x", "y")))


def test_a_column_that_repeats_a_few_words_is_not_taken_for_the_text(tmp_path):
    rows = [f"{'north' if i % 2 else 'south'},{i % 3}" for i in range(20)]
    with pytest.raises(ValueError, match="cannot tell which column is the text"):
        load(csv_of(tmp_path, "region,label", *rows))
    assert load(csv_of(tmp_path, "region,label", *rows), text_column_names=["region"]).text_columns == ("region",)


def test_a_name_is_found_upper_or_lower_case_and_blanks_around_it_are_none(tmp_path):
    task = load(csv_of(tmp_path, "\u00a0 TEXT ,ID, Label", "a,1,x", "b,2,y"))
    assert (texts(task), labels(task)) == (["a", "b"], ["x", "y"])
    assert "'\\xa0 TEXT ' is read as 'TEXT'" in str(task.summary)
    named = load(
        csv_of(tmp_path, "Review Text,Stars", "a,1", "b,2"),
        text_column_names=["review text"],
        label_column_name="STARS",
    )
    assert (named.text_columns, labels(named)) == (("Review Text",), ["1", "2"])


def test_every_split_may_write_its_names_in_its_own_case(tmp_path):
    train = csv_of(tmp_path, "Text,Label", "a,x", "b,y")
    validation = write(tmp_path / "dev.tsv", "label\ttext\nx\tc\n")
    task = load(train, validation_file=validation)
    assert texts(task, "validation") == ["c"]
    assert task.datasets["validation"].column_names == ["Text", "label"]


def test_numbers_are_text_where_the_column_is_named_or_known(tmp_path):
    assert texts(load(csv_of(tmp_path, "text,label", "12345,x", "007,y"))) == ["12345", "007"]
    named = load(csv_of(tmp_path, "code,label", "1,x", "2,y"), text_column_names=["code"])
    assert texts(named) == ["1", "2"]


def test_three_columns_are_joined_and_two_if_a_delimiter_is_given(tmp_path):
    path = csv_of(tmp_path, "title,summary,text,label", "A,x,b c,1", "D,,e f,0")
    task = load(path, text_column_names=["title", "summary", "text"])
    assert texts(task) == ["A x b c", "D e f"]
    assert texts(load(path, text_column_names=["title", "text"])) == [("A", "b c"), ("D", "e f")]
    joined = load(path, text_column_names=["title", "text"], text_column_delimiter=": ")
    assert texts(joined) == ["A: b c", "D: e f"]
    more = csv_of(tmp_path, "text,title,summary", "c,a,b")
    assert load_transfer_text(more, text_column_names=task.text_columns)[0] == {task.text_columns[0]: "a b c"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"text_column_names": ["body"]}, "no text column 'body'. The columns are 'text', 'label'"),
        ({"text_column_names": []}, "`text_column_names` is empty"),
        ({"text_column_names": ["text", "TEXT"]}, "names a column twice"),
        ({"text_column_names": ["label"]}, "named as text, but it is the label column"),
        ({"label_column_name": "kind"}, "no label column 'kind'"),
    ],
)
def test_a_flag_that_cannot_be_followed_is_refused(tmp_path, arguments, message):
    with pytest.raises(ValueError, match=message):
        load(csv_of(tmp_path, "text,label", "a,x", "b,y"), **arguments)


def test_the_label_is_the_flag_or_label_or_labels_and_nothing_else(tmp_path):
    assert labels(load(csv_of(tmp_path, "text,labels", "a,x", "b,y"))) == ["x", "y"]
    with pytest.raises(
        ValueError, match=r"no column `label` or `labels`, only 'text', 'category'.*--label_column_name"
    ):
        load(csv_of(tmp_path, "text,category", "a,x", "b,y"))
    with pytest.raises(ValueError, match="'label', 'Label', which differ only by case"):
        load(csv_of(tmp_path, "text,label,Label", "a,x,1", "b,y,0"))
    with pytest.raises(ValueError, match="--label_column_name toxic,insult"):
        load(csv_of(tmp_path, "id,comment_text,toxic,insult", "1,a,0,1", "2,b,1,0"))


def test_a_text_column_named_label_is_refused(tmp_path):
    with pytest.raises(ValueError, match="would be overwritten"):
        load(csv_of(tmp_path, "label,kind", "a,x", "b,y"), text_column_names=["label"], label_column_name="kind")


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ({"data": {"text": "a"}, "label": "x"}, "nested: data.text"),
        ({"text": ["a", "b"], "label": "x"}, r"text.*\(list<"),
        ({"text": 5, "label": "x"}, r"'text' \(int64\)"),
    ],
)
def test_columns_of_other_types_are_described(tmp_path, names, message):
    with pytest.raises(ValueError, match=message):
        load(write_json_lines(tmp_path / "rows.jsonl", names, {**names, "label": "y"}))


def test_nested_columns_are_reached_by_a_path(tmp_path):
    rows = [
        {"data": {"text": "a"}, "annotations": [{"result": [{"value": {"choices": ["x", "z"]}}]}]},
        {"data": {"text": "b"}, "annotations": [{"result": [{"value": {"choices": ["y"]}}]}]},
        {"data": {"text": "c"}, "annotations": []},
    ]
    path = write(tmp_path / "export.json", json.dumps(rows))
    arguments = {"text_column_names": ["data.text"], "label_column_name": "annotations.0.result.0.value.choices"}
    task = load(path, **arguments)
    assert (texts(task), labels(task)) == (["a", "b", "c"], [["x", "z"], ["y"], None])
    parquet = tmp_path / "export.parquet"
    Dataset.from_list(rows).to_parquet(parquet)
    assert load(parquet, **arguments).summary["train"].sha256 == task.summary["train"].sha256
    assert labels(load(path, **{**arguments, "label_column_name": arguments["label_column_name"] + ".0"})) == [
        "x", "y", None,
    ]  # fmt: skip
    with pytest.raises(
        ValueError, match=r"no text column 'data.body'.*nested: data.text, annotations.0.result.0.value.choices"
    ):
        load(path, **{**arguments, "text_column_names": ["data.body"]})


def test_rows_that_annotators_rejected_are_left_out_and_counted(tmp_path):
    answers = ["accept", "reject", "accept", "ignore", "accept"]
    rows = [
        {"text": f"text {i}", "label": "xy"[i % 2 and i < 3], "_input_hash": i, "answer": answer}
        for i, answer in enumerate(answers)
    ]
    rows[4]["label"] = "y"
    task = load(write_json_lines(tmp_path / "rows.jsonl", *rows))
    assert texts(task) == ["text 0", "text 2", "text 4"]
    assert "left out: 2 rows whose `answer` is not 'accept'" in str(task.summary)
    for row in rows:  # a column of this name alone says nothing
        del row["_input_hash"]
    assert len(load(write_json_lines(tmp_path / "rows.jsonl", *rows)).datasets["train"]) == 5


# --- Text to distil on


def test_transfer_text_takes_the_columns_of_the_task_or_the_ones_that_are_known(tmp_path):
    reviews = csv_of(tmp_path, "id,review,stars", "x1,good film,5", "x2,bad film,1")
    assert load_transfer_text(reviews).to_dict() == {"text": ["good film", "bad film"]}
    pairs = csv_of(tmp_path, "sentence2,sentence1", "b,a")
    assert load_transfer_text(pairs, text_column_names=["premise", "hypothesis"]).to_dict() == {
        "premise": ["a"],
        "hypothesis": ["b"],
    }
    both = csv_of(tmp_path, "text,review", "a,b")
    assert load_transfer_text(both, text_column_names=["review"]).to_dict() == {"review": ["b"]}


@pytest.mark.parametrize(
    ("header", "row", "wanted"),
    [
        ("id,sentiment", "1,positive", ["text"]),
        ("review,sentiment", "a,positive", ["premise", "hypothesis"]),
        ("hypothesis,other", "a,b", ["premise", "hypothesis"]),
        ("premise,hypothesis", "a,b", ["text"]),
    ],
)
def test_transfer_text_is_never_taken_from_a_column_that_is_perhaps_another(tmp_path, header, row, wanted):
    with pytest.raises(ValueError, match=r"rows.csv.*--text_column_names|rows.csv.*the names in the task"):
        load_transfer_text(csv_of(tmp_path, header, row, row), text_column_names=wanted)


def test_the_summary_of_python_calls_says_which_other_columns_hold_text(tmp_path, caplog):
    load(csv_of(tmp_path, "text,reason,n,label", "a,because,1,x", "b,since,2,y"))
    assert "the text is 'text', not 'reason'; name other columns with --text_column_names" in caplog.text
    caplog.clear()
    load(csv_of(tmp_path, "text,reason,label", "a,b,x", "b,c,y"), text_column_names=["text"])
    load_text_dataset(train_file=csv_of(tmp_path, "text,n,label", "a,1,x", "b,2,y"), needs_validation=False)
    assert not caplog.text


@pytest.mark.parametrize(
    ("header", "proposed"), [("v1,v2,", "v1"), ("spam,message,", "spam"), ("kind,v2,sentiment", "sentiment")]
)
def test_the_label_column_that_a_refusal_proposes_is_not_the_text(tmp_path, header, proposed):
    rows = [f"{kind},text {i},{kind if 'sentiment' in header else ''}" for i, kind in enumerate(["ham", "spam"] * 3)]
    path = write(tmp_path / "rows.csv", "\n".join([header, *rows]) + "\n")
    with pytest.raises(ValueError, match=rf"Name it with --label_column_name '{proposed}'"):
        load(path)


def test_a_file_of_texts_only_is_not_told_that_its_text_is_the_label(tmp_path):
    with pytest.raises(ValueError, match=r"no column `label` or `labels`, only 'text'\. Add a column `label`"):
        load(csv_of(tmp_path, "text", "a film", "slow"))
