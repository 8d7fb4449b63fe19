"""`compare_models` on tiny models: every kind of input, and equal numbers for equal models of any kind."""

import copy
import json

import numpy as np
import pytest
import torch
from datasets import ClassLabel, Dataset, Features, Value, concatenate_datasets
from letters import letters_tokenizer, roberta
from problems import make_problem
from scipy.stats import norm
from tiny import LABEL_NAMES, TINY, tiny_model, tiny_rows, tiny_tagger
from transformers import EvalPrediction, RobertaForTokenClassification

from hf_distill import compare_models
from hf_distill.data import as_compute_metrics
from hf_distill.reporting.comparison.predict import TorchPredictor
from hf_distill.reporting.comparison.verdict import make_verdict

QUICK = {"latency_rounds": 0, "num_resamples": 100}


@pytest.fixture(scope="module")
def texts():
    """60 rows of text with classes that have names."""
    features = Features({"text": Value("string"), "label": ClassLabel(names=LABEL_NAMES)})
    rows = [{"text": row["text"], "label": row["label"]} for row in tiny_rows(60, seed=5)]
    return Dataset.from_list(rows, features=features)


@pytest.fixture(scope="module")
def pair():
    return {"teacher": tiny_model(3, seed=1), "student": tiny_model(2, seed=2)}


def compare(models, dataset, tokenizer, **changes):
    return compare_models(models, dataset, tokenizer, **{**QUICK, **changes}).to_dict()


def numbers(report, name="student"):
    """The numbers of a report about a model's answers."""
    model = report["models"][name]
    keys = ("metrics", "retention", "versus_teacher", "fidelity", "calibration", "by_length", "by_class", "deferral")
    return json.loads(json.dumps({key: model[key] for key in keys}), parse_float=lambda text: round(float(text), 4))


def test_scores_match_the_logits_of_the_models(pair, texts, tokenizer):
    report = compare(pair, texts, tokenizer)
    compute = as_compute_metrics(["accuracy", "f1"], "single_label_classification")
    for name, model in pair.items():
        with torch.no_grad():
            logits = [model(**tokenizer(text, return_tensors="pt")).logits[0].tolist() for text in texts["text"]]
        expected = compute(EvalPrediction(predictions=np.array(logits), label_ids=np.array(texts["label"])))
        scores = {metric: report["models"][name]["metrics"][metric]["value"] for metric in expected}
        assert scores == pytest.approx(expected)
    assert report["task"]["rows"] == 60
    assert report["task"]["labels"] == LABEL_NAMES
    assert report["models"]["student"]["fidelity"]["agreement"]["value"] < 1


def test_the_order_of_a_students_classes_changes_nothing(pair, texts, tokenizer):
    order = [2, 0, 1]
    other = copy.deepcopy(pair["student"])
    other.classifier.weight.data, other.classifier.bias.data = (
        parameter.data[order] for parameter in (other.classifier.weight, other.classifier.bias)
    )
    other.config.id2label = {i: LABEL_NAMES[place].upper() for i, place in enumerate(order)}
    other.config.label2id = {name: i for i, name in other.config.id2label.items()}
    turned = compare({**pair, "student": other}, texts, tokenizer)
    assert numbers(turned) == numbers(compare(pair, texts, tokenizer))


def test_labels_can_be_names_or_the_teachers_ids(pair, texts, tokenizer):
    expected = numbers(compare(pair, texts, tokenizer))
    as_ids = texts.cast_column("label", Value("int64"))
    as_names = Dataset.from_dict({"text": texts["text"][:], "label": [LABEL_NAMES[i] for i in texts["label"]]})
    assert numbers(compare(pair, as_ids, tokenizer)) == expected
    assert numbers(compare(pair, as_names, tokenizer, text_columns=["text"])) == expected


