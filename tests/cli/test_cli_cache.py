"""`hf-distill cache`: texts with a teacher's logits, and students that are trained on them without the teacher."""

import csv
import json

import numpy as np
import pytest
import torch
from datasets import ClassLabel, Dataset
from hub_server import HubServer, run_against
from tiny import LABEL_NAMES, tiny_model, tiny_rows
from transformers import AutoConfig, AutoModelForSequenceClassification

from hf_distill.cli import main


def write_rows(path, rows):
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "label"])
        writer.writerows((row["text"], LABEL_NAMES[row["label"]]) for row in rows)


@pytest.fixture
def folder(tmp_path, tokenizer):
    """A teacher, a student, CSV files and unlabelled text."""
    for name, num_hidden_layers in (("teacher", 4), ("student", 2)):
        tiny_model(num_hidden_layers, seed=num_hidden_layers).save_pretrained(tmp_path / name)
        tokenizer.save_pretrained(tmp_path / name)
    write_rows(tmp_path / "train.csv", tiny_rows(24, 0))
    write_rows(tmp_path / "validation.csv", tiny_rows(24, 1))
    (tmp_path / "transfer.txt").write_text("\n".join(row["text"] for row in tiny_rows(10, seed=2)))
    return tmp_path


def cache(folder, **changes):
    values = {
        "teacher_model_name_or_path": folder / "teacher",
        "teacher_cache_dir": folder / "store",
        "output_dir": folder / "labelled",
        "use_cpu": True,
        **changes,
    }
    main(["cache", *(word for name, value in values.items() for word in (f"--{name}", str(value)))])


def train(folder, **changes):
    values = {
        "dataset_name": folder / "labelled",
        "student_model_name_or_path": folder / "student",
        "num_train_epochs": 1,
        "use_cpu": True,
        "output_dir": folder / "out",
        "overwrite_output_dir": True,
        **changes,
    }
    main(["train", *(word for name, value in values.items() if value for word in (f"--{name}", str(value)))])
    return json.loads((folder / "out" / "distillation.json").read_text())


def live_logits(folder, tokenizer, text):
    model = AutoModelForSequenceClassification.from_pretrained(folder / "teacher")
    with torch.no_grad():
        return model(**tokenizer(text, return_tensors="pt")).logits[0]


def test_the_logits_are_the_teachers_in_the_class_order_of_the_data(folder, tokenizer, capsys):
    config = AutoConfig.from_pretrained(folder / "teacher")
    config.id2label = dict(enumerate(["neutral", "positive", "negative"]))
    config.label2id = {name: i for i, name in config.id2label.items()}
    config.save_pretrained(folder / "teacher")
    cache(folder, train_file=folder / "train.csv")
    rows = Dataset.from_parquet(str(folder / "labelled" / "train.parquet"), cache_dir=str(folder / "hf"))
    assert isinstance(rows.features["label"], ClassLabel)
    for row, expected in zip(rows, tiny_rows(24, 0), strict=True):
        assert row["text"] == expected["text"]
        assert rows.features["label"].names[row["label"]] == LABEL_NAMES[expected["label"]]
        by_name = dict(zip(rows.features["label"].names, row["teacher_logits"], strict=True))
        live = live_logits(folder, tokenizer, row["text"])
        expected_logits = {config.id2label[i]: value for i, value in enumerate(live.tolist())}
        assert by_name == pytest.approx(expected_logits, abs=1e-5)


def test_a_student_is_trained_on_the_folder_without_a_teacher(folder, capsys):
    files = {name: folder / name for name in ("train.csv", "validation.csv", "transfer.txt")}
    cache(
        folder,
        train_file=files["train.csv"],
        validation_file=files["validation.csv"],
        transfer_file=files["transfer.txt"],
    )
    record = train(folder, baseline=True)
    assert (record["dataset"]["train_rows"], record["dataset"]["unlabelled_rows"]) == (24, 10)
    assert record["teacher"]["num_hidden_layers"] == 4
    assert record["metrics"].keys() == {"teacher", "student", "baseline"}
    # The same run with a live teacher gives the same student.
    with_teacher = {
        "teacher_model_name_or_path": folder / "teacher",
        "dataset_name": "",
        "output_dir": folder / "live",
    }
    main(
        ["train", *(w for n, v in {**with_teacher, "train_file": files["train.csv"],
         "validation_file": files["validation.csv"], "transfer_file": files["transfer.txt"],
         "student_model_name_or_path": folder / "student", "num_train_epochs": 1, "use_cpu": True}.items() if v
         for w in (f"--{n}", str(v)))]
    )  # fmt: skip
    live = json.loads((folder / "live" / "distillation.json").read_text())
    for name in ("loss", "loss_kl", "accuracy"):
        assert record["metrics"]["student"][name] == pytest.approx(live["metrics"]["student"][name], rel=1e-4)


