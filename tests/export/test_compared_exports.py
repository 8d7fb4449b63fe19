"""A report compares an export with the other models on the same tokens."""

import copy
import json
import shutil
import warnings

import numpy as np
import pytest

from hf_distill.reporting.comparison.contenders import Contender

LONG_TEXTS = ["good bad film " * 9, "a very boring plot " * 9, "good"]


def test_models_and_exports_are_cut_at_the_same_length(folder, model, tokenizer):
    student = Contender("student", model, tokenizer, 8, "cpu").first
    export = Contender("onnx", str(folder), None, 8, "cpu").first
    assert (student.max_length, export.max_length) == (8, 8)
    np.testing.assert_allclose(export.logits(LONG_TEXTS), student.logits(LONG_TEXTS), atol=1e-5)


def test_an_export_with_a_lower_limit_than_its_model_keeps_it_and_a_warning_says_so(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "short")
    record = json.loads((folder / "export.json").read_text())
    (tmp_path / "short" / "export.json").write_text(json.dumps({**record, "max_length": 32}))
    with pytest.warns(UserWarning, match="'short' cuts texts to 32 tokens, .* the other models cut texts to 128"):
        assert Contender("short", str(tmp_path / "short"), None, 128, "cpu").first.max_length == 32
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert Contender("short", str(tmp_path / "short"), None, 32, "cpu").first.max_length == 32
        assert Contender("onnx", str(folder), None, 128, "cpu").first.max_length == 64, "the model has 64 positions"


def test_a_folder_with_a_model_and_its_export_means_the_model(folder, model, tmp_path):
    both = tmp_path / "both"
    shutil.copytree(folder, both)
    assert Contender("student", str(both), None, 32, "cpu").format == "onnx"
    copy.deepcopy(model).save_pretrained(both)  # which changes the config
    assert Contender("student", str(both), None, 32, "cpu").format == "pytorch"
    graph = str(both / "onnx" / "model.onnx")
    assert Contender("onnx", graph, None, 32, "cpu").format == "onnx"
