"""An export returns the predictions of its model, with the interface of transformers pipelines and without torch."""

import copy
import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from tiny import LABEL_NAMES, TINY, WORDS, tiny_model, tiny_rows, tiny_tokenizer
from tokenizers import normalizers
from transformers import (
    BertConfig,
    BertForMaskedLM,
    BertForSequenceClassification,
    BertTokenizerLegacy,
    pipeline,
)

import hf_distill
from hf_distill import Predictor, export_model
from hf_distill.classifiers.static_model import StaticConfig, StaticForSequenceClassification
from hf_distill.cli import main
from hf_distill.export import ParityError
from hf_distill.export.metrics import scorer
from hf_distill.export.parity import check_parity, measure_parity
from hf_distill.utils.atomic import write_folder_atomically

TEXTS = [row["text"] for row in tiny_rows(24, seed=5)]
PAIRS = [(row["text"], row["text_pair"]) for row in tiny_rows(8, seed=6)]


def logits_of(model, tokenizer, texts):
    with torch.no_grad():
        return np.stack([model(**tokenizer(text, return_tensors="pt")).logits[0].numpy() for text in texts])


def assert_same(actual, expected):
    """Compare nested lists and dicts; numbers are compared with float32 tolerance."""
    if isinstance(expected, list):
        assert len(actual) == len(expected)
        for actual_item, expected_item in zip(actual, expected, strict=True):
            assert_same(actual_item, expected_item)
    else:
        assert actual == {
            name: pytest.approx(value, abs=1e-5) if name == "score" else value for name, value in expected.items()
        }


@pytest.mark.parametrize("settings", [{}, {"top_k": None}, {"top_k": 1}, {"top_k": 2}])
def test_predictions_equal_the_pipeline(model, tokenizer, predictor, settings):
    pipe = pipeline("text-classification", model=model, tokenizer=tokenizer)
    assert len({row["label"] for row in predictor(TEXTS)}) == 2, "or the test would be vacuous"
    assert_same(predictor(TEXTS, **settings), pipe(TEXTS, **settings))
    assert_same(predictor("a good film", **settings), pipe("a good film", **settings))
    pairs = [{"text": text, "text_pair": pair} for text, pair in PAIRS]
    assert_same(predictor(pairs, **settings), pipe(pairs, **settings))
    assert_same(predictor(PAIRS, **settings), pipe(pairs, **settings))


def test_a_single_pair_is_one_text(predictor):
    assert predictor(PAIRS[0]) == predictor(PAIRS[:1])


@pytest.mark.parametrize("batch_size", [1, 5, 100])
def test_logits_equal_the_model_in_the_order_of_the_texts(model, tokenizer, predictor, batch_size):
    texts = [TEXTS[0], *TEXTS[:3], " ".join(WORDS), "good"]
    logits = predictor.logits(texts, batch_size)
    assert (logits.shape, logits.dtype) == ((6, 3), np.float32)
    np.testing.assert_allclose(logits, logits_of(model, tokenizer, texts), atol=1e-5)


def test_an_empty_list_of_texts_has_no_logits(predictor):
    assert predictor.logits([]).shape == (0, 3)
    assert predictor([]) == []


def test_a_text_is_truncated_at_the_limit_of_the_model(model, tokenizer, predictor):
    assert predictor.max_length == 64
    expected = model(**tokenizer("good bad " * 100, truncation=True, return_tensors="pt")).logits
    np.testing.assert_allclose(predictor.logits("good bad " * 100), expected.detach().numpy(), atol=1e-5)


def test_the_number_of_threads_does_not_change_the_logits(folder, predictor):
    np.testing.assert_allclose(Predictor(folder, num_threads=1).logits(TEXTS), predictor.logits(TEXTS), atol=1e-6)


