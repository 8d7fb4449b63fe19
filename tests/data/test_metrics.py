"""Metrics against values computed by hand, scikit-learn and SciPy."""

import warnings

import evaluate
import numpy as np
import pytest
from scipy.stats import pearsonr, spearmanr
from sklearn.metrics import accuracy_score, f1_score, matthews_corrcoef
from transformers import EvalPrediction

from hf_distill.data import as_compute_metrics
from hf_distill.data.evaluate_module import load_metric
from hf_distill.data.metrics import METRICS, Metric, default_metrics, find_metric

CLASSIFICATION = "single_label_classification"
PREDICTED, TRUE = np.array([1, 1, 0, 0, 1, 0]), np.array([1, 0, 0, 1, 1, 1])  # 2 of 3 ones right, 2 of 4 ones found


def logits_for(classes, num_labels):
    return np.eye(num_labels, dtype=np.float32)[classes]


def test_classification_metrics_match_the_values_computed_by_hand():
    compute = as_compute_metrics(["accuracy", "f1", "matthews_correlation"], CLASSIFICATION)
    values = compute(EvalPrediction(logits_for(PREDICTED, 2), TRUE))
    assert values["accuracy"] == pytest.approx(3 / 6)
    assert values["f1"] == pytest.approx(2 * (2 / 3) * (2 / 4) / (2 / 3 + 2 / 4))
    # (TP TN - FP FN) / sqrt((TP + FP)(TP + FN)(TN + FP)(TN + FN)) with TP 2, TN 1, FP 1, FN 2
    assert values["matthews_correlation"] == pytest.approx((2 * 1 - 1 * 2) / np.sqrt(3 * 4 * 2 * 3))


def test_f1_of_three_classes_is_the_mean_over_classes_even_if_one_never_occurs():
    compute = as_compute_metrics("f1", CLASSIFICATION)
    expected = f1_score(TRUE, PREDICTED, average="macro")
    assert compute(EvalPrediction(logits_for(PREDICTED, 3), TRUE)) == {"f1": pytest.approx(expected)}
    assert expected != pytest.approx(f1_score(TRUE, PREDICTED))


@pytest.mark.parametrize("num_labels", [2, 3, 6])
def test_classification_metrics_equal_scikit_learns_also_if_classes_are_missing(num_labels):
    draw, metrics = np.random.default_rng(0), [metric.name for metric in METRICS[CLASSIFICATION]]
    for num_rows in range(2, 40):
        predicted, true = draw.integers(0, num_labels, num_rows), draw.integers(0, num_labels, num_rows)
        average = "binary" if num_labels == 2 else "macro"
        is_one_class = len(np.union1d(predicted, true)) == 1  # for which scikit-learn warns
        expected = {
            "accuracy": accuracy_score(true, predicted),
            "f1": f1_score(true, predicted, average=average, zero_division=0.0),
            "matthews_correlation": 0.0 if is_one_class else matthews_corrcoef(true, predicted),
        }
        compute = as_compute_metrics(metrics, CLASSIFICATION)
        assert compute(EvalPrediction(logits_for(predicted, num_labels), true)) == pytest.approx(expected)


def test_matthews_correlation_takes_more_than_two_classes():
    predicted, true = np.array([0, 1, 2, 2, 1]), np.array([0, 2, 2, 1, 1])
    value = as_compute_metrics("matthews_correlation", CLASSIFICATION)(EvalPrediction(logits_for(predicted, 3), true))
    assert value["matthews_correlation"] == pytest.approx(matthews_corrcoef(true, predicted))


def test_correlations_equal_scipys():
    outputs, scores = np.array([[0.5], [2.0], [1.5], [4.0]]), np.array([0.0, 1.0, 3.0, 5.0], dtype=np.float32)
    values = as_compute_metrics(["pearson", "spearmanr"], "regression")(EvalPrediction(outputs, scores))
    assert values["pearson"] == pytest.approx(pearsonr(outputs[:, 0], scores).statistic)
    assert values["spearmanr"] == pytest.approx(spearmanr(outputs[:, 0], scores).statistic)


@pytest.mark.parametrize("names", [["pearson"], ["spearmanr"], ["pearson", "spearmanr"]])
@pytest.mark.parametrize("outputs", [[2.0, 2.0, 2.0], [np.nan, 1.0, 2.0]])
def test_an_undefined_correlation_is_zero_without_a_warning(names, outputs):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        values = as_compute_metrics(names, "regression")(EvalPrediction(np.array(outputs), np.array([1.0, 2.0, 3.0])))
    assert values == dict.fromkeys(names, 0.0)


