"""JSON, CoNLL and fastText files: their rows, and the line in which something is wrong."""

import json
import tarfile
import zipfile

import pytest
from rows import labels, load, texts, write, write_json_lines

from hf_distill.data import load_transfer_text

ROWS = [{"text": "a film", "label": "good"}, {"text": "slow", "label": "bad"}]


@pytest.mark.parametrize(
    "content",
    [
        "".join(json.dumps(row) + "\n" for row in ROWS),
        "\r\n".join(json.dumps(row) for row in ROWS),
        "\n\n" + "\n\n".join(json.dumps(row) for row in ROWS) + "\n",
        json.dumps(ROWS),
        json.dumps(ROWS, indent=2),
        "\n".join(json.dumps(row, indent=2) for row in ROWS),
        ",\n".join(json.dumps(row) for row in ROWS),
        "\ufeff" + json.dumps(ROWS),
    ],
)
@pytest.mark.parametrize("suffix", ["json", "jsonl", "ndjson"])
def test_objects_in_lines_or_in_a_list_are_rows(tmp_path, content, suffix):
    task = load(write(tmp_path / f"rows.{suffix}", content))
    assert (texts(task), labels(task)) == (["a film", "slow"], ["good", "bad"])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"text": "a", "label": "x"}\n\n{"text": "b", "la\n', "line 3, character 15: Unterminated string"),
        (
            '[\n{"text": "a", "label": "x"},\n{"text": "b" "label": "y"}\n]',
            "line 3, character 14: Expecting ',' delimiter",
        ),
        (
            '{\n"text": "a",\n"label": "x"\n}\n{\n"text": "b"\n"label": "y"}',
            "line 7, character 1: Expecting ',' delimiter",
        ),
        ('{"text": "a", "label": "x"}\n["b", "y"]\n', r"line 2: row 2 is \['b', 'y'\], not an object"),
        ('[["text", "label"], ["a", "x"]]', "line 1: row 1 is .*, not an object"),
        ('\n["a", "b"]', "line 2: row 1 is 'a', not an object"),
        ('{"version": 1, "data": [{"text": "a"}]}', "one object with the keys .*save only the list 'data'"),
        (
            '{\n "version": 1,\n "data": [{"text": "a"}]\n}',
            "one object .*a list of objects: save only the list 'data'",
        ),
        (
            '{"features": [{"name": "text"}], "rows": [{"row": {"text": "a", "label": "x"}}]}',
            "save only one of the lists 'features', 'rows'",
        ),
        (
            '{"text": {"0": "a"}, "label": {"0": "x"}}',
            r"one object with the columns \['text', 'label'\].*orient='records'",
        ),
        (
            '{"text": ["a", "b"], "label": ["x", "y"]}',
            r"one object with the columns \['text', 'label'\], each of which is a list .*read_json\(path\)\.to_json",
        ),
        ('{"text": [], "label": []}', r"one object with the columns \['text', 'label'\], each of which is a list"),
        (
            '{"columns": ["text", "label"], "index": [0], "data": [["a", "x"]]}',
            r"one object with the columns \['text', 'label'\] and their rows, .*'split'.*json\(path, orient='split'\)",
        ),
        ("[" * 100_000, "line 1"),
    ],
)
def test_what_is_no_list_of_objects_is_refused_by_its_line(tmp_path, content, message):
    with pytest.raises(ValueError, match=rf"rows.json.*{message}"):
        load(write(tmp_path / "rows.json", content))


def test_a_single_row_of_words_is_no_table(tmp_path):
    rows = load(write(tmp_path / "rows.json", '{"tokens": ["a", "film"], "tags": ["O", "B-thing"]}'))
    assert texts(rows) == [["a", "film"]]


def test_lines_of_json_are_those_of_the_file(tmp_path):
    lines = [json.dumps({"text": "a", "label": 1.5}), "", "", json.dumps({"text": "", "label": 2.5})]
    with pytest.raises(ValueError, match=r"rows.jsonl, line 4 \(row 2\): no text in column 'text'"):
        load(write(tmp_path / "rows.jsonl", "\n".join(lines)))
    pretty = '[\n {"text": "a",\n  "label": 1.5},\n\n {"text": "b",\n  "label": "good"}\n]'
    with pytest.raises(ValueError, match=r"rows.json, line 5 \(row 2\), column 'label': 'good' is text, and 1.5"):
        load(write(tmp_path / "rows.json", pretty))