def test_a_predictor_does_not_need_torch_or_transformers(folder, predictor):
    program = (
        "import sys\n"
        "for name in ('torch', 'transformers', 'datasets', 'accelerate', 'onnx'): sys.modules[name] = None\n"
        "from hf_distill import Predictor\n"
        "print(Predictor(sys.argv[1])(['a good film'])[0]['score'])\n"
    )
    command = [sys.executable, "-c", program, str(folder)]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert float(result.stdout) == pytest.approx(predictor(["a good film"])[0]["score"], abs=1e-6)


def test_the_folder_describes_the_export_and_contains_no_local_paths(model, tokenizer, folder):
    record = json.loads((folder / "export.json").read_text())
    assert (record["format"], record["problem_type"]) == ("onnx", "single_label_classification")
    assert record["id2label"] == dict(zip("012", LABEL_NAMES, strict=True))
    assert record["num_parameters"] == model.num_parameters()
    assert list(record["variants"]) == ["float32"]
    assert record["variants"]["float32"]["file"] == "onnx/model.onnx"
    parity = record["variants"]["float32"]["parity"]
    assert parity["on"] == "64 rows of random token ids, seed 0"
    assert (parity["agreement"], parity["units"], parity["tolerance"]) == (1, 64, 1e-3)
    assert json.loads((folder / "config.json").read_text())["problem_type"] == "single_label_classification"
    package = str(Path(hf_distill.__file__).parent).encode()
    for file in filter(Path.is_file, folder.rglob("*")):
        content = file.read_bytes()
        assert not [path for path in (package, b"site-packages", str(folder.parent).encode()) if path in content], file


def test_the_model_given_is_not_changed(model):
    assert model.config.problem_type is None
    assert model.config.architectures is None


@pytest.mark.parametrize("problem_type", ["multi_label_classification", "regression"])
def test_other_problem_types_equal_the_pipeline(tokenizer, tmp_path, problem_type):
    if problem_type == "regression":  # one output, and no layers, because the export of a layer takes five seconds
        config = StaticConfig(
            vocab_size=TINY["vocab_size"], hidden_size=16, head_size=32, initializer_range=0.5, num_labels=1,
            problem_type=problem_type,
        )  # fmt: skip
        model = StaticForSequenceClassification(config).eval()
    else:
        model = tiny_model(1, seed=8, problem_type=problem_type)
    parity = export_model(model, tmp_path / "onnx", processing_class=tokenizer, texts=TEXTS)
    assert parity["agreement"] == (None if problem_type == "regression" else 1)
    assert parity["on"] == "24 texts"
    predictor, pipe = Predictor(tmp_path / "onnx"), pipeline("text-classification", model=model, tokenizer=tokenizer)
    assert_same(predictor(TEXTS, top_k=None), pipe(TEXTS, top_k=None))
    assert_same(predictor(TEXTS), pipe(TEXTS))


def test_a_token_classifier_labels_words_like_the_pipeline(tagger, tokenizer):
    model, predictor = tagger
    # Each word is one token of the tiny tokenizer, so the tokens of the pipeline are words.
    pipe = pipeline("token-classification", model=model, tokenizer=tokenizer)
    tagged = predictor(TEXTS)
    assert len({entity["entity"] for row in tagged for entity in row}) == 2
    for row, expected in zip(tagged, pipe(TEXTS), strict=True):
        assert_same(row, [{name: e[name] for name in ("word", "entity", "score", "start", "end")} for e in expected])
    assert predictor(TEXTS[0]) == tagged[0]


def test_a_list_of_words_is_labelled_like_the_joined_text(tagger):
    _, predictor = tagger
    assert_same(predictor([text.split() for text in TEXTS]), predictor(TEXTS))


def test_word_logits_are_those_of_the_first_tokens_and_nan_for_truncated_words(tagger, tokenizer):
    model, predictor = tagger
    words = ["good", "bad"] * 40
    (logits,) = predictor.word_logits([words])
    expected = model(**tokenizer(words, is_split_into_words=True, truncation=True, return_tensors="pt")).logits[0]
    assert logits.shape == (80, 3)
    np.testing.assert_allclose(logits[:62], expected[1:-1].detach().numpy(), atol=1e-5)
    assert np.isnan(logits[62:]).all()


