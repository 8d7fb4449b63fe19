"""What was read is said, recorded, and compared with itself."""

import json

import pytest
from rows import labelled_csv, load, write, write_json_lines

from hf_distill.data import load_task, load_text_dataset
from hf_distill.data.reading import ReadOptions
from hf_distill.data.transfer_text import read_transfer_text


@pytest.fixture
def task(tmp_path):
    train = write(
        tmp_path / "labelled.csv",
        "id,review,predicted,sentiment\n1,a warm film,good,positive\n2,slow,bad,negative\n3,fine,good,positive\n",
    )
    dev = write(tmp_path / "test.csv", train.read_text().replace("fine", "another"))
    return load_text_dataset(
        train_file=train, validation_file=dev, label_column_name="sentiment", text_column_names=["review"]
    )


def test_the_summary_prints_a_line_for_files_texts_and_labels(task):
    assert str(task.summary).split("\n") == [
        "train       labelled.csv  CSV, ',', UTF-8           3 rows, 3 labelled",
        '  text      review (by flag)                        "a warm film"   not read: id, predicted',
        "  label     sentiment (by flag)                     negative 1, positive 2",
        "validation  test.csv      CSV, ',', UTF-8           3 rows, 3 labelled; 2 texts are in train, too",
        "  warning   2 of 3 validation texts are training texts, so every score on them is too good.",
    ]


def test_the_record_has_every_file_by_its_role_and_no_folder(task, tmp_path):
    recorded = json.loads(json.dumps(task.summary.to_dict()))
    assert list(recorded["splits"]) == ["train", "validation"]
    train = recorded["splits"]["train"]
    assert train["files"] == [
        {"name": "labelled.csv", "format": "CSV", "delimiter": ",", "encoding": "UTF-8", "rows": 3}
    ]
    assert (train["text_columns"], train["text_columns_chosen"]) == (["review"], "by flag")
    assert (train["label_columns"], train["classes"]) == (["sentiment"], {"negative": 1, "positive": 2})
    assert (train["labelled_rows"], train["not_read"]) == (3, ["id", "predicted"])
    assert len(train["sha256"]) == 64
    assert train["sha256"] != recorded["splits"]["validation"]["sha256"]
    assert str(tmp_path) not in json.dumps(recorded)


def test_the_hash_is_of_texts_and_labels_and_their_order(tmp_path):
    def hash_of(content):
        return load(write(tmp_path / "rows.csv", content)).summary["train"].sha256

    first = hash_of("text,label\na,x\nb,y\n")
    assert hash_of("id,text,label\n1,a,x\n2,b,y\n") == first
    assert hash_of("label;text\nx;a\ny;b\n") == first
    changed = ["text,label\nb,y\na,x\n", "text,label\na,y\nb,x\n", "text,label\nab,x\n,y\n".replace(",y", "c,y")]
    assert first not in {hash_of(content) for content in changed}
    assert hash_of("text,label\nab,x\nc,y\n") != hash_of("text,label\na,x\nbc,y\n")


def test_many_classes_are_summed_up(tmp_path):
    task = load(labelled_csv(tmp_path / "rows.csv", [*(f"c{i}" for i in range(9)), "c1", "c1"]))
    assert "9 classes, 1 to 3 of each" in str(task.summary)


def test_a_text_with_two_labels_is_warned_of(tmp_path, caplog):
    content = "text,label\na,x\nb,y\na,y\nc,x\nc,x\nd,\nd,x\n"
    task = load(write(tmp_path / "rows.csv", content))
    assert task.summary.warnings == ["train: several labels for 1 text, such as 'a'"]
    assert task.summary.warnings[0] in caplog.text
    rows = [{"text": "a", "label": ["x", "y"]}, {"text": "a", "label": ["y", "x"]}, {"text": "b", "label": ["x"]}]
    several = write_json_lines(tmp_path / "rows.jsonl", *rows, {"text": "b", "label": []})
    assert load(several).summary.warnings == ["train: several labels for 1 text, such as 'b'"]
    pairs = write(tmp_path / "pairs.csv", "question1,question2,label\na,b,x\na,c,y\nb,a,x\na,b,y\n")
    assert load(pairs).summary.warnings == ["train: several labels for 1 text, such as 'a b'"]


def test_texts_of_train_in_other_splits_are_counted_by_row(tmp_path):
    train = write(tmp_path / "a.csv", "text,label\na,x\nb,y\n")
    dev = write(tmp_path / "b.csv", "text,label\na,x\na,x\nc,y\n")
    words = write(tmp_path / "c.conll", "a O\nb B-x\n\nc O\n")
    other = write(tmp_path / "d.conll", "a O\nb O\n\nd B-x\n")
    assert load(train, validation_file=dev).summary["validation"].remarks == ["2 texts are in train, too"]
    assert load(words, validation_file=other).summary["validation"].remarks == ["1 text is in train, too"]


@pytest.mark.parametrize(
    ("content", "warnings"),
    [
        ("a,x\nb,y\n", ["All 2 validation texts are training texts, so every score on them is too good."]),
        ("a,x\nb,y\nc,x\n", ["2 of 3 validation texts are training texts, so every score on them is too good."]),
        ("a,x\na,x\nc,x\nd,x\n", []),
    ],
)
def test_validation_rows_that_are_training_rows_are_warned_of(tmp_path, caplog, content, warnings):
    train = write(tmp_path / "a.csv", "text,label\na,x\nb,y\n")
    task = load(train, validation_file=write(tmp_path / "b.csv", f"text,label\n{content}"))
    assert task.summary.warnings == warnings
    assert task.summary.to_dict().get("warnings", []) == warnings
    assert ("are training texts" in caplog.text) == bool(warnings)


