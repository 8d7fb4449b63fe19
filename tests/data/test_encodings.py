"""Bytes as text: what is recognised, what is refused, and the guess that comes with the refusal."""

import pytest
from rows import load, texts, write

from hf_distill.data import load_transfer_text
from hf_distill.data.reading.encodings import guess_encoding

FRENCH = [("un café déçu", "oui"), ("très ennuyeux", "non")]
CSV = "text,label\n" + "".join(f"{text},{label}\n" for text, label in FRENCH)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
@pytest.mark.parametrize("suffix", ["csv", "tsv", "jsonl", "txt", "conll"])
def test_utf8_and_marked_encodings_are_read_in_every_format(tmp_path, encoding, suffix):
    content = {
        "csv": CSV,
        "tsv": CSV.replace(",", "\t"),
        "jsonl": '{"text": "un café déçu", "label": "oui"}\n{"text": "très ennuyeux", "label": "non"}\n',
        "txt": "un café déçu\ntrès ennuyeux\n",
        "conll": "café B-x\ndéçu O\n\ntrès O\n",
    }[suffix]
    path = write(tmp_path / f"rows.{suffix}", content, encoding)
    if suffix == "txt":
        assert load_transfer_text(path)["text"][:] == [text for text, _ in FRENCH]
    else:
        expected = [["café", "déçu"], ["très"]] if suffix == "conll" else [text for text, _ in FRENCH]
        assert texts(load(path)) == expected


@pytest.mark.parametrize("mark", [b"\xff\xfe", b"\xfe\xff"])
def test_both_orders_of_utf16_are_told_apart_by_the_mark(tmp_path, mark):
    codec = "utf-16-le" if mark == b"\xff\xfe" else "utf-16-be"
    task = load(write(tmp_path / "rows.csv", mark + CSV.encode(codec)))
    assert texts(task) == [text for text, _ in FRENCH]
    assert task.summary["train"].sources[0][0].encoding == "UTF-16"


@pytest.mark.parametrize("suffix", ["csv", "tsv", "txt", "jsonl", "conll"])
def test_other_bytes_are_refused_by_file_line_byte_and_guess(tmp_path, suffix):
    path = write(tmp_path / f"rows.{suffix}", "une ligne\nun café déçu\n", "cp1252")
    with pytest.raises(ValueError, match=rf"rows.{suffix}, line 2, byte 7 of the line \(0xe9\).*--encoding cp1252"):
        load_transfer_text(path, text_column_names=None)


def test_the_guess_is_read_when_it_is_passed_on(tmp_path):
    path = write(tmp_path / "rows.csv", CSV, "cp1252")
    with pytest.raises(ValueError, match="which gives '.*café déçu.*'") as error:
        load(path)
    guess = str(error.value).partition("--encoding ")[2].split()[0]
    task = load(path, encoding=guess)
    assert texts(task) == [text for text, _ in FRENCH]
    assert task.summary["train"].sources[0][0].encoding == guess


@pytest.mark.parametrize(
    ("text", "encoding", "guesses"),
    [
        ("un café déçu, très ennuyeux", "cp1252", {"cp1252"}),
        ("España\ncafé", "latin-1", {"cp1252"}),
        ("\u201cgood\u201d \u2013 it\u2019s fine", "cp1252", {"cp1252"}),
        ("очень хороший фильм, мне понравилось", "cp1251", {"cp1251"}),
        ("příliš žluťoučký kůň úpěl", "cp1250", {"cp1250"}),
        ("とても良い映画でした", "shift_jis", {"cp932", "shift_jis"}),
        ("这部电影非常好看，很有意思，我喜欢。剧情很差", "gbk", {"gb18030", "gbk", "gb2312"}),
    ],
)
def test_the_guess_is_right_for_common_encodings(text, encoding, guesses):
    assert guess_encoding(text.encode(encoding)) in guesses


def test_one_broken_byte_in_utf8_leads_to_its_line(tmp_path):
    lines = [f"très {i},{'oui' if i % 2 else 'non'}".encode() for i in range(500)]
    lines[398] = b"caf\xe9,oui"
    path = write(tmp_path / "rows.csv", b"text,label\n" + b"\n".join(lines))
    with pytest.raises(ValueError, match=r"line 400, byte 4 .*except for 1 byte. Correct the line"):
        load(path)


