"""The flags for data, and `hf-distill data`, as a user types them."""

import dataclasses
import json
import re
from pathlib import Path

import pytest
import yaml
from rows import labels, texts, write, write_json_lines
from transformers import BertConfig

import hf_distill
import hf_distill.pipeline
from hf_distill.cli import main
from hf_distill.cli.arguments import DataArguments
from hf_distill.cli.parsing import parse
from hf_distill.pipeline import ModelReference
from hf_distill.pipeline.teacher_head import read_head

CSV = "text,label\na warm film,good\nslow,bad\n"


def read(*words, to_train=False):
    """Return the task that flags name."""
    (data,) = parse((DataArguments,), list(map(str, words)))
    return data.load(to_train=to_train)


def printed(capsys, *words):
    main(["data", *map(str, words)])
    return capsys.readouterr().out


def refused(capsys, *words):
    with pytest.raises(SystemExit) as stopped:
        main(["data", *map(str, words)])
    assert stopped.value.code == 2
    return capsys.readouterr().err


# ---- Flags ----


def test_every_flag_that_the_reader_names_exists():
    sources = [*Path(hf_distill.__file__).parent.joinpath("data").rglob("*.py")]
    named = {flag for path in sources for flag in re.findall(r"--([a-z][a-z_]+)", path.read_text(encoding="utf-8"))}
    fields = {field.name for field in dataclasses.fields(DataArguments)}
    assert named - fields == {"fine_tune_teacher"}  # a flag of `train`
    assert {"label_map", "class_names", "encoding", "column_names", "validation_split_name"} <= named


def test_columns_are_named_by_words_or_with_commas(tmp_path):
    path = write(tmp_path / "rows.csv", 'title,"review, text",a,b\nx,y z,1,0\nu,v w,0,1\n')
    columns = ["--train_file", path, "--label_column_name", "a,b"]
    assert read(*columns, "--text_column_names", "review, text").text_columns == ("review, text",)
    for names in (["title,a"], ["title", "a"]):
        task = read("--train_file", path, "--label_column_name", "b", "--text_column_names", *names)
        assert task.text_columns == ("title", "a")
    task = read(*columns, "--text_column_names", "title", "review, text", "--text_column_delimiter", " | ")
    assert (texts(task), labels(task)) == (["x | y z", "u | v w"], [["a"], ["b"]])


def test_a_file_without_a_header_gets_names(tmp_path):
    path = write(tmp_path / "rows.csv", "a warm film,good\nslow,bad\n")
    for names in (["text,label"], ["text", "label"]):
        assert labels(read("--train_file", path, "--column_names", *names)) == ["good", "bad"]


def test_labels_are_mapped_named_and_split(tmp_path):
    path = write(tmp_path / "rows.csv", "text,label\na,Positive\nb,N/A\nc,no\n")
    mapped = read("--train_file", path, "--label_map", '{"Positive": "positive", "N/A": null, "no": "negative"}')
    assert labels(mapped) == ["positive", None, "negative"]
    ids = write(tmp_path / "ids.csv", "text,label\na,1\nb,0\n")
    for names in (["world,sport"], ["world", "sport"]):
        assert labels(read("--train_file", ids, "--class_names", *names)) == ["sport", "world"]
    several = write(tmp_path / "several.csv", "text,label\na,joy|love\nb,anger\n")
    assert labels(read("--train_file", several, "--label_delimiter", "|")) == [["joy", "love"], ["anger"]]


@pytest.mark.parametrize(
    ("text", "reason"),
    [("{good: bad}", "Expecting property name"), ('{"good": "a", "good": "b"}', "the name 'good' is there twice")],
)
def test_a_label_map_that_is_not_json_is_refused_with_an_example(tmp_path, capsys, text, reason):
    error = refused(capsys, "--train_file", write(tmp_path / "rows.csv", CSV), "--label_map", text)
    assert f"`label_map` cannot be read as JSON: {reason}" in error
    assert """'{"Positive": "positive", "N/A": null}'""" in error


