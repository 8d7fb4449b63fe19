import numpy as np
import pytest
import torch
from letters import letters_tokenizer
from tiny import TINY, WORDS, tiny_tokenizer
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import BertConfig, BertForMaskedLM, PreTrainedTokenizerFast, RobertaConfig, RobertaForMaskedLM

from hf_distill.data.word_proposals import WordProposals


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return BertForMaskedLM(BertConfig(**TINY, num_hidden_layers=1))


def test_the_proposals_are_the_words_with_the_largest_logits(model):
    tokenizer = tiny_tokenizer()
    ids = torch.tensor([tokenizer("the [MASK] is good")["input_ids"]])
    logits = model.eval()(ids, token_type_ids=torch.zeros_like(ids)).logits[0, 2]
    order = [tokenizer.convert_ids_to_tokens(i) for i in logits.argsort(descending=True).tolist()]
    expected = [word for word in order if word in WORDS and len(word) > 1]
    assert WordProposals(model, tokenizer).propose([["the", "[MASK]", "is", "good"]], [[1]]) == [[expected]]


def test_texts_of_other_lengths_in_the_batch_change_nothing(model):
    texts = [["[MASK]", "film"], ["the", "[MASK]", "was", "[MASK]."], ["a", "plot"]]
    places = [[0], [1, 3], []]
    together = WordProposals(model, tiny_tokenizer()).propose(texts, places)
    one_by_one = WordProposals(model, tiny_tokenizer(), batch_size=1).propose(texts, places)
    assert together == one_by_one
    assert [len(proposals) for proposals in together] == [1, 2, 0]


def test_a_place_behind_the_longest_input_gets_no_proposals(model):
    text = ["good", "[MASK]", *["film"] * 6, "[MASK]"]
    first, second = WordProposals(model, tiny_tokenizer(), max_length=8).propose([text], [[1, 8]])[0]
    assert first
    assert second == []


def test_no_text_is_longer_than_the_model_has_positions(model):
    tokenizer = tiny_tokenizer()
    tokenizer.model_max_length = int(1e30)
    text = ["film"] * 80
    assert WordProposals(model, tokenizer, max_length=256).propose([["[MASK]", *text]], [[0]])[0][0]


def test_a_byte_level_tokenizer_proposes_words_without_its_mark_for_a_blank():
    pieces = [
        "<s>",
        "<pad>",
        "</s>",
        "<unk>",
        "<mask>",
        "\u0120film",
        "\u0120m\u00c3\u00aame",
        "\u0120good",
        "ing",
        ",",
        "(",
    ]
    backend = Tokenizer(models.WordLevel({piece: i for i, piece in enumerate(pieces)}, unk_token="<unk>"))
    backend.pre_tokenizer, backend.decoder = pre_tokenizers.ByteLevel(add_prefix_space=True), decoders.ByteLevel()
    backend.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend, pad_token="<pad>", unk_token="<unk>", cls_token="<s>", sep_token="</s>",
        mask_token="<mask>", model_max_length=32, model_input_names=["input_ids", "attention_mask"],
    )  # fmt: skip
    config = RobertaConfig(**{**TINY, "vocab_size": len(pieces)}, num_hidden_layers=1, pad_token_id=1)
    proposals = WordProposals(RobertaForMaskedLM(config), tokenizer)
    assert set(proposals.propose([["good", "(<mask>),"]], [[1]])[0][0]) == {"film", "m\u00eame", "good"}
    draw = np.random.default_rng(0)
    assert proposals.mask(draw, "M\u00eame") == "<mask>"
    assert proposals.mask(draw, "ing") is None


def test_a_tokenizer_that_cannot_mask_or_has_no_words_is_refused(model):
    for kind in ("mask", "pad"):
        tokenizer = tiny_tokenizer()
        setattr(tokenizer, f"{kind}_token", None)
        with pytest.raises(ValueError, match=f"has no {kind}.* token. Use another masked language model"):
            WordProposals(model, tokenizer)
    with pytest.raises(ValueError, match="has no pieces that are whole words"):
        WordProposals(model, letters_tokenizer())
