"""A path is a path: whatever its characters, whatever archive it is in, and what is said where it is none."""

import bz2
import gzip
import io
import lzma
import os
import zipfile

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import Dataset
from rows import labels, load, texts, write

from hf_distill.data import load_transfer_text
from hf_distill.data.reading import READERS, ReadOptions, columnar, read_file
from hf_distill.utils.user_paths import find_files

CSV = "text,label\na warm film,good\nslow,bad\n"
TEXTS = ["a warm film", "slow"]


@pytest.mark.parametrize(
    "name",
    [
        "train[1].csv",
        "a, b.csv",
        "50%.csv",
        "-train.csv",
        "what?.csv",
        "*.csv",
        "#1 ü {x}.CSV",
        "train (1).csv",
        "a::b.csv",
    ],
)
def test_any_character_can_be_in_a_path(tmp_path, name):
    write(tmp_path / "train1.csv", CSV.replace("slow", "another file"))
    assert texts(load(write(tmp_path / "my data [2]" / name, CSV))) == TEXTS


def test_brackets_of_parquet_files_are_no_pattern(tmp_path):
    for name, text in (("train1.parquet", "other"), ("train[1].parquet", "right")):
        Dataset.from_dict({"text": [text, text], "label": ["x", "y"]}).to_parquet(tmp_path / name)
    assert texts(load(tmp_path / "train[1].parquet")) == ["right", "right"]


def test_the_home_folder_is_found(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    write(tmp_path / "rows.csv", CSV)
    assert texts(load("~/rows.csv")) == TEXTS
    with pytest.raises(FileNotFoundError, match=r"There is no file .*/none.csv \(~/none.csv\)"):
        load("~/none.csv")


@pytest.mark.parametrize(
    ("path", "error", "message"),
    [
        ("Train.csv", FileNotFoundError, "There is no file .*Train.csv. Similar names in this folder: train.csv"),
        ("trian.csv", FileNotFoundError, "Similar names in this folder: train.csv"),
        ("deep/train.csv", FileNotFoundError, "The folder .*deep does not exist either"),
        ("folder", ValueError, "folder is a folder. Pass it with --dataset_name"),
        ("rows.xlsx", ValueError, r"ends in '.xlsx'. Expected one of .csv, .tsv.*Save the sheet as CSV"),
        ("rows.xml", ValueError, r"ends in '.xml'. Expected one of .csv, .tsv"),
    ],
)
def test_a_path_that_is_no_file_of_rows_is_explained(tmp_path, path, error, message):
    write(tmp_path / "train.csv", CSV)
    (tmp_path / "folder").mkdir()
    write(tmp_path / "rows.xlsx", b"PK\x03\x04")
    write(tmp_path / "rows.xml", "<rows/>")
    with pytest.raises(error, match=message):
        load(tmp_path / path)


def test_a_url_is_no_path(tmp_path):
    with pytest.raises(ValueError, match="https://example.org/train.csv is a URL. Download the file first"):
        load("https://example.org/train.csv")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("version https://git-lfs.github.com/spec/v1\noid sha256:abc\nsize 3\n", "is a Git LFS pointer"),
        ("<!DOCTYPE html>\n<html>text,label</html>", "is a web page"),
        (b"PAR1\x15\x04", "is a Parquet file. Rename it"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1", "is a Microsoft Office file"),
    ],
)
def test_a_file_that_is_something_else_is_named(tmp_path, content, message):
    with pytest.raises(ValueError, match=rf"rows.csv {message}"):
        load(write(tmp_path / "rows.csv", content))
    if isinstance(content, str) and "lfs" in content:
        with pytest.raises(ValueError, match="Git LFS pointer"):
            load(write(tmp_path / "rows.parquet", content))


def test_links_are_followed(tmp_path):
    real = write(tmp_path / "real.csv", CSV)
    os.symlink(real, tmp_path / "link.csv")
    assert texts(load(tmp_path / "link.csv")) == TEXTS
    os.symlink(tmp_path / "gone.csv", tmp_path / "broken.csv")
    with pytest.raises(FileNotFoundError, match="broken.csv"):
        load(tmp_path / "broken.csv")