def test_rows_of_one_class_are_of_the_classes_that_the_teacher_names(tmp_path):
    path = write(tmp_path / "rows.csv", "text,label\na warm film,GOOD\nfine,GOOD\n")
    (data,) = parse((DataArguments,), ["--train_file", str(path), "--validation_file", str(path)])
    for names in ({0: "bad", 1: "good"}, {0: "LABEL_0", 1: "LABEL_1"}, {0: "spam", 1: "ham"}):
        BertConfig(id2label=names, architectures=["BertForSequenceClassification"]).save_pretrained(tmp_path)
        head = read_head(ModelReference(str(tmp_path)))
        if "bad" in names.values():
            assert data.load(teacher=head).label_names == ["GOOD", "bad"]
            continue
        with pytest.raises(ValueError, match=r"only the labels \['GOOD'\]"):
            data.load(teacher=head)


def test_an_encoding_is_for_every_file(tmp_path):
    latin = write(tmp_path / "latin.csv", "text,label\ncaf\u00e9,a\nb,b\n", "cp1252")
    utf8 = write(tmp_path / "utf8.csv", "text,label\nth\u00e9,a\nb,b\n")
    task = read("--train_file", latin, "--validation_file", utf8, "--encoding", "cp1252")
    assert (texts(task)[0], texts(task, "validation")[0]) == ("caf\u00e9", "th\u00e9")


def test_validation_rows_come_from_a_split_or_from_train(tmp_path):
    rows = "".join(f"row {i} of {i * i},{'ab'[i % 2]}\n" for i in range(40))
    write(tmp_path / "ds" / "train.csv", f"text,label\n{rows}")
    write(tmp_path / "ds" / "test.csv", "text,label\nc,a\nd,b\n")
    folder = ["--dataset_name", tmp_path / "ds"]
    assert texts(read(*folder, "--validation_split_name", "test", to_train=True), "validation") == ["c", "d"]
    drawn = read(*folder, "--validation_split_percentage", "10", to_train=True)
    assert {split: len(dataset) for split, dataset in drawn.datasets.items()} == {
        "train": 36,
        "validation": 4,
        "test": 2,
    }
    with pytest.raises(ValueError, match=r"--validation_split_name test .* --validation_split_percentage 10"):
        read(*folder, to_train=True)


# ---- Paths ----


@pytest.mark.parametrize("flag", ["train_file", "validation_file", "test_file"])
def test_several_files_are_words_a_pattern_or_one_word_with_commas(tmp_path, flag, monkeypatch):
    monkeypatch.chdir(tmp_path)
    first, second = write(tmp_path / "a.csv", CSV), write(tmp_path / "b.csv", CSV.replace("a warm", "another"))
    split = flag.removesuffix("_file")
    for words in ([first, second], [f"{first},{second}"], ["*.csv"]):
        task = read(f"--{flag}", *words)
        assert texts(task, split) == ["a warm film", "slow", "another film", "slow"]
        notes = [] if len(words) == 2 else [note for note in task.summary.notes if note.startswith("there is no file")]
        assert len(notes) == (len(words) == 1)


