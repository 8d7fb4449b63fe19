"""Folders: which file is of which split, read like the single files."""

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import ClassLabel, Dataset, DatasetDict, Features, Value
from rows import labels, load, texts, write, write_json_lines

from hf_distill.data import load_text_dataset, load_transfer_text

CSV = "text,label\na film,good\nslow,bad\n"
CARD = "---\nconfigs:\n{configs}---\n# A dataset\n"


def folder(tmp_path, *names, **contents):
    for name in names:
        write(tmp_path / "data" / name, CSV.replace("a film", name).replace("slow", f"no {name}"))
    for name, content in contents.items():
        write(tmp_path / "data" / name.replace("__", "/").replace("_csv", ".csv"), content)
    return str(tmp_path / "data")


def load_folder(name, **arguments):
    return load_text_dataset(dataset_name=name, **{"needs_validation": False, **arguments})


@pytest.mark.parametrize(
    ("names", "splits"),
    [
        (["train.csv", "dev.csv", "test.csv"], ["train", "validation", "test"]),
        (["mail.training.csv", "mail.valid.csv"], ["train", "validation"]),
        (["corpus2024train.csv", "corpus2024val.csv"], ["train", "validation"]),
        (["train/a.csv", "test/a.csv"], ["train", "test"]),
        (["data/train-00000-of-00001.csv", "data/eval-00000-of-00001.csv"], ["train", "test"]),
        (["rows.csv"], ["train"]),
        (["train.csv", ".hidden.csv", ".git/test.csv", "__pycache__/dev.csv"], ["train"]),
    ],
)
def test_names_of_files_and_folders_say_the_split(tmp_path, names, splits):
    task = load_folder(folder(tmp_path, *names))
    assert list(task.datasets) == splits
    assert texts(task)[0] == names[0]


def test_parts_of_a_split_come_in_the_order_of_their_numbers(tmp_path):
    names = ["train-1.csv", "train-2.csv", "train-10.csv"]
    task = load_folder(folder(tmp_path, *reversed(names)))
    assert texts(task)[::2] == names
    assert [source.name for source, _ in task.summary["train"].sources] == names


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["en/train.csv", "de/train.csv"], "de/train.csv, en/train.csv in several folders.*--dataset_config_name"),
        (["train_a.csv", "train_b.csv"], "differ by more than a number.*--train_file"),
        (["one.csv", "two.csv"], "differ by more than a number.*rename them to train, validation and test"),
        (["train/pos/0.txt", "train/neg/1.txt"], "a folder for each label and a file for each text.*`label`"),
        (["notes.xml"], "has no file that can be read. Expected files that end in .csv, .tsv"),
    ],
)
def test_where_it_is_open_which_file_is_meant_the_files_are_listed(tmp_path, names, message):
    with pytest.raises(ValueError, match=message):
        load_folder(folder(tmp_path, *names))


def test_the_same_rows_twice_are_refused(tmp_path):
    name = folder(tmp_path, "train.csv")
    write_json_lines(tmp_path / "data" / "train.jsonl", {"text": "a", "label": "x"})
    with pytest.raises(ValueError, match=r"train.csv, train.jsonl .*several formats, which may contain the same rows"):
        load_folder(name)
    (tmp_path / "data" / "train.jsonl").unlink()
    write(tmp_path / "data" / "train (1).csv", (tmp_path / "data" / "train.csv").read_bytes())
    with pytest.raises(ValueError, match="Two of these files have the same content"):
        load_folder(name)


def test_files_that_are_not_of_a_split_are_not_read_and_said(tmp_path, caplog):
    name = folder(
        tmp_path, "train.csv", "test.csv", "sample_submission.csv", "labels.txt", "README.md", "teacher.json"
    )
    task = load_folder(name)
    assert list(task.datasets) == ["train", "test"]
    assert "not read: labels.txt, sample_submission.csv" in caplog.text
    assert "not read: labels.txt, sample_submission.csv" in task.summary.to_dict()["notes"]


