"""Slices, confusions, and the texts that a student fixes and breaks, worked out by hand."""

import numpy as np
import pytest
from datasets import ClassLabel, Dataset, Features, Value
from scipy.stats import binomtest
from tiny import LABEL_NAMES, tiny_model, tiny_rows

from hf_distill import compare_models
from hf_distill.data.metrics import find_metric
from hf_distill.reporting.comparison.changes import describe_changes
from hf_distill.reporting.comparison.confusions import describe_confusions
from hf_distill.reporting.comparison.describe import Comparison
from hf_distill.reporting.comparison.quality import Resampling
from hf_distill.reporting.comparison.slices import about_slices, describe_slices, read_slice_columns
from hf_distill.reporting.comparison.units import Units
from hf_distill.reporting.weak_spots import _changes

SINGLE = "single_label_classification"
TASK = {"metric_name": "accuracy", "confidence_level": 0.95}


def compare(labels, teacher, student, names="ab"):
    """Compare the answers of two models with the labels; a label of -100 is none."""
    labels = np.asarray(labels)
    texts = [f"text {i}" for i in range(len(labels))]
    units = Units(SINGLE, list(names), labels, np.arange(len(labels)), texts, np.ones(len(labels)))
    logits = {
        name: [4.0 * np.eye(len(names))[np.asarray(answers)]]
        for name, answers in (("teacher", teacher), ("student", student))
    }
    return Comparison(units, logits, [find_metric("accuracy")], 0.01, Resampling(200))


def test_each_slice_has_its_scores_and_a_p_value_that_holm_corrects():
    labels = np.zeros(130, dtype=int)
    student = labels.copy()
    student[100:112] = 1  # 12 of the 30 rows of "de"
    values = ["en"] * 100 + ["de"] * 30
    en, de = describe_slices(compare(labels, labels, student), {"language": values}, ["student"])
    assert (en["value"], en["rows"], de["value"], de["rows"]) == ("en", 100, "de", 30)
    assert (en["models"]["student"]["value"], de["models"]["student"]["value"]) == (1.0, 18 / 30)
    assert de["models"]["student"]["difference"] == pytest.approx(-12 / 30)
    assert de["models"]["student"]["p_value"] == pytest.approx(2 * binomtest(12, 12).pvalue)  # of two slices
    assert de["models"]["student"]["difference_low"] < -12 / 30 < de["models"]["student"]["difference_high"] < 0
    assert set(de["models"]["teacher"]) == {"value", "low", "high"}
    (note,) = about_slices([en, de], "student", TASK)
    assert note.startswith("On the 30 rows with language = 'de' the student is clearly worse than the teacher: -40.0")
    assert "after Holm's correction for 2 slices" in note


