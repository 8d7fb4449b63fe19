"""Exports on the Hub: `onnx/` and `export.json` at the root, from one or several folders, flat ones too."""

import json

import pytest
import torch
from pushing import REPO, failed_push, push
from records import EXPORT, FLAT_EXPORT, PARITY, RECORD, changed
from tiny import tiny_model, tiny_tokenizer

from hf_distill.export.identity import fingerprints
from hf_distill.export.layout import open_export
from hf_distill.hub.card.model_card import model_card
from hf_distill.hub.exports import place_exports


def make_export(folder, record, **graphs):
    """An export with graphs that are only text."""
    for name, content in {"export.json": json.dumps(record), "tokenizer.json": "{}", **graphs}.items():
        path = folder / name.replace("__", "/").replace("_onnx", ".onnx")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)


def variant(name, file):
    return {**EXPORT, "variants": {name: {"file": file, "opset": 18, "parity": PARITY}}}


def download(server, folder):
    for name, content in server.repos[REPO].files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def test_a_flat_folder_and_one_of_this_version_are_one_export_in_the_repository(out, server, tmp_path):
    make_export(out / "onnx", variant("float32", "onnx/model.onnx"), onnx__model_onnx="float32 graph")
    (out / "onnx" / "onnx" / "model.onnx.data").write_text("weights of the graph")
    push(out)
    files = server.repos[REPO].files
    assert {name: files[name] for name in files if name.startswith("onnx")} == {
        "onnx/model.onnx": b"float32 graph",
        "onnx/model.onnx.data": b"weights of the graph",
        "onnx/model_quantized.onnx": b"graph",
    }
    folder = download(server, tmp_path / "download")
    assert open_export(folder, "int8").path.read_bytes() == b"graph"
    assert open_export(folder, "float32").path.read_bytes() == b"float32 graph"
    assert open_export(folder, "int8").record["max_length"] == 128


def test_a_download_of_a_repository_can_be_pushed_again(out, server, tmp_path, capsys):
    push(out)
    folder = download(server, tmp_path / "download")
    capsys.readouterr()
    push(folder)
    assert "Nothing to push" in capsys.readouterr().out


def test_the_tokenizer_of_an_export_is_published_if_the_student_has_only_a_slow_one(out):
    (out / "tokenizer.json").unlink()
    placed = place_exports(out, ["onnx-int8"])
    assert placed.files["tokenizer.json"] == out / "onnx-int8" / "tokenizer.json"


@pytest.mark.parametrize(
    ("record", "message"),
    [
        (FLAT_EXPORT, "both have the variant int8. Remove one of them."),
        ({**FLAT_EXPORT, "quantize": None, "max_length": 64}, "differ in max_length"),
    ],
)
def test_exports_that_cannot_stand_side_by_side_are_refused(out, server, capsys, record, message):
    make_export(out / "other", record, model_onnx="graph")
    assert message in failed_push(out, capsys)
    assert server.calls == []


def test_an_export_without_its_graph_is_refused(out, server, capsys):
    (out / "onnx-int8" / "model.onnx").unlink()
    assert "has no model.onnx, which its export.json names" in failed_push(out, capsys)


def test_the_card_shows_how_to_run_an_export_in_python_and_in_javascript():
    text = model_card(RECORD, None, EXPORT).text
    assert 'predictor = Predictor(folder, "int8")\npredictor(["A text like the training data."])' in text
    assert 'await pipeline("text-classification", "distil-sst2", { dtype: "q8" });' in text
    float32 = variant("float32", "onnx/model.onnx")
    assert '{ dtype: "fp32" }' in model_card(RECORD, None, float32).text
    assert "@huggingface/transformers" not in model_card(RECORD, None, variant("openvino", "openvino/x.xml")).text
    pairs = changed(dataset={"splits": {"train": {"files": [], "sha256": "", "text_columns": ["a", "b"]}}})
    text = model_card(pairs, None, EXPORT).text
    assert 'predictor([("The first text.", "The second text.")])' in text
    assert 'text_pair: "The second text."' in text


@pytest.fixture
def described(out):
    """Write an export whose record has the fingerprints of this model and tokenizer; return the folder of both."""

    def write(model, tokenizer, name="float32"):
        record = {**variant(name, "onnx/model.onnx"), **fingerprints(model, tokenizer)}
        make_export(out / name, record, onnx__model_onnx="graph")
        return out

    return write


def test_an_export_of_the_student_is_published_though_it_was_made_from_the_model_in_memory(described, server):
    push(described(tiny_model(seed=2), tiny_tokenizer()))
    assert "onnx/model.onnx" in server.repos[REPO].files


@pytest.mark.parametrize("seed", [1, 3])
def test_an_export_of_another_model_of_the_same_size_is_refused_though_it_is_newer(described, server, capsys, seed):
    folder = described(tiny_model(seed=seed), tiny_tokenizer())
    assert f"{folder / 'float32'} is an export of another model, not of this student" in failed_push(folder, capsys)
    assert server.calls == []


def test_an_export_of_another_head_of_the_same_weights_is_refused(described, capsys):
    model = tiny_model(seed=2)
    with torch.no_grad():
        model.classifier.bias += 1
    assert "is an export of another model" in failed_push(described(model, tiny_tokenizer()), capsys)


def test_an_export_with_another_tokenizer_is_refused(described, capsys):
    other = tiny_tokenizer()
    other.add_tokens(["onemoreword"])
    assert "is an export with another tokenizer" in failed_push(described(tiny_model(seed=2), other), capsys)


def test_padding_and_truncation_that_a_call_has_set_do_not_make_another_tokenizer(described, server):
    used = tiny_tokenizer()
    used(["a", "b c"], padding=True, truncation=True, max_length=5)
    push(described(tiny_model(seed=2), used))
    assert "onnx/model.onnx" in server.repos[REPO].files


def test_the_second_of_two_exports_is_compared_too(described, capsys):
    described(tiny_model(seed=2), tiny_tokenizer(), "float16")
    folder = described(tiny_model(seed=1), tiny_tokenizer(), "float32")
    assert f"{folder / 'float32'} is an export of another model" in failed_push(folder, capsys)


def test_a_student_with_its_own_code_is_not_run_and_the_user_is_told(described, server, capsys):
    folder = described(tiny_model(seed=1), tiny_tokenizer())
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "auto_map": {"AutoModel": "modeling.Model"}}))
    (folder / "modeling.py").write_text("raise RuntimeError('this code was run')")
    push(folder)
    assert (
        "not compared with the student's weights, because the student comes with its own code"
        in capsys.readouterr().out
    )
