"""`hf-distill compare` end to end on tiny models, as a user starts it."""

import csv
import json
import re
import sys
from pathlib import Path

import pytest
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from tiny import LABEL_NAMES, tiny_model, tiny_rows

from hf_distill.cli import main
from hf_distill.reporting.comparison import quality, trivial

COLUMNS = ["teacher", "student", "baseline"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory, tokenizer):
    """A teacher, two runs of a student, a baseline, and CSV files."""
    folder = tmp_path_factory.mktemp("compare")
    for name, (num_hidden_layers, seed) in {"teacher": (3, 1), "a": (2, 2), "b": (2, 3), "baseline": (2, 4)}.items():
        tiny_model(num_hidden_layers, seed=seed).save_pretrained(folder / name)
        tokenizer.save_pretrained(folder / name)
    for name, seed in (("train", 0), ("validation", 1), ("shifted", 2)):
        with (folder / f"{name}.csv").open("w", newline="") as file:
            rows = csv.writer(file)
            rows.writerow(["text", "label"])
            rows.writerows((row["text"], LABEL_NAMES[row["label"]]) for row in tiny_rows(40, seed))
    return folder


def flags(folder, **changes):
    values = {
        "teacher_model_name_or_path": folder / "teacher",
        "student_model_name_or_path": f"{folder / 'a'},{folder / 'b'}",
        "baseline_model_name_or_path": folder / "baseline",
        "validation_file": folder / "validation.csv",
        "latency_rounds": 0,
        "output_dir": folder / "report",
        **changes,
    }
    words = {
        name: value if isinstance(value, list) else [value] for name, value in values.items() if value is not None
    }
    return ["compare", *(word for name, value in words.items() for word in (f"--{name}", *map(str, value)))]


def test_compare_prints_the_verdict_and_writes_the_report(folder, capsys):
    main(flags(folder, shifted_file=folder / "shifted.csv", latency_rounds=1))
    printed = capsys.readouterr().out
    summary, _, tables = printed.partition("\n\n")
    assert [line.split()[:2] for line in summary.splitlines() if not line.startswith(" ")] == [
        ["validation", "validation.csv"],
        ["shifted", "shifted.csv"],
    ]
    verdict = tables.splitlines()[0]
    assert verdict.startswith(("Yes, the student", "No, the student", "It is not shown that"))
    report = json.loads((folder / "report" / "report.json").read_text())
    assert list(report["models"]) == COLUMNS
    assert report["verdict"]["by_model"] == {"student": verdict}
    assert len(tables.splitlines()) <= 20
    assert max(len(line) for line in tables.splitlines() if line.startswith("|")) <= 100
    text = (folder / "report" / "report.md").read_text(encoding="utf-8")
    assert text.startswith(report["verdict"]["sentence"])
    assert "student (mean of 2 runs)" in text
    assert "## Notes" in text
    assert report["task"]["name"] == "validation.csv"
    assert report["models"]["student"]["num_runs"] == 2
    assert report["models"]["student"]["shifted"]["rows"] == 40
    assert str(folder) not in json.dumps(report)
    page = (folder / "report" / "report.html").read_text(encoding="utf-8")
    assert report["verdict"]["sentence"].split(":")[0] in page
    assert any((folder / "report" / "plots").glob("*.png"))


@pytest.mark.usefixtures("one_plot")
def test_training_rows_add_the_floor(folder, capsys):
    main(flags(folder, train_file=folder / "train.csv", student_model_name_or_path=folder / "a"))
    note = "- The floor: TF-IDF with a linear model, fitted on 40 labelled training rows, reaches"
    assert note in (folder / "report" / "report.md").read_text(encoding="utf-8")
    printed = capsys.readouterr().out
    assert (note in printed) == ("for these texts it can be enough" in printed)
    train, validation = tiny_rows(40, 0), tiny_rows(40, 1)
    features = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, token_pattern=r"\S+")
    model = LogisticRegression(C=10.0, max_iter=200)
    model.fit(features.fit_transform([row["text"] for row in train]), [row["label"] for row in train])
    expected = model.score(
        features.transform([row["text"] for row in validation]), [row["label"] for row in validation]
    )
    report = json.loads((folder / "report" / "report.json").read_text())
    assert report["floor"]["metrics"]["accuracy"] == pytest.approx(expected)
    assert report["floor"]["rows"] == 40
    assert "The floor" in (folder / "report" / "report.html").read_text(encoding="utf-8")


