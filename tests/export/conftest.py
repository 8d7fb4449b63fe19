"""One model of each kind and its export, for all tests of this folder."""

import pytest
from tiny import tiny_model, tiny_tagger

from hf_distill import Predictor, export_model


@pytest.fixture(scope="session", autouse=True)
def _known_graphs(known_graphs):
    """No test of this folder traces a model twice."""


@pytest.fixture(scope="session")
def model():
    return tiny_model(1, seed=8)  # this seed gives the texts of the tests different labels


@pytest.fixture(scope="session")
def folder(model, tokenizer, tmp_path_factory):
    folder = tmp_path_factory.mktemp("export") / "onnx"
    export_model(model, folder, processing_class=tokenizer)
    return folder


@pytest.fixture(scope="session")
def predictor(folder):
    return Predictor(folder)


@pytest.fixture(scope="session")
def tagger(tmp_path_factory, tokenizer):
    model = tiny_tagger("O", "B-PER", "I-PER")
    folder = tmp_path_factory.mktemp("tagger") / "onnx"
    export_model(model, folder, processing_class=tokenizer, texts=[["good", "film"], "a bad film"])
    return model, Predictor(folder)