def test_a_folder_is_read_like_its_files(tmp_path):
    odd = 'text\tlabel\n"warm film\t01\nNA\t02\n"great" fun\t01\nnull\t02\nNone\t10\n'
    path = write(tmp_path / "data" / "train.tsv", odd)
    from_folder, from_file = load_folder(str(path.parent)), load(path)
    assert texts(from_folder) == texts(from_file) == ['"warm film', "NA", '"great" fun', "null", "None"]
    assert from_folder.label_names == from_file.label_names == ["01", "02", "10"]
    assert from_folder.summary["train"].sha256 == from_file.summary["train"].sha256
    numbers = write(tmp_path / "numbers" / "train.csv", "text,label\na,1\nb,\nc,0\n")
    assert labels(load_folder(str(numbers.parent))) == ["1", None, "0"]
    stance = write(tmp_path / "stance" / "train.csv", "text,label\na,None\nb,FAVOR\n")
    assert labels(load_folder(str(stance.parent))) == ["None", "FAVOR"]


def test_every_split_may_have_columns_of_its_own(tmp_path):
    name = folder(tmp_path, "train.csv", dev_csv="id,TEXT,label,note\n1,c,good,n\n", test_csv="index,text\n0,d\n")
    task = load_folder(name)
    assert (texts(task, "validation"), labels(task, "validation")) == (["c"], ["good"])
    assert (texts(task, "test"), labels(task, "test")) == (["d"], [None])
    assert task.summary["validation"].not_read == ["id", "note"]
    assert task.summary["test"].labelled_rows is None


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (CSV.replace("slow", "a, b, c"), "train.csv, line 3: 4 columns"),
        (CSV.replace("slow", "déçu").encode("latin-1"), "train.csv, line 3, byte 2.*encod"),
    ],
)
def test_what_is_wrong_in_a_file_of_a_folder_is_said_in_one_line(tmp_path, content, message):
    with pytest.raises(ValueError, match=message) as error:
        load_folder(folder(tmp_path, train_csv=content))
    assert "\n" not in str(error.value)
    assert "Traceback" not in str(error.value)


def test_brackets_in_a_folders_name_are_no_pattern(tmp_path):
    for name, text in (("v[1]", "right"), ("v1", "other"), ("[2024] export", "third")):
        write(tmp_path / name / "train.csv", f"text,label\n{text},x\n{text} again,y\n")
    assert texts(load_folder(str(tmp_path / "v[1]")))[0] == "right"
    assert texts(load_folder(str(tmp_path / "[2024] export")))[0] == "third"


# --- Validation


def test_a_folder_of_train_and_test_trains_with_the_split_that_is_named(tmp_path):
    name = folder(tmp_path, "train.csv", "test.csv")
    with pytest.raises(ValueError, match=r"only train, test. Pass --validation_file .*--validation_split_name test"):
        load_text_dataset(dataset_name=name)
    task = load_text_dataset(dataset_name=name, validation_split_name="test")
    assert list(task.datasets) == ["train", "validation"]
    assert texts(task, "validation")[0] == "test.csv"
    assert "the split 'test' is used for validation (by flag)" in str(task.summary)
    with pytest.raises(ValueError, match="`|--validation_split_name is 'tset'; the splits are"):
        load_text_dataset(dataset_name=name, validation_split_name="tset")


def test_a_split_that_is_named_takes_the_place_of_the_validation_split(tmp_path):
    task = load_folder(folder(tmp_path, "train.csv", "dev.csv", "test.csv"), validation_split_name="test")
    assert list(task.datasets) == ["train", "validation"]
    assert texts(task, "validation")[0] == "test.csv"
    assert "instead of 'validation'" in str(task.summary)