@pytest.mark.usefixtures("one_plot")
def test_several_students_are_sorted_by_their_scores(folder, capsys):
    main(flags(folder, student_model_name_or_path=[f"deep={folder / 'a'}", f"wide={folder / 'b'}"]))
    printed = capsys.readouterr().out
    report = json.loads((folder / "report" / "report.json").read_text())
    assert list(report["models"]) == ["teacher", "deep", "wide", "baseline"]
    values = [entry["value"] for entry in report["leaderboard"]]
    assert values == sorted(values, reverse=True)
    assert {entry["model"] for entry in report["leaderboard"]} == set(report["models"])
    assert {entry["model"]: entry["answer"] is None for entry in report["leaderboard"]} == {
        "teacher": True, "baseline": True, "deep": False, "wide": False,
    }  # fmt: skip
    board = [line for line in printed.splitlines() if line.startswith("|")]
    assert [line.split("|")[1].strip() for line in board[2:]] == [entry["model"] for entry in report["leaderboard"]]


@pytest.mark.usefixtures("one_plot")
def test_slices_and_groups_come_from_columns_of_the_file(folder, tmp_path, capsys):
    with (tmp_path / "rows.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["text", "label", "Channel", "case"])
        rows.writerows(
            (row["text"], LABEL_NAMES[row["label"]], i % 2, i // 2) for i, row in enumerate(tiny_rows(40, 1))
        )
    changes = {"validation_file": tmp_path / "rows.csv", "output_dir": tmp_path / "report"}
    main(flags(folder, slice_column="channel", group_column="case", **changes))
    report = json.loads((tmp_path / "report" / "report.json").read_text())
    assert [(part["column"], part["value"], part["rows"]) for part in report["slices"]] == [
        ("channel", "0", 20), ("channel", "1", 20),
    ]  # fmt: skip
    assert report["task"]["text_columns"] == ["text"]
    assert report["task"]["groups"] == {"column": "case", "number": 20, "largest": 2}
    assert any("The 40 rows come in 20 groups (column 'case')" in note for note in report["notes"])
    assert "accuracy on slices of the rows" in (tmp_path / "report" / "report.html").read_text(encoding="utf-8")
    for name, message in (("chanel", "has no value in any row"), ("text", "already a column of texts or labels")):
        with pytest.raises(SystemExit):
            main(flags(folder, slice_column=name, **changes))
        assert message in capsys.readouterr().err
        with pytest.raises(SystemExit):
            main(flags(folder, group_column=name, **changes))
        assert message in capsys.readouterr().err


METRIC = """
import datasets
import evaluate


class Metric(evaluate.Metric):
    def _info(self):
        features = datasets.Features({"predictions": datasets.Value("int64"), "references": datasets.Value("int64")})
        return evaluate.MetricInfo(description="", citation="", inputs_description="", features=features)

    def _compute(self, predictions, references):
        return {"near_misses": -sum(abs(p - r) for p, r in zip(predictions, references)) / len(references)}
"""


def use_module_cache(monkeypatch, folder):
    """Let `evaluate` load modules from an empty folder, also if an earlier test has loaded some from another one."""
    for library in ("datasets", "evaluate"):
        monkeypatch.setattr(f"{library}.config.HF_MODULES_CACHE", str(folder))
    for name in [name for name in sys.modules if name.partition(".")[0] == "evaluate_modules"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "path", [path for path in sys.path if not Path(path, "evaluate_modules").exists()])


@pytest.mark.usefixtures("one_plot")
def test_a_module_of_evaluate_is_a_metric_that_can_decide(folder, tmp_path, capsys, monkeypatch):
    use_module_cache(monkeypatch, tmp_path / "modules")
    # A module of `evaluate` writes a table for each score, so a tenth of the scores is computed.
    monkeypatch.setattr(quality, "MOST_ROW_BY_ROW", 20)
    monkeypatch.setattr(trivial, "NUM_SHUFFLES", 19)
    (tmp_path / "near_misses").mkdir()
    (tmp_path / "near_misses" / "near_misses.py").write_text(METRIC)
    changes = {"metric_module": tmp_path / "near_misses", "output_dir": tmp_path / "report"}
    required = {"require": "near_misses <= 0"}
    main(flags(folder, metric_name="near_misses", student_model_name_or_path=folder / "a", **required, **changes))
    report = json.loads((tmp_path / "report" / "report.json").read_text())
    assert report["task"]["metrics"] == ["near_misses", "accuracy", "f1", "matthews_correlation"]
    matrix = report["models"]["student"]["confusions"]["matrix"]
    distance = sum(abs(i - j) * count for i, row in enumerate(matrix) for j, count in enumerate(row))
    assert report["models"]["student"]["metrics"]["near_misses"]["value"] == pytest.approx(-distance / 40)


def test_a_metric_module_that_cannot_be_loaded_or_is_in_a_recipe_is_refused(folder, tmp_path, capsys, monkeypatch):
    use_module_cache(monkeypatch, tmp_path / "modules")
    (tmp_path / "recipe.yaml").write_text("metric_module: somewhere")
    (tmp_path / "needy.py").write_text("import a_package_that_nobody_has\n" + METRIC)
    for changes, message in (
        ({"metric_module": tmp_path}, "There is no module of `evaluate`"),
        ({"metric_module": tmp_path / "needy.py"}, "The module 'needy' of `evaluate` cannot be loaded: To be able to"),
        ({"config": tmp_path / "recipe.yaml"}, "Pass --metric_module FOLDER on the command line"),
    ):
        with pytest.raises(SystemExit):
            main(flags(folder, **changes))
        assert message in capsys.readouterr().err


def test_models_are_never_compared_on_the_training_split(folder, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(flags(folder, validation_file=None, train_file=folder / "train.csv"))
    assert stopped.value.code == 2
    assert "no split to compare on" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"student_model_name_or_path": None}, "No student given"),
        ({"validation_file": None}, "No labelled rows given"),
        ({"validation_file": "absent.csv"}, "absent.csv"),
        ({"student_model_name_or_path": "absent"}, "absent"),
        ({"student_model_name_or_path": "teacher=x"}, "names a student 'teacher'"),
        (
            {"student_model_name_or_path": ["a", "--student_model_name_or_path", "b"]},
            "--student_model_name_or_path is given twice, and only the last would count",
        ),
        ({"export_folder": "onnx"}, "name=folder"),
        ({"export_folder": "student=onnx"}, "a new name"),
        ({"margin": 2}, "`margin`"),
        ({"tune_thresholds": True}, "compares on test rows. Pass --validation_file and --test_file"),
        ({"metric_name": "rouge"}, "rouge"),
    ],
)
def test_an_error_of_the_user_is_one_message_and_status_2(folder, tmp_path, capsys, changes, message):
    with pytest.raises(SystemExit) as stopped:
        main(flags(folder, output_dir=tmp_path / "report", **changes))
    assert stopped.value.code == 2
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error
    assert not (tmp_path / "report").exists()


@pytest.mark.parametrize(
    ("content", "flags_of_rows", "message"),
    [
        (
            "text,a,b,c\ngood,1,0,0\nbad,1,1,0\n",
            ["--label_column_name", "a,b,c"],
            "for multi_label_classification, and the teacher .* is for single_label_classification. If each row has",
        ),
        ('{"tokens": ["good", "film"], "tags": ["O", "B-x"]}\n', [], "for token_classification.* needs texts with"),
    ],
)
def test_rows_for_another_kind_of_classifier_are_refused_by_their_labels(
    folder, tmp_path, capsys, content, flags_of_rows, message
):
    rows = tmp_path / ("rows.csv" if content.startswith("text") else "rows.jsonl")
    rows.write_text(content)
    models = ["--teacher_model_name_or_path", f"{folder}/teacher", "--student_model_name_or_path", f"{folder}/teacher"]
    with pytest.raises(SystemExit) as stopped:
        main(["compare", *models, "--validation_file", str(rows), *flags_of_rows, "--output_dir", f"{tmp_path}/out"])
    assert stopped.value.code == 2
    assert re.search(message, capsys.readouterr().err)