def test_separators_of_unicode_end_no_line_of_json(tmp_path):
    odd = "a\u2028b\u2029c\x85d\x0be"
    path = write(tmp_path / "rows.jsonl", f'{{"text": "{odd[:-2]}", "label": "x"}}\n{{"text": "c", "label": "y"}}\n')
    assert texts(load(path)) == [odd[:-2], "c"]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (5, r"line 2 \(row 2\), column 'text': 5 is a number, and 'a' in an earlier row is text"),
        (["b"], "is a list, and 'a' in an earlier row is text"),
        ({"b": 1}, "is a dict, and 'a'"),
        (True, "True is true or false"),
        (None, r"line 2 \(row 2\): no text"),
        ("  ", r"line 2 \(row 2\): no text"),
        ("\u200b", r"line 2 \(row 2\): no text"),
        ("\ud83d broken", "is not valid text"),
    ],
)
def test_a_text_that_is_none_is_refused_by_its_row(tmp_path, value, message):
    rows = [{"text": "a", "label": "x"}, {"text": value, "label": "y"}]
    with pytest.raises(ValueError, match=message):
        load(write(tmp_path / "rows.jsonl", "\n".join(map(json.dumps, rows))))


def test_columns_that_are_not_read_may_hold_anything(tmp_path):
    rows = [
        {"id": 1, "text": "a", "meta": {"a": 1}, "spans": [], "big": 2**70, "label": "x"},
        {"id": "2b", "text": "b", "meta": {"a": "q"}, "spans": [[0, "x"]], "label": "y"},
    ]
    task = load(write_json_lines(tmp_path / "rows.jsonl", *rows))
    assert texts(task) == ["a", "b"]
    assert task.summary["train"].not_read == ["id", "meta", "spans", "big"]


def test_one_row_of_lists_is_a_row(tmp_path):
    path = write_json_lines(tmp_path / "rows.jsonl", {"tokens": ["a", "b"], "tags": ["O", "B-x"]})
    assert labels(load(path)) == [["O", "B-x"]]


# --- Words and tags


SENTENCES = [(["EU", "rejects"], ["B-ORG", "O"]), (["Peter", "Blackburn"], ["B-PER", "I-PER"])]
CONLL = "EU NNP B-ORG\nrejects VBZ O\n\nPeter NNP B-PER\nBlackburn NNP I-PER\n"


def sentences(task):
    return list(zip(texts(task), labels(task), strict=True))


@pytest.mark.parametrize(
    "name", ["a.conll", "a.bio", "a.iob", "train.txt", "train.tsv", "eng.testa", "a.annotated", "train"]
)
@pytest.mark.parametrize("separator", [" ", "\t"])
def test_words_and_tags_are_read_whatever_the_suffix(tmp_path, name, separator):
    task = load(write(tmp_path / name, CONLL.replace(" ", separator)))
    assert sentences(task) == SENTENCES


@pytest.mark.parametrize(
    "content",
    [
        CONLL.replace("\n", "\r\n"),
        CONLL.replace("\n\n", "\n \t \n\n\n"),
        CONLL.rstrip("\n"),
        f"-DOCSTART- -X- O\n\n{CONLL}",
        CONLL.replace("\n\n", "\n-DOCSTART- -X- O\n"),
        f"# newdoc id = 3\n# sent_id = 1\n{CONLL}".replace("\n\n", "\n\n# text = Peter Blackburn\n"),
        CONLL.replace("rejects", "# one = O\nrejects"),
    ],
)
def test_comments_blanks_and_marks_of_documents_are_no_words(tmp_path, content):
    assert sentences(load(write(tmp_path / "rows.conll", content))) == SENTENCES


def test_number_signs_that_are_words_are_words(tmp_path):
    path = write(tmp_path / "rows.conll", "# win\tO\n#\tO\n#win\tB-tag\nnow\tO\n")
    assert sentences(load(path)) == [(["# win", "#", "#win", "now"], ["O", "O", "B-tag", "O"])]
    path = write(tmp_path / "spaces.conll", "# X O\nnow X O\n#win X B-tag\n\n# id 7\nx X O\n")
    assert sentences(load(path)) == [(["#", "now", "#win"], ["O", "O", "B-tag"]), (["x"], ["O"])]


def test_a_word_can_hold_a_blank_where_tabs_separate(tmp_path):
    path = write(tmp_path / "rows.conll", "New York\tB-LOC\n5\u00a0km\tO\n \tO\n")
    assert sentences(load(path)) == [(["New York", "5\u00a0km", " "], ["B-LOC", "O", "O"])]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("B-ORG EU\nO rejects\n", "has tags in its first column, such as 'B-ORG', and 'EU' in its last"),
        ("1 EU B-ORG\n2 is O\n\n1 Peter B-PER\n", "counts the words in its first column: 1, 2, 1"),
        ("EU B-ORG\nrejects\n", "line 2: 1 columns, where the first word has 2: 'rejects'"),
        ("EU B-ORG\n#rejects\n", "line 2: 1 columns, where the first word has 2"),
    ],
)
def test_words_or_tags_in_other_columns_are_refused(tmp_path, content, message):
    with pytest.raises(ValueError, match=rf"rows.conll.*{message}"):
        load(write(tmp_path / "rows.conll", content))


def test_words_and_tags_of_different_number_are_refused_by_their_row(tmp_path):
    rows = [{"tokens": ["a"], "tags": ["O"]}, {"tokens": ["b", "c"], "tags": ["B-x"]}]
    with pytest.raises(ValueError, match=r"line 2 \(row 2\): 2 words but 1 tag"):
        load(write_json_lines(tmp_path / "rows.jsonl", *rows))