def test_a_word_of_several_tokens_has_the_label_of_its_first_token(tagger):
    _, predictor = tagger
    # "good-bad" is one word of the list and three tokens; "-" is unknown.
    (split,) = predictor.word_logits([["good-bad", "film"]])
    (whole,) = predictor.word_logits([["good", "-", "bad", "film"]])
    np.testing.assert_allclose(split, whole[[0, 3]], atol=1e-5)


def export(folder, **changes):
    values = {"model_name_or_path": folder / "model", "output_dir": folder / "export", **changes}
    main(["export", *(word for name, value in values.items() for word in (f"--{name}", str(value)))])


@pytest.fixture(scope="module")
def saved(tmp_path_factory, model, tokenizer):
    folder = tmp_path_factory.mktemp("saved")
    copy.deepcopy(model).save_pretrained(folder / "model")  # which changes the config
    tokenizer.save_pretrained(folder / "model")
    (folder / "texts.txt").write_text("\n".join(TEXTS))
    return folder


def test_the_command_writes_int8_and_prints_the_difference(saved, capsys, predictor):
    folder = saved / "int8"
    export(saved, output_dir=folder, quantize="int8", text_file=saved / "texts.txt", max_seq_length=32, tolerance=0.2)
    output = capsys.readouterr().out
    assert "Compared with the model on 24 texts: max |Δlogit| 0." in output
    assert "of the decisions equal. Tolerance: 0.2." in output
    int8_predictor = Predictor(folder)
    assert int8_predictor.max_length == 32
    difference = np.abs(int8_predictor.logits(TEXTS) - predictor.logits(TEXTS)).max()
    assert 1e-4 < difference < 1
    # The embeddings and the weights of eight matrix products are int8: six in the layer, the pooler and the head.
    # The int8 input of query, key and value is computed once.
    graph = onnx.load(folder / "onnx" / "model_quantized.onnx").graph
    int8_types = (onnx.TensorProto.INT8, onnx.TensorProto.UINT8)
    int8_shapes = [tuple(weight.dims) for weight in graph.initializer if weight.data_type in int8_types]
    assert (TINY["vocab_size"], TINY["hidden_size"]) in int8_shapes
    assert sum(node.op_type == "MatMulInteger" for node in graph.node) == 8
    assert sum(node.op_type == "QuantizeLinear" for node in graph.node) == 6


def test_labels_in_the_file_give_the_metrics_of_model_and_export(saved, model, tokenizer, capsys):
    labels = [LABEL_NAMES[i % 2] if i % 5 else "" for i in range(len(TEXTS))]  # an empty cell is a missing label
    (saved / "labelled.csv").write_text("\n".join(["text,label", *map(",".join, zip(TEXTS, labels, strict=True))]))
    export(saved, text_file=saved / "labelled.csv")
    predictions = [model.config.id2label[i] for i in logits_of(model, tokenizer, TEXTS).argmax(axis=1)]
    is_correct = [prediction == label for prediction, label in zip(predictions, labels, strict=True) if label]
    assert 0.2 < np.mean(is_correct) < 0.8
    accuracy = f"accuracy {100 * np.mean(is_correct):.1f} %"
    assert f"Model: {accuracy} (export: {accuracy.removeprefix('accuracy ')}); f1" in capsys.readouterr().out
    metrics = json.loads((saved / "export" / "export.json").read_text())["variants"]["float32"]["parity"]["metrics"]
    assert metrics["model"] == metrics["export"]
    assert metrics["model"]["accuracy"] == pytest.approx(np.mean(is_correct))