@pytest.mark.parametrize("codec", ["utf-16-le", "utf-16-be"])
def test_utf16_without_a_mark_is_refused_and_named(tmp_path, codec):
    path = write(tmp_path / "rows.csv", "text,label\na,x\nb,y\n", codec)
    with pytest.raises(ValueError, match=rf"are zero, so the encoding is probably UTF-16.*--encoding {codec}"):
        load(path)
    assert texts(load(path, encoding=codec)) == ["a", "b"]


def test_zero_characters_in_a_text_are_text(tmp_path):
    path = write(tmp_path / "rows.txt", "nul\x00here\nand a longer line\n")
    assert load_transfer_text(path)["text"][:] == ["nul\x00here", "and a longer line"]


def test_the_encoding_is_for_files_that_are_not_utf8(tmp_path):
    train = write(tmp_path / "train.csv", CSV, "cp1252")
    dev = write(tmp_path / "dev.csv", CSV)
    marked = write(tmp_path / "test.csv", CSV, "utf-16")
    task = load(train, validation_file=dev, test_file=marked, encoding="cp1252")
    assert texts(task) == texts(task, "validation") == texts(task, "test") == [text for text, _ in FRENCH]
    assert "its bytes are valid UTF-8, not cp1252" in str(task.summary)


@pytest.mark.parametrize(
    ("encoding", "message"),
    [
        ("utf-99", "`encoding` is 'utf-99', which Python does not know"),
        ("base64", "which Python does not know"),
        ("ascii", r"line 2, byte 7 of the line \(0xe9\) is not valid in the encoding ascii"),
    ],
)
def test_an_encoding_that_does_not_fit_is_refused(tmp_path, encoding, message):
    with pytest.raises(ValueError, match=message):
        load(write(tmp_path / "rows.csv", CSV, "cp1252"), encoding=encoding)


def test_marks_inside_a_joined_file_are_left_out(tmp_path):
    part = "eins\nzwei\n".encode("utf-8-sig")
    assert load_transfer_text(write(tmp_path / "rows.txt", part * 2))["text"][:] == ["eins", "zwei", "eins", "zwei"]
    inside = write(tmp_path / "inside.txt", "a\ufeffb\n")
    assert load_transfer_text(inside)["text"][:] == ["a\ufeffb"]


@pytest.mark.parametrize(
    ("content", "encoding", "reason"),
    [
        (
            "text,label\ncafé,a\nnaïve,b\n".encode("cp1252"),
            "utf-16",
            "no zero byte.*It may be cp1252: pass --encoding",
        ),
        ("text,label\ncafé,a\nnaïve,b\n".encode("cp1252"), "utf-32-le", "no zero byte.*It may be cp1252"),
        (b"text,label\nfine,a\nslow,b\n", "utf-16-be", "no zero byte.*It may be utf-8: pass --encoding utf-8"),
        (b"text,label\nfine,a\nslow,b\n", "cp037", "control character.*It may be utf-8"),
        ("text,label\n“café”,a\nslow – fine,b\n".encode("cp1252"), "latin-1", "control character.*It may be cp1252"),
    ],
)
def test_an_encoding_that_gives_wrong_letters_without_an_error_is_refused(tmp_path, content, encoding, reason):
    path = write(tmp_path / "rows.csv", content)
    with pytest.raises(ValueError, match=rf"rows.csv is not in the encoding {encoding}: .*{reason}"):
        load(path, encoding=encoding)


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-32-le", "latin-1", "cp037", "shift_jis", "utf-7"])
def test_an_encoding_that_is_right_is_never_refused(tmp_path, encoding):
    letters = "映画" if encoding in ("utf-16-le", "shift_jis") else "café"
    path = write(tmp_path / "rows.csv", f"text,label\n{letters},a\nslow,b\n".encode(encoding))
    assert texts(load(path, encoding=encoding)) == [letters, "slow"]
