"""What a label column says of the problem, and what may be said instead."""

import csv
import json
import math

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import Dataset
from tiny import named_model, tiny_model, tiny_rows
from transformers import EvalPrediction

from hf_distill.cli import main
from hf_distill.data import as_compute_metrics, load_text_dataset, with_teacher_logits, write_labelled

pytestmark = pytest.mark.usefixtures("few_timed_passes")


def load(tmp_path, labels, **arguments):
    """One text a label, from JSON."""
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join(json.dumps({"text": "a film", "label": label}) for label in labels))
    return load_text_dataset(train_file=path, validation_file=path, **arguments)


SINGLE, MULTI, REGRESSION = "single_label_classification", "multi_label_classification", "regression"


@pytest.mark.parametrize(
    ("labels", "problem_type", "names", "read"),
    [
        (["b", "a", None], SINGLE, ["a", "b"], [1, 0, -1]),
        ([3, 10], SINGLE, ["3", "10"], [0, 1]),
        ([1.5, 2], REGRESSION, None, [1.5, 2.0]),
        ([["a", "c"], []], MULTI, ["a", "c"], [[1, 1], [0, 0]]),
        ([[0, 2], [2, 5]], MULTI, ["0", "2", "5"], [[1, 1, 0], [0, 1, 1]]),
        ([[1, 0, 1], [0, 0, 0]], MULTI, ["LABEL_0", "LABEL_1", "LABEL_2"], [[1, 0, 1], [0, 0, 0]]),
        ([[1.0, 0.0], [0.0, 0.0]], MULTI, ["LABEL_0", "LABEL_1"], [[1, 0], [0, 0]]),
        ([[0.5, 2.0], [1.0, -1.0]], REGRESSION, ["LABEL_0", "LABEL_1"], [[0.5, 2], [1, -1]]),
    ],
)
def test_the_type_of_the_labels_says_what_the_problem_is(tmp_path, labels, problem_type, names, read):
    task = load(tmp_path, labels)
    assert (task.problem_type, task.label_names) == (problem_type, names)
    assert task.datasets["train"]["label"][:] == read


@pytest.mark.parametrize(
    ("labels", "problem_type", "names", "read"),
    [
        ([3, 10], REGRESSION, None, [3.0, 10.0]),
        ([1.0, 2.5, 1.0], SINGLE, ["1", "2.5"], [0, 1, 0]),
        ([[1, 0], [0, 1]], REGRESSION, ["LABEL_0", "LABEL_1"], [[1, 0], [0, 1]]),
        ([[2, 0], [0, 7]], REGRESSION, ["LABEL_0", "LABEL_1"], [[2, 0], [0, 7]]),
        ([[0.25, 0.5], [0.0, 1.0]], MULTI, ["LABEL_0", "LABEL_1"], [[0.25, 0.5], [0, 1]]),
    ],
)
def test_a_problem_type_that_is_given_wins_where_the_labels_leave_a_choice(
    tmp_path, labels, problem_type, names, read
):
    task = load(tmp_path, labels, problem_type=problem_type)
    assert (task.problem_type, task.label_names) == (problem_type, names)
    assert task.datasets["train"]["label"][:] == read


@pytest.mark.parametrize(
    ("labels", "problem_type", "message"),
    [
        (["a", "b"], REGRESSION, r"line 1 .*label is 'a', but `problem_type` is 'regression', which expects numbers"),
        ([0.5, 1.0], MULTI, "label is '1.0', but `problem_type` is 'multi_label_classification', which expects lists"),
        ([["a", "b"]], SINGLE, r"\['a', 'b'\] is a list of 2 labels"),
        ([["a", "b"]], REGRESSION, "label is 'a', but `problem_type` is 'regression', which expects numbers"),
        (["a", "b"], "token_classification", "expected two columns of lists, words and tags"),
        ([[0.5, 1.5]], MULTI, r"label is \[0.5, 1.5\]; multi_label_classification expects numbers from 0 to 1"),
        ([[0.5, 1.5], [1.0]], None, r"line 2 \(row 2\): 1 number, but an earlier row has 2"),
        ([[0.5, 1.5], [1.0, None]], None, r"line 2 .*the list \[1.0, None\] has an empty entry"),
        (["a"], "ranking", "must be one of single_label_classification"),
    ],
)
def test_a_problem_type_that_the_labels_cannot_be_of_is_refused(tmp_path, labels, problem_type, message):
    with pytest.raises(ValueError, match=message):
        load(tmp_path, labels, problem_type=problem_type)