def test_label_names_are_mapped_to_the_class_ids_of_the_model(saved, model, tokenizer, tmp_path, capsys):
    order = ["positive", "negative", "neutral"]
    model = copy.deepcopy(model)
    model.config.id2label = dict(enumerate(order))
    model.config.label2id = {name: i for i, name in enumerate(order)}
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    predictions = [order[i] for i in logits_of(model, tokenizer, TEXTS).argmax(axis=1)]
    rows = [json.dumps({"text": text, "label": name}) for text, name in zip(TEXTS, predictions, strict=True)]
    (tmp_path / "right.jsonl").write_text("\n".join(rows))
    texts = tmp_path / "right.jsonl"
    export(saved, model_name_or_path=tmp_path, output_dir=tmp_path / "export", text_file=texts, max_eval_samples=9)
    output = capsys.readouterr().out
    assert "on 9 texts" in output
    assert "accuracy 100.0 % (export: 100.0 %)" in output


def test_integer_labels_are_the_ids_that_class_names_says(saved, model, tokenizer, tmp_path, capsys):
    predictions = logits_of(model, tokenizer, TEXTS).argmax(axis=1).tolist()
    rows = [json.dumps({"text": text, "label": label}) for text, label in zip(TEXTS, predictions, strict=True)]
    (tmp_path / "ids.jsonl").write_text("\n".join(rows))
    export(saved, text_file=tmp_path / "ids.jsonl", class_names=",".join(model.config.id2label.values()))
    assert "accuracy 100.0 % (export: 100.0 %)" in capsys.readouterr().out


def test_the_labels_of_a_token_classifier_belong_to_words(tagger, tokenizer, tmp_path):
    model, predictor = tagger
    texts = [["good", "film"] * 40, ["bad"], ["a", "film"]]  # 62 words of the first text are not truncated
    labels = [[0] * 80, None, [-1, 1]]
    parity = export_model(model, tmp_path / "onnx", processing_class=tokenizer, texts=texts, labels=labels)
    tags = [row[~np.isnan(row).any(axis=1)].argmax(axis=1) for row in predictor.word_logits(texts)]
    is_correct = [*(tags[0] == 0), tags[2][1] == 1]
    assert len(is_correct) == 63
    assert 0 < np.mean(is_correct) < 1
    assert parity["metrics"]["model"]["token_accuracy"] == pytest.approx(np.mean(is_correct))
    assert parity["metrics"]["export"] == parity["metrics"]["model"]


ROWS = [np.array([2.0, -1.0]), np.array([-3.0, 1.0]), np.array([0.5, 0.1])]


@pytest.mark.parametrize(
    ("problem_type", "names", "logits", "labels", "expected"),
    [
        ("single_label_classification", ["a", "b"], ROWS, [0, 0, None], {"accuracy": 0.5}),
        ("multi_label_classification", ["a", "b"], ROWS, [[1, 0], None, [1, 0]], {"subset_accuracy": 0.5}),
        ("regression", ["a"], [row[:1] for row in ROWS], [1.0, -4.0, None], {"pearson": 1.0}),
        ("regression", ["a", "b"], ROWS, [[4, 1], [-6, -1], [1, 0.1]], {"pearson": 0.0}),
        ("token_classification", ["O", "B-x"], [np.stack(ROWS)], [[0, 0, -1]], {"token_accuracy": 0.5}),
    ],
)
def test_the_metrics_depend_on_the_problem_type(problem_type, names, logits, labels, expected):
    metrics = scorer(labels, problem_type, names)(logits)
    assert {name: metrics[name] for name in expected} == pytest.approx(expected, abs=0.05)


