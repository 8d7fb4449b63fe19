"""Teachers whose outputs have no names: how commands pair them with the classes of the data, and test the pairing."""

import csv
import json
import re

import pytest
import torch
from command_line import flags
from datasets import Dataset
from launching import fork
from tiny import named_model, tiny_rows
from transformers import AutoConfig, pipeline

from hf_distill import compare_models
from hf_distill.cli import main

pytestmark = pytest.mark.usefixtures("one_plot")

OUTPUTS = ("LABEL_0", "LABEL_1", "LABEL_2")
NAMES = ["anger", "joy", "sadness"]


def write_folder(folder, tokenizer, outputs=OUTPUTS, class_of_output=("joy", "sadness", "anger"), num_rows=150):
    """Write a teacher that is always right if its outputs are the given classes, and rows that it labels."""
    teacher = named_model(*outputs)
    texts = {
        name: [row["text"] for row in tiny_rows(num_rows, seed)] for name, seed in (("train", 0), ("validation", 1))
    }
    with torch.no_grad():
        logits = {
            name: teacher(**tokenizer(split, padding=True, return_tensors="pt")).logits
            for name, split in texts.items()
        }
        shift = torch.cat(list(logits.values())).mean(dim=0)
        teacher.classifier.bias -= shift  # or one class would be most likely for all texts
    teacher.save_pretrained(folder / "teacher")
    tokenizer.save_pretrained(folder / "teacher")
    named_model("joy", "sadness", "anger", seed=1).save_pretrained(folder / "student")
    tokenizer.save_pretrained(folder / "student")
    for name, split in texts.items():
        answers = (logits[name] - shift).argmax(dim=1).tolist()
        with (folder / f"{name}.csv").open("w", newline="") as file:
            rows = csv.writer(file)
            rows.writerow(["text", "label"])
            rows.writerows((text, class_of_output[i]) for text, i in zip(split, answers, strict=True))
    return folder


def run(command, folder, **changes):
    settings = {
        "train": {"student_num_hidden_layers": 1, "num_train_epochs": None, "max_steps": 2, "save_strategy": "no"},
        "cache": {"student_num_hidden_layers": None, "num_train_epochs": None, "per_device_train_batch_size": None,
                  "teacher_cache_dir": folder / "store"},
        "compare": {"student_num_hidden_layers": None, "num_train_epochs": None, "train_file": None, "use_cpu": None,
                    "per_device_train_batch_size": None, "latency_rounds": 0,
                    "student_model_name_or_path": folder / "student"},
    }  # fmt: skip
    main([command, *flags(folder, folder / command, **{**settings[command], **changes})])


@pytest.mark.parametrize("command", ["train", "cache", "compare"])
def test_an_exchanged_order_is_refused_before_work_starts_and_the_flag_of_the_message_corrects_it(
    tmp_path, tokenizer, capsys, command
):
    folder = write_folder(tmp_path, tokenizer)
    with pytest.raises(SystemExit) as stopped:
        run(command, folder)
    assert stopped.value.code == 2
    message = capsys.readouterr().err
    assert "LABEL_0 = anger, LABEL_1 = joy, LABEL_2 = sadness, and labelled rows contradict this" in message
    assert "this order agrees with 0.0%, the order LABEL_0 = joy, LABEL_1 = sadness, LABEL_2 = anger with" in message
    assert not (folder / command / "config.json").exists()
    flag = message.split("--class_names ")[1].split(" ")[0]
    assert flag == "joy,sadness,anger"
    run(command, folder, class_names=flag)
    output = capsys.readouterr().out
    if command == "compare":
        output = (folder / "compare" / "report.md").read_text(encoding="utf-8")
    assert "(by --class_names): LABEL_0 = joy, LABEL_1 = sadness, LABEL_2 = anger." in output
    assert "The teacher agrees with 100.0% of the labels of" in output


def test_agreed_names_are_in_the_student_the_record_and_the_pipeline(tmp_path, tokenizer, capsys):
    folder = write_folder(tmp_path, tokenizer, class_of_output=NAMES)
    run("train", folder)
    assert "(by order): LABEL_0 = anger, LABEL_1 = joy, LABEL_2 = sadness." in capsys.readouterr().out
    assert AutoConfig.from_pretrained(folder / "train").id2label == dict(enumerate(NAMES))
    assert pipeline("text-classification", str(folder / "train"))("a film")[0]["label"] in NAMES
    record = json.loads((folder / "train" / "distillation.json").read_text())
    pairing = record["dataset"]["pairing"]
    assert pairing["classes"] == dict(zip(OUTPUTS, NAMES, strict=True))
    assert (pairing["chosen"], pairing["agreement"]) == ("by order", 1.0)
    assert record["metrics"]["teacher"]["accuracy"] == 1.0


