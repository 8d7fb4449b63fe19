"""Delimiters, quotes and headers of CSV and TSV files, as they are and not as the suffix says."""

import csv
import io

import pytest
from rows import labels, load, texts, write

from hf_distill.data import load_transfer_text

ROWS = [("a warm, fine film", "pos"), ("slow; and dull", "neg"), ("plain", "pos")]


def table(delimiter, rows=ROWS, header=("text", "label"), **options):
    file = io.StringIO()
    csv.writer(file, delimiter=delimiter, lineterminator="\n", **options).writerows([header, *rows])
    return file.getvalue()


@pytest.mark.parametrize("suffix", ["csv", "tsv", "tab"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_delimiter_is_the_one_of_the_file(tmp_path, suffix, delimiter):
    task = load(write(tmp_path / f"rows.{suffix}", table(delimiter)))
    assert list(zip(texts(task), labels(task), strict=True)) == ROWS
    source = task.summary["train"].sources[0][0]
    assert (source.delimiter, source.format) == (delimiter, "TSV" if delimiter == "\t" else "CSV")
    assert ("tab" if delimiter == "\t" else f"'{delimiter}'") in str(task.summary)


def test_commas_in_texts_do_not_decide_against_semicolons(tmp_path):
    path = write(tmp_path / "rows.csv", "text;label\na, b, c;pos\nd;neg\ne, f;pos\n")
    assert texts(load(path)) == ["a, b, c", "d", "e, f"]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ('text,label\n"he said ""warm"" and left",pos\nslow,neg\n', 'he said "warm" and left'),
        ('text,label\n"two\nlines, one cell",pos\nslow,neg\n', "two\nlines, one cell"),
        ('text,label\nhe said "warm" here,pos\nslow,neg\n', 'he said "warm" here'),
        ('text,label\n"he said \\"warm, fine\\" twice",pos\n"a ""b""",neg\n', None),
        ('text,label\n"he said \\"warm, fine\\" twice",pos\n"slow, dull",neg\n', 'he said "warm, fine" twice'),
        ('text,label\n"it ends in \\"quotes\\"",pos\n"slow, dull",neg\n', 'it ends in "quotes"'),
        ('text,label\n"\\"C:\\new\\", he said",pos\n"slow",neg\n', '"C:\\new", he said'),
        ('text,label\n"\\"C:\\\\new\\" and \\d+",pos\n"slow",neg\n', '"C:\\new" and \\d+'),
        ('text,label\n"C:\\new\\",pos\n"slow, dull",neg\n', "C:\\new\\"),
        ('text, label\n"a, b", pos\n"c", neg\n', "a, b"),
        ('"text","label"\n"a","pos"\n"b","neg"\n', "a"),
        ('text,label\n"a", "pos"\n b, "neg"\n', "a"),
        ('label,text\npos, "a good film"\nneg,plain\n', "a good film"),
        ('text,label\n "a good film",pos\n  "b",neg\n', "a good film"),
        ('label,text\npos,"a, ""b"" c"\nneg,plain\n', 'a, "b" c'),
        ('label,text\npos, "a" she said\nneg,plain\n', ' "a" she said'),
    ],
)
def test_quotes_of_csv_files_are_those_of_the_file(tmp_path, content, expected):
    path = write(tmp_path / "rows.csv", content)
    if expected is None:  # two ways to quote in one file
        with pytest.raises(ValueError, match="rows.csv, line"):
            load(path)
    else:
        assert (texts(load(path))[0], labels(load(path))) == (expected, ["pos", "neg"])


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        # of GLUE, where quotes are plain
        (
            '"warm film\tpos\nslow\tneg\n"great" fun\tpos\na fine" day\tneg\n',
            ['"warm film', "slow", '"great" fun', 'a fine" day'],
        ),
        ('"Great film"\tpos\nslow\tneg\nfine\tpos\n', ['"Great film"', "slow", "fine"]),
        ('"warm film\tpos\nslow\tneg\ngreat"\tpos\nok\tneg\n', ['"warm film', "slow", 'great"', "ok"]),
        ('""\tpos\nslow\tneg\n"\tpos\n', ['""', "slow", '"']),
        # of pandas, which quotes the cells that need it
        ('"he said ""warm"""\tpos\nslow\tneg\n', ['he said "warm"', "slow"]),
        ('"a\ttab"\tpos\nslow\tneg\n', ["a\ttab", "slow"]),
        ('"two\nlines"\tpos\nslow\tneg\n', ["two\nlines", "slow"]),
        # of R, which quotes all of them
        ('"warm"\t"pos"\n"slow"\t"neg"\n', ["warm", "slow"]),
    ],
)  # fmt: skip
def test_quotes_of_tsv_files_are_plain_unless_quoting_explains_all_of_them(tmp_path, content, expected):
    assert texts(load(write(tmp_path / "rows.tsv", f"text\tlabel\n{content}"))) == expected


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            "text,label\na,x\nb, with comma,y\n",
            r"line 3: 3 columns, where the header has 2: \['b', ' with comma', 'y'\]",
        ),
        ("text,label\na,x\nb\nc\n", r"line 3: 1 columns, where the header has 2.*and 1 more line like it"),
        ('text,label\na,x\n"b,y\nc,z\n', "line 3: a quoted cell is never closed"),
        ('text,label\n"a" b,x\nc,y\n', "line 2: text or a blank follows the closing quote of a cell"),
        ('text,label\n"a,x\nb,y\nc",x\nd,y\n', "line 2: a quoted cell goes on over several lines"),
        ('text,label\n"a\nb",x\nc,"y\n', "line 4: a quoted cell is never closed"),
        ("text,label,label\na,x,y\n", "line 1: two columns of the same name 'label'.*--column_names"),
        ("\n\ntext,text \na,x\n", "line 3: two columns of the same name 'text'"),
    ],
)
def test_what_is_wrong_with_a_row_is_said_with_its_line(tmp_path, content, message):
    with pytest.raises(ValueError, match=rf"rows.csv, {message}"):
        load(write(tmp_path / "rows.csv", content))