def test_a_file_takes_the_place_of_a_split(tmp_path):
    name = folder(tmp_path, "train.csv", "dev.csv")
    other = write(tmp_path / "other.csv", CSV)
    task = load_text_dataset(dataset_name=name, train_file=other)
    assert (texts(task)[0], texts(task, "validation")[0]) == ("a film", "dev.csv")


# --- Cards


def test_a_card_says_the_files_the_splits_and_the_classes(tmp_path):
    card = """---
dataset_info:
  features:
  - name: text
    dtype: string
  - name: label
    dtype:
      class_label:
        names:
          '0': no
          '1': yes
configs:
- config_name: default
  data_files:
  - split: train
    path: part-*.csv
  - split: dev
    path: c.csv
---
"""
    for name in ("part-1.csv", "part-2.csv", "c.csv"):
        write(tmp_path / "data" / name, f"text,label\n{name},1\nno {name},0\nopen {name},-1\n")
    write(tmp_path / "data" / "README.md", card)
    task = load_text_dataset(dataset_name=str(tmp_path / "data"))
    assert task.label_names == ["no", "yes"]
    assert labels(task) == ["yes", "no", None] * 2
    assert texts(task, "validation")[0] == "c.csv"
    assert "the split 'dev' is used as 'validation'" in str(task.summary)


CONFIGS = {
    "two": "- config_name: big\n  data_files: big/train.csv\n- config_name: small\n  data_files: small/train.csv\n",
    "default": "- config_name: big\n  data_files: big/train.csv\n- config_name: small\n  default: true\n"
    "  data_files: small/train.csv\n",
    "folder": "- config_name: big\n  data_dir: big\n",
}


def test_one_of_several_configurations_is_named_by_the_flag(tmp_path):
    name = folder(tmp_path, "big/train.csv", "small/train.csv")
    write(tmp_path / "data" / "README.md", CARD.format(configs=CONFIGS["two"]))
    with pytest.raises(ValueError, match="configurations big, small. Name one of them with --dataset_config_name"):
        load_folder(name)
    assert texts(load_folder(name, dataset_config_name="small"))[0] == "small/train.csv"
    with pytest.raises(ValueError, match="no configuration 'nope', only big, small"):
        load_folder(name, dataset_config_name="nope")
    write(tmp_path / "data" / "README.md", CARD.format(configs=CONFIGS["default"]))
    assert texts(load_folder(name))[0] == "small/train.csv"
    write(tmp_path / "data" / "README.md", CARD.format(configs=CONFIGS["folder"]))
    assert texts(load_folder(name))[0] == "big/train.csv"
    (tmp_path / "data" / "README.md").unlink()
    assert texts(load_folder(name, dataset_config_name="big"))[0] == "big/train.csv"
    with pytest.raises(ValueError, match="no configuration 'nope'.*the folders inside are big, small"):
        load_folder(name, dataset_config_name="nope")


@pytest.mark.parametrize(
    ("configs", "message"),
    [
        ("- config_name: a\n  data_files: none/*.csv\n", "no file matches none/\\*.csv, which the card lists"),
        ("- config_name: a\n  data_files: ../x.csv\n", "is outside the folder"),
        ("- config_name: a\n  data_files: /etc/hostname\n", "is outside the folder"),
        ("- config_name: a\n  data_dir: ../\n", "is outside the folder"),
        ("- config_name: [\n", "its header is not YAML"),
    ],
)
def test_a_card_that_cannot_be_followed_is_refused(tmp_path, configs, message):
    name = folder(tmp_path, "train.csv")
    write(tmp_path / "data" / "README.md", CARD.format(configs=configs))
    with pytest.raises(ValueError, match=message):
        load_folder(name)


def test_parquet_parts_and_a_card_have_named_classes(tmp_path):
    features = Features({"text": Value("string"), "label": ClassLabel(names=["b", "a"])})
    for i in range(2):
        rows = Dataset.from_dict({"text": [f"{i}"], "label": [i]}, features=features)
        (tmp_path / "data").mkdir(exist_ok=True)
        rows.to_parquet(tmp_path / "data" / f"train-0000{i}-of-00002.parquet")
    task = load_folder(str(tmp_path / "data"))
    assert (task.label_names, labels(task)) == (["b", "a"], ["b", "a"])