@pytest.mark.distributed
def test_two_processes_pair_the_classes_as_one_does(tmp_path, tokenizer, capsys):
    folder = write_folder(tmp_path, tokenizer, class_of_output=NAMES, num_rows=40)
    run("train", folder)
    (folder / "train").rename(folder / "one")
    fork(2, lambda: run("train", folder, per_device_train_batch_size=4), folder)
    line = "(by order): LABEL_0 = anger, LABEL_1 = joy, LABEL_2 = sadness."
    assert line in capsys.readouterr().out
    printed = [(folder / f"log-{rank}" / "stdout").read_text() for rank in (0, 1)]
    assert [line in text for text in printed] == [True, False]
    assert AutoConfig.from_pretrained(folder / "train").id2label == dict(enumerate(NAMES))
    one, two = (json.loads((folder / name / "distillation.json").read_text()) for name in ("one", "train"))
    assert one["dataset"]["pairing"] == two["dataset"]["pairing"]
    assert two["dataset"]["pairing"]["agreement"] == two["metrics"]["teacher"]["accuracy"] == 1.0


@pytest.mark.distributed
def test_two_processes_refuse_an_exchanged_order(tmp_path, tokenizer):
    folder = write_folder(tmp_path, tokenizer)
    with pytest.raises(AssertionError, match="labelled rows contradict this.*--class_names joy,sadness,anger"):
        fork(2, lambda: run("train", folder, per_device_train_batch_size=4), folder)


def test_the_folder_of_cache_has_the_agreed_names(tmp_path, tokenizer, capsys):
    folder = write_folder(tmp_path, tokenizer)
    run("cache", folder, class_names="joy,sadness,anger")
    rows = Dataset.from_parquet(str(folder / "cache" / "train.parquet"), cache_dir=str(folder / "hf"))
    assert rows.features["label"].names == ["joy", "sadness", "anger"]
    assert all(max(range(3), key=row["teacher_logits"].__getitem__) == row["label"] for row in rows)
    pairing = json.loads((folder / "cache" / "teacher.json").read_text())["pairing"]
    assert pairing["classes"] == {"LABEL_0": "joy", "LABEL_1": "sadness", "LABEL_2": "anger"}


def test_few_rows_refuse_nothing_and_warn_that_the_order_is_a_guess(tmp_path, tokenizer, caplog):
    folder = write_folder(tmp_path, tokenizer, num_rows=5)
    run("train", folder)
    (warning,) = [text for text in caplog.messages if "The teacher's outputs are the classes (by order)" in text]
    assert "The teacher agrees with 0.0% of the labels of 10 labelled rows." in warning
    assert "The labels do not confirm this order. Check it, or name the outputs with --class_names." in warning
    pairing = json.loads((folder / "train" / "distillation.json").read_text())["dataset"]["pairing"]
    assert pairing["is_guess"] is True


def test_a_teacher_that_is_fine_tuned_is_not_tested(tmp_path, tokenizer, capsys):
    run("train", write_folder(tmp_path, tokenizer), fine_tune_teacher=True, max_steps=1, allow_weak_teacher=True)
    assert "The teacher's outputs" not in capsys.readouterr().out
    assert AutoConfig.from_pretrained(tmp_path / "train").id2label == dict(enumerate(NAMES))


@pytest.mark.parametrize("outputs", [("calm", "sad", "mad"), ("joy", "LABEL_1", "anger")])
def test_a_teacher_with_other_names_needs_the_users_word(tmp_path, tokenizer, capsys, outputs):
    folder = write_folder(tmp_path, tokenizer, outputs)
    with pytest.raises(SystemExit):
        run("train", folder)
    assert "--class_names with your names of the teacher's outputs, in their order (" in capsys.readouterr().err
    run("train", folder, class_names="joy,sadness,anger")
    assert f"{outputs[0]} = joy, {outputs[1]} = sadness, {outputs[2]} = anger." in capsys.readouterr().out
    assert AutoConfig.from_pretrained(folder / "train").id2label == dict(enumerate(["joy", "sadness", "anger"]))


@pytest.mark.parametrize(
    ("outputs", "changes", "message"),
    [
        (("joy", "sadness", "anger"), {"class_names": "anger,joy,sadness"}, "its config has the same names in the"),
        (OUTPUTS, {"class_names": "anger,joy,sadness,fear"}, "has 4 names, .* has 3 outputs, LABEL_0"),
        (OUTPUTS, {"class_names": "anger,joy,joy"}, "different names"),
        (("joy", "sadness", "anger"), {"teacher_model_name_or_path": None}, "There is no teacher"),
    ],
)
def test_names_that_cannot_be_the_teachers_are_refused(tmp_path, tokenizer, capsys, outputs, changes, message):
    folder = write_folder(tmp_path, tokenizer, outputs, num_rows=5)
    if "teacher_model_name_or_path" in changes:
        changes = {**changes, "class_names": "joy,sadness,anger", "student_num_hidden_layers": None,
                   "student_model_name_or_path": folder / "teacher"}  # fmt: skip
    with pytest.raises(SystemExit):
        run("train", folder, **changes)
    assert re.search(message, capsys.readouterr().err)