def test_a_cell_of_several_lines_is_one_although_each_line_has_a_comma(tmp_path):
    path = write(tmp_path / "rows.csv", 'text,label\n"Dear all, hello\nthanks",pos\nslow,neg\n')
    assert texts(load(path)) == ["Dear all, hello\nthanks", "slow"]
    quoted = 'text,label\n"a film,pos\nb film,neg\nc film",pos\n"d, e",neg\n'
    with pytest.raises(ValueError, match="line 2: a quoted cell goes on over several lines"):
        load(write(path, quoted))


def test_a_line_is_the_files_where_cells_hold_line_breaks(tmp_path):
    path = write(tmp_path / "rows.csv", 'text,label\n"a\n\nb",x\n\n"c\nd",\ne,y\n,x\n')
    with pytest.raises(ValueError, match=r"rows.csv, line 9 \(row 4\): no text in column 'text'"):
        load(path)


def test_a_cell_has_no_limit_of_length(tmp_path):
    long = "very " * 60_000
    assert texts(load(write(tmp_path / "rows.csv", table(",", [(long, "pos"), ("b", "neg")]))))[0] == long
    assert csv.field_size_limit() == 131_072  # that of other programs is as it was


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("suffix", ["csv", "tsv"])
def test_every_line_end_is_one(tmp_path, end, suffix):
    delimiter = "," if suffix == "csv" else "\t"
    lines = ["text,label", "a,x", "", '"b, c",y', ",", "   "]
    content = end.join(line.replace(",", delimiter) for line in lines)
    task = load(write(tmp_path / f"rows.{suffix}", content))
    expected = "b, c" if suffix == "csv" else '"b\t c"'
    assert (texts(task)[0], labels(task)) == ("a", ["x", "y"]) or expected in texts(task)


