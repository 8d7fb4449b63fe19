"""A header under `column_names` is not read as a row, and no file without a header is refused."""

import pytest
from rows import labels, load, texts, write

from hf_distill.data import load_transfer_text

NAMES = ["text", "label"]
ROWS = "a warm film,pos\nslow and sad,neg\nfine,pos\nso dull,neg\ngreat fun,pos\n"


@pytest.mark.parametrize("header", ["review,sentiment", "Sentence,Class", "Tweet Text,target", "body,category"])
def test_a_header_of_known_names_is_refused_under_other_column_names(tmp_path, header):
    path = write(tmp_path / "rows.csv", f"{header}\n{ROWS}")
    first, second = header.split(",")
    with pytest.raises(ValueError, match="rows.csv, line 1 is a header with the columns") as refused:
        load(path, column_names=NAMES)
    assert f"--text_column_names {first} --label_column_name {second}" in str(refused.value)
    assert texts(load(path, text_column_names=[first], label_column_name=second))[0] == "a warm film"


def test_a_header_of_any_names_above_scores_is_refused(tmp_path):
    path = write(tmp_path / "rows.csv", "ReviewBody,Polarity\na warm film,0.9\nslow,0.1\nfine,1\n")
    with pytest.raises(ValueError, match="line 1 is a header with the columns ReviewBody, Polarity"):
        load(path, column_names=NAMES)


@pytest.mark.parametrize("rows", [ROWS, "a warm film,1\nslow,0\nfine,1\nso dull,0\n"])
def test_a_header_of_unknown_names_is_a_row_with_a_warning(tmp_path, caplog, rows):
    path = write(tmp_path / "rows.csv", f"ReviewBody,Polarity\n{rows}")
    task = load(path, column_names=NAMES)
    assert texts(task)[0] == "ReviewBody"
    warning = "line 1 is read as a row, but ['ReviewBody', 'Polarity'] looks like a header. If it is one, leave out"
    assert f"warning: {warning}" in str(task.summary)
    assert f"rows.csv, {warning}" in caplog.text
    assert warning in task.summary.to_dict()["splits"]["train"]["files"][0]["warnings"][0]


@pytest.mark.parametrize(
    "content",
    [
        "Great,positive\nslow and sad,negative\nfine film,positive\n",
        "great,joy\nsad,sorrow\nfear,anger\ndull,boredom\nfun,love\n",  # every class occurs once
        "review,pos\nreview,neg\ntext,pos\nlabel,neg\nbody,pos\n",
        "text,label\ntext,label\nlabel,text\nlabel,label\n",
        "sentiment,category\na category,category\nsentiment,other\n",
        "question,topic\nanswer,topic\nemail,other\nmessage,other\n",
        "1,0\n2,1\n3,0\n4,1\n",
    ],
)
def test_files_without_a_header_are_read_from_the_first_row_on(tmp_path, content):
    path = write(tmp_path / "rows.csv", content)
    task = load(path, column_names=["source text", "y"], text_column_names="source text", label_column_name="y")
    assert list(zip(texts(task), labels(task), strict=True)) == [tuple(row.split(",")) for row in content.split()] or (
        texts(task)[0] == content.split(",")[0]
    )
    assert len(texts(task)) == content.count("\n")


def test_a_single_column_that_starts_with_a_known_name_is_a_text_with_a_warning(tmp_path):
    path = write(tmp_path / "rows.csv", "review\na warm film\nslow\n")
    assert load_transfer_text(path, column_names=["text"])["text"][:] == ["review", "a warm film", "slow"]


def test_names_can_be_passed_as_one_text(tmp_path):
    path = write(tmp_path / "rows.csv", ROWS)
    assert texts(load(path, column_names="text, label")) == texts(load(path, column_names=NAMES))
    headed = write(tmp_path / "headed.csv", f"review,other,label\n{ROWS.replace(',', ',x y,')}")
    assert load(headed, text_column_names="review").text_columns == ("review",)
    assert load(headed, text_column_names="review,other").text_columns == ("review", "other")
    assert load_transfer_text(headed, text_column_names="other").column_names == ["other"]


# --- Words and tags that are text


@pytest.mark.parametrize(
    ("suffix", "content"),
    [
        ("jsonl", '{"tokens": "a b", "ner_tags": "O B-X"}\n{"tokens": "c", "ner_tags": "O"}\n'),
        ("jsonl", '{"tokens": ["a", "b"], "tags": "O B-X"}\n{"tokens": ["c"], "tags": "O"}\n'),
        ("jsonl", '{"tokens": "a b", "tags": ["O", "B-X"]}\n{"tokens": "c", "tags": ["O"]}\n'),
        ("jsonl", '{"tokens": "a b", "labels": "O B-X"}\n{"tokens": "c", "labels": "O"}\n'),
        ("csv", "tokens,ner_tags\na b,O B-X\nc,O\n"),
        ("csv", "tokens,label\n\"['a', 'b']\",\"['O', 'B-X']\"\n\"['c']\",\"['O']\"\n"),
    ],
)
def test_words_and_tags_that_are_not_lists_are_refused(tmp_path, suffix, content):
    path = write(tmp_path / f"rows.{suffix}", content)
    with pytest.raises(ValueError, match=r"rows.*, line \d \(row 1\): 'tokens' is .* Words and tags must be lists"):
        load(path)


@pytest.mark.parametrize(
    ("content", "flags"),
    [
        ('{"tokens": "a fine film", "label": "pos"}\n{"tokens": "slow", "label": "neg"}\n', {}),
        ('{"tokens": "a film", "tags": "new"}\n{"tokens": "b", "tags": "old"}\n', {"label_column_name": "tags"}),
        ('{"tokens": "a film", "labels": ["x", "y"]}\n{"tokens": "b", "labels": ["y"]}\n', {}),
    ],
)
def test_texts_in_a_column_tokens_are_texts(tmp_path, content, flags):
    path = write(tmp_path / "rows.jsonl", content)
    assert not load(path, text_column_names="tokens", **flags).has_words


def test_texts_that_are_lists_are_remarked_on(tmp_path):
    path = write(tmp_path / "rows.csv", "text,label\n\"['a', 'film']\",pos\n['slow'],neg\n")
    assert "the texts in 'text' are lists, such as \"['a', 'film']\"" in str(load(path).summary)
    path = write(tmp_path / "rows.csv", "text,label\n[laughs] a film,pos\n['slow'],neg\n")
    assert "are lists" not in str(load(path).summary)


@pytest.mark.parametrize("suffix", ["jsonl", "conll"])
def test_column_names_that_are_not_used_are_remarked_on(tmp_path, suffix):
    content = {"jsonl": '{"text": "a", "label": "x"}\n{"text": "b", "label": "y"}\n', "conll": "a O\nb B-x\n"}[suffix]
    task = load(write(tmp_path / f"rows.{suffix}", content), column_names=NAMES)
    assert "--column_names is not used: " in str(task.summary)


def test_utf8_with_a_mark_is_utf8(tmp_path):
    path = write(tmp_path / "rows.csv", "text,label\ncafé,x\nb,y\n")
    assert "CSV, ',', UTF-8 " in str(load(path, encoding="utf-8-sig").summary)
