"""All text architectures of transformers can be exported, with any batch size and text length."""

import numpy as np
import pytest
import torch
from tiny import SPECIAL, TINY, WORDS, tiny_rows, tiny_tokenizer
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import AutoConfig, AutoModelForSequenceClassification, PreTrainedTokenizerFast

from hf_distill import Predictor, export_model
from hf_distill.export.folder import _find_limit

TEXTS = [row["text"] for row in tiny_rows(12, seed=5)]
PAIRS = [(row["text"], row["text_pair"]) for row in tiny_rows(12, seed=6)]
DEBERTA = {
    "relative_attention": True,
    "pos_att_type": ["p2c", "c2p"],
    "position_buckets": 8,
    "norm_rel_ebd": "layer_norm",
    "share_att_key": True,
    "position_biased_input": False,
}
SPECIAL_IDS = {"pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 3, "cls_token_id": 2, "sep_token_id": 3}
# Differences from the config of a tiny BERT.
CHANGES = {
    "albert": {"embedding_size": 8},
    "deberta-v2": DEBERTA,
    "distilbert": {},
    "electra": {"embedding_size": 8},
    "gpt2": {"n_positions": 64},
    "modernbert": {**SPECIAL_IDS, "local_attention": 8},
    "mpnet": {"pad_token_id": 1},
    "qwen2": {"num_key_value_heads": 1, **SPECIAL_IDS},
    "roberta": {"pad_token_id": 1},
    "xlm-roberta": {"pad_token_id": 1},
}


def padded_by_one():
    """A tokenizer with the padding token 1 and without segment ids, like the tokenizer of RoBERTa."""
    names = ["[UNK]", "[PAD]", *SPECIAL[2:], *WORDS]
    backend = Tokenizer(models.WordLevel({word: i for i, word in enumerate(names)}, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] [SEP] $B [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        pad_token="[PAD]",
        unk_token="[UNK]",
        model_input_names=["input_ids", "attention_mask"],
    )


def random_model(model_type):
    sizes = {**TINY, "pad_token_id": 0, "num_hidden_layers": 2, "num_labels": 3}
    config = AutoConfig.for_model(model_type, **sizes | CHANGES[model_type])
    torch.manual_seed(0)
    return AutoModelForSequenceClassification.from_config(config).eval()


def assert_exported(model_type, tokenizer, folder):
    model = random_model(model_type)
    export_model(model, folder, processing_class=tokenizer)
    predictor = Predictor(folder)
    for text in [*TEXTS, *PAIRS]:
        pair = text if isinstance(text, tuple) else (text,)
        with torch.no_grad():
            expected = model(**tokenizer(*pair, return_tensors="pt")).logits.numpy()
        np.testing.assert_allclose(predictor.logits([text, "good " * 30])[:1], expected, atol=1e-5)
    assert predictor.logits(TEXTS).std(axis=0).min() > 1e-4, "or the test would be vacuous"
    return predictor


def test_the_limit_subtracts_the_position_offset_of_roberta():
    assert _find_limit(random_model("roberta"), padded_by_one()) == TINY["max_position_embeddings"] - 2
    assert _find_limit(random_model("electra"), tiny_tokenizer()) == TINY["max_position_embeddings"]


@pytest.mark.slow
@pytest.mark.parametrize("model_type", CHANGES)
def test_an_architecture_can_be_exported(model_type, tmp_path):
    is_padded_by_one = CHANGES[model_type].get("pad_token_id") == 1
    tokenizer = padded_by_one() if is_padded_by_one else tiny_tokenizer()
    predictor = assert_exported(model_type, tokenizer, tmp_path / "onnx")
    if model_type == "roberta":
        assert predictor.max_length == TINY["max_position_embeddings"] - 2


@pytest.mark.slow
def test_a_model_with_padding_on_the_left_uses_its_last_token(tmp_path):
    tokenizer = tiny_tokenizer()
    tokenizer.padding_side = "left"
    assert_exported("qwen2", tokenizer, tmp_path / "onnx")