def test_tokenized_rows_give_the_same_numbers_as_their_texts(pair, texts, tokenizer):
    rows = texts.map(lambda row: tokenizer(row["text"]), batched=True, remove_columns=["text"])
    token_report, text_report = compare(pair, rows, tokenizer), compare(pair, texts, tokenizer)
    for report in (token_report, text_report):
        report["models"]["student"]["by_length"] = []  # tokens, not words
    assert numbers(token_report) == numbers(text_report)
    assert token_report["disagreements"][0]["text"] == text_report["disagreements"][0]["text"]


class Stored:
    """A user's object that returns logits in its own order of the classes."""

    def __init__(self, model, tokenizer):
        self.inner, self.id2label = TorchPredictor(model, tokenizer), dict(enumerate(LABEL_NAMES[::-1]))

    def logits(self, texts, batch_size=32):
        return self.inner.logits(texts, batch_size)[:, ::-1]


def test_an_object_with_logits_has_the_same_numbers_as_its_model(pair, texts, tokenizer):
    report = compare({**pair, "stored": Stored(pair["student"], tokenizer)}, texts, tokenizer)
    assert numbers(report, "stored") == numbers(report)
    assert report["models"]["stored"]["cost"]["num_parameters"] is None


@pytest.mark.usefixtures("known_graphs")
def test_an_export_has_the_same_numbers_as_its_model(pair, texts, tokenizer, tmp_path):
    export = pytest.importorskip("hf_distill.export")
    student = tiny_model(1, seed=8)  # the model of tests/export
    export.export_model(student, tmp_path / "onnx", processing_class=tokenizer)
    models = {"teacher": pair["teacher"], "student": student, "onnx": tmp_path / "onnx"}
    report = compare(models, texts, tokenizer, latency_rounds=1)
    column = report["models"]["onnx"]
    assert (column["role"], column["format"], column["origin"]) == ("export", "onnx", "onnx")
    assert column["metrics"] == report["models"]["student"]["metrics"]
    assert column["fidelity"]["kl"] == pytest.approx(report["models"]["student"]["fidelity"]["kl"], rel=1e-3)
    assert column["cost"]["num_parameters"] == report["models"]["student"]["cost"]["num_parameters"]
    assert column["cost"]["bytes_on_disk"] > 0
    assert column["cost"]["latency"]
    assert report["verdict"]["model"] == "student"


def test_runs_are_loaded_from_their_folders_and_averaged(pair, texts, tokenizer, tmp_path):
    for seed in (2, 3):
        tiny_model(2, seed=seed).save_pretrained(tmp_path / str(seed))
    tokenizer.save_pretrained(tmp_path / "2")
    single_runs = [
        compare({**pair, "student": tiny_model(2, seed=seed)}, texts, tokenizer)["models"]["student"]
        for seed in (2, 3)
    ]
    report = compare({**pair, "student": [tmp_path / "2", str(tmp_path / "3")]}, texts, tokenizer)
    student = report["models"]["student"]
    accuracies = [run["metrics"]["accuracy"]["value"] for run in single_runs]
    assert student["num_runs"] == 2
    assert student["metrics"]["accuracy"]["runs"] == accuracies
    assert student["metrics"]["accuracy"]["value"] == pytest.approx(np.mean(accuracies))
    assert student["fidelity"]["kl"] == pytest.approx(np.mean([run["fidelity"]["kl"] for run in single_runs]))
    assert student["calibration"]["ece"] == pytest.approx(np.mean([run["calibration"]["ece"] for run in single_runs]))
    assert student["origin"] == "2"
    assert str(tmp_path) not in json.dumps(report)


def test_each_model_can_have_its_own_tokenizer(pair, texts, tokenizer):
    models = {"teacher": roberta(), "student": pair["student"]}
    tokenizers = {"teacher": letters_tokenizer(140), "student": tokenizer}
    report = compare(models, texts, tokenizers)
    assert report["models"]["student"]["metrics"] == compare(pair, texts, tokenizer)["models"]["student"]["metrics"]
    with torch.no_grad():
        inputs = tokenizers["teacher"](list(texts["text"]), padding=True, return_tensors="pt")
        predicted = models["teacher"](**inputs).logits.argmax(-1)
    accuracy = (predicted == torch.tensor(texts["label"])).float().mean().item()
    assert report["models"]["teacher"]["metrics"]["accuracy"]["value"] == pytest.approx(accuracy)