def test_names_that_differ_in_case_need_no_word_and_keep_the_teachers_spelling(tmp_path, tokenizer, capsys):
    folder = write_folder(tmp_path, tokenizer, ("JOY", "Sadness", "anger"))
    run("train", folder, class_names="joy,sadness,anger")
    assert "The teacher's outputs" not in capsys.readouterr().out
    assert AutoConfig.from_pretrained(folder / "train").id2label == {0: "JOY", 1: "Sadness", 2: "anger"}


def test_ids_get_the_names_of_the_flag(tmp_path, tokenizer, capsys):
    folder = write_folder(tmp_path, tokenizer, ("calm", "sad", "mad"), class_of_output=(0, 1, 2))
    with pytest.raises(SystemExit):
        run("train", folder)
    assert "ids of the model's outputs, pass --class_names calm,sad,mad" in capsys.readouterr().err
    run("train", folder, class_names="calm,sad,mad")
    record = json.loads((folder / "train" / "distillation.json").read_text())
    assert record["metrics"]["teacher"]["accuracy"] == 1.0


@pytest.mark.parametrize("command", ["train", "compare"])
def test_labels_without_names_are_tested_too(tmp_path, tokenizer, capsys, command):
    folder = write_folder(tmp_path, tokenizer, class_of_output=("LABEL_1", "LABEL_2", "LABEL_0"))
    with pytest.raises(SystemExit):
        run(command, folder)
    message = capsys.readouterr().err
    assert "LABEL_0 = LABEL_0, LABEL_1 = LABEL_1, LABEL_2 = LABEL_2, and labelled rows contradict this" in message
    assert "Name the classes in the data" in message


def test_the_outputs_of_a_teacher_can_be_named_for_a_glue_task(tmp_path, tokenizer, capsys):
    folder = write_folder(tmp_path, tokenizer, ("LABEL_0", "LABEL_1"), class_of_output=("1", "0"))
    for name, file in (("train", "train.tsv"), ("validation", "dev.tsv")):
        with (folder / f"{name}.csv").open(newline="") as rows:
            lines = ["\t".join(row) for row in list(csv.reader(rows))[1:]]
        (folder / "SST-2").mkdir(exist_ok=True)
        (folder / "SST-2" / file).write_text("\n".join(["sentence\tlabel", *lines]))
    glue = {"train_file": None, "validation_file": None, "task_name": "sst2", "data_dir": folder}
    with pytest.raises(SystemExit):
        run("train", folder, **glue)
    assert "--class_names positive,negative" in capsys.readouterr().err
    run("train", folder, **glue, class_names="positive,negative")
    assert "LABEL_0 = positive, LABEL_1 = negative." in capsys.readouterr().out
    record = json.loads((folder / "train" / "distillation.json").read_text())
    assert record["metrics"]["teacher"]["accuracy"] == 1.0


def test_compare_models_pairs_labels_that_are_names(tmp_path, tokenizer):
    folder = write_folder(tmp_path, tokenizer)
    rows = Dataset.from_csv(str(folder / "validation.csv"), cache_dir=str(folder / "hf"))
    models = {"teacher": str(folder / "teacher"), "student": str(folder / "student")}
    with pytest.raises(ValueError, match="LABEL_0 = anger, LABEL_1 = joy, LABEL_2 = sadness, and labelled rows"):
        compare_models(models, rows, latency_rounds=0, num_resamples=100)
    names = ["joy", "sadness", "anger"]
    report = compare_models(models, rows, class_names=names, latency_rounds=0, num_resamples=100).to_dict()
    assert report["models"]["teacher"]["metrics"]["accuracy"]["value"] == 1.0
    assert report["task"]["pairing"]["classes"] == dict(zip(OUTPUTS, names, strict=True))
    assert any("by --class_names" in note for note in report["notes"])


def test_plain_ids_do_not_replace_the_teachers_names(tmp_path, tokenizer, capsys):
    folder = write_folder(tmp_path, tokenizer, class_of_output=("0", "1", "2"))
    run("train", folder)
    student = AutoConfig.from_pretrained(folder / "train")
    assert list(student.id2label.values()) == ["LABEL_0", "LABEL_1", "LABEL_2"]
