"""A metric that is added to `METRICS` works everywhere, and a user's own function breaks nothing."""

import csv
import warnings

import numpy as np
import pytest
from datasets import Dataset
from records import RECORD, changed
from sklearn.metrics import balanced_accuracy_score, cohen_kappa_score
from tiny import LABEL_NAMES, tiny_model, tiny_rows
from transformers import EvalPrediction

from hf_distill import compare_models
from hf_distill.data import as_compute_metrics, load_text_dataset
from hf_distill.data.metrics import METRICS, Metric
from hf_distill.export.metrics import scorer
from hf_distill.hub.card.model_card import model_card
from hf_distill.reporting import summary
from hf_distill.reporting.page.html import render_html

SINGLE = "single_label_classification"


def kappa(predictions, references, num_labels):
    """Cohen's kappa. scikit-learn's takes milliseconds, and a report computes it thousands of times."""
    equal = np.mean(predictions == references)
    by_chance = sum(np.mean(predictions == i) * np.mean(references == i) for i in range(num_labels))
    return (equal - by_chance) / (1 - by_chance) if by_chance < 1 else float("nan")


KAPPA = Metric("toy_kappa", kappa, lowest=-1.0, is_share=False)
MEAN_RECALL = Metric(
    "toy_recall",
    lambda p, r, num_labels: balanced_accuracy_score(r, p),
    from_counts=lambda counts: np.nanmean(
        counts.both / np.where(counts.references, counts.references, np.nan), axis=1
    ),
    on_card=False,
)


@pytest.fixture
def table(monkeypatch):
    monkeypatch.setitem(METRICS, SINGLE, (*METRICS[SINGLE], KAPPA, MEAN_RECALL))


@pytest.fixture(scope="module")
def models():
    return {"teacher": tiny_model(3, seed=1), "student": tiny_model(2, seed=2)}


@pytest.fixture(scope="module")
def texts():
    rows = [{"text": row["text"], "label": row["label"]} for row in tiny_rows(60, seed=5)]
    return Dataset.from_list(rows)


def predictions_of(model, texts, tokenizer):
    return np.array([model(**tokenizer(text, return_tensors="pt")).logits.argmax(-1).item() for text in texts])


