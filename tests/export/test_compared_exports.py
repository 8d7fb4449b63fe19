"""A report compares an export with the other models on the same tokens."""

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


def test_an_export_with_a_lower_limit_keeps_it_and_a_warning_says_so(folder):
    with pytest.warns(UserWarning, match="'onnx' cuts texts to 64 tokens, .* the other models cut texts to 128"):
        assert Contender("onnx", str(folder), None, 128, "cpu").first.max_length == 64
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert Contender("onnx", str(folder), None, 64, "cpu").first.max_length == 64
