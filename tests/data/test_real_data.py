"""Real datasets in their original files: the same rows as files, as a folder, and by `load_task`."""

import os
from pathlib import Path

import pytest

from hf_distill.data import GLUE_TASKS, load_task, load_text_dataset, load_transfer_text

DATA = Path(os.environ.get("HF_DISTILL_DATA") or "/nonexistent")
pytestmark = pytest.mark.skipif(
    not DATA.is_dir(), reason="set HF_DISTILL_DATA to a folder with glue/, banking77/, goemotions/ and wnut17/"
)
GLUE = DATA / "glue"
ROWS = {
    "sst2": {"train": 67349, "validation": 872, "test": 1821},
    "cola": {"train": 8551, "validation": 1043, "test": 1063},
    "mrpc": {"train": 3668, "validation": 408, "test": 1725},
    "rte": {"train": 2490, "validation": 277, "test": 3000},
    "stsb": {"train": 5749, "validation": 1500, "test": 1379},
    "wnli": {"train": 635, "validation": 71, "test": 146},
    "qnli": {"validation": 5463, "test": 5463},
    "ax": {"test": 1104},
}


def columns_of(name):
    """What a user says of the columns, the classes and the missing header."""
    spec = GLUE_TASKS[name]
    given = {"text_column_names": list(spec.text_headers or spec.text_columns), "label_column_name": spec.label_header}
    if spec.label_names is not None:
        given["class_names"] = list(spec.label_names)
    if name == "cola":
        given["column_names"] = ["source", "label", "mark", "sentence"]
    return given


@pytest.mark.parametrize("name", ROWS)
def test_the_original_files_have_as_many_rows_as_published(name):
    assert {split: len(dataset) for split, dataset in load_task(name, GLUE).datasets.items()} == ROWS[name]


@pytest.mark.parametrize("name", [name for name in ROWS if name != "ax"])
def test_glue_is_the_same_as_files_as_a_folder_and_as_a_task(name):
    spec, task = GLUE_TASKS[name], load_task(name, GLUE)
    files = {f"{split}_file": GLUE / spec.folder / spec.files[split] for split in task.datasets}
    for other in (
        load_text_dataset(**files, **columns_of(name)),
        load_text_dataset(dataset_name=str(GLUE / spec.folder), **columns_of(name)),
    ):
        assert (other.label_names, other.problem_type) == (task.label_names, task.problem_type)
        for split in task.datasets:
            assert other.summary[split].sha256 == task.summary[split].sha256
            for ours, theirs in zip(other.text_columns, task.text_columns, strict=True):
                assert other.datasets[split][ours][:] == task.datasets[split][theirs][:]
            assert repr(other.datasets[split]["label"][:]) == repr(task.datasets[split]["label"][:])


def test_the_diagnostic_set_is_the_same_as_text_and_as_a_task():
    task = load_task("ax", GLUE)
    for source in ({"file": GLUE / "diagnostic" / "diagnostic.tsv"}, {"dataset_name": str(GLUE / "diagnostic")}):
        text = load_transfer_text(**source, text_column_names=task.text_columns)
        assert text.to_dict() == task.datasets["test"].remove_columns("label").to_dict()


def test_banking77_is_the_same_as_files_and_as_a_folder():
    folder = DATA / "banking77"
    whole = load_text_dataset(dataset_name=str(folder), label_column_name="category", validation_split_name="test")
    files = load_text_dataset(
        train_file=folder / "train.csv", validation_file=folder / "test.csv", label_column_name="category"
    )
    assert {split: len(rows) for split, rows in whole.datasets.items()} == {"train": 10003, "validation": 3080}
    assert len(whole.label_names) == 77
    assert [whole.summary[s].sha256 for s in whole.datasets] == [files.summary[s].sha256 for s in files.datasets]


def test_goemotions_is_the_same_as_files_and_as_a_folder():
    folder = DATA / "goemotions"
    given = {
        "column_names": ["text", "labels", "comment_id"],
        "label_delimiter": ",",
        "class_names": (folder / "labels.txt").read_text().split(),
    }
    whole = load_text_dataset(dataset_name=str(folder), **given)
    names = {"train_file": "train.tsv", "validation_file": "dev.tsv", "test_file": "test.tsv"}
    files = load_text_dataset(**{flag: folder / name for flag, name in names.items()}, **given)
    assert [len(rows) for rows in whole.datasets.values()] == [43410, 5426, 5427]
    assert (whole.problem_type, len(whole.label_names)) == ("multi_label_classification", 28)
    assert [whole.summary[s].sha256 for s in whole.datasets] == [files.summary[s].sha256 for s in files.datasets]
    assert sum('""' in text for text in whole.datasets["train"]["text"]) == 2  # pandas quoted the cells


def test_wnut17_is_the_same_as_files_and_as_a_folder():
    folder = DATA / "wnut17"
    whole = load_text_dataset(dataset_name=str(folder))
    files = load_text_dataset(
        train_file=folder / "wnut17train.conll",
        validation_file=folder / "emerging.dev.conll",
        test_file=folder / "emerging.test.annotated",
    )
    assert [len(rows) for rows in whole.datasets.values()] == [3394, 1009, 1287]
    assert len(whole.label_names) == 13
    assert [whole.summary[s].sha256 for s in whole.datasets] == [files.summary[s].sha256 for s in files.datasets]