def test_several_files_of_a_split_are_one_after_another(tmp_path):
    first, second = write(tmp_path / "a.csv", CSV), write(tmp_path / "b.tsv", "Label\tText\nbad\tdull\n")
    task = load([first, second])
    assert (texts(task), labels(task)) == ([*TEXTS, "dull"], ["good", "bad", "bad"])
    assert [source.name for source, _ in task.summary["train"].sources] == ["a.csv", "b.tsv"]
    assert load_transfer_text([first, second])["text"][:] == [*TEXTS, "dull"]


def test_a_word_is_a_path_first_then_a_pattern_then_paths_with_commas(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("a.txt", "b.txt", "a.txt,b.txt", "[ab].txt"):
        write(tmp_path / name, "x\n")
    assert find_files("a.txt,b.txt") == ([tmp_path.__class__("a.txt,b.txt")], [])
    assert [path.name for path in find_files("[ab].txt")[0]] == ["[ab].txt"]
    (tmp_path / "a.txt,b.txt").unlink()
    (tmp_path / "[ab].txt").unlink()
    paths, notes = find_files("a.txt,b.txt")
    assert [path.name for path in paths] == ["a.txt", "b.txt"]
    assert notes == ["there is no file a.txt,b.txt: it is read as 2 files with commas between them"]
    paths, notes = find_files(["[ab].txt", "c.txt"])
    assert [path.name for path in paths] == ["a.txt", "b.txt", "c.txt"]
    assert "as a pattern it matches 2 files" in notes[0]
    assert [path.name for path in find_files("a.txt,c.txt")[0]] == ["a.txt", "c.txt"]  # reading it will say more


# --- Archives


def zstd(data):
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(data)
    return sink.getvalue().to_pybytes()


def zipped(**members):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file.getvalue()


PACK = {"gz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress, "zst": zstd}


@pytest.mark.parametrize("packed", PACK)
def test_a_packed_file_is_read_like_the_file(tmp_path, packed):
    path = write(tmp_path / f"rows.csv.{packed}", PACK[packed](CSV.encode()))
    assert texts(load(path)) == TEXTS
    assert texts(load(write(tmp_path / "rows.csv", PACK[packed](CSV.encode())))) == TEXTS  # the suffix is forgotten
    assert texts(load(write(tmp_path / f"plain.csv.{packed}", CSV))) == TEXTS  # unpacked by a browser
    with pytest.raises(ValueError, match=rf"cut.csv.{packed} is a damaged .{packed} archive"):
        load(write(tmp_path / f"cut.csv.{packed}", PACK[packed](CSV.encode() * 100)[:-12]))


def test_a_packed_parquet_file_is_read(tmp_path):
    Dataset.from_dict({"text": TEXTS, "label": ["x", "y"]}).to_parquet(tmp_path / "rows.parquet")
    packed = write(tmp_path / "rows.parquet.gz", gzip.compress((tmp_path / "rows.parquet").read_bytes()))
    assert texts(load(packed)) == TEXTS


def test_a_zip_file_holds_one_file(tmp_path):
    one = zipped(**{"export/train.tsv": CSV.replace(",", "\t"), "__MACOSX/export/._train.tsv": "x", "export/": ""})
    task = load(write(tmp_path / "rows.zip", one))
    assert texts(task) == TEXTS
    assert task.summary["train"].sources[0][0].name == "rows.zip/train.tsv"
    with pytest.raises(ValueError, match="rows.zip holds 2 files: a.csv, b.csv. Unpack the archive"):
        load(write(tmp_path / "rows.zip", zipped(**{"a.csv": CSV, "b.csv": CSV})))
    with pytest.raises(ValueError, match="rows.zip cannot be unpacked"):
        load(write(tmp_path / "rows.zip", one[:-30]))


def test_help_and_errors_know_every_suffix(tmp_path):
    with pytest.raises(ValueError, match="Expected one of") as error:
        read_file(write(tmp_path / "rows.odd", "a b\nc\n"))
    assert all(suffix in str(error.value) for suffix in READERS)


# --- Parquet


@pytest.mark.parametrize("limit", [1 << 26, 0])
def test_a_parquet_file_that_is_overwritten_is_read_anew(tmp_path, monkeypatch, limit):
    monkeypatch.setattr(columnar, "_IN_MEMORY", limit)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    path = tmp_path / "rows.parquet"
    for text in ("old row", "new row"):
        pq.write_table(pa.table({"text": [text, text], "label": ["x", "y"]}), path)
        os.utime(path, (1e9, 1e9))
        task = load(path)
        assert texts(task) == [text, text]
    assert bool(list(tmp_path.glob("cache/hf_distill/*.arrow"))) == (limit == 0)
    assert bool(task.datasets["train"].cache_files) == (limit == 0)


@pytest.mark.parametrize("limit", [1 << 26, 0])
def test_every_type_of_text_of_a_parquet_file_is_read(tmp_path, monkeypatch, limit):
    monkeypatch.setattr(columnar, "_IN_MEMORY", limit)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    arrays = [
        pa.array(TEXTS, pa.string_view()),
        pa.array(TEXTS, pa.large_string()),
        pa.array([text.encode() for text in TEXTS], pa.binary()),
        pa.array(TEXTS).dictionary_encode(),
    ]
    for place, array in enumerate(arrays):
        path = tmp_path / f"{place}.parquet"
        pq.write_table(pa.table({"text": array, "label": pa.array(["x", None]).dictionary_encode()}), path)
        assert texts(load(path, problem_type="multi_label_classification")) == TEXTS


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (pa.table({"text": [b"\xff", b"b"], "label": ["x", "y"]}), r"'text' does not hold text but bytes.*\(binary\)"),
        (pa.table([["a"], ["x"], ["y"]], names=["text", "label", "label"]), "two columns of the same name 'label'"),
        (pa.table({"text": [["a"], ["b"]], "label": ["x", "y"]}), "which column is the text"),
    ],
)
def test_columns_of_parquet_that_are_no_text_are_refused(tmp_path, table, message):
    pq.write_table(table, tmp_path / "rows.parquet")
    with pytest.raises(ValueError, match=rf"rows.parquet.*{message}"):
        load(tmp_path / "rows.parquet")