def test_a_path_is_a_path_before_it_is_a_list_or_a_pattern(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("a,b.csv", "rows[1].csv", "-odd.csv"):
        write(tmp_path / name, CSV)
    write(tmp_path / "rows1.csv", CSV.replace("slow", "other"))
    for word in ("a,b.csv", "rows[1].csv", "-odd.csv"):
        assert texts(read(f"--train_file={word}")) == ["a warm film", "slow"]
    (tmp_path / "recipe.yaml").write_text("train_file: -odd.csv\n")
    assert texts(read("--config", "recipe.yaml")) == ["a warm film", "slow"]


# ---- Recipes ----


def test_a_recipe_has_lists_and_mappings_as_they_are_written(tmp_path):
    path = write(tmp_path / "rows.csv", "first,second,answer\na,b,no\nc,d,yes\ne,f,on\ng,h,N/A\n")
    recipe = {
        "train_file": [str(path)],
        "text_column_names": ["first", "second"],
        "label_column_name": "answer",
        "class_names": ["no", "yes"],
        "label_map": {"on": "yes", "N/A": None},
    }
    text = yaml.safe_dump(recipe).replace("'", "")  # YAML reads a bare no, yes and on as false and true
    assert "- no\n- yes\n" in text
    (tmp_path / "recipe.yaml").write_text(text)
    task = read("--config", tmp_path / "recipe.yaml")
    assert task.text_columns == ("first", "second")
    assert labels(task) == ["no", "yes", "yes", None]


def test_flags_that_a_glue_task_sets_are_refused(tmp_path):
    for flag in ("--label_map={}", "--label_delimiter=x", "--text_column_names=a", "--test_file=a.csv"):
        with pytest.raises(ValueError, match=rf"GLUE task sst2 sets {flag.split('=')[0]} itself"):
            read("--task_name", "sst2", flag)
    with pytest.raises(ValueError, match="--data_dir is the folder of a GLUE task"):
        read("--train_file", "a.csv", "--data_dir", tmp_path)


@pytest.mark.parametrize("flag", ["--validation_split_name=test", "--validation_split_percentage=10"])
def test_validation_rows_are_not_taken_from_texts(tmp_path, flag):
    with pytest.raises(ValueError, match=rf"{flag.split('=')[0]} is for labelled rows"):
        read("--transfer_file", write(tmp_path / "texts.txt", "a\nb\n"), flag)


def test_rows_that_are_not_used_are_noted(tmp_path):
    path = write(tmp_path / "rows.csv", "text,label\na,x\nb,x\nc,y\nd,y\n")
    summary = read(
        "--train_file", path, "--validation_file", path, "--max_train_samples", 2, "--max_eval_samples", 9
    ).summary
    assert summary.notes[-1] == "train: the first 2 of 4 rows are used (--max_train_samples)"
    assert summary.warnings[1:] == ["train: the first 2 rows have only one class. Shuffle the file."]
    assert len(read("--test_file", path, "--max_eval_samples", 3).datasets["test"]) == 3


# ---- `hf-distill data` ----


def test_data_prints_each_file_as_labelled_rows_or_as_texts(tmp_path, capsys):
    labelled = write(tmp_path / "rows.csv", "id,text,label\n1,a warm film,good\n2,slow,bad\n")
    unlabelled = write(tmp_path / "texts.txt", "a text\nanother\n")
    assert printed(capsys, labelled, unlabelled).splitlines() == [
        "labelled    rows.csv  CSV, ',', UTF-8           2 rows, 2 labelled",
        '  text      text (known name)                   "a warm film"   not read: id',
        "  label     label (known name)                  bad 1, good 1",
        "text        texts.txt  text, one a line, UTF-8   2 rows",
        '  text      text (known name)                    "a text"',
    ]


def test_data_reads_what_flags_name_together(tmp_path, capsys):
    train, dev = write(tmp_path / "a.csv", CSV), write(tmp_path / "b.csv", CSV)
    text = write(tmp_path / "c.txt", "slow\n")
    output = printed(capsys, "--train_file", train, "--validation_file", dev, "--transfer_file", text)
    assert [line.split()[0] for line in output.splitlines() if not line.startswith(" ")] == [
        "train", "validation", "transfer",
    ]  # fmt: skip
    assert "2 texts are in train, too" in output


def test_data_reads_a_folder_with_all_its_splits(tmp_path, capsys):
    for name in ("train.csv", "test.csv"):
        write(tmp_path / "ds" / name, CSV)
    output = printed(capsys, tmp_path / "ds")
    assert "train       train.csv" in output
    assert "test        test.csv" in output


def test_data_says_what_is_wrong(tmp_path, capsys):
    assert "No files given" in refused(capsys)
    assert "none.csv" in refused(capsys, tmp_path / "none.csv")
    path = write(tmp_path / "rows.csv", "text,sentiment\na,x\nb,y\n")
    assert "has no label column 'stars'" in refused(capsys, path, "--label_column_name", "stars")
    assert "2 labelled" in printed(capsys, path, "--label_column_name", "sentiment")


@pytest.mark.parametrize(
    ("name", "content"), [("a.csv", ""), ("a.csv", "text,label\n"), ("a.txt", ""), ("a.json", "[]")]
)
def test_a_file_without_rows_has_one_message_whatever_it_is_for(tmp_path, capsys, name, content):
    rows, empty = write(tmp_path / "rows.csv", CSV), write(tmp_path / name, content)
    message = f"hf-distill data: {empty}: no rows. Add rows, or leave the file out.\n"
    for words in ([empty], ["--train_file", empty], ["--transfer_file", empty]):
        assert refused(capsys, *words) == message
    for flag in ("--validation_file", "--test_file", "--transfer_file"):
        assert refused(capsys, "--train_file", rows, flag, empty) == message


def test_a_mistyped_column_is_first_of_all_a_mistyped_column(tmp_path, capsys):
    path = write(tmp_path / "rows.csv", "text,label\na film,x\nb film,y\n")
    for flag, name, column in (("label_column_name", "LABLE", "label"), ("text_column_names", "texte", "text")):
        message = refused(capsys, "--train_file", path, f"--{flag}", name)
        assert message.endswith(f"column {name!r}. Did you mean {column!r}? The columns are 'text', 'label'.\n")


def test_a_file_without_a_header_is_told_once(tmp_path, capsys):
    path = write(tmp_path / "rows.csv", "good film,positive\nbad film,negative\nok film,positive\n")
    for words in ([path], ["--train_file", path], ["--train_file", path, "--label_column_name", "label"]):
        message = refused(capsys, *words)
        assert message.count("read as the header") == 1
        assert message.endswith(
            "Line 1 is read as the header, but its cell 'positive' is also in a row below. If the file has no header, "
            "name its columns in order: --column_names text,label (`column_names`).\n"
        )


def test_unlabelled_pairs_and_joined_columns_are_read_as_the_labelled_ones(tmp_path):
    train = write(tmp_path / "rows.csv", "title,body,label\na,b,x\nc,d,y\n")
    more = write_json_lines(tmp_path / "more.jsonl", {"title": "e", "body": "f"})
    for delimiter, expected in ((None, ("e", "f")), (" / ", "e / f")):
        words = ["--train_file", train, "--transfer_file", more, "--text_column_names", "title,body"]
        words += [] if delimiter is None else ["--text_column_delimiter", delimiter]
        (data,) = parse((DataArguments,), list(map(str, words)))
        task = data.load(to_train=False)
        rows = hf_distill.pipeline.load_transfer(data.transfer, task.text_columns, _problem_type(task)).text
        values = tuple(rows[name][0] for name in task.text_columns)
        assert (values if len(values) == 2 else values[0]) == expected


def _problem_type(task):
    from hf_distill.classifiers.problem_types import PROBLEM_TYPES

    return PROBLEM_TYPES[task.problem_type]


def test_the_record_and_the_summary_quote_no_text(tmp_path):
    path = write(tmp_path / "rows.csv", "text,label\na private text,x\na private text,y\n")
    summary = read("--train_file", path).summary
    assert "a private text" in str(summary)
    assert "a private text" not in json.dumps(summary.to_dict())
    assert summary.to_dict()["warnings"] == ["train: several labels for 1 text"]


def test_a_file_after_the_flags_is_refused_with_the_right_order(tmp_path, capsys):
    path = tmp_path / "rows.csv"
    path.write_text("text,label\na,x\nb,y\n")
    with pytest.raises(SystemExit):
        main(["data", "--encoding", "utf-8", str(path)])
    assert "Files come before flags: hf-distill data rows.csv" in capsys.readouterr().err


def test_rows_that_count_as_unlabelled_have_a_warning_if_a_column_can_be_the_label(tmp_path, capsys):
    unlabelled = write(tmp_path / "reviews.csv", "id,text,Sentiment\n1,a warm film,good\n2,slow,bad\n")
    warning = "no label is read; if 'Sentiment' is the label, pass --label_column_name Sentiment"
    assert warning in printed(capsys, unlabelled)
    assert warning not in printed(capsys, unlabelled, "--label_column_name", "sentiment")
    assert "no label is read" not in printed(capsys, write(tmp_path / "texts.csv", "id,text\n1,a warm film\n"))


def test_a_label_column_with_an_unknown_name_is_not_passed_over_in_silence(tmp_path, capsys):
    moods = write(tmp_path / "moods.csv", "id,text,mood\n1,a warm film,good\n2,slow,bad\n3,great fun,good\n")
    assert "if 'mood' is the label, pass --label_column_name mood" in " ".join(printed(capsys, moods).split())
    assert "no label is read" not in printed(capsys, write(tmp_path / "texts.csv", "id,text,url\n1,a,x\n2,b,y\n"))