def test_a_word_that_is_null_is_refused_by_its_row(tmp_path):
    rows = [{"tokens": ["a", "b"], "tags": ["O", "B-x"]}, {"tokens": ["c", None], "tags": ["O", "O"]}]
    with pytest.raises(ValueError, match=r"line 2 \(row 2\), column 'tokens': word 2 of 2 is null"):
        load(write_json_lines(tmp_path / "rows.jsonl", *rows))


@pytest.mark.parametrize("name", ["rows.txt", "rows.csv", "rows.tsv"])
@pytest.mark.parametrize("indent", [None, 2])
def test_json_under_another_suffix_is_not_read_as_texts_or_cells(tmp_path, name, indent):
    lines = "".join(json.dumps({"text": row["text"]}) + "\n" for row in ROWS)
    path = write(tmp_path / name, lines if indent is None else json.dumps(ROWS, indent=indent))
    with pytest.raises(ValueError, match=rf"{name} holds JSON\. Rename it to \.jsonl"):
        load_transfer_text(path)


def test_texts_that_start_with_a_brace_are_texts(tmp_path):
    lines = ['{"quoted" or not}, it is no object', "[1] a footnote"]
    assert load_transfer_text(write(tmp_path / "rows.txt", "\n".join(lines)))["text"][:] == lines


@pytest.mark.parametrize(("name", "mode"), [("rows.tar", "w"), ("rows.tar.gz", "w:gz"), ("rows.tgz", "w:gz")])
def test_a_tar_archive_is_named_as_one(tmp_path, name, mode):
    inner = write(tmp_path / "rows.csv", "text,label\na film,good\nslow,bad\n")
    with tarfile.open(tmp_path / name, mode) as archive:
        archive.add(inner, "rows.csv")
    with pytest.raises(ValueError, match=rf"{name} is a tar archive. Unpack it"):
        load(tmp_path / name)


def test_a_zip_archive_without_files_is_refused(tmp_path):
    zipfile.ZipFile(tmp_path / "rows.zip", "w").close()
    with pytest.raises(ValueError, match=r"rows.zip holds 0 files"):
        load(tmp_path / "rows.zip")


def test_sentences_without_words_are_refused(tmp_path):
    rows = [{"tokens": ["a", "b"], "tags": ["O", "B-x"]}, {"tokens": [], "tags": []}]
    with pytest.raises(ValueError, match=r"line 2 \(row 2\): no text in column 'tokens'"):
        load(write_json_lines(tmp_path / "rows.jsonl", *rows))


# --- fastText


def test_labels_stand_before_the_text(tmp_path):
    path = write(tmp_path / "rows.txt", "__label__good a warm film\n__label__bad\tboring\n\nno label here\n")
    task = load(path)
    assert (texts(task), labels(task)) == (["a warm film", "boring", "no label here"], ["good", "bad", None])
    assert load_transfer_text(path)["text"][:] == texts(task)
    several = write(tmp_path / "several.txt", "__label__a __label__b one\n__label__a two\n")
    assert labels(load(several)) == [["a", "b"], ["a"]]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("__label__a,__label__b joined", "line 2: `__label__` follows other text"),
        ("behind __label__a", "line 2: `__label__` follows other text"),
        ("__label__a", r"line 2 \(row 2\): no text"),
    ],
)
def test_labels_in_other_places_are_refused(tmp_path, line, message):
    with pytest.raises(ValueError, match=message):
        load(write(tmp_path / "rows.txt", f"__label__b first\n{line}\n"))


def test_texts_alone_have_no_label(tmp_path):
    with pytest.raises(ValueError, match="A .txt file holds only texts. Write texts and labels to a .csv"):
        load(write(tmp_path / "rows.txt", "one film\nanother film, too\n"))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("rows.jsonl", '{"text": "a", "label": "x"}\n{"text": "b", "label": "y", "text": "c"}\n'),
        ("rows.json", '[{"text": "a", "label": "x"}, {"text": "b", "label": "y", "text": "c"}]'),
        ("rows.json", '{"text": "a",\n "label": "x", "text": "b"}\n'),
    ],
)
def test_a_key_that_occurs_twice_is_refused(tmp_path, name, content):
    (tmp_path / name).write_text(content)
    with pytest.raises(ValueError, match=r"line \d.*the name 'text' is there twice"):
        load(tmp_path / name)


@pytest.mark.parametrize(("start", "between", "end"), [("[\n", ",\n", "\n]"), ("", "\n", "\n")])
def test_the_object_with_a_key_that_occurs_twice_is_found(tmp_path, start, between, end):
    rows = ['{"text": "a",\n "label": "x"}', '{"text": "b",\n "label": "y", "label": "x"}']
    (tmp_path / "rows.json").write_text(start + between.join(rows) + end)
    line = start.count("\n") + 3
    with pytest.raises(ValueError, match=f"rows.json, line {line}: the name 'label' is there twice"):
        load(tmp_path / "rows.json")