@pytest.mark.parametrize(
    ("problem_type", "labels", "message"),
    [
        ("single_label_classification", [0, 2, 1], "must be one class id below 2 for each text"),
        ("single_label_classification", [0.5, 0.5, 1.0], "must be one class id below 2"),
        ("multi_label_classification", [0, 1, 1], "must be 2 numbers for each text"),
        ("regression", [[1, 2, 3]] * 3, "must be 2 numbers for each text"),
    ],
)
def test_labels_of_another_problem_type_are_rejected(problem_type, labels, message):
    with pytest.raises(ValueError, match=message):
        scorer(labels, problem_type, ["a", "b"])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"quantize": "int8", "tolerance": 1e-9, "max_seq_length": 1000}, "`max_length` must be from 3 to 64"),
        ({"quantize": "int4"}, "int4"),
        ({"text_column_names": "text"}, "needs --text_file"),
        ({"text_file": "absent.txt"}, "absent.txt"),
        ({"model_name_or_path": "absent"}, "absent"),
        ({"output_dir": "model"}, "has config.json and no export.json, so hf-distill did not write it"),
    ],
)
def test_an_error_of_the_command_is_one_message(saved, monkeypatch, capsys, changes, message):
    monkeypatch.chdir(saved)
    with pytest.raises(SystemExit) as stopped:
        export(saved, **changes)
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err


def test_an_export_that_is_not_its_model_is_an_error_and_nothing_is_left_of_it(model, tokenizer, tmp_path):
    with pytest.raises(ParityError, match=r"on 24 texts, the logits differ by up to .*; the tolerance is 0"):
        export_model(model, tmp_path / "onnx", processing_class=tokenizer, texts=TEXTS, tolerance=0.0)
    assert list(tmp_path.iterdir()) == []


def contents(folder):
    return {path.relative_to(folder).as_posix(): path.read_text() for path in folder.rglob("*") if path.is_file()}


def test_a_folder_is_written_atomically(tmp_path):
    def fail(temporary):
        (temporary / "mark").write_text("half")
        raise ValueError("no more")

    write_folder_atomically(tmp_path / "new", lambda temporary: (temporary / "mark").write_text("old"), "mark")
    assert contents(tmp_path) == {"new/mark": "old"}
    with pytest.raises(ValueError, match="no more"):
        write_folder_atomically(tmp_path / "new", fail, "mark")
    assert contents(tmp_path) == {"new/mark": "old"}
    write_folder_atomically(tmp_path / "new", lambda temporary: (temporary / "other").write_text("newer"), "mark")
    assert contents(tmp_path) == {"new/other": "newer"}
    with pytest.raises(FileExistsError, match="is not empty and has no mark"):
        write_folder_atomically(tmp_path / "new", fail, "mark")
    assert contents(tmp_path) == {"new/other": "newer"}
    assert [path.name for path in tmp_path.iterdir()] == ["new"]


def make_parity(**changes):
    return {
        "on": "20 texts",
        "agreement": 0.9,
        "decisions": 20,
        "different_decisions": 2,
        "max_abs_difference": 2.0,
        "relative_difference": 0.5,
        **changes,
    }


@pytest.mark.parametrize(
    ("parity", "quantize", "tolerance", "message"),
    [
        (make_parity(), "int8", 0.05, "10.00% of the decisions differ; the tolerance is 0.05"),
        (make_parity(agreement=1.0), None, 0.4, "the logits differ by up to 2; the tolerance is 0.4"),
        (make_parity(agreement=None), "int8", 0.4, "the logits differ by up to 2"),
        (make_parity(relative_difference=math.nan), None, 0.4, "differ"),
    ],
)
def test_int8_classifiers_are_compared_by_decisions_and_other_exports_by_logits(parity, quantize, tolerance, message):
    with pytest.raises(ParityError, match=message):
        check_parity(parity, quantize, tolerance)
    if not math.isnan(parity["relative_difference"]):
        check_parity(parity, quantize, 0.5)


@pytest.mark.parametrize(("different", "decisions", "tolerance"), [(1, 20, 0.05), (7, 100, 0.07)])
def test_as_many_different_decisions_as_the_tolerance_are_accepted(different, decisions, tolerance):
    agreement = 1 - different / decisions
    assert 1 - agreement > tolerance, "or the test would be vacuous"
    parity = make_parity(agreement=agreement, decisions=decisions, different_decisions=different)
    check_parity(parity, "int8", tolerance)
    with pytest.raises(ParityError):
        check_parity(parity | {"different_decisions": different + 1}, "int8", tolerance)


