"""Evaluation rows that trained the teacher are named before the training, and `compare` is then not offered."""

import csv
import json
import shutil

import pytest
from command_line import flags

from hf_distill.cli import main
from hf_distill.data.seen_rows import ROWS_NAME, checksum_of, hash_texts, write_row_hashes
from hf_distill.record import RECORD_NAME, read_record

REFUSED = (
    "24 of 24 validation rows trained the teacher (distillation_rows.npz), so its score and every retention here are "
    "too good. Pass rows that the teacher has not seen; `hf-distill compare` refuses these."
)


@pytest.fixture(scope="module")
def run(folder, tmp_path_factory):
    """A run that fine-tuned its teacher on train.csv."""
    out = tmp_path_factory.mktemp("run") / "out"
    main(["train", *flags(folder, out, teacher_num_train_epochs=1), "--fine_tune_teacher"])
    return out


@pytest.fixture
def teacher(run, tmp_path):
    """The teacher of that run with other hashes of its training rows."""

    def write(texts):
        folder = shutil.copytree(run / "teacher", tmp_path / "teacher", dirs_exist_ok=True)
        hashes = {"train": hash_texts(sorted(set(texts)))}
        record = json.loads((folder / RECORD_NAME).read_text()) | {"row_hashes": checksum_of(hashes)}
        (folder / RECORD_NAME).write_text(json.dumps(record))
        write_row_hashes(folder, hashes)
        return folder

    return write


def texts_of(path):
    with path.open(newline="") as file:
        return [row["text"] for row in csv.DictReader(file)]


def test_rows_that_trained_the_teacher_are_named_recorded_and_not_compared(folder, run, tmp_path, capsys, caplog):
    changes = {"teacher_model_name_or_path": run / "teacher", "validation_file": folder / "train.csv"}
    words = flags(folder, tmp_path / "out", **changes)
    main(["train", *words, "--dry_run"])
    assert REFUSED in caplog.text
    caplog.clear()
    main(["train", *words])
    assert REFUSED in caplog.text
    assert REFUSED in read_record(tmp_path / "out")["dataset"]["warnings"]
    assert "- 24 of 24 validation rows trained the teacher" in (tmp_path / "out" / "README.md").read_text()
    following = capsys.readouterr().out.split("\nNext:\n")[1]
    assert [line.split()[1] for line in following.splitlines()] == ["export", "push"]


@pytest.mark.parametrize(("seen", "ends"), [(12, "has not seen."), (13, "`hf-distill compare` refuses these.")])
def test_compare_refuses_more_than_half(folder, teacher, tmp_path, caplog, seen, ends):
    texts = texts_of(folder / "validation.csv")
    assert len(set(texts)) == 24
    changes = {"teacher_model_name_or_path": teacher(texts[:seen])}
    main(["train", *flags(folder, tmp_path / "out", **changes), "--dry_run"])
    (message,) = [record.message for record in caplog.records if "trained the teacher" in record.message]
    assert message.startswith(f"{seen} of 24 validation rows trained the teacher")
    assert message.endswith(ends)


def test_test_rows_are_looked_up_as_well(folder, teacher, tmp_path, caplog):
    path = teacher(texts_of(folder / "train.csv"))
    changes = {"teacher_model_name_or_path": path, "test_file": folder / "train.csv"}
    main(["train", *flags(folder, tmp_path / "out", **changes), "--dry_run"])
    assert "24 of 24 test rows trained the teacher" in caplog.text
    assert "validation rows trained" not in caplog.text


def test_nothing_is_said_of_unseen_rows_or_of_a_teacher_that_the_run_fine_tunes(folder, run, tmp_path, caplog):
    words = flags(folder, tmp_path / "out", teacher_model_name_or_path=run / "teacher")
    main(["train", *words, "--dry_run"])
    held_out = flags(
        folder, tmp_path / "out", teacher_model_name_or_path=run / "teacher", validation_file=folder / "train.csv"
    )
    main(["train", *held_out, "--fine_tune_teacher", "--dry_run"])
    assert "trained the teacher" not in caplog.text


def test_a_damaged_file_is_named_before_the_training(folder, run, tmp_path, capsys):
    path = shutil.copytree(run / "teacher", tmp_path / "teacher")
    (path / ROWS_NAME).write_bytes(b"PK\x03\x04 cut")
    with pytest.raises(SystemExit, match="2"):
        main(["train", *flags(folder, tmp_path / "out", teacher_model_name_or_path=path)])
    assert f"{ROWS_NAME} cannot be read" in capsys.readouterr().err