def test_the_names_of_vectors_are_the_models(tmp_path, tokenizer):
    task = load(tmp_path, [[1, 0, 1], [0, 1, 0], None])
    task = task.for_model(named_model("joy", "anger", "fear", problem_type=MULTI))
    assert task.label_names == ["joy", "anger", "fear"]
    labels = task.tokenize(tokenizer)["train"]["labels"][:]
    assert labels[:2] == [[1, 0, 1], [0, 1, 0]]
    assert all(map(math.isnan, labels[2]))
    with pytest.raises(ValueError, match="fear.*joy"):
        task.for_model(named_model("joy", "anger", problem_type=MULTI))


@pytest.mark.parametrize(
    ("labels", "problem_type"),
    [
        ([[0.25, 1.0], [0.0, 0.5], None], MULTI),
        ([[1.0, 0.0], [1.0, 1.0], None], MULTI),
        ([[0.5, 2.0], [1.0, -1.0], None], REGRESSION),
    ],
)
def test_vectors_come_back_from_a_data_set_with_logits(tmp_path, labels, problem_type):
    task = load(tmp_path, labels, problem_type=problem_type)
    teacher = named_model("joy", "anger", problem_type=problem_type)
    logits = Dataset.from_dict({"teacher_logits": [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]})
    beside = with_teacher_logits(task.datasets["train"], logits, task.for_model(teacher))
    write_labelled({"train": beside, "validation": beside}, tmp_path / "labelled", {})
    stored = pq.read_schema(tmp_path / "labelled" / "train.parquet").field("label").type
    assert pa.types.is_list(stored), "missing lists of a fixed length need pyarrow 26"
    again = load_text_dataset(dataset_name=str(tmp_path / "labelled"), problem_type=problem_type)
    assert repr(again.datasets["train"]["label"][:]) == repr(task.datasets["train"]["label"][:])
    assert again.datasets["train"]["teacher_logits"][:] == logits["teacher_logits"][:]


def test_the_correlation_of_several_outputs_is_the_mean_over_them():
    references = np.array([[1.0, 10.0], [2.0, 30.0], [3.0, 20.0], [np.nan, np.nan]])
    predictions = np.array([[2.0, 1.0], [4.0, 3.0], [6.0, 5.0], [0.0, 0.0]])
    found = as_compute_metrics(["pearson"], "regression")(EvalPrediction(predictions, references))
    # (-1, 0, 1) against (-1, 1, 0): 1 / 2; and the other column is a straight line
    assert found["pearson"] == pytest.approx((1.0 + 0.5) / 2)


def flags(tmp_path, tokenizer, labels, **config):
    tiny_model(2, **config).save_pretrained(tmp_path / "teacher")
    tokenizer.save_pretrained(tmp_path / "teacher")
    with (tmp_path / "rows.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerows([["text", "label"], *((r["text"], labels[r["label"]]) for r in tiny_rows(12))])
    return ["train", "--teacher_model_name_or_path", f"{tmp_path}/teacher", "--train_file", f"{tmp_path}/rows.csv",
            "--validation_file", f"{tmp_path}/rows.csv", "--student_num_hidden_layers", "1", "--max_steps", "1",
            "--use_cpu", "--output_dir", f"{tmp_path}/out"]  # fmt: skip


@pytest.mark.parametrize("labels", [[1, 3, 5], [1.0, 3.0, 5.0]])
@pytest.mark.parametrize("asked", [[], ["--problem_type", "regression"]])
def test_numbers_train_a_regression_if_the_teacher_has_one_output(tmp_path, tokenizer, capsys, labels, asked):
    main([*flags(tmp_path, tokenizer, labels, num_labels=1), *asked])
    assert "pearson" in capsys.readouterr().out
    record = json.loads((tmp_path / "out" / "distillation.json").read_text())
    assert record["problem_type"] == "regression"


def test_as_many_numbers_as_the_teacher_has_outputs_are_classes(tmp_path, tokenizer, capsys):
    given = flags(tmp_path, tokenizer, [1.0, 3.0, 5.0], id2label={i: f"LABEL_{i}" for i in range(3)})
    main(given)
    record = json.loads((tmp_path / "out" / "distillation.json").read_text())
    assert record["problem_type"] == "single_label_classification"
    assert record["dataset"]["splits"]["train"]["classes"].keys() == {"1", "3", "5"}
    with pytest.raises(SystemExit):
        main(
            [*given, "--fine_tune_teacher", "--overwrite_output_dir"]
        )  # the teacher gets a new head, which says nothing about the labels
    assert "They can be 3 classes or scores" in capsys.readouterr().err


def test_a_config_that_contradicts_what_the_command_says_is_refused(tmp_path, tokenizer, capsys):
    given = flags(tmp_path, tokenizer, [1, 3, 5], problem_type="single_label_classification")
    with pytest.raises(SystemExit):
        main([*given, "--problem_type", "regression"])
    error = capsys.readouterr().err
    assert "The rows of 'rows' are for regression, and the " in error
    assert "problem_type='single_label_classification'" in error