def test_rows_without_a_label_count_only_for_fidelity(pair, texts, tokenizer):
    labels = [-1 if i % 3 == 0 else label for i, label in enumerate(texts["label"])]
    partly = texts.remove_columns("label").add_column("label", labels)
    report = compare(pair, partly, tokenizer)
    labelled = compare(pair, texts.select([i for i in range(60) if i % 3]), tokenizer)
    assert report["task"]["rows"] == 40
    for key in ("metrics", "versus_teacher", "deferral"):
        assert report["models"]["student"][key] == labelled["models"]["student"][key]
    whole = compare(pair, texts, tokenizer)["models"]["student"]["fidelity"]
    assert report["models"]["student"]["fidelity"]["agreement"] == whole["agreement"]
    assert any("20 more rows have no label" in note for note in report["notes"])


def test_repeated_texts_are_counted(pair, texts, tokenizer):
    twice = compare(pair, concatenate_datasets([texts, texts.select(range(3))]), tokenizer)
    assert twice["task"]["repeated_rows"] == 3
    assert any(note.startswith("3 rows repeat the text of an earlier row.") for note in twice["notes"])
    assert compare(pair, texts, tokenizer)["task"]["repeated_rows"] == 0


def test_without_labels_a_report_has_only_fidelity(pair, texts, tokenizer):
    report = compare_models(pair, texts.remove_columns("label"), tokenizer, **QUICK)
    student = report.to_dict()["models"]["student"]
    assert student["metrics"] == {}
    assert student["versus_teacher"] is student["calibration"] is None
    assert student["fidelity"]["kl"] > 0
    assert report.to_dict()["verdict"]["replace"] is None
    assert report.to_markdown().startswith("It is not shown that the student can replace the teacher, because no row")


@pytest.mark.parametrize(
    ("problem_type", "metric", "applies"),
    [
        ("multi_label_classification", "f1_micro", {"calibration", "by_class"}),
        ("regression", "mae", set()),
        ("token_classification", "token_accuracy", {"calibration", "by_class"}),
    ],
)
def test_a_report_has_the_parts_that_apply_to_its_problem_type(tokenizer, problem_type, metric, applies):
    problem = make_problem(problem_type, 24)
    models = {"teacher": problem.teacher, "student": problem.student}
    report = compare_models(models, problem.rows, tokenizer, **QUICK)
    student = report.to_dict()["models"]["student"]
    assert report.to_dict()["task"]["metric_name"] == metric
    assert report.to_dict()["task"]["rows"] == 22  # two of the 24 rows have no label
    assert {key for key in ("calibration", "by_class", "deferral") if student[key]} == applies
    if problem_type == "regression":
        assert student["fidelity"]["rmse"] > 0
    else:
        assert 0 < student["fidelity"]["agreement"]["value"] < 1
    assert metric in report.to_markdown()


def test_entity_f1_is_reported_for_tags_that_spell_entities_and_on_request(tokenizer):
    problem = make_problem("token_classification", 12)
    models = {"teacher": problem.teacher, "student": problem.student}
    tags = ["O", "B-x", "I-x"]
    spelled = {name: copy.deepcopy(model) for name, model in models.items()}
    for model in spelled.values():
        model.config.id2label = dict(enumerate(tags))
        model.config.label2id = {tag: i for i, tag in enumerate(tags)}
    assert compare(spelled, problem.rows, tokenizer)["task"]["metrics"][:2] == ["entity_f1", "token_accuracy"]
    assert "entity_f1" not in compare(models, problem.rows, tokenizer)["task"]["metrics"]
    report = compare(models, problem.rows, tokenizer, metric_name="entity_f1")
    assert report["task"]["metrics"][:2] == ["entity_f1", "token_accuracy"]


