"""The folder of an export has the layout of a repository on the Hub, and holds variants of one model."""

import copy
import json
import shutil

import numpy as np
import pytest
from tiny import tiny_model, tiny_rows, tiny_tokenizer

from hf_distill import Predictor, export_model
from hf_distill.export import ParityError
from hf_distill.export.layout import find_export
from hf_distill.reporting.comparison.contenders import Contender
from hf_distill.reporting.comparison.cost import describe_costs

TEXTS = [row["text"] for row in tiny_rows(12, seed=5)]


def snapshot(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def both(folder, model, tokenizer, tmp_path_factory):
    both = tmp_path_factory.mktemp("both") / "export"
    shutil.copytree(folder, both)
    export_model(model, both, quantize="int8", processing_class=tokenizer, texts=TEXTS, tolerance=0.2)
    return both


def test_a_second_export_adds_a_variant_and_keeps_the_first(folder, both):
    before, after = snapshot(folder), snapshot(both)
    assert set(before) == {"config.json", "export.json", "onnx/model.onnx", "tokenizer.json", "tokenizer_config.json"}
    assert set(after) == {*before, "onnx/model_quantized.onnx"}
    assert after["onnx/model.onnx"] == before["onnx/model.onnx"]
    first, second = (json.loads(files["export.json"]) for files in (before, after))
    assert list(second["variants"]) == ["float32", "int8"]
    assert second["variants"]["float32"] == first["variants"]["float32"]
    assert second["variants"]["int8"]["parity"]["on"] == "12 texts"
    assert {**second, "variants": None} == {**first, "variants": None}


def test_the_same_variant_is_replaced_also_after_a_padded_call_of_the_tokenizer(folder, model, tmp_path):
    shutil.copytree(folder, tmp_path / "export")
    tokenizer = tiny_tokenizer()
    tokenizer(TEXTS, padding=True, truncation=True)
    export_model(model, tmp_path / "export", processing_class=tokenizer, texts=TEXTS)
    record = json.loads((tmp_path / "export" / "export.json").read_text())
    assert (list(record["variants"]), record["variants"]["float32"]["parity"]["on"]) == (["float32"], "12 texts")
    np.testing.assert_array_equal(Predictor(tmp_path / "export").logits(TEXTS), Predictor(folder).logits(TEXTS))


def test_an_export_that_fails_leaves_the_folder_as_it_was(both, model, tokenizer):
    before = snapshot(both)
    with pytest.raises(ParityError):
        export_model(model, both, processing_class=tokenizer, texts=TEXTS[:2], tolerance=0.0)
    assert snapshot(both) == before
    assert [path.name for path in both.parent.iterdir()] == ["export"]


def other_tokenizer():
    tokenizer = tiny_tokenizer()
    tokenizer.add_tokens(["film-maker"])
    return tokenizer


def renamed(model):
    model = copy.deepcopy(model)
    model.config.id2label = dict(enumerate("abc"))
    return model


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda model: {"model": tiny_model(1, seed=9)}, "has an export of another model"),
        (lambda model: {"processing_class": other_tokenizer()}, "has an export with another tokenizer"),
        (lambda model: {"max_length": 32}, "has an export with max_length 64, not 32"),
        (lambda model: {"model": renamed(model)}, "has an export with id2label"),
    ],
)
def test_an_export_of_another_model_is_refused(folder, model, tokenizer, change, message):
    before = snapshot(folder)
    with pytest.raises(FileExistsError, match=message):
        export_model(**{"model": model, "folder": folder, "processing_class": tokenizer, **change(model)})
    assert snapshot(folder) == before


def test_a_predictor_takes_the_only_variant_or_asks_for_one(folder, both):
    assert Predictor(folder).variant == "float32"
    with pytest.raises(ValueError, match="has the variants float32, int8. Choose one"):
        Predictor(both)
    with pytest.raises(ValueError, match="has no variant 'int4', only float32, int8"):
        Predictor(both, "int4")
    np.testing.assert_array_equal(Predictor(both, "float32").logits(TEXTS), Predictor(folder).logits(TEXTS))
    difference = np.abs(Predictor(both, "int8").logits(TEXTS) - Predictor(folder).logits(TEXTS)).max()
    assert 1e-4 < difference < 1


def test_a_missing_graph_is_named(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "export")
    (tmp_path / "export" / "onnx" / "model.onnx").unlink()
    with pytest.raises(FileNotFoundError, match=r"has no onnx/model.onnx, which its export.json names"):
        Predictor(tmp_path / "export")


@pytest.fixture
def flat(folder, tmp_path):
    """The folder of an export as earlier versions wrote it."""
    shutil.copytree(folder, tmp_path / "flat")
    (tmp_path / "flat" / "onnx" / "model.onnx").rename(tmp_path / "flat" / "model.onnx")
    (tmp_path / "flat" / "onnx").rmdir()
    path = tmp_path / "flat" / "export.json"
    record = json.loads(path.read_text())
    variant = record.pop("variants")["float32"]
    for name in ("model_fingerprint", "tokenizer_fingerprint"):
        del record[name]
    path.write_text(json.dumps({**record, "quantize": None, "parity": variant["parity"]}))
    return tmp_path / "flat"


def test_a_flat_folder_of_an_earlier_version_loads_and_takes_no_variant(flat, folder, model, tokenizer):
    predictor = Predictor(flat)
    assert predictor.variant == "float32"
    np.testing.assert_array_equal(predictor.logits(TEXTS), Predictor(folder).logits(TEXTS))
    export = Contender("old", str(flat), None, 64, "cpu").export
    assert (export.variant, export.files) == ("float32", [flat / "model.onnx"])
    with pytest.raises(FileExistsError, match="of an earlier version"):
        export_model(model, flat, quantize="int8", processing_class=tokenizer)


def test_a_report_takes_a_variant_by_the_path_of_its_file(both, model, tokenizer):
    with pytest.raises(
        ValueError, match=r"has the variants float32, int8. Pass the file of one of them: .*model.onnx, "
    ):
        _ = Contender("int8", str(both), None, 64, "cpu").export
    path = both / "onnx" / "model_quantized.onnx"
    contender = Contender("int8", str(path), None, 64, "cpu")
    assert (contender.role, contender.format, contender.origin) == ("export", "onnx-int8", "export")
    np.testing.assert_array_equal(contender.first.logits(TEXTS), Predictor(both, "int8").logits(TEXTS))
    teacher = Contender("teacher", model, tokenizer, 64, "cpu")
    cost = describe_costs([teacher, contender], TEXTS, 0)["int8"]
    assert cost["bytes_on_disk"] == path.stat().st_size
    assert cost["num_parameters"] == model.num_parameters()


def test_other_paths_are_not_exports(tmp_path):
    (tmp_path / "model.onnx").write_text("graph")
    assert [find_export(path) for path in (tmp_path, tmp_path / "model.onnx", "user/name")] == [None, None, None]
