"""Runs without any label: training on soft targets, and the agreement with the teacher instead of scores."""

import json
import re

import pytest
from command_line import flags
from datasets import Dataset
from tiny import LABEL_NAMES, named_model, tiny_rows
from transformers import BertConfig, BertForTokenClassification

from hf_distill.cli import main
from hf_distill.data import hold_out_texts, soft_labels
from hf_distill.teachers import load_teacher

pytestmark = pytest.mark.usefixtures("one_plot")

QUICK = {
    "train_file": None,
    "validation_file": None,
    "student_num_hidden_layers": 1,
    "num_train_epochs": None,
    "max_steps": 2,
    "save_strategy": "no",
}
TEACHERS = {
    "single_label_classification": lambda: named_model(*LABEL_NAMES),
    "multi_label_classification": lambda: named_model("a", "b", problem_type="multi_label_classification"),
    "regression": lambda: named_model("score"),
    "token_classification": lambda: BertForTokenClassification(
        BertConfig(**named_model("O", "B-x").config.to_dict() | {"architectures": ["BertForTokenClassification"]})
    ),
}


def write_student(folder, tokenizer):
    """Write a model that answers as the teacher does, with weights that differ a little."""
    student = load_teacher(str(folder / "teacher"))
    student.classifier.weight.data *= 1.001
    student.save_pretrained(folder / "student")
    tokenizer.save_pretrained(folder / "student")


def write_folder(folder, tokenizer, problem_type="single_label_classification", num_texts=40):
    TEACHERS[problem_type]().save_pretrained(folder / "teacher")
    tokenizer.save_pretrained(folder / "teacher")
    write_student(folder, tokenizer)
    texts = [f"{row['text']} {row['text_pair']}" for row in tiny_rows(num_texts)]
    (folder / "texts.txt").write_text("\n".join(texts))
    return folder


def train(folder, **changes):
    main(["train", *flags(folder, folder / "out", **{**QUICK, "overwrite_output_dir": True, **changes})])
    return json.loads((folder / "out" / "distillation.json").read_text())


@pytest.mark.parametrize("problem_type", TEACHERS)
def test_a_student_learns_from_texts_alone_and_its_agreement_is_called_that(tmp_path, tokenizer, capsys, problem_type):
    folder = write_folder(tmp_path, tokenizer, problem_type)
    record = train(folder, transfer_file=folder / "texts.txt")
    measure = "squared error to the teacher" if problem_type == "regression" else "agreement with the teacher"
    key = "loss_kl" if problem_type == "regression" else "agreement"
    assert record["metric_name"] == key
    assert record["dataset"]["id"] == "texts.txt"
    assert (record["dataset"]["train_rows"], record["dataset"]["unlabelled_rows"]) == (0, 20)
    assert record["dataset"]["eval_rows"] == record["dataset"]["transfer"]["held_out"] == 20
    output, card = capsys.readouterr().out, (folder / "out" / "README.md").read_text()
    assert "20 more texts are held out" in output
    for text in (output, card):
        assert measure in text
        assert f"{record['metrics']['student'][key]:.4f}" in text
        assert "unknown how often teacher and student are right" in text
        assert "retention" not in text.lower()
    assert "accuracy" not in record["metrics"]["student"]
    assert "compared with its teacher, without labels, only on texts.txt" in card


def test_the_texts_that_are_held_out_are_a_tenth_and_equal_texts_stay_together():
    def sizes(num_texts):
        return [
            len(part) for part in hold_out_texts(Dataset.from_dict({"t": list(map(str, range(num_texts)))}), ["t"])
        ]

    assert [sizes(n)[1] for n in (2, 40, 400, 1000, 5000, 30_000)] == [1, 20, 200, 200, 500, 2000]
    assert sum(sizes(5000)) == 5000
    rows = Dataset.from_dict({"t": [str(i % 30) for i in range(90)], "u": ["x"] * 90})
    train, held_out = hold_out_texts(rows, ["t", "u"])
    assert (len(train), len(held_out)) == (45, 45)  # three copies of each of 15 texts
    assert not set(train["t"]) & set(held_out["t"])
    assert held_out["t"][:] == hold_out_texts(rows, ["t", "u"])[1]["t"][:]
    with pytest.raises(ValueError, match="There are 1 different texts"):
        hold_out_texts(rows.select([0, 30]), ["t", "u"])


@pytest.mark.parametrize("flag", ["baseline", "fine_tune_teacher"])
def test_what_needs_labels_is_refused_before_training(tmp_path, tokenizer, capsys, flag):
    folder = write_folder(tmp_path, tokenizer)
    with pytest.raises(SystemExit) as stopped:
        train(folder, transfer_file=folder / "texts.txt", **{flag: True})
    assert stopped.value.code == 2
    assert f"--{flag} trains on labels, and no row to train on has a label" in capsys.readouterr().err
    assert not (folder / "out").exists()


def test_labelled_validation_rows_are_scored_after_training_on_texts_alone(tmp_path, tokenizer, capsys):
    folder = write_folder(tmp_path, tokenizer)
    rows = [f"{row['text']},{LABEL_NAMES[row['label']]}" for row in tiny_rows(20, seed=3)]
    (folder / "validation.csv").write_text("\n".join(["text,label", *rows]))
    record = train(folder, transfer_file=folder / "texts.txt", validation_file=folder / "validation.csv")
    assert (record["metric_name"], record["dataset"]["eval_rows"]) == ("accuracy", 20)
    assert (record["dataset"]["train_rows"], record["dataset"]["unlabelled_rows"]) == (0, 40)


