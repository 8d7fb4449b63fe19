"""Evaluation rows that trained a model are refused or named; rows that chose its checkpoint are named."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
from datasets import ClassLabel, Dataset, Features, Value
from records import RECORD
from tiny import LABEL_NAMES, tiny_model, tiny_rows

from hf_distill import compare_models
from hf_distill.data.seen_rows import (
    ROWS_NAME,
    checksum_of,
    hash_rows_of,
    hash_texts,
    read_row_hashes,
    write_row_hashes,
)
from hf_distill.pipeline.training import row_hashes_of

QUICK = {"latency_rounds": 0, "num_resamples": 100}
TEXTS = [f"{row['text']} {i}" for i, row in enumerate(tiny_rows(100, seed=3))]


@pytest.fixture(scope="module")
def dataset():
    features = Features({"text": Value("string"), "label": ClassLabel(names=LABEL_NAMES)})
    return Dataset.from_dict({"text": TEXTS, "label": [i % 3 for i in range(100)]}, features=features)


@pytest.fixture(scope="module")
def teacher():
    return tiny_model(2, seed=1)


@pytest.fixture
def student(tmp_path, tokenizer):
    """Return a function that writes a student which has seen these rows."""

    def write(**texts):
        tiny_model(1, seed=8).save_pretrained(tmp_path)  # the model of tests/export
        tokenizer.save_pretrained(tmp_path)
        hashes = {split: np.unique(hash_texts(rows)) for split, rows in texts.items()}
        write_row_hashes(tmp_path, hashes)
        (tmp_path / "distillation.json").write_text(json.dumps({**RECORD, "row_hashes": checksum_of(hashes)}))
        return tmp_path

    return write


def compare(teacher, student, dataset, tokenizer, **changes):
    return compare_models({"teacher": teacher, "student": student}, dataset, tokenizer, **QUICK, **changes).to_dict()


def test_the_hash_of_a_text_ignores_white_space_at_its_ends_and_its_amount():
    first, *others = hash_texts([" a  film\n", "a film", "a film.", "A film", ("a", "film")])
    assert first == others[0]
    assert len({first, *others}) == 4


def test_a_million_rows_need_eight_megabytes_and_are_read_as_they_were_written(tmp_path):
    hashes = {"train": np.arange(1_000_000, dtype=np.uint64) << np.uint64(40), "transfer": np.array([7], np.uint64)}
    write_row_hashes(tmp_path, hashes)
    assert 8_000_000 < (tmp_path / ROWS_NAME).stat().st_size < 8_001_000
    read = read_row_hashes(tmp_path, checksum_of(hashes))
    assert all((read[split] == hashes[split]).all() for split in hashes)


def test_a_file_of_another_run_is_not_used_and_a_damaged_one_is_named(tmp_path):
    hashes = hash_rows_of({"train": Dataset.from_dict({"text": ["a", "b", "a"]})}, ["text"])
    assert len(hashes["train"]) == 2
    write_row_hashes(tmp_path, hashes)
    assert read_row_hashes(tmp_path, "0" * 32) is None
    assert read_row_hashes(tmp_path, None) is None
    (tmp_path / ROWS_NAME).write_bytes(b"PK\x03\x04 cut")
    with pytest.raises(ValueError, match=f"{ROWS_NAME} cannot be read"):
        read_row_hashes(tmp_path, checksum_of(hashes))


def test_rows_of_a_dataset_are_hashed_in_its_own_order_of_rows():
    rows = Dataset.from_dict({"a": ["x", "y", "z"], "b": ["1", "2", "3"]}).select([2, 1])
    expected = np.unique(hash_texts([("z", "3"), ("y", "2")]))
    assert (hash_rows_of({"train": rows}, ["a", "b"])["train"] == expected).all()


@pytest.mark.parametrize("split", ["train", "transfer"])
def test_rows_that_trained_the_student_are_refused_with_examples(teacher, student, dataset, tokenizer, split):
    path = student(**{split: [" ".join(text.split()) + " " for text in TEXTS[40:91]]})
    with pytest.raises(ValueError, match=r"51 of 100 evaluation rows trained the model 'student' \(rows 41, 42, 43"):
        compare(teacher, path, dataset, tokenizer)
    report = compare(teacher, path, dataset, tokenizer, allow_training_rows=True)
    assert report["models"]["student"]["seen_rows"]["trained"] == 51
    assert " 51 of the 100 rows trained it, so its score is too high." in report["verdict"]["sentence"]


def test_a_part_of_the_rows_is_named_with_the_scores_on_the_other_rows(teacher, student, dataset, tokenizer):
    report = compare(teacher, student(train=["another text", *TEXTS[:4]]), dataset, tokenizer)
    others = compare(teacher, student(train=["another text"]), dataset.select(range(4, 100)), tokenizer)
    seen = report["models"]["student"]["seen_rows"]
    assert (seen["trained"], seen["chose"], seen["examples"]) == (4, 0, [1, 2, 3, 4])
    assert seen["without"] == {
        "model": others["models"]["student"]["metrics"]["accuracy"]["value"],
        "teacher": others["models"]["teacher"]["metrics"]["accuracy"]["value"],
    }
    (note,) = (note for note in report["notes"] if "have a text that trained the student" in note)
    assert note.startswith("4 of 100 rows have a text that trained the student (rows 1, 2, 3, 4). On the other rows")
    assert "trained it" not in report["verdict"]["sentence"]
    assert others["models"]["student"]["seen_rows"]["without"] is None


def test_rows_that_chose_the_checkpoint_are_named_in_the_verdict(teacher, student, dataset, tokenizer):
    report = compare(teacher, student(train=["a"], validation=TEXTS, test=TEXTS), dataset, tokenizer)
    assert report["models"]["student"]["seen_rows"] == {"trained": 0, "chose": 100, "examples": [], "without": None}
    assert report["verdict"]["sentence"].endswith(
        " 100 of the 100 rows are validation rows of its training, which can choose the checkpoint, so its score can "
        "be slightly too high."
    )


def test_each_candidate_that_has_seen_the_rows_is_named_in_its_own_verdict(teacher, student, dataset, tokenizer):
    models = {"teacher": teacher, "other": tiny_model(1, seed=9), "student": student(train=["a"], validation=TEXTS)}
    verdicts = compare_models(models, dataset, tokenizer, **QUICK).to_dict()["verdict"]["by_model"]
    assert ["validation rows of its training" in verdicts[name] for name in ("other", "student")] == [False, True]


def test_what_an_older_run_has_seen_is_unknown_and_said(teacher, student, dataset, tokenizer):
    path = student(train=TEXTS)
    (path / "distillation.json").write_text(json.dumps(RECORD))
    report = compare(teacher, path, dataset, tokenizer)
    assert report["models"]["student"]["seen_rows"] is None
    assert any(note.startswith("It is unknown which rows trained the teacher, student:") for note in report["notes"])


@pytest.mark.usefixtures("known_graphs")
def test_an_export_in_the_folder_of_its_model_has_seen_the_same_rows(teacher, student, dataset, tokenizer):
    export = pytest.importorskip("hf_distill.export")
    path = student(train=TEXTS[:4])
    export.export_model(tiny_model(1, seed=8), path / "onnx", processing_class=tokenizer)
    tiny_model(1, seed=3).save_pretrained(path / "other")  # a model beside it is not an export
    tokenizer.save_pretrained(path / "other")
    models = {"teacher": teacher, "onnx": path / "onnx", "other": path / "other"}
    report = compare_models(models, dataset, tokenizer, **QUICK).to_dict()["models"]
    assert report["onnx"]["seen_rows"]["trained"] == 4
    assert report["other"]["seen_rows"] is None


def test_rows_that_trained_the_initial_model_of_a_student_have_trained_it_too(student):
    path = student(train=TEXTS[:4], transfer=TEXTS[3:6], validation=TEXTS[50:])
    model = tiny_model(1)
    model.config.name_or_path = str(path)
    task = SimpleNamespace(datasets={"train": Dataset.from_dict({"text": ["a"]})}, text_columns=["text"])
    hashes = row_hashes_of(model, SimpleNamespace(task=task, transfer=None))
    assert {split: len(values) for split, values in hashes.items()} == {"train": 1, "train_before": 6}
    model.config.name_or_path = ""
    assert row_hashes_of(model, SimpleNamespace(task=task, transfer=None)).keys() == {"train"}


def test_shifted_rows_that_trained_a_model_are_refused_too(teacher, student, dataset, tokenizer):
    other = Dataset.from_dict({"text": ["a new text", "one more"], "label": [0, 1]}, features=dataset.features)
    path = student(train=["a new text", "one more"])
    with pytest.raises(ValueError, match="2 of 2 shifted rows trained the model"):
        compare(teacher, path, dataset, tokenizer, shifted_dataset=other)