def test_columns_of_unknown_types_do_not_matter_unless_they_are_asked_for(tmp_path):
    odd = pa.array([[("a", 1)], []], pa.map_(pa.string(), pa.int8()))
    pq.write_table(pa.table({"text": TEXTS, "label": ["x", "y"], "odd": odd}), tmp_path / "rows.parquet")
    task = load(tmp_path / "rows.parquet")
    assert texts(task) == TEXTS
    assert "left out: odd" in str(task.summary)


def test_a_broken_parquet_file_is_named(tmp_path):
    with pytest.raises(ValueError, match="rows.parquet cannot be read as Parquet"):
        load(write(tmp_path / "rows.parquet", b"PAR1 and not much more"))


def test_column_names_of_a_table_do_not_split_the_texts_of_another_file(tmp_path):
    names = {"column_names": ["text", "label"]}
    path = write(tmp_path / "texts.txt", "one text\nanother, longer text\na third one\n")
    assert load_transfer_text(path, **names)["text"][:] == ["one text", "another, longer text", "a third one"]
    assert "not read as a table" in read_file(path, ReadOptions(column_names=("text", "label"))).source.notes[0]
    table = write(tmp_path / "table.txt", "a warm film\tgood\nslow\tbad\n")
    assert labels(load(table, **names)) == ["good", "bad"]


def test_a_url_is_refused_as_it_was_written():
    with pytest.raises(ValueError, match=r"https://example.org/rows.csv is a URL"):
        find_files(["https://example.org/rows.csv"])


def test_a_file_that_is_named_twice_is_refused(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("text,label\na,x\nb,y\n")
    for words in ([path, path], [f"{path},{path}"], [path, tmp_path / "." / "rows.csv"]):
        with pytest.raises(ValueError, match="is named twice, so its rows would count twice"):
            find_files(words)