def test_metrics_of_constant_predictions_are_zero_and_not_an_error():
    compute = as_compute_metrics(["f1", "matthews_correlation"], CLASSIFICATION)
    assert compute(EvalPrediction(logits_for([0, 0], 2), np.array([0, 1]))) == {"f1": 0.0, "matthews_correlation": 0.0}


def test_the_coefficient_of_matthews_is_zero_without_a_warning_if_there_is_only_one_class():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        values = as_compute_metrics("matthews_correlation", CLASSIFICATION)(
            EvalPrediction(logits_for([1, 1], 2), np.array([1, 1]))
        )
    assert values == {"matthews_correlation": 0.0}


def test_a_single_row_has_correlation_zero():
    prediction = EvalPrediction(np.array([[1.0]]), np.array([2.0]))
    assert as_compute_metrics("pearson", "regression")(prediction) == {"pearson": 0.0}


def test_rows_without_a_label_are_left_out():
    classes = EvalPrediction(logits_for([1, 0, 1], 2), np.array([1, -100, 0]))
    assert as_compute_metrics("accuracy", CLASSIFICATION)(classes) == {"accuracy": 0.5}
    outputs = np.array([1.0, 9.0, 2.0, 3.0])
    scores = EvalPrediction(outputs, np.array([1.0, np.nan, 2.0, 3.0]))
    assert as_compute_metrics("pearson", "regression")(scores) == {"pearson": pytest.approx(1.0)}
    unlabelled = EvalPrediction(logits_for([1, 0], 2), np.array([-100, -100]))
    assert as_compute_metrics("accuracy", CLASSIFICATION)(unlabelled) == {}


def test_logits_can_be_the_first_element_of_a_tuple():
    prediction = EvalPrediction((logits_for(PREDICTED, 2), np.zeros((6, 4))), TRUE)
    assert as_compute_metrics("accuracy", CLASSIFICATION)(prediction) == {"accuracy": 0.5}


def test_a_metric_can_be_a_function_or_a_module_of_evaluate():
    class Errors(evaluate.Metric):
        def _info(self):
            from datasets import Features, Value

            features = Features({"predictions": Value("int64"), "references": Value("int64")})
            return evaluate.MetricInfo(description="", citation="", features=features)

        def _compute(self, predictions, references):
            return {"errors": sum(p != r for p, r in zip(predictions, references, strict=True))}

    prediction = EvalPrediction(logits_for(PREDICTED, 2), TRUE)
    errors = Errors(keep_in_memory=True)
    assert as_compute_metrics(errors, CLASSIFICATION)(prediction) == {"errors": 3.0}
    both = evaluate.combine([errors, load_metric(["accuracy"])])
    assert as_compute_metrics(both, CLASSIFICATION)(prediction) == {"errors": 3.0, "accuracy": 0.5}
    assert as_compute_metrics(lambda p, r: float((p == r).sum()), CLASSIFICATION)(prediction) == {"score": 3.0}
    assert as_compute_metrics(lambda p, r: {"hits": (p == r).sum()}, CLASSIFICATION)(prediction) == {"hits": 3.0}


def test_load_metric_gives_a_module_that_collects_batches():
    metric = load_metric(["f1", "accuracy"])
    assert isinstance(metric, evaluate.EvaluationModule)
    metric.add_batch(predictions=PREDICTED[:4], references=TRUE[:4])
    metric.add_batch(predictions=PREDICTED[4:], references=TRUE[4:])
    assert metric.compute() == {"f1": pytest.approx(4 / 7), "accuracy": 0.5}


def test_metrics_write_no_file(tmp_path, monkeypatch):
    monkeypatch.setattr(evaluate.config, "HF_METRICS_CACHE", str(tmp_path / "metrics"))
    load_metric(["accuracy"]).compute(predictions=[0, 1], references=[0, 1])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("metric", ["bleu", ["accuracy", "pearson"], "pearson", []])
def test_an_unknown_metric_is_refused_before_it_is_computed(metric):
    with pytest.raises(ValueError, match="accuracy, f1, matthews_correlation"):
        as_compute_metrics(metric, CLASSIFICATION)


def test_wrong_arguments_are_named():
    with pytest.raises(ValueError, match="multi_label_classification"):
        as_compute_metrics("accuracy", "multi_label_classification")
    with pytest.raises(TypeError, match="got int"):
        as_compute_metrics(3, CLASSIFICATION)
    with pytest.raises(ValueError, match="together"):
        load_metric(["accuracy", "pearson"])
    with pytest.raises(ValueError, match="num_labels=1"):
        as_compute_metrics("pearson", "regression")(EvalPrediction(np.zeros((3, 2)), np.zeros(3)))