def test_training_reports_a_new_metric(table, tmp_path):
    with (tmp_path / "rows.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("text", "label"), *((row["text"], row["label"]) for row in tiny_rows(8))])
    task = load_text_dataset(validation_file=tmp_path / "rows.csv", metric_name="toy_kappa")
    assert task.metric_name == "toy_kappa"
    labels, predicted = np.array([0, 1, 2, 1]), np.array([0, 1, 1, 1])
    scores = task.compute_metrics(EvalPrediction(np.eye(3)[predicted], labels))
    assert scores["toy_kappa"] == pytest.approx(cohen_kappa_score(labels, predicted))
    assert scores["toy_recall"] == pytest.approx(2 / 3)
    assert scores["accuracy"] == 0.75


def test_a_report_shows_a_new_metric_with_an_interval(table, models, texts, tokenizer):
    options = {"latency_rounds": 0, "num_resamples": 300, "metric_name": "toy_kappa"}
    report = compare_models(models, texts, tokenizer, **options)
    content = report.to_dict()
    predicted = predictions_of(models["student"], texts["text"], tokenizer)
    for metric, expected in {
        "toy_kappa": cohen_kappa_score(texts["label"], predicted),
        "toy_recall": balanced_accuracy_score(texts["label"], predicted),
    }.items():
        estimate = content["models"]["student"]["metrics"][metric]
        assert estimate["value"] == pytest.approx(expected)
        assert estimate["low"] < estimate["value"] < estimate["high"]
    assert content["task"]["metric_name"] == "toy_kappa"
    num_resamples = content["task"]["num_resamples_by_metric"]
    assert [num_resamples[name] for name in ("toy_kappa", "accuracy", "toy_recall")] == [200, 300, 300]
    kappa = content["models"]["student"]["metrics"]["toy_kappa"]
    shown = f"{kappa['value']:.3f} ({kappa['low']:.3f} to {kappa['high']:.3f})"
    note = "The intervals of toy_kappa come from 200 resamples instead of 300"
    text, page = report.to_markdown(), render_html(content)
    assert shown in text
    assert note in text
    assert note in page
    assert "300 bootstrap resamples of the rows, 200 for toy_kappa" in page
    recall = content["models"]["student"]["metrics"]["toy_recall"]["value"]
    assert f"{100 * recall:.1f} %" in text
    card = model_card(changed(metric_name="toy_kappa", metrics={"student": {"toy_kappa": 0.5}}), content)
    assert shown in card.text


def test_the_metadata_of_the_card_list_a_new_metric_unless_it_says_otherwise(table):
    scores = {"toy_kappa": 0.5, "toy_recall": 0.6, "loss": 0.3}
    card = model_card(changed(metrics={"student": scores}))
    assert card.data.metrics == ["toy_kappa"]
    assert [(result.metric_type, result.metric_value) for result in card.data.eval_results] == [("toy_kappa", 0.5)]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_metric_that_cannot_be_computed_is_an_error_before_any_model_runs(
    monkeypatch, models, texts, tokenizer, value
):
    broken = Metric("broken", lambda p, r, num_labels: value)
    monkeypatch.setitem(METRICS, SINGLE, (broken,))
    monkeypatch.setattr("hf_distill.reporting.comparison.compare.run_models", None)
    with pytest.raises(ValueError, match="The metric 'broken' gives"):
        compare_models(models, texts, tokenizer)


def test_an_undefined_score_is_not_available_and_ends_nothing(monkeypatch, models, texts, tokenizer):
    perfect_only = Metric("perfect_only", lambda p, r, num_labels: 1.0 if np.array_equal(p, r) else float("nan"))
    monkeypatch.setitem(METRICS, SINGLE, (perfect_only,))
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        report = compare_models(models, texts, tokenizer, latency_rounds=0, num_resamples=100)
    assert report.to_dict()["models"]["student"]["metrics"]["perfect_only"]["value"] is None
    assert report.to_dict()["verdict"] == {
        "sentence": "It is not shown that the student can replace the teacher: perfect_only is undefined for one of "
        "the two models.",
        "by_model": {
            "student": "It is not shown that the student can replace the teacher: perfect_only is undefined for one "
            "of the two models."
        },
        "replace": None,
        "model": "student",
        "reason": "undefined score",
        "more_rows": None,
    }
    assert "n/a" in report.to_markdown()
    assert "n/a" in render_html(report.to_dict())


def test_a_function_of_the_user_is_reported_as_a_plain_number():
    compute_metrics = as_compute_metrics(
        lambda predictions, references: float((predictions == references).sum()), SINGLE
    )
    scores = compute_metrics(EvalPrediction(np.eye(2)[[0, 1, 1]], np.array([0, 1, 0])))
    assert scores == {"score": 2.0}
    metrics = {"teacher": {"score": 3.0}, "student": scores, "baseline": {"score": 1.0}}
    record = {**RECORD, "metric_name": "score", "metrics": metrics}
    assert "2.0000" in summary(record)
    card = model_card(record)
    assert card.data.metrics == ["score"]
    assert "2.0000" in card.text
    score = scorer([0, 1, 0], SINGLE, LABEL_NAMES[:2], compute_metrics)
    assert score(list(np.eye(2)[[0, 1, 1]])) == {"score": 2.0}


def test_a_metric_of_the_user_is_named_with_the_way_to_add_it(models, texts, tokenizer):
    with pytest.raises(ValueError, match="got 'score'. To use another metric, pass it in `metric_functions`") as error:
        compare_models(models, texts, tokenizer, metric_name="score")
    assert "accuracy, f1, matthews_correlation" in str(error.value)