def test_characters_that_end_no_line_stay_in_the_text(tmp_path):
    odd = "a\x0bb\x0cc\x1cd\x85e\u2028f\u2029g"
    for suffix, delimiter in (("csv", ","), ("tsv", "\t")):
        path = write(
            tmp_path / f"rows.{suffix}", f"text{delimiter}label\n{odd}{delimiter}x\nlone\rreturn{delimiter}y\n"
        )
        assert texts(load(path)) == [odd, "lone\rreturn"]


# --- Headers


@pytest.mark.parametrize(
    ("start", "note"),
    [
        ("", ""),
        ("\n\n", ""),
        ("sep=,\n", "line 1 is `sep=,`"),
        ("# exported in May, 2024, by me\n", "left out: 1 comment line before the header"),
        ("# one\n# two\n", "left out: 2 comment lines before the header"),
    ],
)
def test_what_stands_before_the_header_is_left_out_and_said(tmp_path, start, note):
    task = load(write(tmp_path / "rows.csv", f"{start}text,label\na,x\nb,y\n,z\n".replace(",z", "c,z")))
    assert texts(task) == ["a", "b", "c"]
    assert note in str(task.summary)
    with pytest.raises(ValueError, match=rf"line {start.count(chr(10)) + 3}: 3 columns"):
        load(write(tmp_path / "odd.csv", f"{start}text,label\na,x\nb,y,z\n"))


def test_the_delimiter_of_excels_first_line_is_obeyed(tmp_path):
    assert texts(load(write(tmp_path / "rows.csv", "sep=;\ntext;label\na, b;x\nc;y\n"))) == ["a, b", "c"]


def test_a_header_can_start_with_a_number_sign(tmp_path):
    path = write(tmp_path / "rows.tsv", "#1 String\tlabel\na\tx\nb\ty\n")
    assert texts(load(path, text_column_names=["#1 String"])) == ["a", "b"]


def test_headers_in_the_middle_of_joined_files_are_left_out(tmp_path):
    content = "text,label\na,x\nb,y\n".encode("utf-8-sig")
    task = load(write(tmp_path / "rows.csv", content * 2))
    assert (texts(task), task.label_names) == (["a", "b", "a", "b"], ["x", "y"])
    assert "left out: 1 repetition of the header" in str(task.summary)
    assert "left out: 1 byte-order mark inside the file" in str(task.summary)


def test_columns_without_a_name_are_allowed(tmp_path):
    task = load(write(tmp_path / "rows.csv", ",text,label,,\n0,a,x,,\n1,b,y,,\n,,,,\n"))
    assert (texts(task), labels(task)) == (["a", "b"], ["x", "y"])


@pytest.mark.parametrize(
    ("content", "suffix", "message"),
    [
        (
            "a warm film,pos\nslow,neg\ngreat,pos\n",
            "csv",
            "Line 1 is read as the header, but.*--column_names text,label",
        ),
        ("a fine day\t1,5\tabc1\nso bad\t2\tabc2\n", "tsv", "Line 1 is read as the header"),
    ],
)
def test_a_labelled_file_without_a_header_is_refused_with_the_flag(tmp_path, content, suffix, message):
    with pytest.raises(ValueError, match=rf"no column `label` or `labels`.*{message}"):
        load(write(tmp_path / f"rows.{suffix}", content))


@pytest.mark.parametrize(
    ("content", "suffix", "doubt"),
    [
        ("a warm film\nboring and slow\ngreat fun\n", "csv", "'a warm film' could be a text"),
        ("boring\nslow\na film\n", "csv", "'boring' could be a text"),
        ("a warm film\t1\nslow\t0\n", "tsv", "its cell '1' is a number"),
        ("a warm film,good\nslow,bad\nfine,good\n", "csv", "its cell 'good' is also in a row below"),
    ],
)
def test_text_to_distil_on_loses_no_first_line_to_a_header(tmp_path, content, suffix, doubt):
    path = write(tmp_path / f"rows.{suffix}", content)
    with pytest.raises(ValueError, match=rf"Line 1 is read as the header, but {doubt}.*--column_names"):
        load_transfer_text(path)
    width = len(content.split("\n")[0].replace("\t", ",").split(","))
    names = ["text", "other"][:width]
    assert len(load_transfer_text(path, column_names=names)) == 3 - (suffix == "tsv")


