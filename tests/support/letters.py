"""A teacher that reads letters: its tokenizer shares no token with the tokenizer of `tiny`."""

import torch
from tiny import LABEL_NAMES, TINY
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import (
    PreTrainedTokenizerFast,
    RobertaConfig,
    RobertaForSequenceClassification,
    RobertaForTokenClassification,
)

NAMES = {"id2label": dict(enumerate(LABEL_NAMES)), "label2id": {name: i for i, name in enumerate(LABEL_NAMES)}}


def letters_tokenizer(max_length=64):
    """Return a tokenizer like RoBERTa's: <s> a </s></s> b </s>, no segments, pad id 1. Its tokens are letters."""
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    # pragma: allowlist nextline secret
    vocabulary = {token: i for i, token in enumerate([*special, *"zyxwvutsrqponmlkjihgfedcba"])}
    vocabulary |= {f"##{letter}": len(vocabulary) + i for i, letter in enumerate("abcdefghijklmnopqrstuvwxyz")}
    backend = Tokenizer(models.WordPiece(vocabulary, unk_token="<unk>"))
    backend.normalizer = normalizers.Lowercase()
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    backend.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, pad_token="<pad>", unk_token="<unk>", bos_token="<s>", eos_token="</s>",
        cls_token="<s>", sep_token="</s>", mask_token="<mask>", model_max_length=max_length,
        model_input_names=["input_ids", "attention_mask"],
    )  # fmt: skip


def roberta(cls=RobertaForSequenceClassification, seed=1):
    torch.manual_seed(seed)
    config = RobertaConfig(
        **{**TINY, "vocab_size": 60, "max_position_embeddings": 140}, num_hidden_layers=3, type_vocab_size=1,
        pad_token_id=1, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0, **NAMES,
    )  # fmt: skip
    model = cls(config)
    head = model.classifier if cls is RobertaForTokenClassification else model.classifier.out_proj
    head.weight.data.mul_(10.0)  # sharp, as in `tiny.sharpen`
    return model.eval()
