"""A student without layers goes through every command."""

import json

import pytest
from command_line import flags
from tiny import tiny_rows

from hf_distill import Predictor
from hf_distill.cli import main

pytestmark = pytest.mark.usefixtures("one_plot")


@pytest.fixture(scope="module")
def trained(folder, tmp_path_factory):
    """The folder of a static student that the command trained."""
    out = tmp_path_factory.mktemp("static") / "student"
    static = {"student_num_hidden_layers": None, "student_static_dim": 8, "learning_rate": 0.01}
    main(["train", *flags(folder, out, **static), "--baseline"])
    return out


def test_the_record_says_that_the_student_has_no_layers(trained):
    student = json.loads((trained / "distillation.json").read_text())["student"]
    assert (student["model_type"], student["num_hidden_layers"]) == ("hf_distill_static", 0)


def test_compare_reads_a_static_student(folder, trained, tmp_path):
    models = ["--teacher_model_name_or_path", str(folder / "teacher"), "--student_model_name_or_path", str(trained)]
    data = ["--validation_file", str(folder / "validation.csv"), "--output_dir", str(tmp_path)]
    main(["compare", *models, *data, "--latency_rounds", "0"])
    report = json.loads((tmp_path / "report.json").read_text())
    record = json.loads((trained / "distillation.json").read_text())
    assert report["models"]["student"]["metrics"]["accuracy"]["value"] == record["metrics"]["student"]["accuracy"]


def test_the_exported_student_answers_as_the_model_does(folder, trained, tmp_path):
    texts = [row["text"] for row in tiny_rows(10, seed=2)]
    (tmp_path / "texts.txt").write_text("\n".join(texts))
    main(["export", "--model_name_or_path", str(trained), "--output_dir", str(tmp_path / "onnx"),
          "--text_file", str(tmp_path / "texts.txt")])  # fmt: skip
    answers = Predictor(tmp_path / "onnx")(texts)
    assert len({answer["score"] for answer in answers}) > 1


def test_pairs_are_refused_with_the_reason(folder, tmp_path, capsys):
    rows = [(row["text"], "a film", row["label"]) for row in tiny_rows(24)]
    pairs = tmp_path / "pairs.csv"
    pairs.write_text("sentence1,sentence2,label\n" + "".join(f"{a},{b},{label}\n" for a, b, label in rows))
    static = {
        "student_num_hidden_layers": None,
        "student_static_dim": 8,
        "train_file": pairs,
        "validation_file": pairs,
    }
    with pytest.raises(SystemExit):
        main(["train", *flags(folder, tmp_path / "out", **static), "--class_names", "0,1,2"])
    assert "cannot compare the two texts of a pair (sentence1, sentence2)" in capsys.readouterr().err