def test_logits_without_a_known_order_need_their_class_names(folder, capsys):
    files = {f"{split}_file": folder / f"{split}.csv" for split in ("train", "validation")}
    cache(folder, **files)
    expected = train(folder)["metrics"]["student"]["loss_kl"]
    single_files = {f"{split}_file": folder / "labelled" / f"{split}.parquet" for split in ("train", "validation")}
    assert train(folder, dataset_name="", **single_files)["metrics"]["student"]["loss_kl"] == expected
    with pytest.raises(SystemExit):
        train(folder, class_names="positive,negative,neutral")
    assert "teacher.json says that the numbers in `teacher_logits` are in the order neg" in capsys.readouterr().err
    for damage in ('{"class_names": ', '{"class_names": "abc"}', "[]"):
        (folder / "labelled" / "teacher.json").write_text(damage)
        with pytest.raises(SystemExit):
            train(folder)
        assert "teacher.json is damaged. Write it again with `hf-distill cache`" in capsys.readouterr().err
    (folder / "labelled" / "teacher.json").unlink()
    with pytest.raises(SystemExit):
        train(folder)
    assert "on the command line `--class_names negative,neutral,positive`" in capsys.readouterr().err
    assert train(folder, class_names="negative,neutral,positive")["metrics"]["student"]["loss_kl"] == expected


def test_only_unlabelled_text_can_be_cached_and_a_second_run_computes_nothing(folder, capsys):
    cache(folder, transfer_file=folder / "transfer.txt")
    assert "train: 10 rows" in capsys.readouterr().out
    cache(folder, transfer_file=folder / "transfer.txt")
    assert "the teacher ran on 0" in capsys.readouterr().out
    rows = Dataset.from_parquet(str(folder / "labelled" / "train.parquet"), cache_dir=str(folder / "hf"))
    assert rows["label"][:] == [None] * 10
    assert np.array(rows["teacher_logits"][:]).shape == (10, 3)
    record = train(folder, validation_file=folder / "validation.csv")
    assert (record["dataset"]["train_rows"], record["dataset"]["unlabelled_rows"]) == (0, 10)
    assert "accuracy" in record["metrics"]["student"]


@pytest.mark.parametrize(
    ("command", "changes", "message"),
    [
        (cache, {}, "No texts given"),
        (cache, {"transfer_file": "absent.txt"}, "absent.txt"),
        (cache, {"transfer_file": "transfer.txt", "teacher_dtype": "int8"}, "int8"),
        (train, {"dataset_name": "plain"}, "There is no teacher"),
        (train, {"fine_tune_teacher": True}, "--fine_tune_teacher needs"),
    ],
)
def test_an_error_of_the_user_is_one_message_and_status_2(folder, monkeypatch, capsys, command, changes, message):
    monkeypatch.chdir(folder)
    (folder / "plain").mkdir()
    for split in ("train", "validation"):
        write_rows(folder / "plain" / f"{split}.csv", tiny_rows(8, 0))
    with pytest.raises(SystemExit) as stopped:
        command(folder, **changes)
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err


def test_texts_with_logits_are_pushed_to_the_hub_and_a_student_is_trained_from_there(folder):
    write_rows(folder / "train.csv", tiny_rows(12, 0))
    script = (
        "from hf_distill.cli import main\n"
        "main('cache --teacher_model_name_or_path teacher --train_file train.csv --validation_file validation.csv"
        " --teacher_cache_dir store --hub_dataset_id tester/labelled --use_cpu'.split())\n"
        "main('train --dataset_name tester/labelled --student_model_name_or_path student --max_steps 1 --use_cpu"
        " --output_dir out'.split())\n"
    )
    with HubServer() as server:
        done = run_against(server, script, folder)
        assert done.returncode == 0, done.stderr
        files = server.repos["datasets/tester/labelled"].files
        assert {"train.parquet", "validation.parquet", "teacher.json", "README.md"} <= files.keys()
        assert str(folder).encode() not in b"".join(files.values())
        record = json.loads((folder / "out" / "distillation.json").read_text())
        assert record["teacher"]["num_hidden_layers"] == 4
        assert record["dataset"]["revision"] == server.repos["datasets/tester/labelled"].sha
        server.fail_with = {"preupload": 403}  # the second push has nothing new to commit
        failed = run_against(server, script.splitlines()[0] + "\n" + script.splitlines()[1], folder)
        assert failed.returncode == 2
        assert "The push failed" in failed.stderr
        assert "Traceback" not in failed.stderr