def test_a_loss_that_is_significant_alone_but_not_among_many_slices_is_not_named():
    labels = np.zeros(400, dtype=int)
    student = labels.copy()
    student[:6] = 1  # p = 1/32 alone
    values = [str(i // 40) for i in range(400)]
    slices = describe_slices(compare(labels, labels, student), {"store": values}, ["student"])
    assert len(slices) == 10
    assert slices[0]["models"]["student"]["p_value"] == pytest.approx(10 / 32)
    assert not list(about_slices(slices, "student", TASK))


def test_rare_values_are_merged_and_missing_values_are_a_slice():
    values = ["a"] * 25 + [None] * 20 + ["b"] * 19 + ["c"] * 2
    labels = np.zeros(66, dtype=int)
    slices = describe_slices(compare(labels, labels, labels), {"x": values}, [])
    assert [(part["value"], part["rows"], part["num_values"]) for part in slices] == [
        ("a", 25, 1), ("no value", 20, 1), ("other values", 21, 2),
    ]  # fmt: skip


def test_there_are_at_most_twenty_slices_of_a_column():
    values = [str(i % 30) for i in range(30 * 20)]
    labels = np.zeros(600, dtype=int)
    slices = describe_slices(compare(labels, labels, labels), {"x": values}, [])
    assert len(slices) == 20
    assert (slices[-1]["value"], slices[-1]["rows"], slices[-1]["num_values"]) == ("other values", 11 * 20, 11)


def test_rows_without_a_label_are_in_no_slice():
    labels = np.array([-100, 0] * 30)
    answers = np.zeros(60, dtype=int)
    (part,) = describe_slices(compare(labels, answers, answers), {"x": ["a"] * 60}, ["student"])
    assert (part["rows"], part["models"]["student"]["value"]) == (30, 1.0)


def test_confusions_are_counted_and_sorted_by_what_the_teacher_does_better():
    labels = np.repeat([0, 1, 2], [10, 10, 10])
    teacher, student = labels.copy(), labels.copy()
    teacher[:4], student[:5] = 1, 1  # a taken for b: 4 and 5
    student[10:13] = 2  # b taken for c: 0 and 3
    comparison = compare(labels, teacher, student, "abc")
    logits = comparison.shipped_logits
    confusions = describe_confusions(comparison.labelled, logits["teacher"], logits["student"])
    assert confusions["matrix"] == [[5, 5, 0], [0, 7, 3], [0, 0, 10]]
    assert confusions["largest"] == [
        {"label": "b", "prediction": "c", "model": 3, "teacher": 0},
        {"label": "a", "prediction": "b", "model": 5, "teacher": 4},
    ]


def test_a_matrix_of_77_classes_is_left_out_and_its_largest_confusions_stay():
    labels = np.arange(77)
    comparison = compare(labels, labels, np.roll(labels, 1), [f"intent {i}" for i in range(77)])
    confusions = describe_confusions(
        comparison.labelled, *(comparison.shipped_logits[n] for n in ("teacher", "student"))
    )
    assert confusions["matrix"] is None
    assert len(confusions["largest"]) == 10


def test_texts_are_fixed_and_broken_with_their_rows():
    labels = np.array([0, -100, 0, 0, 1, 1])
    changes = describe_changes(compare(labels, [1, 0, 0, 0, 1, 0], [0, 0, 1, 0, 1, 1]), "student")
    assert (changes["fixed"]["rows"], changes["broken"]["rows"]) == (2, 1)
    assert changes["broken"]["examples"] == [{"row": 3, "text": "text 2", "label": "a", "teacher": "a", "model": "b"}]
    assert [example["row"] for example in changes["fixed"]["examples"]] == [1, 6]


def test_one_fixed_answer_is_written_in_the_singular():
    changes = describe_changes(compare(np.array([0, 1]), [0, 0], [0, 1]), "student")
    assert _changes(changes).startswith("It fixes 1 answer of the teacher and breaks 0.")


def test_examples_of_changes_are_spread_over_the_rows():
    labels = np.zeros(100, dtype=int)
    changes = describe_changes(compare(labels, labels, labels + 1), "student")
    assert [example["row"] for example in changes["broken"]["examples"]] == [1, 25, 50, 75, 100]
    assert changes["fixed"] == {"rows": 0, "examples": []}


def test_slice_columns_are_read_as_texts_and_wrong_names_are_refused():
    features = Features({"text": Value("string"), "kind": ClassLabel(names=["x", "y"]), "year": Value("int64")})
    rows = Dataset.from_dict({"text": ["a", "b"], "kind": [1, -1], "year": [2020, None]}, features=features)
    assert read_slice_columns(rows.add_column("x", [float("nan"), 1.5]), ["x"]) == {"x": [None, "1.5"]}
    assert read_slice_columns(rows, ["kind", "year"]) == {"kind": ["y", None], "year": ["2020", None]}
    with pytest.raises(ValueError, match="no slice column 'lang'. The columns are text, kind, year"):
        read_slice_columns(rows, ["lang"])
    with pytest.raises(ValueError, match="has no value in any row"):
        read_slice_columns(rows.add_column("empty", ["", ""]), ["empty"])
    with pytest.raises(TypeError, match="must be a list of names"):
        read_slice_columns(rows, "kind")


def test_a_function_of_the_user_is_a_metric(tokenizer):
    rows = tiny_rows(60, seed=5)
    dataset = Dataset.from_dict({"text": [row["text"] for row in rows], "label": [row["label"] for row in rows]})
    models = {"teacher": tiny_model(2, seed=1), "student": tiny_model(1, seed=2)}
    options = {"latency_rounds": 0, "num_resamples": 100, "text_columns": ["text"]}
    functions = {"hits": lambda predictions, references: 1000 * (predictions == references).mean()}
    report = compare_models(models, dataset, tokenizer, metric_functions=functions, **options).to_dict()
    assert report["task"]["metrics"] == ["accuracy", "f1", "matthews_correlation", "hits"]
    metrics = report["models"]["student"]["metrics"]
    assert metrics["hits"]["value"] == pytest.approx(1000 * metrics["accuracy"]["value"])
    assert metrics["hits"]["low"] < metrics["hits"]["value"] < metrics["hits"]["high"]
    decided = compare_models(models, dataset, tokenizer, metric_functions=functions, metric_name="hits", **options)
    assert decided.to_dict()["task"]["metric_name"] == "hits"
    (result,) = decided.check(["hits >= 0.5 * teacher"])
    assert result["value"] == pytest.approx(metrics["hits"]["value"])
    for name, message in (
        ("f1", "already has a number 'f1'"),
        ("agreement", "already has a number 'agreement'"),
        ("rmse", "'rmse' is the name of an error"),
    ):
        with pytest.raises(ValueError, match=message):
            compare_models(models, dataset, tokenizer, metric_functions={name: functions["hits"]}, **options)
    with pytest.raises(TypeError, match="must be a function of predictions and references, got str"):
        compare_models(models, dataset, tokenizer, metric_functions={"hits": "f1"}, **options)


def test_a_slice_column_is_not_read_as_text(tokenizer):
    rows = tiny_rows(60, seed=5)
    columns = {"text": [row["text"] for row in rows], "label": [row["label"] for row in rows]}
    features = Features({"text": Value("string"), "label": ClassLabel(names=LABEL_NAMES)})
    dataset = Dataset.from_dict(columns, features=features)
    with_slices = dataset.add_column("channel", ["web", "app"] * 30).add_column("country", ["x"] * 60)
    models = {"teacher": tiny_model(2, seed=1), "student": tiny_model(1, seed=2)}
    options = {"latency_rounds": 0, "num_resamples": 100}
    report = compare_models(models, with_slices, tokenizer, slice_columns=["channel", "country", "label"], **options)
    content = report.to_dict()
    assert [(part["value"], part["rows"]) for part in content["slices"][:3]] == [("web", 30), ("app", 30), ("x", 60)]
    recalls = {entry["label"]: entry["recall"] for entry in content["models"]["student"]["by_class"]}
    for part in content["slices"][3:]:  # the labels are still read as labels
        assert part["models"]["student"]["value"] == recalls.get(part["value"], pytest.approx(0.5, abs=0.5))
    whole = content["models"]["student"]["metrics"]["accuracy"]["value"]
    assert content["slices"][2]["models"]["student"]["value"] == whole
    assert sum(part["models"]["student"]["value"] for part in content["slices"][:2]) / 2 == pytest.approx(whole)
    assert "## Slices" in report.to_markdown()
    assert "channel = web" in report.to_markdown()