@pytest.mark.usefixtures("known_graphs")
def test_the_export_of_a_token_classifier_has_the_same_numbers_as_its_model(tokenizer, tmp_path):
    export = pytest.importorskip("hf_distill.export")
    teacher, tagger = make_problem("token_classification", 12).teacher, tiny_tagger(*LABEL_NAMES)
    words = [row["text"].split() for row in tiny_rows(12, seed=3)]
    rows = Dataset.from_dict({"tokens": words, "label": [[len(word) % 3 for word in row] for row in words]})
    export.export_model(tagger, tmp_path / "onnx", processing_class=tokenizer)
    models = {"teacher": teacher, "student": tagger, "onnx": tmp_path / "onnx"}
    report = compare(models, rows, tokenizer, text_columns=["tokens"], latency_rounds=1)
    student, onnx = (report["models"][name] for name in ("student", "onnx"))
    assert onnx["metrics"] == student["metrics"]
    assert onnx["fidelity"]["agreement"] == student["fidelity"]["agreement"]
    assert onnx["cost"]["latency"]
    too_long = Dataset.from_dict({"tokens": [*words, ["good"] * 80], "label": [*rows["label"], [1] * 80]})
    with pytest.raises(ValueError, match="Row 12 has 80 words, but a model sees only 62"):
        compare({"teacher": tmp_path / "onnx", "student": tagger}, too_long, tokenizer, text_columns=["tokens"])


def test_words_are_compared_across_tokenizers(tokenizer):
    problem = make_problem("token_classification", 12)
    words = [row["text"].split() for row in tiny_rows(12, seed=3)]
    rows = Dataset.from_dict({"tokens": words, "label": [[len(word) % 3 for word in row] for row in words]})
    models = {"teacher": roberta(RobertaForTokenClassification), "student": problem.student}
    tokenizers = {"teacher": letters_tokenizer(140), "student": tokenizer}
    report = compare(models, rows, tokenizers, text_columns=["tokens"])
    correct = total = 0
    for row in words:
        encoded = tokenizers["teacher"](row, is_split_into_words=True, return_tensors="pt")
        with torch.no_grad():
            predicted = models["teacher"](**encoded).logits[0].argmax(-1)
        places = [encoded.word_ids(0).index(i) for i in range(len(row))]
        correct += sum(int(predicted[place]) == len(word) % 3 for place, word in zip(places, row, strict=True))
        total += len(row)
    assert report["models"]["teacher"]["metrics"]["token_accuracy"]["value"] == pytest.approx(correct / total)


def test_models_are_not_changed(texts, tokenizer):
    models = {"teacher": tiny_model(2, seed=1).to(torch.bfloat16), "student": tiny_model(1, seed=2).train()}
    before = copy.deepcopy(models["teacher"].state_dict())
    compare(models, texts.select(range(8)), tokenizer, latency_rounds=1)
    assert models["student"].training
    assert all(torch.equal(value, before[name]) for name, value in models["teacher"].state_dict().items())


def test_costs_are_measured_for_every_model(pair, texts, tokenizer, tmp_path):
    pair["student"].save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    models = {**pair, "student": tmp_path, "stored": Stored(pair["student"], tokenizer)}
    report = compare(models, texts, tokenizer, latency_rounds=2)
    costs = {name: model["cost"] for name, model in report["models"].items()}
    for cost in costs.values():
        assert [(e["tokens"], e["batch_size"]) for e in cost["latency"]] == [(None, 1), (16, 1), (64, 1)]
        assert [e["calls"] for e in cost["latency"]] == [10, 2, 2]
        assert all(0 < e["p50_ms"] <= e["p95_ms"] for e in cost["latency"])
        assert all(e["p99_ms"] is None for e in cost["latency"])  # too few calls
        assert [(e["tokens"], e["batch_size"]) for e in cost["throughput"]] == [(16, 32), (64, 32)]
    assert costs["teacher"]["speedup"] == 1.0
    student = costs["student"]
    total = sum(parameter.numel() for parameter in pair["student"].parameters())
    embeddings = (TINY["vocab_size"] + TINY["max_position_embeddings"] + 2) * TINY["hidden_size"]
    assert student["num_parameters"] == total
    assert student["num_parameters_without_embeddings"] == total - embeddings
    assert student["bytes_on_disk"] == (tmp_path / "model.safetensors").stat().st_size
    assert costs["stored"]["peak_memory_bytes"] is None


