"""Precision and execution provider are what was asked for, or an error says what is missing."""

import numpy as np
import onnx
import onnxruntime
import pytest
from tiny import tiny_rows

from hf_distill import Predictor, export_model

TEXTS = [row["text"] for row in tiny_rows(12, seed=5)]


def test_a_float16_export_has_half_weights_and_float32_logits(folder, model, tokenizer, predictor, tmp_path):
    parity = export_model(model, tmp_path / "half", processing_class=tokenizer, dtype="float16", texts=TEXTS)
    assert parity["tolerance"] == 2e-2
    path = tmp_path / "half" / "onnx" / "model_fp16.onnx"
    types = {tuple(weight.dims): weight.data_type for weight in onnx.load(path).graph.initializer}
    assert types[(model.config.vocab_size, model.config.hidden_size)] == onnx.TensorProto.FLOAT16
    half = Predictor(tmp_path / "half")
    assert (half.variant, half.logits(TEXTS).dtype) == ("float16", np.float32)
    difference = np.abs(half.logits(TEXTS) - predictor.logits(TEXTS)).max()
    assert 1e-5 < difference < 2e-2
    assert model.dtype.itemsize == 4, "the given model is not changed"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"dtype": "bfloat16"}, "`dtype` must be 'float32' or 'float16', got 'bfloat16'"),
        ({"dtype": "float16", "quantize": "int8"}, "An export is either int8 or float16"),
    ],
)
def test_an_unknown_precision_is_refused(model, tokenizer, tmp_path, settings, message):
    with pytest.raises(ValueError, match=message):
        export_model(model, tmp_path / "onnx", processing_class=tokenizer, **settings)


def test_a_provider_that_is_not_installed_is_refused_with_those_that_are(folder):
    with pytest.raises(ValueError, match="has the providers .*CPUExecutionProvider, not 'NoSuchExecutionProvider'"):
        Predictor(folder, provider="NoSuchExecutionProvider")


def test_a_provider_that_cannot_start_is_an_error_and_not_the_cpu(folder, monkeypatch):
    # A machine with onnxruntime-gpu and without the libraries of CUDA: onnxruntime warns and takes the CPU.
    available = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: available)
    with (
        pytest.warns(UserWarning, match="CUDAExecutionProvider"),
        pytest.raises(RuntimeError, match="would run on CPUExecutionProvider"),
    ):
        Predictor(folder, provider="CUDAExecutionProvider")