# --- Saved datasets, and what is no folder


def test_saved_datasets_are_read(tmp_path):
    rows = Dataset.from_dict({"text": ["a", "b", "c"], "label": ["x", "y", "x"]})
    rows.select([2, 1]).save_to_disk(str(tmp_path / "one [x]"))
    assert texts(load_folder(str(tmp_path / "one [x]"))) == ["c", "b"]
    assert load_transfer_text(dataset_name=str(tmp_path / "one [x]"))["text"][:] == ["c", "b"]
    DatasetDict(train=rows, valid=rows, extra=rows).save_to_disk(str(tmp_path / "several"))
    task = load_text_dataset(dataset_name=str(tmp_path / "several"))
    assert list(task.datasets) == ["train", "validation"]
    assert "splits not read: extra" in str(task.summary)


def test_text_to_distil_on_is_the_train_split_unless_another_is_named(tmp_path):
    name = folder(tmp_path, "test.csv")
    with pytest.raises(ValueError, match="has no split 'train', only test"):
        load_transfer_text(dataset_name=name)
    assert len(load_transfer_text(dataset_name=name, split="test")) == 2


@pytest.mark.parametrize("name", ["./none", "~/none-of-these", "/none/of/these"])
def test_a_folder_that_is_not_there_is_not_looked_for_on_the_hub(name):
    with pytest.raises(FileNotFoundError, match="There is no folder"):
        load_folder(name)


def test_a_file_and_an_unknown_id_are_explained(tmp_path):
    with pytest.raises(ValueError, match="is a file. Pass it with --train_file"):
        load_folder(str(write(tmp_path / "rows.csv", CSV)))
    with pytest.raises(OSError, match="'user/no_such_dataset' cannot be loaded.*searched on the Hub") as error:
        load_folder("user/no_such_dataset")
    assert "\n" not in str(error.value)


def test_a_dataset_of_the_hub_is_read_like_a_file(tmp_path, monkeypatch):
    """`load_dataset` reads a folder as it reads a repository, here with labels that are floats because of a null."""
    pq.write_table(pa.table({"text": ["a", "b", "c"], "label": [1.0, None, 0.0]}), tmp_path / "train.parquet")
    loaded = datasets.load_dataset(
        "parquet", data_files=str(tmp_path / "train.parquet"), cache_dir=str(tmp_path / "c")
    )
    monkeypatch.setattr("hf_distill.data.reading.hub.load_dataset", lambda *_, **__: loaded)
    with pytest.raises(ValueError, match="user/some, split 'train': the label column 'label' holds numbers without"):
        load_folder("user/some")
    task = load_folder("user/some", problem_type="single_label_classification")
    assert labels(task) == ["1", None, "0"]
    assert task.datasets["train"].cache_files


@pytest.mark.parametrize(("numbers", "missing"), [((0, 2), 1), ((1, 2), 3), ((0, 1), 2)])
def test_a_missing_shard_is_named(tmp_path, numbers, missing):
    for number in numbers:
        (tmp_path / f"train-{number:05}-of-00003.csv").write_text(f"text,label\na{number},x\nb{number},y\n")
    with pytest.raises(ValueError, match=f"there are 3 files, and number {missing} is missing"):
        load_text_dataset(dataset_name=str(tmp_path), needs_validation=False)


@pytest.mark.parametrize("start", [0, 1])
def test_all_shards_are_read(tmp_path, start):
    for number in range(start, start + 3):
        (tmp_path / f"train-{number:05}-of-00003.csv").write_text(f"text,label\na{number},x\nb{number},y\n")
    assert len(load_text_dataset(dataset_name=str(tmp_path), needs_validation=False).datasets["train"]) == 6