def test_multi_label_metrics_equal_scikit_learns():
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(size=(40, 5)), (rng.random((40, 5)) < 0.4).astype(np.float32)
    labels[3] = np.nan
    compute = as_compute_metrics(["f1_micro", "f1_macro", "subset_accuracy"], "multi_label_classification")
    result = compute(EvalPrediction(predictions=logits, label_ids=labels))
    keep = np.arange(40) != 3
    predicted, labelled = (logits[keep] > 0).astype(int), labels[keep].astype(int)
    for average in ("micro", "macro"):
        assert result[f"f1_{average}"] == pytest.approx(f1_score(labelled, predicted, average=average))
    assert result["subset_accuracy"] == pytest.approx((predicted == labelled).all(axis=1).mean())


@pytest.mark.parametrize(
    ("predicted", "expected", "f1"),
    [
        ("B-per I-per O B-loc", "B-per I-per O B-loc", 1.0),
        ("B-per O O B-loc", "B-per I-per O B-loc", 0.5),  # half of an entity is not the entity
        ("O O O O", "B-per I-per O B-loc", 0.0),
        ("B-per I-per B-per O", "B-per I-per I-per O", 0.0),  # two entities instead of one
        ("I-per I-per O B-loc", "B-per I-per O B-loc", 1.0),  # I without B begins an entity
        ("B-per I-loc O O", "B-per O O O", 2 / 3),  # so does I of another type
        ("O O O O", "O O O O", 0.0),
    ],
)
def test_entity_f1_counts_whole_entities(predicted, expected, f1):
    names = ["O", "B-per", "I-per", "B-loc", "I-loc"]
    ids = [[names.index(tag) for tag in tags.split()] for tags in (predicted, expected)]
    # Between the words there are tokens without a label, whose predictions do not count.
    logits, labels = np.full((2, 8, 5), -1.0), np.full((2, 8), -100)
    for i, (tag, label) in enumerate(zip(*ids, strict=True)):
        logits[0, 2 * i, tag], labels[0, 2 * i] = 1.0, label
    compute = as_compute_metrics(["entity_f1", "token_accuracy"], "token_classification", names)
    result = compute(EvalPrediction(predictions=logits, label_ids=labels))
    assert result["entity_f1"] == pytest.approx(f1)
    assert result["token_accuracy"] == pytest.approx(np.mean([a == b for a, b in zip(*ids, strict=True)]))


def test_token_classification_needs_the_names_of_the_tags():
    with pytest.raises(ValueError, match="`label_names` is missing"):
        as_compute_metrics("entity_f1", "token_classification")


def test_every_metric_has_a_unique_name_and_says_how_its_score_is_shown():
    metrics = [metric for metrics_of_type in METRICS.values() for metric in metrics_of_type]
    assert len({metric.name for metric in metrics}) == len(metrics)
    for name in ("matthews_correlation", "pearson", "spearmanr"):
        assert (find_metric(name).is_share, find_metric(name).lowest) == (False, -1.0)
    for name in ("accuracy", "f1", "f1_micro", "entity_f1", "token_accuracy"):
        assert (find_metric(name).is_share, find_metric(name).lowest) == (True, 0.0)
    for name, is_row_accuracy in {
        "accuracy": True,
        "subset_accuracy": True,
        "f1": False,
        "token_accuracy": False,
    }.items():
        assert find_metric(name).is_row_accuracy == is_row_accuracy
    assert find_metric("entity_f1").needs_entities
    assert find_metric("loss") is None


def test_a_metric_that_needs_no_entities_is_a_default_for_any_tags(monkeypatch):
    sentence_accuracy = Metric(
        "sentence_accuracy",
        lambda p, r, _: float(np.mean([tags == labels for tags, labels in zip(p, r, strict=True)])),
    )
    monkeypatch.setitem(METRICS, "token_classification", (*METRICS["token_classification"], sentence_accuracy))
    names = default_metrics("token_classification", ["S-x", "O"])
    assert names[0] == "token_accuracy"
    assert "sentence_accuracy" in names
    assert "entity_f1" not in names
    assert default_metrics("token_classification", ["B-x", "O"])[0] == "entity_f1"
    compute = as_compute_metrics("sentence_accuracy", "token_classification", ["S-x", "O"])
    logits = np.array([[[1.0, 0.0], [0.0, 1.0]], [[1.0, 0.0], [1.0, 0.0]]])
    assert compute(EvalPrediction(logits, np.array([[0, 1], [0, 1]]))) == {"sentence_accuracy": 0.5}