def test_column_names_are_for_files_without_a_header(tmp_path, caplog):
    bare = write(tmp_path / "bare.csv", "a,x\nb,y\n")
    assert texts(load(bare, column_names=["text", "label"])) == ["a", "b"]
    headed = write(tmp_path / "headed.csv", "Text,Label\na,x\nb,y\n")
    task = load(headed, column_names=["text", "label"])
    assert texts(task) == ["a", "b"]
    assert "left out: line 1, which has the names of --column_names" in str(task.summary)
    with pytest.raises(ValueError, match="it has 2 cells, and --column_names has 3 names"):
        load(bare, column_names=["id", "text", "label"])
    lines = write(tmp_path / "lines.txt", "i feel low;sad\nso happy;joy\n")
    assert labels(load(lines, column_names=["text", "label"])) == ["sad", "joy"]


def test_the_number_of_column_names_decides_between_delimiters(tmp_path):
    path = write(tmp_path / "rows.csv", "a, b;x\nc, d;y\n")
    assert texts(load(path, column_names=["text", "label"])) in (["a, b", "c, d"], ["a", "c"])
    three = write(tmp_path / "three.csv", "a, b, c;x\nd, e, f;y\n")
    assert texts(load(three, column_names=["text", "label"])) == ["a, b, c", "d, e, f"]


# --- Lines of text


def test_blank_lines_are_skipped_and_counted(tmp_path):
    path = write(tmp_path / "a.txt", "one\n\n  \n two \n")
    assert load_transfer_text(path)["text"][:] == ["one", "two"]


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ("text\tlabel\na\tpos\nb\tneg\n", "tab"),
        ("i feel low;sadness\nso happy;joy\n", "semicolon"),
        ("a film|pos\nb film|neg\n", "vertical bar"),
        ("text,label\na film,pos\nb,neg\n", "comma"),
        ("a\tb\n", "tab"),
    ],
)
def test_lines_that_look_like_a_table_are_no_texts(tmp_path, content, named):
    path = write(tmp_path / "rows.txt", content)
    with pytest.raises(ValueError, match=rf"rows.txt looks like a table.*{named}.*rename it to .tsv or .csv.*label"):
        load_transfer_text(path)
    assert load_transfer_text(path, column_names=["text"])["text"][0] == content.split("\n")[0]


@pytest.mark.parametrize("content", ["a, b\nc, d\n", "a; b c\nd; e f\n", "a\tb\nc\n", "who?\nme, too\n"])
def test_sentences_with_commas_are_texts(tmp_path, content):
    assert load_transfer_text(write(tmp_path / "a.txt", content))["text"][:] == content.split("\n")[:-1]


def test_a_zero_byte_in_a_header_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"rows.csv, line 1: a zero byte in the header"):
        load(write(tmp_path / "rows.csv", "text\x00label\na\x00b\n"))


@pytest.mark.parametrize("delimiter", ["^", ":", "~", "\x01"])
def test_texts_with_an_unknown_delimiter_are_not_read_as_one_column(tmp_path, delimiter):
    path = write(tmp_path / "rows.csv", f"text{delimiter}label\na warm film{delimiter}x\nslow and sad{delimiter}y\n")
    with pytest.raises(ValueError, match="looks like several names with an unknown delimiter"):
        load_transfer_text(path, None, ["text"])


def test_a_header_in_another_order_than_column_names_is_refused(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("label,text\nx,a\ny,b\n")
    with pytest.raises(ValueError, match="line 1: the header has the columns in the order label, text, and"):
        load(path, column_names=["text", "label"])