def test_the_operations_of_the_matrix_products_are_counted(pair, texts, tokenizer):
    cost = compare(pair, texts, tokenizer)["models"]["student"]["cost"]
    length, hidden, inner = 16, TINY["hidden_size"], TINY["intermediate_size"]
    layer = 2 * length * (4 * hidden**2 + 2 * hidden * inner) + 2 * 2 * length**2 * hidden
    assert cost["flops_per_example"] == 2 * layer + 2 * (hidden**2 + hidden * 3)
    assert cost["latency"] == []


def test_a_second_dataset_is_scored_separately(pair, texts, tokenizer):
    shifted = texts.select(range(30))
    report = compare(pair, texts, tokenizer, shifted_dataset=shifted)
    separate = compare(pair, shifted, tokenizer)
    for name in pair:
        assert report["models"][name]["shifted"]["metrics"] == separate["models"][name]["metrics"]
    assert report["models"]["student"]["shifted"]["retention"] == separate["models"]["student"]["retention"]


def test_a_second_dataset_can_have_its_classes_in_another_order(pair, texts, tokenizer):
    names = LABEL_NAMES[::-1]
    features = Features({"text": Value("string"), "label": ClassLabel(names=names)})
    rows = {"text": texts["text"][:], "label": [names.index(LABEL_NAMES[i]) for i in texts["label"]]}
    report = compare(pair, texts, tokenizer, shifted_dataset=Dataset.from_dict(rows, features=features))
    for model in report["models"].values():
        assert model["shifted"]["metrics"] == model["metrics"]


def test_the_batch_size_changes_nothing(pair, texts, tokenizer):
    assert numbers(compare(pair, texts, tokenizer, batch_size=7)) == numbers(compare(pair, texts, tokenizer))


def verdict(low, high, is_busy=False, p_inferior=0.5, **cost):
    versus = {
        "difference": (low + high) / 2, "low": low, "high": high, "margin": 0.01, "non_inferior": low > -0.01,
        "test": "McNemar exact", "p_inferior": p_inferior,
    }  # fmt: skip
    metrics = {"accuracy": {"value": 0.9, "low": 0.88, "high": 0.92, "runs": [0.9]}}
    no_cost = {"speedup": None, "bytes_on_disk": None, "num_parameters": None, "latency": []}
    models = {
        "teacher": {
            "role": "teacher",
            "metrics": metrics,
            "shipped_run": 0,
            "cost": {**no_cost, "bytes_on_disk": 100},
        },
        "student": {
            "role": "student",
            "metrics": metrics,
            "shipped_run": 0,
            "cost": {**no_cost, **cost},
            "versus_teacher": versus,
            "lost_classes": None,
        },
    }
    trivial = {"reason": None, "answer": "negative", "score": 0.512}
    task = {"metric_name": "accuracy", "rows": 1234, "confidence_level": 0.95, "groups": None, "trivial": trivial}
    return make_verdict(models, task, is_busy)