@pytest.mark.parametrize(
    ("suffix", "content"),
    [("csv", "text,label\na,x\n  ,y\n"), ("jsonl", '{"text":"a","label":"x"}\n{"text":"\u200b ","label":"y"}\n')],
)
def test_a_blank_text_is_refused_in_labelled_rows_and_skipped_in_others(tmp_path, suffix, content):
    path = write(tmp_path / f"rows.{suffix}", content)
    with pytest.raises(ValueError, match=r"\(row 2\): no text in column 'text'"):
        load(path)
    dataset, summary = read_transfer_text(path, None, ["text"])
    assert dataset["text"][:] == ["a"]
    assert summary.remarks == ["left out: 1 row without text"]
    assert summary.rows == 1


def test_one_blank_text_of_a_pair_is_kept_and_counted(tmp_path):
    task = load(write(tmp_path / "rows.csv", "question1,question2,label\na,b,x\nc,,y\n,d,x\n"))
    assert task.datasets["train"]["question2"][:] == ["b", "", "d"]
    assert task.summary["train"].remarks == ["one text is blank in 2 pairs"]
    with pytest.raises(ValueError, match=r"line 3 \(row 2\), and 1 more row: no text in column 'question1' or"):
        load(write(tmp_path / "rows.csv", "question1,question2,label\na,b,x\n,,y\n, ,x\n".replace(",,y", " ,,y")))


def test_unlabelled_text_has_a_summary_too(tmp_path):
    path = write(tmp_path / "rows.csv", "id,review\n1,caf\u00e9\n2,b\n", "cp1252")
    dataset, summary = read_transfer_text(path, None, ["text"], options=ReadOptions(encoding="cp1252"))
    assert dataset.column_names == ["text"]
    assert (summary.text_columns, summary.text_reason, summary.not_read) == (("review",), "known name", ["id"])
    assert summary.sources[0][0].encoding == "cp1252"
    assert summary.labelled_rows is None
    assert "sha256" in summary.to_dict()


def test_glue_tasks_have_a_summary(tmp_path):
    rows = "sentence\tlabel\na film\t1\nslow\t0\na film\t0\n"
    write(tmp_path / "SST-2" / "train.tsv", rows)
    write(tmp_path / "SST-2" / "test.tsv", "index\tsentence\n0\tslow\n")
    summary = load_task("sst2", tmp_path).summary
    assert summary["train"].classes == {"negative": 2, "positive": 1}
    assert summary["test"].remarks == ["1 text is in train, too"]
    assert summary["test"].labelled_rows is None
    assert summary.warnings == ["train: several labels for 1 text, such as 'a film'"]
    same = load(
        tmp_path / "SST-2" / "train.tsv",
        test_file=tmp_path / "SST-2" / "test.tsv",
        class_names=["negative", "positive"],
    )
    assert [same.summary[s].sha256 for s in ("train", "test")] == [summary[s].sha256 for s in ("train", "test")]


def test_malformed_lines_of_qqp_are_counted_said_and_skipped(tmp_path, caplog):
    header = "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate\n"
    write(tmp_path / "QQP" / "train.tsv", f"{header}1\t1\t2\ta\tb\t0\nis it\tso?\t0\n3\t5\t6\tc\t\t1\n")
    task = load_task("qqp", tmp_path)
    assert task.datasets["train"].to_dict() == {"question1": ["a", "c"], "question2": ["b", ""], "label": [0, 1]}
    assert "train.tsv: left out: 1 malformed line, as in the original file: line 3" in caplog.text
    assert "1 malformed line" in str(task.summary)
    write(tmp_path / "QQP" / "train.tsv", f"{header}1\t1\t2\ta\tb\t0\textra\n")
    with pytest.raises(ValueError, match="line 2: 7 columns"):
        load_task("qqp", tmp_path)
    write(tmp_path / "RTE" / "train.tsv", "index\tsentence1\tsentence2\tlabel\n0\ta\n")
    with pytest.raises(ValueError, match="line 2: 2 columns"):  # other tasks have none
        load_task("rte", tmp_path)


def test_several_files_and_rows_that_are_left_out_are_counted(tmp_path):
    first, second = write(tmp_path / "a.csv", "text,label\na,x\nb,y\n"), write(tmp_path / "b.csv", "text,label\nc,y\n")
    lines = str(load([first, second]).summary).split("\n")
    assert lines[0].endswith("2 rows")
    assert lines[1].endswith("1 row; together 3 rows, 3 labelled")
    _, summary = read_transfer_text(write(tmp_path / "c.csv", "text,n\na,1\n ,2\n"), None, None)
    assert "1 of 2 rows; left out: 1 row without text" in summary.lines((12, 5, 24))[0]


def test_a_share_that_near_duplicates_do_not_allow_is_said(tmp_path):
    path = tmp_path / "rows.csv"
    lines = ["the very same text here,pos"] * 20 + ["quite another text there,neg"] * 20 + ["third,neg", "fourth,pos"]
    path.write_text("\n".join(["text,label", *lines]) + "\n")
    task = load_text_dataset(train_file=str(path), validation_split_percentage=20)
    assert len(task.datasets["validation"]) == 2
    assert any(note.startswith("4.8 % of the labelled rows are held out, not 20 %") for note in task.summary.notes)