def test_a_pair_with_an_empty_second_text_has_the_tokens_that_it_has_in_training(model, tokenizer, predictor):
    pairs = [("good film", ""), ("", "bad"), ("", "")]
    assert measure_parity(model, predictor, tokenizer, pairs)["agreement"] == 1
    inputs = tokenizer(["good film"], [""], return_tensors="pt")
    assert inputs["input_ids"].shape == (1, 5), "two texts have three special tokens"
    np.testing.assert_allclose(predictor.logits(pairs[:1]), model(**inputs).logits.detach().numpy(), atol=1e-5)


def test_a_tokenizer_that_tokenizer_json_does_not_describe_is_an_error(model, predictor):
    tokenizer = tiny_tokenizer()
    tokenizer.backend_tokenizer.normalizer = normalizers.Replace("good", "bad")
    measure_parity(model, predictor, tokenizer, ["a film"])
    with pytest.raises(ParityError, match="return different input_ids for text 1"):
        measure_parity(model, predictor, tokenizer, ["a film", "a good film"])


class DataDependentModel(BertForSequenceClassification):
    """A model whose computation depends on the values of its inputs. A graph cannot represent it."""

    def forward(self, input_ids, attention_mask=None, **kwargs):
        if input_ids.sum() % 2:
            return super().forward(input_ids, attention_mask, **kwargs)
        return super().forward(input_ids, None, **kwargs)


def test_a_model_that_torch_cannot_export_is_rejected(tokenizer, tmp_path):
    model = DataDependentModel(BertConfig(**TINY, num_hidden_layers=1, num_labels=3))
    with pytest.raises(ValueError, match="torch cannot export this DataDependentModel to ONNX"):
        export_model(model, tmp_path / "onnx", processing_class=tokenizer)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"format": "tflite"}, ValueError, "`format` must be 'onnx', got 'tflite'"),
        ({"quantize": "int4"}, ValueError, "`quantize` must be 'int8' or None, got 'int4'"),
        ({"tolerance": -1.0}, ValueError, "`tolerance` must be at least 0"),
        ({"texts": []}, ValueError, "`texts` is empty"),
        ({"texts": "a film"}, TypeError, "must be a list of texts"),
        ({"texts": ["a film", 3]}, TypeError, "Text 1 is 3"),
        ({"processing_class": None}, ValueError, "pass its tokenizer as `processing_class`"),
        ({"model": torch.nn.Linear(1, 1)}, TypeError, "must be a transformers PreTrainedModel, a path or a Hub id"),
        (
            {"model": BertForMaskedLM(BertConfig(**TINY, num_hidden_layers=1))},
            ValueError,
            "BertForMaskedLM is not a classifier",
        ),
    ],
)
def test_invalid_arguments_are_rejected_before_anything_is_written(tokenizer, tmp_path, changes, error, message):
    with pytest.raises(error, match=message):
        export_model(**{"model": tiny_model(), "folder": tmp_path / "onnx", "processing_class": tokenizer, **changes})
    assert list(tmp_path.iterdir()) == []


def test_a_slow_tokenizer_and_a_random_head_are_rejected(saved, tmp_path):
    (tmp_path / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a"]))
    with pytest.raises(ValueError, match="is a slow tokenizer"):
        export_model(
            tiny_model(), tmp_path / "onnx", processing_class=BertTokenizerLegacy(str(tmp_path / "vocab.txt"))
        )
    tiny_model().bert.save_pretrained(tmp_path / "headless")
    with pytest.raises(ValueError, match="its head would be random"):
        export_model(tmp_path / "headless", tmp_path / "onnx", processing_class=tiny_tokenizer())


def test_a_token_classifier_has_no_logits_of_texts_and_one_label_per_word(tagger):
    with pytest.raises(TypeError, match="call `word_logits`"):
        tagger[1].logits(["good"])
    with pytest.raises(ValueError, match="`top_k` is only for sequence classifiers"):
        tagger[1](["good"], top_k=2)