def test_the_verdict_is_yes_no_or_not_shown():
    yes = verdict(-0.005, 0.01, speedup=2.04, bytes_on_disk=25)
    assert yes == {
        "replace": True,
        "model": "student",
        "reason": "score",
        "more_rows": None,
        "sentence": "Yes, the student can replace the teacher: with 95 % confidence it is less than 1 point worse. On "
        "1,234 rows its accuracy is 90.0 %, and the teacher's is 90.0 % (always answering 'negative' gives 51.2 %). "
        "The student is 2.0 times as fast as the teacher and needs 25 % of the disk space.",
        "by_model": {
            "student": "Yes, the student can replace the teacher: with 95 % confidence it is less than 1 point worse. "
            "The student is 2.0 times as fast as the teacher and needs 25 % of the disk space."
        },
    }
    busy = verdict(-0.005, 0.01, is_busy=True, speedup=1650.0, bytes_on_disk=25)
    assert busy["sentence"].endswith("51.2 %). The student needs 25 % of the disk space.")
    no, not_shown = verdict(-0.05, -0.02), verdict(-0.032, 0.01)
    assert (no["replace"], not_shown["replace"]) == (False, None)
    assert no["sentence"].startswith("No, the student should not replace")
    assert not_shown["by_model"]["student"] == (
        "It is not shown that the student can replace the teacher: with 95 % confidence the difference is between "
        "-3.2 and +1.0 points, so it could be more than 1 point worse."
    )
    assert not_shown["sentence"].startswith(not_shown["by_model"]["student"] + " On 1,234 rows its accuracy is 90.0 %")
    assert not_shown["sentence"].endswith(
        " The interval of its accuracy is 88.0 to 92.0 %. The measured difference itself is as large as the margin, "
        "so more rows will most likely not change this."
    )
    assert not_shown["more_rows"] is None


def test_the_verdict_says_how_many_more_rows_would_show_a_yes():
    # The difference is 1 standard error above the margin: 1,234 * (1.95996 + 0.84162)^2 = 9,685.6 rows in all.
    not_shown = verdict(-0.015, 0.015, p_inferior=norm.sf(1.0))
    assert not_shown["more_rows"] == 9686 - 1234
    assert not_shown["sentence"].endswith(
        "About 8,500 more rows would show that it is less than 1 point worse, in 4 of 5 samples, if the measured "
        "scores are the true ones."
    )
    near = verdict(-0.03, 0.0101, p_inferior=0.499)
    assert near["more_rows"] is None
    assert near["sentence"].endswith("is so near to the margin that no practical number of rows would decide.")


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"models": {"student": 1}}, ValueError, "must contain 'teacher'"),
        ({"models": {"teacher": tiny_model(1), "student": 3}}, TypeError, "got int"),
        ({"models": {"teacher": tiny_model(1), "student": []}}, ValueError, "is an empty list"),
        (
            {"models": {"teacher": [tiny_model(1)] * 2, "student": tiny_model(1)}},
            ValueError,
            "teacher must be one model",
        ),
        ({"models": {"teacher": tiny_model(1), "student": "absent"}}, OSError, "absent"),
        (
            {"models": {"teacher": tiny_model(1), "student": tiny_model(1, num_labels=2)}},
            ValueError,
            "cannot be aligned",
        ),
        (
            {"models": {"teacher": tiny_model(1), "student": tiny_model(1, problem_type="regression")}},
            ValueError,
            "different problem types",
        ),
        ({"processing_class": {"pupil": None}}, ValueError, "pupil"),
        ({"processing_class": None}, ValueError, "Pass `processing_class`"),
        ({"text_columns": ["review"]}, ValueError, "review"),
        ({"text_columns": "text"}, TypeError, "got the string"),
        ({"label_column": "stars"}, ValueError, "stars"),
        ({"metric_name": "rouge"}, ValueError, "got 'rouge'"),
        ({"margin": 1.0}, ValueError, "`margin`"),
        ({"label_names": ["good", "bad", "ugly"]}, ValueError, "label names differ"),
    ],
)
def test_models_and_rows_that_do_not_fit_are_named(pair, texts, tokenizer, changes, error, message):
    given = {"models": pair, "dataset": texts, "processing_class": tokenizer, **QUICK, **changes}
    with pytest.raises(error, match=message):
        compare_models(**given)