@pytest.mark.parametrize("problem_type", [name for name in TEACHERS if name != "token_classification"])
def test_the_folder_of_cache_trains_as_its_last_line_says(tmp_path, tokenizer, capsys, problem_type):
    folder = write_folder(tmp_path, tokenizer, problem_type)
    main(
        ["cache", "--transfer_file", str(folder / "texts.txt"), "--teacher_model_name_or_path",
         str(folder / "teacher"), "--teacher_cache_dir", str(folder / "store"), "--output_dir",
         str(folder / "labelled"), "--use_cpu", "True"]
    )  # fmt: skip
    last_line = capsys.readouterr().out.splitlines()[-1]
    words = last_line.split("Train with ")[1].rstrip(".").split(" ")
    named = {name.removeprefix("--"): value for name, value in zip(words[::2], words[1::2], strict=True)}
    student = {"teacher_model_name_or_path": None, "student_num_hidden_layers": None,
               "student_model_name_or_path": folder / "teacher"}  # fmt: skip
    record = train(folder, **named, **student)
    assert (record["dataset"]["unlabelled_rows"], record["dataset"]["eval_rows"]) == (20, 20)
    assert "not run" not in capsys.readouterr().out
    with pytest.raises(SystemExit):
        train(folder, **named, **student, baseline=True)
    assert "--baseline trains on labels" in capsys.readouterr().err


def test_a_student_learns_from_the_answers_of_a_language_model_alone(tmp_path, tokenizer, capsys):
    folder = write_folder(tmp_path, tokenizer)
    texts = (folder / "texts.txt").read_text().splitlines()
    rows = Dataset.from_dict({"text": texts, "votes": [[LABEL_NAMES[i % 3]] for i in range(len(texts))]})
    soft_labels(rows, "votes", LABEL_NAMES, kind="votes").save_to_disk(folder / "soft")
    record = train(
        folder, dataset_name=folder / "soft", problem_type="single_label_classification",
        teacher_model_name_or_path=None, student_num_hidden_layers=None,
        student_model_name_or_path=folder / "teacher",
    )  # fmt: skip
    assert (record["dataset"]["train_rows"], record["metric_name"]) == (0, "agreement")
    assert record["dataset"]["unlabelled_rows"] + record["dataset"]["eval_rows"] == len(texts)
    assert record["teacher"] is None
    card = " ".join((folder / "out" / "README.md").read_text().split())
    assert "| train | SHA-256 of the rows: " in card  # a folder of `save_to_disk` has no files to name
    assert "No row has a label, so it is unknown how often" in capsys.readouterr().out


@pytest.mark.parametrize("flag", ["validation_file", "transfer_file"])
def test_compare_without_labels_reports_the_agreement(tmp_path, tokenizer, capsys, flag):
    folder = write_folder(tmp_path, tokenizer)
    arguments = ["compare", "--teacher_model_name_or_path", str(folder / "teacher"), "--student_model_name_or_path",
                 str(folder / "student"), f"--{flag}", str(folder / "texts.txt"), "--latency_rounds", "0",
                 "--output_dir", str(folder / "report")]  # fmt: skip
    main(arguments)
    output = capsys.readouterr().out
    assert "because no row has a label." in output
    assert re.search(r"student +\| 100\.0 % ", output)
    text = (folder / "report" / "report.md").read_text()
    assert "because no row has a label. It gives the teacher's answer on 100.0 % of the rows" in text
    report = json.loads((folder / "report" / "report.json").read_text())
    assert (report["task"]["name"], report["task"]["rows"]) == ("texts.txt", 40)
    assert report["models"]["student"]["fidelity"]["agreement"]["value"] == 1.0
    for extra, message in (
        (["--shifted_file", str(folder / "texts.txt")], "--shifted_file compares scores"),
        (["--slice_column", "language"], "--slice_column needs labels"),
        (["--group_column", "document"], "--group_column needs labels"),
    ):
        with pytest.raises(SystemExit):
            main([*arguments, *extra])
        assert message in capsys.readouterr().err


def test_compare_warns_before_it_takes_labelled_rows_for_unlabelled_ones(tmp_path, tokenizer, caplog):
    folder = write_folder(tmp_path, tokenizer)
    (folder / "rows.csv").write_text("text,target\na good film,positive\na bad film,negative\n")
    main(["compare", "--teacher_model_name_or_path", str(folder / "teacher"), "--student_model_name_or_path",
          str(folder / "student"), "--validation_file", str(folder / "rows.csv"), "--latency_rounds", "0",
          "--output_dir", str(folder / "report")])  # fmt: skip
    assert "if 'target' is the label, pass --label_column_name target" in caplog.text


def test_compare_reads_the_texts_of_a_tagger_as_words(tmp_path, tokenizer):
    folder = write_folder(tmp_path, tokenizer, "token_classification")
    main(["compare", "--teacher_model_name_or_path", str(folder / "teacher"), "--student_model_name_or_path",
          str(folder / "student"), "--validation_file", str(folder / "texts.txt"), "--latency_rounds", "0",
          "--output_dir", str(folder / "report")])  # fmt: skip
    assert "It gives the teacher's answer on 100.0 %" in (folder / "report" / "report.md").read_text()
