"""Which modules of a student FSDP2 shards one by one; accelerate shards the input embeddings by themselves."""

from types import SimpleNamespace

import pytest
from tiny import tiny_model
from transformers import (
    DistilBertConfig,
    DistilBertForSequenceClassification,
    EsmConfig,
    EsmForSequenceClassification,
)

from hf_distill.classifiers.sharding import keep_embeddings_apart


def sharded(model, version=2, named=None):
    plugin = SimpleNamespace(fsdp_version=version, transformer_cls_names_to_wrap=named)
    keep_embeddings_apart(plugin, model)
    return plugin.transformer_cls_names_to_wrap


def test_a_module_that_contains_the_input_embeddings_is_left_out():
    model = tiny_model(2)
    assert "BertEmbeddings" in model._no_split_modules, "or the test would be vacuous"
    assert sharded(model) == ["BertLayer"]


def test_a_class_that_the_model_does_not_have_is_left_out():
    sizes = {"num_hidden_layers": 1, "num_attention_heads": 2, "hidden_size": 16, "intermediate_size": 16}
    model = EsmForSequenceClassification(EsmConfig(vocab_size=64, pad_token_id=0, **sizes))
    assert "EsmFoldTriangularSelfAttentionBlock" in model._no_split_modules, "or the test would be vacuous"
    assert sharded(model) == ["EsmLayer"]


@pytest.mark.parametrize("settings", [{"version": 1}, {"named": ["BertEmbeddings"]}])
def test_nothing_else_is_changed(settings):
    assert sharded(tiny_model(2), **settings) == settings.get("named")


def test_a_model_that_names_no_modules_is_left_as_it_is():
    config = DistilBertConfig(vocab_size=64, n_layers=1, n_heads=2, dim=16, hidden_dim=16)
    assert sharded(DistilBertForSequenceClassification(config)) is None
